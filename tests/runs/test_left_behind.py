from __future__ import annotations

from varv.kernel.processes import this_process
from varv.runs.left_behind import BECAUSE, PROCESS, end_left_behind, process_tag


def gone():
    *place, number, began = this_process().split("/")
    return "/".join([*place, number, str(int(began) + 1)])


def test_a_run_whose_process_is_gone_is_ended_with_the_reason(home):
    left, own = home.begin(tags={PROCESS: gone()}), home.begin(tags=process_tag())
    other = home.begin(tags={PROCESS: "elsewhere/b/c/1/2"})
    plain, deleted = home.begin(), home.begin(tags={PROCESS: gone()})
    home.do(home.tracking.move_run(deleted, deleted=True))
    assert end_left_behind(home.tracking) == 1
    assert end_left_behind(home.tracking) == 0
    run = home.run(left)
    assert (run.status, run.ended_ms is not None) == ("KILLED", True)
    assert "has ended without ending it" in run.tags[BECAUSE]
    assert {home.run(one).status for one in (own, other, plain, deleted)} == {"RUNNING"}


def test_a_run_that_has_ended_keeps_its_end(home):
    run = home.begin(tags={PROCESS: gone()})
    home.do(home.tracking.update_run(run, status="FAILED", ended_ms=5))
    home.do(home.tracking.end_running(run, "KILLED"))
    assert (home.run(run).status, home.run(run).ended_ms) == ("FAILED", 5)
