"""What is kept of runs in bytes, against what is read anew, whatever happens to runs in between."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runs.conftest import TrackedHome

from varv.fronts.mlflow.runs import document
from varv.runs import reading, tables
from varv.runs.encoded import Encoded
from varv.runs.model import DatasetInput, ModelInput


def encode(db, runs):
    return [msgspec.json.encode(document(run)) for run in reading.runs(db, runs)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = TrackedHome(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


def numbers(home, runs):
    return [home.run(run).no for run in runs]


def tag(home, run, value):
    home.log(run, tags={"team": value})


def measure(home, run, value):
    home.log(run, ("loss", float(len(value)), 1))
    home.do(home.tracking.series.folding())


def finish(home, run, value):
    home.do(home.tracking.update_run(run, status="FINISHED", ended_ms=len(value), name=f"named {value}"))


def read(home, run, value):
    data = DatasetInput(name=value, digest="1", source_type="", source="")
    home.do(home.tracking.link(run, datasets=[data], models=[ModelInput(f"m-{value}")]))


ACTS = {"tag": tag, "measure": measure, "finish": finish, "read": read}
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(list(ACTS)), st.sampled_from(["a", "bb"])), max_size=12
)


@settings(max_examples=40)
@given(steps=STEPS, most_bytes=st.sampled_from([0, 1500, 1 << 20]))
def test_what_is_kept_is_what_is_read_anew(shared, steps, most_bytes):
    kept = Encoded(encode, most_bytes)
    runs = [shared.begin("0") for _ in range(4)]
    nos = numbers(shared, runs)
    for place, act, value in [*steps, (0, "tag", "last")]:
        ACTS[act](shared, runs[place], value)
        with shared.tracking.recorder.reading() as db:
            asked = [nos[place], *nos[::-1]]
            assert kept.of(db, asked) == encode(db, asked)


def test_a_run_that_did_not_change_is_not_encoded_again(home):
    asked = []

    def counted(db, runs):
        asked.append(list(runs))
        return encode(db, runs)

    one, other = home.begin("0"), home.begin("0")
    nos = numbers(home, [one, other])
    kept = Encoded(counted)
    for _ in range(2):
        with home.tracking.recorder.reading() as db:
            kept.of(db, nos)
    tag(home, other, "x")
    with home.tracking.recorder.reading() as db:
        kept.of(db, nos)
    assert asked == [nos, [nos[1]]]


def test_a_deleted_experiment_changes_all_of_its_runs(home):
    experiment = home.do(home.tracking.experiments.create("to be deleted"))
    (no,) = numbers(home, [home.begin(experiment)])
    kept = Encoded(encode)
    for deleted in (False, True):
        if deleted:
            home.do(home.tracking.experiments.move(experiment, deleted=True))
        with home.tracking.recorder.reading() as db:
            told = msgspec.json.decode(kept.of(db, [no])[0])
            assert told["info"]["lifecycle_stage"] == ("deleted" if deleted else "active")


def test_who_sees_an_earlier_moment_is_told_of_that_moment(home):
    run = home.begin("0")
    (no,) = numbers(home, [run])
    kept = Encoded(encode)
    with home.tracking.recorder.reading() as before:
        first = encode(before, [no])
        tag(home, run, "later")
        with home.tracking.recorder.reading() as after:
            assert kept.of(after, [no]) == encode(after, [no]) != first
        assert kept.of(before, [no]) == first
    with home.tracking.recorder.reading() as after:
        assert kept.of(after, [no]) == encode(after, [no])


def test_changes_that_the_file_forgot_are_no_reason_to_trust(home, monkeypatch):
    run = home.begin("0")
    (no,) = numbers(home, [run])
    kept = Encoded(encode)
    with home.tracking.recorder.reading() as db:
        kept.of(db, [no])
    monkeypatch.setattr(tables, "CHANGES_KEPT", 2)
    for value in "abcdef":
        tag(home, run, value)
    tag(home, home.begin("0"), "other")
    tag(home, home.begin("0"), "other")
    with home.tracking.recorder.reading() as db:
        assert db.execute("SELECT count(*) FROM changed WHERE run = ?", (no,)).fetchone() == (0,)
        assert kept.of(db, [no]) == encode(db, [no])
