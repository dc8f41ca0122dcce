from __future__ import annotations

import pytest

from varv.kernel.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from varv.runs import reading
from varv.runs.model import DatasetInput, InputTag, ModelOutput, RunDescribed


def test_a_run_has_what_was_logged(home):
    run = home.begin(name="first", user="ana", started_ms=5, tags={"team": "risk"})
    home.log(run, ("loss", 0.5, 10, 1), params={"depth": "3"}, tags={"team": "fraud"})
    home.do(home.tracking.update_run(run, status="FINISHED", ended_ms=20))
    found = home.run(run)
    assert (found.name, found.user, found.started_ms, found.ended_ms) == ("first", "ana", 5, 20)
    assert (found.status, found.params) == ("FINISHED", {"depth": "3"})
    assert found.tags == {"team": "fraud", "mlflow.runName": "first"}
    assert [(one.name, one.glance.value, one.glance.step) for one in found.metrics] == [("loss", 0.5, 1)]


def test_a_param_keeps_its_value(home):
    run = home.begin()
    home.log(run, params={"depth": "3"})
    head = home.ledger.head().version
    home.log(run, params={"depth": "3"})
    assert home.ledger.head().version == head
    with pytest.raises(InvalidInput, match="Changing param values is not allowed"):
        home.log(run, ("loss", 1.0, 1), params={"width": "2", "depth": "4"}, tags={"a": "b"})
    found = home.run(run)
    assert found.params == {"depth": "3"}
    assert not found.metrics
    assert "a" not in found.tags


def test_a_long_text_is_in_a_blob_and_not_in_the_ledger(home):
    run = home.begin()
    home.log(run, params={"sql": "select " * 500})
    entry = home.ledger.read()[-1]
    assert isinstance(entry.event, RunDescribed)
    assert len(entry.data) < 300
    assert home.run(run).params == {"sql": "select " * 500}


def test_a_deleted_run_takes_nothing_until_it_is_restored(home):
    run = home.begin()
    home.do(home.tracking.move_run(run, deleted=True))
    with pytest.raises(FailedPrecondition, match="must be in the 'active' state"):
        home.log(run, ("loss", 1.0, 1))
    home.do(home.tracking.move_run(run, deleted=False))
    home.log(run, ("loss", 1.0, 1))
    assert home.metrics(run)["loss"].n == 1


def test_an_experiment_keeps_its_name_while_it_is_deleted(home):
    made = home.do(home.tracking.experiments.create("churn"))
    run = home.begin(made)
    home.do(home.tracking.experiments.move(made, deleted=True))
    with pytest.raises(AlreadyExists):
        home.do(home.tracking.experiments.create("churn"))
    with pytest.raises(FailedPrecondition):
        home.log(run, ("loss", 1.0, 1))
    with pytest.raises(FailedPrecondition):
        home.begin(made)
    home.do(home.tracking.experiments.move(made, deleted=False))
    home.log(run, ("loss", 1.0, 1))


def test_what_is_missing_is_named(home):
    with pytest.raises(NotFound, match="nothing"):
        home.log("nothing", params={"a": "b"})
    with pytest.raises(NotFound, match="99"):
        home.begin("99")
    with pytest.raises(NotFound, match="team"):
        home.do(home.tracking.untag_run(home.begin(), "team"))


@pytest.mark.parametrize(
    "said",
    [
        {"params": {"../up": "1"}},
        {"params": {"": "1"}},
        {"tags": {"/root": "1"}},
        {"tags": {"k" * 251: "1"}},
        {"params": {f"p{n}": "1" for n in range(101)}},
    ],
)
def test_what_no_client_should_send_is_refused_whole(home, said):
    run = home.begin()
    head = home.ledger.head().version
    with pytest.raises(InvalidInput):
        home.log(run, ("loss", 1.0, 1), **said)
    assert home.ledger.head().version == head
    assert not home.run(run).metrics


def test_inputs_and_outputs_are_on_record_once(home):
    run = home.begin()
    one = DatasetInput(
        name="train",
        digest="d1",
        source_type="local",
        source="s" * 1000,
        tags=(InputTag("mlflow.data.context", "training"),),
    )
    home.do(home.tracking.link(run, datasets=[one], outputs=[ModelOutput("m-1", 3)]))
    home.do(home.tracking.link(run, datasets=[one]))
    with pytest.raises(AlreadyExists, match="m-1"):
        home.do(home.tracking.link(run, outputs=[ModelOutput("m-1", 4)]))
    assert home.run(run).datasets == [one]
    assert home.run(run).outputs == [ModelOutput("m-1", 3)]


def test_all_is_there_after_a_restart(home):
    run = home.begin(name="kept")
    home.log(run, ("loss", 0.5, 10, 1), params={"depth": "3"})
    before = home.run(run)
    home.reopened()
    assert home.run(run) == before


def test_experiments_are_read_by_name(home):
    made = home.do(home.tracking.experiments.create("churn", tags={"team": "risk"}))
    home.do(home.tracking.experiments.rename(made, "loss"))
    with home.tracking.recorder.reading() as db:
        assert reading.experiment(db, name="loss").id == made
        assert reading.experiment(db, id=made).tags == {"team": "risk"}
        with pytest.raises(NotFound):
            reading.experiment(db, name="churn")
