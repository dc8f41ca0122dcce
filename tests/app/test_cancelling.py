"""A training that nobody wants any more ends as who asked for it says, and what it printed stays."""

from __future__ import annotations

import pytest
from tests.home.live_home import LiveHome
from tests.loop.synthetic import declared

import varv
from varv.fronts.web.page import reading
from varv.fronts.web.pages.models import output_page, version_page
from varv.home.why import explain
from varv.kernel.errors import FailedPrecondition, NotFound
from varv.kernel.sagas import CommandFailed, Message
from varv.loop.model import CandidateRejected, OutputKept, RetrainAsked
from varv.loop.plan import loop_id
from varv.loop.verbs import ActRequest, LogsRequest, cancel, logs
from varv.registry import RegistryView
from varv.training import DirectFits
from varv.training.output_log import output_path

MODEL = "late-parcel"


@pytest.fixture
def here(tmp_path):
    model = declared().models[0]
    model.retrain = varv.Retrain(on=[], cooldown="1s")
    made = LiveHome(tmp_path, model)
    made.home.engine.settle()
    yield made
    made.close()


@pytest.fixture
def loops(here):
    return here.loops


def asked_for(here):
    here.later(0.1)
    here.home.engine.tell(Message(loop_id(MODEL), RetrainAsked(by="ana", reason="new data")))
    assert here.home.loop_state(MODEL).phase == "training"


def last(here, kind):
    found = [entry.event for entry in here.home.ledger.read(limit=100_000) if isinstance(entry.event, kind)]
    return found[-1] if found else None


def test_a_wish_that_comes_before_the_training_is_kept_too(here, loops):
    asked_for(here)
    found = cancel(loops, ActRequest(model=MODEL, by="bo", reason="wrong data"))
    assert (found.version, found.settled) == (2, False)
    here.home.engine.settle()
    failed = last(here, CommandFailed)
    assert failed.code == "failed_precondition"
    assert "training 'late-parcel v2' was cancelled by bo: wrong data" in failed.reason
    assert "was cancelled by bo: wrong data" in last(here, CandidateRejected).reason
    state = here.home.loop_state(MODEL)
    assert (state.phase, state.champion, state.n_failures) == ("idle", 1, 0)


def test_the_training_after_a_cancelled_one_goes_through(here, loops):
    asked_for(here)
    cancel(loops, ActRequest(model=MODEL))
    here.home.engine.settle()
    asked_for(here)
    here.home.engine.settle()
    with here.home.views.reading(RegistryView) as registry:
        assert sorted(registry.models[MODEL].versions) == [1, 3]


def test_only_a_training_can_be_cancelled(here, loops):
    with pytest.raises(FailedPrecondition, match="is not being trained"):
        cancel(loops, ActRequest(model=MODEL))


class Printing(DirectFits):
    """Fits whose functions printed something, as if in a process of their own."""

    def __init__(self, runtimes, text):
        super().__init__(runtimes)
        self.text = text

    def printed(self, model, version):
        return self.text


def printing(here, monkeypatch, text):
    candidates = here.home.leaks._candidates
    monkeypatch.setattr(candidates, "fitter", Printing(candidates._runtimes, text))


def test_what_a_training_printed_is_kept_and_shown(here, loops, monkeypatch):
    printing(here, monkeypatch, b"[fit-1]\nepoch 1\n")
    asked_for(here)
    here.home.engine.settle()
    kept = last(here, OutputKept)
    assert (kept.version, kept.n_bytes) == (2, 16)
    found = logs(loops, LogsRequest(model=MODEL))
    assert (found.version, found.text, found.running) == (2, "[fit-1]\nepoch 1\n", False)
    told = explain(loops.home, loops.ledger, loops.views, "late-parcel v2")
    assert told.output == "16 bytes, shown by varv logs late-parcel 2"
    with reading(loops.views, home=loops.home) as now:
        assert output_page(now, MODEL, 2).data["text"] == "[fit-1]\nepoch 1\n"
        assert version_page(now, MODEL, 2).data["has_output"]
        assert not version_page(now, MODEL, 1).data["has_output"]


def test_a_training_that_fails_leaves_what_it_printed(here, loops, monkeypatch):
    printing(here, monkeypatch, b"about to fail\n")
    asked_for(here)
    cancel(loops, ActRequest(model=MODEL))
    here.home.engine.settle()
    assert logs(loops, LogsRequest(model=MODEL, version=2)).text == "about to fail\n"


def test_while_a_training_runs_its_file_is_shown(here, loops):
    asked_for(here)
    path = output_path(loops.home, MODEL, 2)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"epoch 1\nepoch \xff")
    found = logs(loops, LogsRequest())
    assert (found.text, found.running, found.digest) == ("epoch 1\nepoch \\xff", True, None)


def test_nothing_is_kept_of_a_training_that_prints_nothing(here, loops):
    assert last(here, OutputKept) is None
    assert logs(loops, LogsRequest(model=MODEL, version=1)).text == ""
    with pytest.raises(NotFound, match="trainings of it: v1"):
        logs(loops, LogsRequest(model=MODEL, version=9))
