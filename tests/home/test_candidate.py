from __future__ import annotations

import pytest
from tests.fronts.history import MODEL, empty, history

from varv.home.candidate import candidate_reports
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import NotFound


@pytest.fixture
def blobs(tmp_path):
    return FolderBlobs(tmp_path / "blobs")


def report(blobs, version=None, **how):
    [found] = candidate_reports(history(**how)[0], blobs, MODEL if version else "", version)
    return found


def test_the_last_candidate_stands_beside_the_champion(blobs):
    found = report(blobs)
    assert (found.model, found.candidate, found.champion) == (MODEL, 5, 2)
    assert found.standing == "passed"
    assert {one.name for one in found.data} >= {"rows", "held-out rows", "dataset flights"}
    assert [one.name for one in found.metrics] == ["log-loss", "AUC"]


def test_a_refused_candidate_fails_with_the_gate_that_refused_it(blobs):
    found = report(blobs, 4)
    assert (found.standing, found.candidate, found.champion) == ("failed", 4, 2)
    assert [gate.gate for gate in found.gates if not gate.passed]


def test_a_version_that_leads_is_compared_with_the_one_before(blobs):
    found = report(blobs, 2, open_rollout=False)
    assert (found.standing, found.champion) == ("passed", 1)


def test_what_was_never_a_candidate_is_not_reported(blobs):
    with pytest.raises(NotFound, match="v99"):
        report(blobs, 99)
    with pytest.raises(NotFound, match="nobody"):
        candidate_reports(history()[0], blobs, "nobody")
    assert candidate_reports(empty()[0], blobs) == ()
