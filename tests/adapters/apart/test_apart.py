"""Whatever a model does to its process, it does to nobody else, and the next call finds another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import msgspec
import numpy as np
import psutil
import pytest
from tests.adapters.apart.hostile import COLUMNS, hostile

from varv.adapters.apart import Apart
from varv.adapters.apart.restarts import Restarts
from varv.adapters.runtimes import installed_runtimes
from varv.kernel.errors import Corrupt, DeadlineExceeded, Unavailable, UserCodeFailed
from varv.registry.ports import waits

MIB = 1 << 20
SOON_S = 60.0


def rows(first: float, n: int = 1) -> np.ndarray:
    return np.tile(np.array([first, 2.0], dtype=np.float32), (n, 1))


@pytest.fixture(scope="module")
def apart():
    return Apart({**os.environ, "A_TOKEN": "x"}, time_s=1.0, memory_bytes=400 * MIB)


@pytest.fixture(scope="module")
def shared(apart):
    return apart.load(hostile())


@pytest.fixture
def model(shared):
    """A model whose process is there, and has never ended before."""
    again(shared)
    shared._lives[0]._restarts = Restarts("fresh")
    return shared


def again(model) -> np.ndarray:
    """Return an answer once the model is there again."""
    until = time.monotonic() + SOON_S
    while True:
        with suppress(Unavailable):
            return model.predict(rows(-1))
        assert time.monotonic() < until
        time.sleep(0.02)


def gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def soon(condition) -> None:
    until = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def pid_of(model) -> int:
    return int(model.predict(rows(10))[0, 0])


def test_what_runs_code_is_loaded_apart_and_what_does_not_is_not(apart):
    with pytest.raises(Corrupt, match="is refused by the runtime"):
        installed_runtimes(apart=apart).load(msgspec.structs.replace(hostile(), files={"python.json": b"{}"}))
    assert not waits(installed_runtimes().load(hostile()))


def test_it_is_asked_where_it_may_take_long(model):
    assert waits(model)
    assert pid_of(model) != os.getpid()


@pytest.mark.parametrize("n", [1, 7, 50_000])
def test_a_matrix_of_any_size_is_answered(model, n):
    given = np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32)
    given[0] = [-1, np.nan]
    found = model.predict(np.asfortranarray(given))
    assert (found.dtype, found.shape) == (np.float32, (n, 1))
    np.testing.assert_allclose(found[:, 0], given.sum(axis=1), rtol=1e-5)
    found[0] = 1.0  # whoever asked may change it
    assert model.predict(given[:0]).shape == (0, 1)


def test_columns_keep_their_types_and_texts(apart):
    model = apart.load(hostile(COLUMNS))
    texts = np.array(["", "ä\x00€", "four" * 50_000], dtype=object)
    given = {"x": np.float32([-1, 0.5, 2]), "n": np.int64([2**60, 0, -1]), "text": texts}
    np.testing.assert_allclose(model.predict(given)[:, 0], [-1, 3.5, 200_002])
    pid = int(
        model.predict({name: values[:1] for name, values in given.items()} | {"x": np.float32([10])})[0, 0]
    )
    del model
    assert gone(pid), "a process ends with its model"


def test_a_model_that_raises_is_asked_again_in_the_same_process(model):
    before = pid_of(model)
    with pytest.raises(UserCodeFailed, match="raised ValueError: five is no number") as caught:
        model.predict(rows(5))
    assert any("hostile.py" in line and "does_5" in line for line in caught.value.trace)
    with pytest.raises(UserCodeFailed, match="raised SystemExit"):
        model.predict(rows(8))
    with pytest.raises(Corrupt, match="does not answer in the form of its task"):
        model.predict(rows(7, 2))
    with pytest.raises(UserCodeFailed, match="MemoryError"):
        model.predict(rows(13))
    assert pid_of(model) == before


@pytest.mark.parametrize(
    ("does", "error", "says"),
    [
        (1, DeadlineExceeded, "took longer than 1 s to answer, and its process was ended"),
        (2, UserCodeFailed, "ended its process with status 3 before it answered"),
        (3, UserCodeFailed, r"was ended by SIGSEGV \(segmentation fault\)"),
        (9, UserCodeFailed, "sent bytes that are no answer"),
    ],
)
def test_a_process_that_ends_or_has_to_is_replaced(model, does, error, says):
    before = pid_of(model)
    with pytest.raises(error, match=says):
        model.predict(rows(does))
    with pytest.raises(Unavailable, match="is being started again") as caught:
        model.predict(rows(-1))
    assert caught.value.facts["retry_after_s"] >= 1
    assert again(model)[0, 0] == 1.0
    assert gone(before)
    assert pid_of(model) != before


def test_one_that_allocates_without_end_is_ended_by_what_it_holds():
    model = Apart(os.environ, time_s=60.0, memory_bytes=400 * MIB).load(hostile())
    with pytest.raises(UserCodeFailed, match=r"used more than 400\.0 MiB of memory"):
        model.predict(rows(4))
    assert again(model)[0, 0] == 1.0


def test_a_process_that_is_killed_between_two_calls_is_replaced_unasked_and_leaves_nothing(model):
    before, left = pid_of(model), int(model.predict(rows(12))[0, 0])
    os.kill(before, signal.SIGKILL)
    soon(lambda: model._lives[0]._process is not None and model._lives[0]._process.pid != before)
    assert pid_of(model) != before
    assert gone(left)


def test_a_process_that_is_killed_as_it_answers_is_nobodys_fault_here(model):
    pid, found = pid_of(model), []

    def ask():
        try:
            model.predict(rows(14))
        except Unavailable as error:
            found.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    asking.join()
    assert "lost its process to SIGKILL, which varv did not send" in found[0]


def test_another_model_answers_while_one_hangs(apart, model):
    other, done = apart.load(hostile(name="other")), threading.Event()

    def hang():
        with suppress(DeadlineExceeded):
            model.predict(rows(1))
        done.set()

    threading.Thread(target=hang).start()
    n_answered = 0
    while not done.is_set():
        assert other.predict(rows(-1))[0, 0] == 1.0
        n_answered += 1
    assert n_answered > 20


def test_calls_of_several_threads_are_answered_each_with_its_own(model):
    wrong = []

    def ask(number):
        wrong.extend(x for _ in range(50) if (x := model.predict(rows(-number))[0, 0]) != 2.0 - number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_it_prints_is_no_answer(model, capfd):
    assert model.predict(rows(6))[0, 0] == 8.0
    captured = capfd.readouterr()
    assert captured.out == ""


def test_it_has_no_socket_but_its_own_and_no_secret(model):
    assert model.predict(rows(11))[0, 0] == 1.0


def test_a_process_ends_with_its_worker_however_that_ends():
    code = (
        "import os, sys, numpy as np\n"
        "from tests.adapters.apart.hostile import hostile\n"
        "from varv.adapters.apart import Apart\n"
        "import threading\n"
        "found = []\n"
        "def load(): found.append(Apart(os.environ, time_s=9, memory_bytes=1 << 30).load(hostile()))\n"
        # By a thread that ends before: its end must not be the process's.
        "thread = threading.Thread(target=load); thread.start(); thread.join()\n"
        "print(int(found[0].predict(np.float32([[10, 0]]))[0, 0]), flush=True)\n"
        "sys.stdin.read()\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = int(worker.stdout.readline())
    assert not gone(pid)
    worker.kill()
    worker.communicate()
    soon(lambda: gone(pid))


@pytest.mark.parametrize(
    ("load", "error", "says"),
    [
        ("raise RuntimeError('no weights')", UserCodeFailed, "no weights"),
        ("import os; os._exit(4)", UserCodeFailed, "with status 4"),
        ("while True: pass", DeadlineExceeded, "took longer than 1 s to load"),
    ],
)
def test_a_package_that_does_not_load_says_why(load, error, says):
    load_s = 1.0 if error is DeadlineExceeded else 20.0
    with pytest.raises(error, match=says):
        Apart(os.environ, time_s=1.0, memory_bytes=400 * MIB, load_s=load_s).load(hostile(load=load))


def test_after_several_ends_in_a_row_the_breaker_is_open(model, monkeypatch):
    monkeypatch.setattr("varv.adapters.apart.restarts.FIRST_S", 0.001)
    monkeypatch.setattr("varv.adapters.apart.restarts.MOST_IN_A_ROW", 2)
    for _ in range(2):
        again(model)
        with pytest.raises(UserCodeFailed):
            model.predict(rows(2))
    with pytest.raises(Unavailable, match="its process ends again and again") as caught:
        model.predict(rows(-1))
    assert caught.value.facts["ended_in_a_row"] == 2
    assert caught.value.facts["retry_after_s"] > 10


@pytest.fixture(scope="module")
def pair(apart):
    """A model of two processes, both of them there."""
    made = apart.load(hostile(), instances=2)
    soon(lambda: all(life.is_there for life in made._lives))
    return made


def test_a_call_goes_to_a_process_that_has_none(pair):
    soon(lambda: all(life.is_there for life in pair._lives))
    sleeping = threading.Thread(target=lambda: pair.predict(rows(14)))
    sleeping.start()
    soon(lambda: any(life.is_busy for life in pair._lives))
    [busy] = [life for life in pair._lives if life.is_busy]
    assert pid_of(pair) != busy._process.pid
    sleeping.join()


def test_while_one_process_is_started_again_another_answers(pair):
    soon(lambda: all(life.is_there for life in pair._lives))
    with pytest.raises(UserCodeFailed):
        pair.predict(rows(2))
    assert pair.predict(rows(-1)).shape == (1, 1)
