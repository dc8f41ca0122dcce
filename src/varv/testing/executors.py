"""The contract of the port `kernel.executor.Executor`.

What an executor declares in `abilities` is tested of it, the rest is skipped:

    class TestMyExecutor(ExecutorContract):
        @pytest.fixture
        def executor(self):
            with closing(MyExecutor()) as executor:
                yield executor
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from varv.kernel.clock import wall_seconds
from varv.kernel.errors import Conflict, FailedPrecondition, Unavailable, UserCodeFailed, VarvError
from varv.kernel.executor import MIB, Ability, Executor, Limits
from varv.testing.jobs import Act, NoBytes

LIMITS = Limits(time_s=60.0, memory_bytes=512 * MIB)


class ExecutorContract:
    """What every executor must do; a subclass gives the fixture `executor`."""

    @pytest.fixture
    def executor(self) -> Executor:
        """Return the executor under test."""
        raise NotImplementedError("give the fixture `executor`")

    @pytest.mark.parametrize("size", [0, 1, 10 * MIB])
    def test_what_a_job_returns_comes_back_byte_for_byte(self, executor: Executor, size: int) -> None:
        given = bytes(range(256)) * (size // 256) + b"\0" * (size % 256)
        finished = executor.run(Act("echoes", given), limits=LIMITS)
        assert finished.value == given
        assert finished.wall_s >= 0
        assert finished.cpu_s >= 0

    def test_what_the_author_raised_arrives_with_its_lines(self, executor: Executor) -> None:
        with pytest.raises(UserCodeFailed) as caught:
            executor.run(Act("raises", b"7 rows"), limits=LIMITS)
        assert "function 'raises' raised ValueError: cannot fit 7 rows" in str(caught.value)
        assert not caught.value.retryable
        assert "jobs.py" in caught.value.trace[-1]
        assert "in _raises" in caught.value.trace[-1]

    def test_an_error_of_ours_arrives_as_it_was_raised(self, executor: Executor) -> None:
        with pytest.raises(Conflict) as caught:
            executor.run(Act("raises_ours", b"flights"), limits=LIMITS)
        error = caught.value
        assert (error.kind, error.name, error.problem) == ("table", "flights", "has other columns")
        assert (error.hint, error.facts) == ("read it again", {"n_columns": 7, "of": "a"})

    def test_an_error_of_any_length_arrives(self, executor: Executor) -> None:
        with pytest.raises(FailedPrecondition, match="xxx 'yyy"):
            executor.run(Act("raises_without_end", b"w"), limits=LIMITS)

    def test_an_error_whose_message_raises_is_an_error_all_the_same(self, executor: Executor) -> None:
        with pytest.raises(UserCodeFailed, match="raised _Shy"):
            executor.run(Act("raises_shyly"), limits=LIMITS)

    def test_sys_exit_is_a_failure_of_the_job_alone(self, executor: Executor) -> None:
        with pytest.raises(UserCodeFailed, match="raised SystemExit: that is all"):
            executor.run(Act("exits", b"that is all"), limits=LIMITS)
        assert executor.run(Act("echoes", b"next"), limits=LIMITS).value == b"next"

    def test_a_result_that_is_no_bytes_is_refused(self, executor: Executor) -> None:
        with pytest.raises(UserCodeFailed, match="returned str, not bytes"):
            executor.run(NoBytes("returns_text"), limits=LIMITS)

    def test_a_job_that_is_cancelled_before_it_begins_never_runs(self, executor: Executor) -> None:
        cancelled = threading.Event()
        cancelled.set()
        with pytest.raises(Unavailable, match="was cancelled"):
            executor.run(Act("sleeps"), limits=LIMITS, cancelled=cancelled)

    def test_cancelling_what_has_ended_is_harmless(self, executor: Executor) -> None:
        cancelled = threading.Event()
        finished = executor.run(Act("echoes", b"done"), limits=LIMITS, cancelled=cancelled)
        cancelled.set()
        assert finished.value == b"done"
        assert executor.run(Act("echoes", b"next"), limits=LIMITS).value == b"next"

    def test_jobs_of_several_threads_get_their_own_results(self, executor: Executor) -> None:
        given = [f"job {number}".encode() for number in range(6)]
        with ThreadPoolExecutor(6) as threads:
            running = [threads.submit(executor.run, Act("echoes", one), limits=LIMITS) for one in given]
        assert [one.result().value for one in running] == given

    def test_closing_twice_is_harmless(self, executor: Executor) -> None:
        executor.close()
        executor.close()

    # Only with the ability to keep output

    def test_what_a_job_prints_is_kept_and_told_as_it_comes(self, executor: Executor) -> None:
        _require(executor, "output")
        heard: list[bytes] = []
        finished = executor.run(Act("prints"), limits=LIMITS, on_output=heard.append)
        assert finished.output.text == "to standard output\nto standard error\npast Python\n"
        assert b"".join(heard).decode() == finished.output.text

    def test_of_much_output_the_beginning_and_the_end_are_kept(self, executor: Executor) -> None:
        _require(executor, "output")
        limits = msgspec.structs.replace(LIMITS, output_bytes=2000)
        output = executor.run(Act("prints_much"), limits=limits).output
        assert output.text.startswith("the first line\nline 0\n")
        assert output.text.endswith("line 199999\nthe last line\n")
        assert len(output.head) == len(output.tail) == 1000
        # "line 123456\n" and shorter ones
        assert output.n_dropped == 2_288_890 + 15 + 14 - 2000

    # Only with the ability to limit

    def test_a_job_that_takes_too_long_is_ended(self, executor: Executor) -> None:
        _require(executor, "limits")
        limits = msgspec.structs.replace(LIMITS, time_s=2.0)
        began = wall_seconds()
        with pytest.raises(UserCodeFailed, match="did not return within 2 s") as caught:
            executor.run(Act("loops", b"ab"), limits=limits)
        assert wall_seconds() - began < 40
        assert "in _loops" in caught.value.trace[-1]
        assert caught.value.whole.endswith("round and round")
        assert not caught.value.retryable

    def test_a_job_that_takes_too_much_memory_is_ended(self, executor: Executor) -> None:
        _require(executor, "limits")
        with pytest.raises(UserCodeFailed, match=r"used more than 512.0 MiB of memory|MemoryError") as caught:
            executor.run(Act("leaks", b"12345678"), limits=LIMITS)
        assert not caught.value.retryable

    def test_a_result_that_is_too_large_is_refused(self, executor: Executor) -> None:
        _require(executor, "limits")
        limits = msgspec.structs.replace(LIMITS, result_bytes=MIB)
        assert len(executor.run(Act("multiplies", str(MIB).encode()), limits=limits).value) == MIB
        with pytest.raises(UserCodeFailed, match=r"returned 1.0 MiB, more than 1.0 MiB"):
            executor.run(Act("multiplies", str(MIB + 1).encode()), limits=limits)

    # Only with the ability to isolate

    def test_a_job_that_crashes_says_where_and_the_next_one_runs(self, executor: Executor) -> None:
        _require(executor, "isolation")
        with pytest.raises(UserCodeFailed, match=r"was ended by SIGSEGV \(segmentation fault\)") as caught:
            executor.run(Act("crashes"), limits=LIMITS)
        assert any("in _crashes" in line for line in caught.value.trace)
        assert caught.value.whole.endswith("about to read address 0")
        assert executor.run(Act("echoes", b"next"), limits=LIMITS).value == b"next"

    @pytest.mark.parametrize("status", [0, 3])
    def test_a_job_that_ends_its_process_says_so(self, executor: Executor, status: int) -> None:
        _require(executor, "isolation")
        with pytest.raises(UserCodeFailed, match=f"ended its process with status {status} before"):
            executor.run(Act("ends_its_process", str(status).encode()), limits=LIMITS)

    def test_nothing_leaks_from_one_job_to_the_next(self, executor: Executor) -> None:
        _require(executor, "isolation")
        executor.run(Act("leaves_traces", b"x"), limits=LIMITS)
        assert executor.run(Act("finds_traces", b"none"), limits=LIMITS).value == b"none"

    # Only with the ability to cancel

    def test_a_job_can_be_cancelled_while_it_runs(self, executor: Executor) -> None:
        _require(executor, "cancel")
        cancelled = threading.Event()
        timer = threading.Timer(0.3, cancelled.set)
        timer.start()
        began = wall_seconds()
        with pytest.raises(VarvError, match="was cancelled") as caught:
            executor.run(Act("sleeps"), limits=LIMITS, cancelled=cancelled)
        timer.join()
        assert caught.value.retryable
        assert wall_seconds() - began < 40

    def test_closing_cancels_what_runs_and_refuses_what_comes(self, executor: Executor) -> None:
        _require(executor, "cancel")
        timer = threading.Timer(0.3, executor.close)
        timer.start()
        with pytest.raises(Unavailable, match="was cancelled"):
            executor.run(Act("sleeps"), limits=LIMITS)
        timer.join()
        with pytest.raises(Unavailable):
            executor.run(Act("echoes"), limits=LIMITS)


def _require(executor: Executor, ability: Ability) -> None:
    if ability not in executor.abilities:
        pytest.skip(f"without the ability {ability!r}")
