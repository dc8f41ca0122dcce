"""`varv quarantine` from the command line and in a running loop: rows come out once, and reach features and
labels.
"""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.home.live_home import NOW, REQUEST, LiveHome
from tests.loop.synthetic import declared, parcels

from varv.app.cli import main
from varv.data import Quarantine
from varv.data.verbs import (
    HeldRequest,
    ListRequest,
    QuarantineDesk,
    ReplaceRequest,
    ShowRequest,
    drop,
    list_held,
    release,
    replace,
    show_held,
)
from varv.kernel.clock import DAY, HOUR, as_datetime, iso
from varv.kernel.errors import InvalidInput, NotFound

BAD_DELAY = 1e9


def outcome(key, late=True, **more):
    return {"parcel": key, "late": late, **more}


def bad_outcomes(model, *keys):
    """Put outcomes of `keys` in quarantine, as a batch of an import has them."""
    at = as_datetime(NOW + HOUR)
    rows = pl.DataFrame(
        {"parcel": keys, "arrived_at": [at] * len(keys), "late": [True] * len(keys), "delay": BAD_DELAY}
    ).cast({"arrived_at": pl.Datetime("us", "UTC")})
    requests = model.parts.schema.requests
    model.clock.move_to(NOW + HOUR)
    good = rows.head(1).with_columns(parcel=pl.lit("other"), delay=pl.lit(1.0))
    appended = model.home.datasets.append(
        requests,
        "arrived_at",
        pl.concat([rows, *(good.with_columns(parcel=pl.lit(f"o{n}")) for n in range(200))]),
        segment="import-1",
    )
    assert appended.report.violations[0].n_rows == len(keys)


@pytest.fixture
def model(lived, tmp_path):
    found = lived(tmp_path)
    yield found
    found.close()


@pytest.fixture
def desk(model):
    return desk_of(model)


def desk_of(model):
    home = model.home
    quarantine = Quarantine(home.datasets, home.views, model.clock)
    return QuarantineDesk(home.views, quarantine, model.live.settle, flows=True)


def labelled(model):
    return model.parts.predictions.labelled(NOW, NOW + 1, known_by=NOW + DAY)["key"].to_list()


def answered(model, *keys):
    for key in keys:
        model.answering.answer(REQUEST, key)
    model.ingest()


def test_what_is_released_labels_its_prediction_and_is_sent_to_those_that_answer(model, desk):
    answered(model, "r-1", "r-2")
    bad_outcomes(model, "r-1", "r-2")
    assert labelled(model) == []
    asked = HeldRequest(dataset="parcels", part="arrived_at", segment="import-1", rows=(0,), by="ana")
    found = release(desk, asked)
    assert (found.n_rows, found.n_gained, found.n_repeated, found.flows) == (1, 1, 0, True)
    assert labelled(model) == ["r-1"]
    sent = model.sent[-1]
    assert (sent.dataset.name, sent.part, sent.segment) == ("parcels", "arrived_at", "import-1.released-1")
    with pytest.raises(InvalidInput, match="has no row 0"):
        release(desk, asked)
    assert labelled(model) == ["r-1"]


def test_what_came_out_is_there_once_after_a_restart(lived, tmp_path):
    first = lived(tmp_path)
    answered(first, "r-1", "r-2")
    bad_outcomes(first, "r-1", "r-2")
    release(desk_of(first), HeldRequest(dataset="parcels", reason="impossible"))
    first.close()
    again = LiveHome(tmp_path, capture="two")
    assert sorted(labelled(again)) == ["r-1", "r-2"]
    again.close()


def test_corrected_rows_take_their_place_and_bad_corrections_are_refused(model, desk):
    answered(model, "r-1")
    bad_outcomes(model, "r-1")
    given = {"parcel": "r-1", "arrived_at": iso(NOW + HOUR), "late": False, "delay": 12.5}
    place = {"dataset": "parcels", "part": "arrived_at", "segment": "import-1"}
    for bad, problem in (
        ({**given, "late": "no"}, "truth values"),
        ({**given, "delay": BAD_DELAY}, "impossible value"),
        ({**given, "colour": 1}, "does not exist"),
        ({**given, "arrived_at": iso(NOW - DAY)}, "before the row"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            replace(desk, ReplaceRequest(**place, corrected=[bad]))
    assert replace(desk, ReplaceRequest(**place, corrected=[given])).n_gained == 1
    rows = model.parts.predictions.labelled(NOW, NOW + 1, known_by=NOW + DAY)
    assert rows.select("key", "outcome").rows() == [("r-1", 0)]


def test_what_is_given_up_stays_away(model, desk):
    answered(model, "r-1")
    bad_outcomes(model, "r-1")
    assert drop(desk, HeldRequest(dataset="parcels", why="a test rig")).n_rows == 1
    assert labelled(model) == []
    assert list_held(desk, ListRequest()).n_rows == 0
    with pytest.raises(NotFound, match="not in quarantine"):
        drop(desk, HeldRequest(dataset="parcels"))


def test_rows_are_listed_and_shown_with_their_values(model, desk):
    bad_outcomes(model, "r-1", "r-2")
    listed = list_held(desk, ListRequest(dataset="parcels"))
    assert (listed.n_rows, listed.batches[0].reasons) == (2, {"impossible value of delay": 2})
    shown = show_held(desk, ShowRequest(dataset="parcels", limit=1))
    assert (shown.n_rows, len(shown.rows)) == (2, 1)
    assert shown.rows[0].values == {
        "parcel": "r-1",
        "arrived_at": iso(NOW + HOUR),
        "late": True,
        "delay": BAD_DELAY,
    }


@pytest.fixture
def run(lived, capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("VARV_HOME", raising=False)
    found = lived(tmp_path / "home")
    answered(found, "r-1", "r-2", "r-3")
    bad_outcomes(found, "r-1", "r-2", "r-3")
    found.close()

    def told(*arguments):
        status = main(["--home", str(tmp_path / "home"), *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return told


PLACE = "parcels/arrived_at/import-1"


def test_the_command_line_lists_shows_and_says_what_is_next(run):
    status, out, _ = run("quarantine", "list")
    assert status == 0
    assert "in quarantine: 3 rows of 1 batch" in out
    assert f"{PLACE}  3     203  impossible value of delay (3)" in out
    assert "parcel=r-2" in run("quarantine", "show", PLACE, "--rows", "1-2")[1]
    assert "parcels/arrived_at" in run("status")[1]
    assert "3 rows in quarantine: impossible value of delay (3)" in run("status")[1]
    assert json.loads(run("status", "--json")[1])["quarantined"] == {"impossible value of delay": 3}
    checks = {one["name"]: one for one in json.loads(run("doctor", "--json")[1])["checks"]}
    assert checks["quarantine"]["verdict"] == "note"
    assert "3 rows: impossible value of delay" in checks["quarantine"]["found"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_rows_are_written_to_a_file_corrected_and_given_back(run, tmp_path, kind):
    file = tmp_path / f"rows.{kind}"
    assert "wrote 2 rows" in run("quarantine", "show", PLACE, "--rows", "0,1", "--to", str(file))[1]
    if kind == "jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps({**row, "delay": 3.5}) + "\n" for row in rows))
    else:
        read, write = (pl.read_csv, "write_csv") if kind == "csv" else (pl.read_parquet, "write_parquet")
        getattr(read(file).with_columns(delay=pl.lit(3.5)), write)(file)
    status, out, err = run("quarantine", "replace", PLACE, str(file), "--rows", "0,1", "--by", "ana")
    assert (status, err) == (0, "")
    assert "replaced: 2 rows of 1 batch; parcels has 2 more" in out
    assert "when varv up runs next" in out
    again = LiveHome(tmp_path / "home", capture="two")
    assert sorted(labelled(again)) == ["r-1", "r-2"]
    again.close()


def test_the_command_line_releases_and_drops_and_the_ledger_says_who(run):
    assert (
        "released: 1 row of 1 batch; parcels has 1 more"
        in run("quarantine", "release", PLACE, "--rows", "2", "--by", "ana")[1]
    )
    assert "given up: 2 rows" in run("quarantine", "drop", "parcels", "--why", "a test rig")[1]
    assert run("quarantine", "list")[1].startswith("quarantine is empty")
    status, _, err = run("quarantine", "drop", "parcels")
    assert (status, "not in quarantine" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "a/b/c/d"), "too many parts"),
        (("show", "flights"), "not registered"),
        (("release", PLACE, "--rows", "x"), "are no numbers"),
        (("release", PLACE, "--rows", "7"), "has no row 7"),
        (("release", "parcels", "--rows", "1"), "no segment"),
        (("replace", PLACE, "rows.txt"), "unknown kind"),
        (("replace", PLACE, "rows.csv"), "cannot be read"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(run, arguments, said):
    status, _, err = run("quarantine", *arguments)
    assert status == 1
    assert said in err


def test_a_text_of_very_many_values_is_pointed_out(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("VARV_HOME", raising=False)
    monkeypatch.setattr("varv.home.accounts.MANY_TEXTS", 2)
    LiveHome(tmp_path, declared(parcels()).models[0]).close()
    main(["--home", str(tmp_path), "doctor", "--json"])
    checks = [one for one in json.loads(capsys.readouterr().out)["checks"] if one["name"] == "features"]
    assert ["'route' has 3 different values" in one["found"] for one in checks] == [True]
