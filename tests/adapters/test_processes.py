"""Whatever a job does to its process ends in one error that says why, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import psutil
import pytest
from tests.adapters.hostile import Blob, Hostile, Unfit

from varv.adapters.jobs import tree
from varv.adapters.processes import Processes
from varv.kernel.errors import InvalidInput, NotFound, StorageFull, Unavailable, UserCodeFailed
from varv.kernel.executor import MIB, Limits

pytestmark = pytest.mark.slow

LIMITS = Limits(time_s=60.0, memory_bytes=400 * MIB, output_bytes=20_000, result_bytes=20 * MIB)
SHORT = msgspec.structs.replace(LIMITS, time_s=2.0)
# Many times what is needed: the machine may be busy.
SOON_S = 60.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    with closing(Processes(os.environ, preload=(), n_at_once=3, nice=0, folder=folder)) as executor:
        yield executor
    assert list(folder.iterdir()) == []


@pytest.fixture
def executor(shared):
    """The executor, which must still do its work after the test, and soon."""
    began = time.monotonic()
    yield shared
    assert shared.run(Hostile("echoes", b"next"), limits=LIMITS).value == b"next"
    assert time.monotonic() - began < SOON_S


@pytest.fixture
def noted(tmp_path):
    """A file for the numbers of processes, which must all have ended after the test."""
    place = tmp_path / "pids"
    place.touch()
    yield place
    _require_gone(place)


def _require_gone(place):
    pids = [int(line) for line in place.read_text().splitlines()]
    until = time.monotonic() + SOON_S
    while left := [pid for pid in pids if _lives(pid)]:
        assert time.monotonic() < until, f"{left} are still there"
        time.sleep(0.05)


def _lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _fails(executor, what, given=b"", *, limits=LIMITS):
    with pytest.raises(UserCodeFailed) as caught:
        executor.run(Hostile(what, given), limits=limits)
    assert not caught.value.retryable
    assert len(caught.value.whole) < 50_000
    return caught.value


def _framed(header):
    return len(header).to_bytes(8) + header


# Time


@pytest.mark.slow
@pytest.mark.parametrize("what", ["waits", "ignores_signals"])
def test_a_job_that_does_not_return_is_ended_in_time(executor, what):
    error = _fails(executor, what, limits=SHORT)
    assert error.problem == "did not return within 2 s"


def test_a_job_that_hangs_says_in_which_line(executor):
    error = _fails(executor, "blocks_in_c", limits=SHORT)
    assert error.trace[-1].startswith("hostile.py:")
    assert error.trace[-1].endswith(" in blocks_in_c")


# Memory


def test_ten_gigabytes_at_once_are_refused_before_they_are_taken(executor):
    error = _fails(executor, "asks_for_ten_gigabytes")
    assert "MemoryError" in error.problem
    assert error.facts["allowed"] == "400.0 MiB"


def test_memory_of_all_processes_of_a_job_counts_together(executor):
    error = _fails(executor, "grows_by_children")
    assert error.problem == "used more than 400.0 MiB of memory"


@pytest.mark.slow
def test_memory_that_processes_share_counts_once(executor):
    finished = executor.run(Hostile("shares_with_children", b"ok"), limits=LIMITS)
    assert finished.value == b"ok"
    assert 200 * MIB < finished.peak_bytes < 400 * MIB


@pytest.mark.slow
def test_a_large_input_is_held_once_by_the_owner(executor):
    data = bytes(500 * MIB)
    limits = msgspec.structs.replace(LIMITS, memory_bytes=2000 * MIB)
    with _Peak() as peak:
        finished = executor.run(Blob(data), limits=limits)
    assert finished.value == str(len(data)).encode()
    assert peak.grown_bytes < 100 * MIB


# Ends of the process


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGABRT, "was ended by SIGABRT (aborted)"),
        (signal.SIGTERM, "was ended by SIGTERM (terminated)"),
        (signal.SIGKILL, "was killed by SIGKILL, not by varv"),
        (signal.SIGRTMIN + 5, f"was ended by signal {signal.SIGRTMIN + 5}"),
    ],
)
def test_a_job_that_dies_by_a_signal_names_it(executor, number, said):
    error = _fails(executor, "kills_itself", str(int(number)).encode())
    assert error.problem == said
    assert error.printed == ("good bye",)


def test_a_crash_says_in_which_line(executor):
    error = _fails(executor, "reads_address_0")
    assert error.problem == "was ended by SIGSEGV (segmentation fault)"
    assert "hostile.py" in error.trace[-1]


def test_what_is_no_exception_is_a_failure_too(executor):
    assert _fails(executor, "raises_no_exception").problem == "raised KeyboardInterrupt"


def test_a_huge_message_arrives_cut(executor):
    limits = msgspec.structs.replace(LIMITS, memory_bytes=2000 * MIB)
    error = _fails(executor, "raises_at_length", limits=limits)
    assert error.problem.startswith("raised ValueError: row row")


def test_output_of_any_bytes_ends_the_message(executor):
    error = _fails(executor, "prints_without_a_line")
    assert error.problem == "ended its process with status 9 before it returned"
    assert len(error.printed[-1]) <= 300


# What is left behind


def test_a_daemon_does_not_outlive_the_job_that_left_it(executor, noted):
    assert executor.run(Hostile("daemonises", str(noted).encode()), limits=LIMITS).value == b"left it"
    assert noted.read_text()


def test_a_daemon_does_not_outlive_a_supervisor_that_was_killed(executor, noted):
    error = _fails(executor, "daemonises_and_kills_its_supervisor", str(noted).encode())
    assert error.problem == "ended or stopped the process that supervises it"
    assert len(noted.read_text().splitlines()) == 3


def test_a_job_that_stops_its_supervisor_is_ended_all_the_same(executor, noted):
    error = _fails(executor, "stops_its_supervisor", str(noted).encode())
    assert error.problem == "ended or stopped the process that supervises it"


def test_a_job_that_multiplies_is_ended_with_all_its_kin(executor, noted):
    limits = msgspec.structs.replace(LIMITS, memory_bytes=4000 * MIB, n_processes=30)
    error = _fails(executor, "multiplies", str(noted).encode(), limits=limits)
    assert error.problem == "started more than 30 processes"
    assert len(set(noted.read_text().splitlines())) > 30


def test_threads_that_never_end_do_not_keep_the_job(executor):
    assert executor.run(Hostile("starts_threads_that_never_end", b"ok"), limits=LIMITS).value == b"ok"


def test_handlers_that_a_job_sets_do_not_reach_its_answer(executor):
    assert executor.run(Hostile("sets_handlers", b"x" * 10 * MIB), limits=LIMITS).value == b"x" * 10 * MIB


def test_of_a_job_that_forks_and_returns_twice_one_answers(executor):
    assert executor.run(Hostile("forks_and_both_return", b"once"), limits=LIMITS).value == b"once"


_OWNER = """
import os, sys
from tests.adapters.hostile import Hostile
from varv.adapters.processes import Processes
from varv.kernel.executor import Limits
executor = Processes(os.environ, preload=(), folder=__import__("pathlib").Path(sys.argv[2]))
executor.run(Hostile("daemonises_and_loops", sys.argv[1].encode()), limits=Limits())
"""


def test_nothing_outlives_an_owner_that_is_killed(noted, tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir()
    owner = subprocess.Popen([sys.executable, "-c", _OWNER, str(noted), str(folder)])
    until = time.monotonic() + SOON_S
    while len(noted.read_text().splitlines()) < 2:
        assert owner.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    family = [child.pid for child in psutil.Process(owner.pid).children(recursive=True)]
    assert len(family) >= 4, "a job and a spare, each with a supervisor"
    with noted.open("a") as file:
        file.write("".join(f"{pid}\n" for pid in family))
    owner.kill()
    owner.wait()
    _require_gone(noted)
    assert list(folder.iterdir()) == []


# Its channel and its files


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage",
        bytes(100),
        b"\xff" * 100,
        _framed(b"{]"),
        _framed(b'{"n_bytes": 9}'),
        _framed(b'{"n_bytes": -1}'),
        _framed(b'{"raised": {"code": 7}}'),
        _framed(b"[" * 100_000),
    ],
    ids=range(8),
)
def test_an_answer_that_is_garbage_is_refused(executor, garbage):
    error = _fails(executor, "writes_garbage_as_answer", garbage)
    assert error.problem == "sent bytes that are no result"


def test_an_answer_larger_than_allowed_is_not_read(executor):
    garbage = _framed(b'{"n_bytes": 20971521}') + bytes(20 * MIB + 1)
    assert _fails(executor, "writes_garbage_as_answer", garbage).problem == "sent bytes that are no result"


@pytest.mark.parametrize(
    "what", ["writes_garbage_and_returns", "closes_everything", "writes_to_all_it_inherits"]
)
def test_a_job_that_disturbs_its_files_still_answers(executor, what):
    assert executor.run(Hostile(what, b"whole"), limits=LIMITS).value == b"whole"


@pytest.mark.parametrize("what", ["removes_its_folder", "swaps_its_answer"])
def test_a_job_that_takes_its_answer_away_is_a_failure(executor, what):
    error = _fails(executor, what, b"gone")
    assert error.problem == "ended its process with status 1 before it returned"
    assert "answer" in error.printed[-1]


def test_a_job_inherits_no_file_of_its_owner(executor, tmp_path):
    with (tmp_path / "ledger.db").open("w") as ledger:
        os.set_inheritable(ledger.fileno(), True)
        found = executor.run(Hostile("lists_what_it_inherits"), limits=LIMITS).value.decode()
    assert "ledger.db" not in found
    assert "socket:" not in found
    assert found.splitlines()[0] == "/dev/null"


def test_a_job_that_cannot_be_found_where_it_runs_says_so(executor):
    with pytest.raises(NotFound, match=r"tests\.adapters\.hostile:Gone"):
        executor.run(Unfit(), limits=LIMITS)


# Its surroundings


def test_a_job_sees_no_secret_and_stands_back(tmp_path):
    secrets = {"VARV_TOKEN": "t0p", "DB_PASSWORD": "t0p", "URL": "http://ana:t0p@db"}
    variables = {**os.environ, **secrets, "KEPT": "1"}
    with closing(Processes(variables, preload=(), n_threads=1, nice=7, folder=tmp_path)) as executor:
        told = msgspec.json.decode(executor.run(Hostile("says_where_it_is"), limits=LIMITS).value)
    assert "t0p" not in told["environ"]
    seen = told["environ"].split("\0")
    assert {"KEPT=1", "PYTHONHASHSEED=0", "OMP_NUM_THREADS=1", "POLARS_MAX_THREADS=1"} <= set(seen)
    assert told["nice"] == "7"
    assert told["oom_score_adj"].strip() == "1000"
    assert told["stdin"] == ""
    assert told["sid"] == told["pid"]
    assert told["mode"] == "0o40700"
    assert "Max core file size        1 " in told["limits"]
    assert Path(told["tmp"]).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_gigabyte_of_output_costs_the_owner_little(executor):
    heard = 0

    def listen(part):
        nonlocal heard
        heard += len(part)

    with _Peak() as peak:
        output = executor.run(Hostile("prints_a_gigabyte", b"ok"), limits=LIMITS, on_output=listen).output
    assert peak.grown_bytes < 50 * MIB
    assert output.head.startswith(b"first\n")
    assert output.tail.endswith(b"last\n")
    assert len(output.head) + output.n_dropped + len(output.tail) == 10**9 + 11
    assert heard > 0


@pytest.mark.slow
def test_a_slow_listener_is_told_what_it_missed_and_delays_nobody(executor):
    heard = []

    def listen(part):
        time.sleep(0.2)
        heard.append(part)

    limits = msgspec.structs.replace(LIMITS, time_s=SOON_S)
    assert executor.run(Hostile("prints_a_gigabyte", b"ok"), limits=limits, on_output=listen).value == b"ok"
    assert any(b"bytes were missed" in part for part in heard)
    assert b"".join(heard).endswith(b"last\n")


def test_what_a_listener_raises_ends_the_job_and_is_raised(executor):
    def listen(part):
        raise StorageFull("log", "job.txt")

    with pytest.raises(StorageFull):
        executor.run(Hostile("waits"), limits=LIMITS, on_output=listen)


# Many, and turns


def test_many_at_once_take_turns_and_all_end(executor):
    results, threads = {}, []

    def run(number):
        what = ("naps", "reads_address_0", "echoes")[number % 3]
        with suppress(UserCodeFailed):
            results[number] = executor.run(Hostile(what, b"%d" % number), limits=LIMITS).value

    for number in range(12):
        threads.append(threading.Thread(target=run, args=(number,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert results == {number: b"%d" % number for number in range(12) if number % 3 != 1}


def test_no_more_run_at_once_than_allowed(tmp_path):
    notes = tmp_path / "notes"
    with closing(Processes(os.environ, preload=(), n_at_once=1, n_spares=0, nice=0)) as executor:
        given = (Hostile("notes_when", str(notes).encode()),)
        threads = [
            threading.Thread(target=executor.run, args=given, kwargs={"limits": LIMITS}) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert notes.read_text().split() == ["begins", "ends"] * 3


def test_a_job_can_be_cancelled_while_it_waits_for_its_turn():
    with closing(Processes(os.environ, preload=(), n_spares=0, nice=0)) as executor:
        stop_first, stop_second = threading.Event(), threading.Event()
        first = threading.Thread(target=_cancelled, args=(executor, stop_first))
        first.start()
        second = threading.Thread(target=_cancelled, args=(executor, stop_second))
        second.start()
        stop_second.set()
        second.join(SOON_S)
        assert not second.is_alive()
        assert first.is_alive()
        stop_first.set()
        first.join(SOON_S)
        assert not first.is_alive()


def _cancelled(executor, stop):
    with pytest.raises(Unavailable, match="was cancelled"):
        executor.run(Hostile("waits"), limits=LIMITS, cancelled=stop)


# Spares


def test_a_spare_has_imported_what_jobs_need():
    with closing(Processes(os.environ, preload=("decimal", "no_such_module"), nice=0)) as executor:
        executor.run(Hostile("echoes"), limits=LIMITS)
        spare = _newest_child()
        until = time.monotonic() + SOON_S
        while not any("_decimal" in part.path for child in spare.children() for part in child.memory_maps()):
            assert time.monotonic() < until
            time.sleep(0.05)
        executor.run(Hostile("echoes"), limits=LIMITS)
        assert not _lives(spare.pid)


def test_a_spare_that_nobody_needs_ends_by_itself():
    with closing(Processes(os.environ, preload=(), spare_for_s=0.2, nice=0)) as executor:
        executor.run(Hostile("echoes"), limits=LIMITS)
        spare = _newest_child().pid
        until = time.monotonic() + SOON_S
        while _lives(spare):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert executor.run(Hostile("echoes", b"ok"), limits=LIMITS).value == b"ok"


def test_a_spare_that_died_is_not_used():
    with closing(Processes(os.environ, preload=(), nice=0)) as executor:
        executor.run(Hostile("echoes"), limits=LIMITS)
        until = time.monotonic() + SOON_S
        while not (runners := _newest_child().children()):
            assert time.monotonic() < until
            time.sleep(0.02)
        runners[0].kill()
        assert executor.run(Hostile("echoes", b"ok"), limits=LIMITS).value == b"ok"


def test_a_machine_that_starts_no_process_is_unavailable(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with closing(Processes(os.environ, folder=tmp_path)) as executor, pytest.raises(Unavailable):
        executor.run(Hostile("echoes"), limits=LIMITS)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_at_once_is_unavailable(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with closing(Processes(os.environ, folder=tmp_path)) as executor, pytest.raises(Unavailable):
        executor.run(Hostile("echoes"), limits=LIMITS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"n_at_once": 0}, {"n_spares": -1}, {"nice": 20}, {"n_threads": 0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidInput, match="is out of range"):
        Processes({}, **wrong)


def _newest_child():
    return max(psutil.Process().children(), key=lambda child: child.create_time())


class _Peak:
    """How much memory this process took at most beyond what it had."""

    def __enter__(self):
        self._before = self._most = tree.private_memory(os.getpid())
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self):
        while not self._done.wait(0.02):
            self._most = max(self._most, tree.private_memory(os.getpid()))

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    @property
    def grown_bytes(self):
        return self._most - self._before
