"""A file of tables that was lost is folded anew from the ledger, and is as it was."""

from __future__ import annotations

from varv.home.tracking.purging import PurgeRequest, Purging, purge
from varv.registry.webhooks import secret_of, webhook

NOTHING_IN = {
    "orphan",
    "input",
    "run_model",
    "trace",
    "trace_tag",
    "trace_metadata",
    "trace_link",
    "span",
    "assessment",
    "imported",
    "registry_imported",
}
"""Tables that nothing happens to here."""


def purge_one(home):
    gone = home.do(home.desk.runs.create_run("0"))
    home.do(home.desk.runs.move_run(gone, deleted=True))
    purge(Purging(home.desk, home.ledger), PurgeRequest(runs=(gone,)))


def lived(home):
    """Have something happen to all that is folded."""
    runs, models, logged = home.desk.runs, home.desk.models, home.desk.logged
    experiment = home.do(runs.experiments.create("e", tags={"note": "long " * 200}))
    home.do(runs.experiments.rename(experiment, "f"))
    run = home.do(runs.create_run(experiment, tags={"k": "v" * 1000}))
    home.do(runs.log(run, params={"p": "1"}, tags={"t": "2"}))
    home.do(runs.untag_run(run, "t"))
    home.do(runs.update_run(run, status="FINISHED", ended_ms=5, name="named"))
    home.do(runs.reproduced(run, verdict="differs", differing=["metric x"]))
    home.do(runs.move_run(home.do(runs.create_run(experiment)), deleted=True))
    purge_one(home)
    model = home.log_model(name="model", run=run, params={"p": "1"}, tags={"t": "2"})
    home.do(logged.untag(model, "t"))
    home.do(logged.finalize(model, "READY"))
    home.do(logged.delete(home.log_model(name="gone")))
    home.register("m", tags={"a": "b"}, description="long " * 200)
    home.version("m", f"models:/{model}")
    home.version("m", run=run, tags={"a": "b"}, description="d")
    home.do(models.change_version("m", 2, tags={"c": "d"}, without="a"))
    home.do(models.move_stage("m", 1, "Production"))
    home.do(models.move_stage("m", 2, "Production", archive_existing=True))
    home.do(models.set_alias("m", "best", 2))
    home.do(models.rename("m", "n"))
    home.do(models.delete_version("n", 1))
    home.register("gone")
    home.do(models.delete("gone"))
    home.train("late", 1)
    hook = home.do(
        home.desk.webhooks.create("w", "https://8.8.8.8/", ["model_version.created"], secret="s3cret")
    )
    home.do(home.desk.webhooks.update(hook, status="DISABLED"))
    return hook


def test_a_file_that_was_lost_is_folded_as_it_was(home):
    lived(home)
    before = home.rows()
    assert {"run", "word", "logged_word", "version_tag", "alias", "webhook", "applied"} <= before.keys()
    assert {table for table in before if not before[table]} <= NOTHING_IN
    assert home.refolded().rows() == before
    assert home.reopened().rows() == before


def test_the_secret_of_a_webhook_is_in_no_entry_and_lost_with_the_file(home):
    hook = lived(home)
    assert not any(b"s3cret" in entry.data for entry in home.ledger.read())
    with home.refolded().desk.recorder.reading() as db:
        assert webhook(db, hook).signed
        assert secret_of(db, hook) == ""
