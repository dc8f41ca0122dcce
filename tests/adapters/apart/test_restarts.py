"""The next start waits longer after each end, by chance more or less, and no longer than it must."""

from __future__ import annotations

from varv.adapters.apart.restarts import FIRST_S, MOST_IN_A_ROW, SOUND_S, Restarts


def test_a_sound_process_begins_the_count_anew():
    restarts = Restarts("a")
    for _ in range(MOST_IN_A_ROW):
        restarts.wait_s(0.0)
    assert restarts.is_open
    assert restarts.wait_s(SOUND_S) < 1.5 * FIRST_S
    assert not restarts.is_open


def test_processes_that_ended_together_start_at_different_times():
    assert len({Restarts(str(worker)).wait_s(0.0) for worker in range(8)}) == 8
