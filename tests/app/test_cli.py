from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from tests.home.live_home import REQUEST

from varv.app.cli import main

HEAVY = (
    "polars",
    "numpy",
    "msgspec",
    "rich",
    "starlette",
    "httpx",
    "sklearn",
    "onnxruntime",
    "uvicorn",
    "cryptography",
)


@pytest.fixture(scope="module")
def home(lived, tmp_path_factory):
    """A home with a model that has answered once, learned the outcome, and stopped."""
    folder = tmp_path_factory.mktemp("home")
    found = lived(folder)
    found.answering.answer(REQUEST, "asked-1")
    found.accept_outcomes([{"parcel": "asked-1", "late": True}])
    found.ingest()
    found.close()
    return folder


@pytest.fixture
def run(capsys, home, monkeypatch):
    monkeypatch.delenv("VARV_HOME", raising=False)

    def told(*arguments):
        status = main(["--home", str(home), *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return told


COMMANDS = ("init", "replay", "up", "status", "why", "verify", "rollback", "retrain", "doctor", "quarantine")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_begins_with_what_it_does(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    description = capsys.readouterr().out.split("\n\n")[1]
    assert description[0].isupper()


def test_help_imports_nothing_but_the_standard_library():
    script = (
        "import sys, varv.app.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stderr.strip() == "[]"
    for command in ("init", "replay", "up", "status", "why", "verify", "rollback", "retrain", "doctor"):
        assert command in found.stdout


def test_servers_begin_without_libraries_that_few_of_them_need():
    # Each costs every process some tens of megabytes and a good part of a second.
    rare = (
        "scipy.stats",
        "sklearn",
        "pyarrow",
        "pandas",
        "deltalake",
        "duckdb",
        "obstore",
        "sqlalchemy",
        "redis",
    )
    servers = "varv.app.server.owner, varv.app.server.tracker, varv.app.server.worker"
    script = f"import sys, {servers}; print(sorted(set(sys.modules) & set({rare!r})))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_status_shows_the_champion_and_what_is_next(run):
    status, out, _ = run("status")
    assert status == 0
    assert "champion v1, loop idle, epoch 1, 7,201 requests" in out
    found = json.loads(run("status", "--json")[1])
    model = found["models"][0]
    assert (model["model"], model["champion"], model["shares"]) == (
        "late-parcel",
        1,
        [{"version": 1, "share": 1.0}],
    )
    assert found["next_timer"]["saga"] == "loop/late-parcel"


def test_why_follows_the_champion_back_to_the_start_of_the_loop(run):
    status, out, _ = run("why", "late-parcel", "v1")
    assert status == 0
    assert "v1 promoted" in out
    found = json.loads(run("--json", "why", "late-parcel/1")[1])
    assert found["kind"] == "version"
    assert found["chain"][-1]["event"] == "loop.started"
    assert found["lineage"]["datasets"][0]["dataset"] == "parcels"
    seqs = [link["seq"] for link in found["chain"]]
    assert seqs == sorted(seqs, reverse=True)
    judged = next(link for link in found["chain"] if link["event"] == "loop.gates_judged")
    assert judged["evidence"]["calibrated.max_ece"] == 0.25


def test_why_leads_from_a_prediction_to_its_version_code_and_source_rows(run):
    found = json.loads(run("why", "asked-1", "--json")[1])
    assert found["prediction"]["version"] == 1
    assert found["prediction"]["features"]["route"] == "north"
    assert [source["part"] for source in found["sources"]] == ["asked_at", "arrived_at"]
    assert found["sources"][1]["row"]["late"] is True
    assert found["lineage"]["code"]
    assert found["chain"][0]["event"] == "serving.routing_changed"


@pytest.mark.parametrize("subject", ["1", "rollout/late-parcel/1", "loop/late-parcel", "late-parcel"])
def test_why_takes_seqs_sagas_and_models(run, subject):
    assert run("why", subject)[0] == 0


@pytest.mark.parametrize(
    "subject", ["nothing", "late-parcel v99", "999999999", "'; drop table", "x" * 400, "ключ"]
)
def test_why_of_what_nobody_knows_is_an_error(run, subject):
    status, out, err = run("why", subject)
    assert (status, out) == (1, "")
    assert "next:" in err


def test_verify_says_ok_with_counts(run):
    status, out, _ = run("verify")
    assert (status, out.startswith("ok: ")) == (0, True)
    assert json.loads(run("verify", "--json")[1])["ok"]


def test_verify_names_the_entry_that_was_edited(lived, tmp_path, capsys):
    import sqlite3

    lived(tmp_path).close()
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        db.execute("UPDATE entries SET data = replace(data, '\"', '\"') || ' ' WHERE seq = 5")
    db.close()
    assert main(["--home", str(tmp_path), "verify"]) == 1
    assert "entry 5 was edited" in capsys.readouterr().out


def test_a_finding_names_the_place_what_was_expected_and_what_to_do(home, tmp_path, capsys):
    folder = shutil.copytree(home, tmp_path / "home")
    path = sorted((folder / "columns/predictions/late-parcel").glob("*.arrows"))[0]
    path.write_bytes(path.read_bytes()[:100])
    assert main(["--home", str(folder), "verify", "--quick"]) == 0
    capsys.readouterr()
    assert main(["--home", str(folder), "verify", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["place"] == f"columns/predictions/late-parcel/{path.name}"
    assert finding["problem"].startswith("cannot be read")
    assert finding["cure"].startswith("restore this file")


def test_verify_compares_with_a_checkpoint_that_was_kept_elsewhere(home, tmp_path, capsys):
    folder = shutil.copytree(home, tmp_path / "home")
    last = (folder / "checkpoints.jsonl").read_text().splitlines()[-1]
    (tmp_path / "kept").write_text(last)
    assert main(["--home", str(folder), "verify", "--against", str(tmp_path / "kept")]) == 0
    (tmp_path / "kept").write_text(last.replace("ledger\\n", "ledger\\n9", 1))
    assert main(["--home", str(folder), "verify", "--against", str(tmp_path / "kept")]) == 1
    assert "the checkpoint to compare with" in capsys.readouterr().out
    assert main(["--home", str(folder), "verify", "--against", str(tmp_path / "nothing")]) == 1


def test_a_lost_key_is_told_and_checkpoints_can_begin_anew(home, tmp_path, capsys):
    folder = shutil.copytree(home, tmp_path / "home")
    (folder / "signing.key").unlink()
    assert main(["--home", str(folder), "verify"]) == 1
    assert "--sign-anew" in capsys.readouterr().out
    assert main(["--home", str(folder), "verify", "--sign-anew"]) == 0
    assert (folder / "signing.key").exists()


def test_doctor_says_whether_the_ledger_is_as_it_was_written(home, tmp_path, capsys):
    folder = shutil.copytree(home, tmp_path / "home")
    with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as db:
        db.execute("UPDATE timers SET due = due + 1")
    assert main(["--home", str(folder), "doctor", "--json"]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["store"]["verdict"] == "bad"
    assert "was changed" in checks["store"]["found"]


def test_doctor_shows_every_setting_with_its_source(run):
    _, out, _ = run("doctor", "--json")
    found = json.loads(out)
    settings = {setting["name"]: setting for setting in found["settings"]}
    assert settings["home"]["source"] == "--home"
    assert settings["port"]["source"] == "default"
    assert {check["name"] for check in found["checks"]} >= {"python", "home", "disk", "inference port"}


def test_an_error_says_what_why_and_next(tmp_path, capsys):
    assert main(["--home", str(tmp_path / "none"), "status"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("varv: ledger 'ledger.db' does not exist")
    assert "next: look for the home folder with --home" in said


def test_an_error_is_one_json_document_if_asked_for(tmp_path, capsys):
    assert main(["--home", str(tmp_path / "none"), "--json", "status"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert set(found["error"]) == {"code", "kind", "name", "problem", "hint", "facts"}
    assert found["error"]["code"] == "not_found"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["status", "a", "b"], ["up", "x.py", "--port", "many"]])
def test_wrong_usage_has_status_two(arguments, capsys):
    assert main(arguments) == 2
    assert "--help" in capsys.readouterr().err


def test_a_project_is_named_by_the_command_or_the_settings(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["replay"]) == 1
    assert 'write project = "FILE.py" in varv.toml' in capsys.readouterr().err
    (tmp_path / "varv.toml").write_text('project = "absent.py"\n')
    assert main(["replay"]) == 1
    assert "absent.py" in capsys.readouterr().err


def test_rollback_without_one_to_go_back_to_is_refused(run):
    status, _, err = run("rollback", "late-parcel")
    assert status == 1
    assert "has nothing to go back to" in err
    assert "late-parcel" in run("rollback", "other")[2]


def test_retrain_without_a_server_waits_for_the_next_one(run):
    status, out, _ = run("retrain", "late-parcel", "--reason", "new labels")
    assert status == 0
    assert "carried out when varv up runs next" in out
