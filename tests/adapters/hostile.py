"""A job that does, to its process and its neighbours, what no author should; runs where the executor puts it.

``given`` is mostly the path of a file in which it writes down which processes it started.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

import msgspec


class Hostile(msgspec.Struct, frozen=True):
    what: str
    given: bytes = b""
    entry: ClassVar[str] = "tests.adapters.hostile:Hostile"

    @property
    def subject(self) -> tuple[str, str]:
        return "function", self.what

    def encode(self) -> bytes:
        return self.what.encode() + b"\n" + self.given

    @classmethod
    def decode(cls, data: bytes, /) -> Self:
        what, _, given = data.partition(b"\n")
        return cls(what.decode(), given)

    def run(self) -> bytes:
        return HOSTILITIES[self.what](self.given)


class Blob(msgspec.Struct, frozen=True):
    """A large input that is not copied when it is encoded."""

    data: bytes
    subject: ClassVar[tuple[str, str]] = ("function", "blob")
    entry: ClassVar[str] = "tests.adapters.hostile:Blob"

    def encode(self) -> bytes:
        return self.data

    @classmethod
    def decode(cls, data: bytes, /) -> Self:
        return cls(data)

    def run(self) -> bytes:
        return str(len(self.data)).encode()


class Unfit(msgspec.Struct, frozen=True):
    """A job that cannot be found or decoded where it runs."""

    entry: ClassVar[str] = "tests.adapters.hostile:Gone"
    subject: ClassVar[tuple[str, str]] = ("function", "unfit")

    def encode(self) -> bytes:
        return b""


def _note(place: bytes, *pids: int) -> None:
    with Path(place.decode()).open("a") as file:
        file.write("".join(f"{pid}\n" for pid in pids))


def daemonises(given: bytes) -> bytes:
    """Leave a daemon by the book: two forks, a session of its own, all files closed, an empty environment."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _note(given, os.getpid())
            os.closerange(0, 256)
            clean = [sys.executable, "-c", "import time; time.sleep(3600)"]
            os.execve(sys.executable, clean, {})
        os._exit(0)
    os.wait()
    _wait_for(given, 1)
    return b"left it"


def daemonises_and_loops(given: bytes) -> bytes:
    daemonises(given)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    _note(given, os.getpid())
    while True:
        pass


def daemonises_and_kills_its_supervisor(given: bytes) -> bytes:
    daemonises(given)
    time.sleep(0.5)  # time enough to be seen
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    _note(given, child.pid, os.getpid())
    group = os.getpgid(os.getppid())
    # An orphan's parent leads group 1, and a signal to that reaches every process there is.
    if group > 1:
        os.killpg(group, signal.SIGKILL)
    time.sleep(3600)
    return b""


def multiplies(given: bytes) -> bytes:
    """Double, each time in sessions of their own; but only eight times, since the machine is needed."""
    for _ in range(8):
        # By the one that makes it: a process can be ended before it has noted itself.
        if made := os.fork():
            _note(given, made)
        else:
            os.setsid()
        _note(given, os.getpid())
        time.sleep(0.02)
    time.sleep(60)
    os._exit(0)


def forks_and_both_return(given: bytes) -> bytes:
    os.fork()
    return given


def stops_its_supervisor(given: bytes) -> bytes:
    _note(given, os.getpid())
    os.kill(os.getppid(), signal.SIGSTOP)
    held = []
    while True:
        held.append(b"x" * (1 << 20))
        time.sleep(0.01)


def ignores_signals(given: bytes) -> bytes:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    while True:
        pass


def sets_handlers(given: bytes) -> bytes:
    """Interrupt whatever comes after, a thousand times a second."""

    def interrupt(*_: object) -> None:
        raise RuntimeError("interrupted")

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.001)
    return given


def starts_threads_that_never_end(given: bytes) -> bytes:
    for _ in range(20):
        threading.Thread(target=time.sleep, args=(3600,)).start()
    return given


def grows_by_children(given: bytes) -> bytes:
    """Take little memory in each of many processes."""
    for _ in range(8):
        if os.fork() == 0:
            held = b"x" * (100 << 20)
            time.sleep(3600)
            os._exit(len(held))
    time.sleep(3600)
    return given


def shares_with_children(given: bytes) -> bytes:
    """Have memory that eight children see, and nobody copies."""
    held = mmap.mmap(-1, 200 << 20)
    for at in range(0, len(held), mmap.PAGESIZE):
        held[at] = 1
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            total = sum(held[at] for at in range(0, len(held), mmap.PAGESIZE))
            time.sleep(1.0)
            os._exit(total == 0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return given


def asks_for_ten_gigabytes(given: bytes) -> bytes:
    return bytes(len(b"x" * (10 << 30)))


def prints_a_gigabyte(given: bytes) -> bytes:
    line = b"x" * 99 + b"\n"
    block = line * 10_000
    os.write(1, b"first\n")
    for _ in range(1000):
        left = memoryview(block)
        while left:
            left = left[os.write(1, left) :]
    print("last", flush=True)
    return given


def prints_without_a_line(given: bytes) -> bytes:
    os.write(2, b"\xff\x00\xfe" * 100_000)
    os._exit(9)


def writes_garbage_as_answer(given: bytes) -> bytes:
    _answer().write_bytes(given)
    os._exit(0)


def writes_garbage_and_returns(given: bytes) -> bytes:
    _answer().write_bytes(b"garbage" * 1000)
    return given


def removes_its_folder(given: bytes) -> bytes:
    import shutil

    shutil.rmtree(_answer().parent)
    return given


def swaps_its_answer(given: bytes) -> bytes:
    """Put a file that never ends where the answer belongs."""
    _answer().unlink()
    _answer().symlink_to("/dev/zero")
    return given


def closes_everything(given: bytes) -> bytes:
    os.closerange(0, 4096)
    return given


def writes_to_all_it_inherits(given: bytes) -> bytes:
    written = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            os.write(int(name), b"garbage\n")
        except OSError:
            continue
        written.append(int(name))
    return given


def lists_what_it_inherits(given: bytes) -> bytes:
    found = []
    for name in sorted(os.listdir("/proc/self/fd"), key=int):  # noqa: PTH208
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115
        except OSError:
            continue
    return "\n".join(found).encode()


def says_where_it_is(given: bytes) -> bytes:
    fields = ["environ", "limits", "oom_score_adj", "autogroup", "stat"]
    told = {name: Path(f"/proc/self/{name}").read_text() for name in fields}
    told["nice"] = str(os.nice(0))
    told["stdin"] = sys.stdin.read()
    told["tmp"] = tempfile.gettempdir()
    told["mode"] = oct(Path(tempfile.gettempdir()).parent.stat().st_mode)
    told["sid"] = str(os.getsid(0))
    told["pid"] = str(os.getpid())
    Path(tempfile.gettempdir(), "left.bin").write_bytes(b"x" * 1000)
    return msgspec.json.encode(told)


def raises_at_length(given: bytes) -> bytes:
    raise ValueError("row " * 50_000_000)


def raises_no_exception(given: bytes) -> bytes:
    raise KeyboardInterrupt


def kills_itself(given: bytes) -> bytes:
    print("good bye", flush=True)
    os.kill(os.getpid(), int(given))
    time.sleep(3600)
    return given


def reads_address_0(given: bytes) -> bytes:
    return ctypes.string_at(0)


def blocks_in_c(given: bytes) -> bytes:
    """Hold the interpreter in a call that never comes back."""
    ctypes.PyDLL(None).sleep(3600)
    return given


def echoes(given: bytes) -> bytes:
    return given


def waits(given: bytes) -> bytes:
    print("waiting", flush=True)
    time.sleep(3600)
    return given


def naps(given: bytes) -> bytes:
    time.sleep(0.3)
    return given


def notes_when(given: bytes) -> bytes:
    with Path(given.decode()).open("a", buffering=1) as notes:
        print("begins", file=notes)
        time.sleep(0.2)
        print("ends", file=notes)
    return b""


def _answer() -> Path:
    return Path(tempfile.gettempdir()).parent / "answer"


def _wait_for(place: bytes, n_lines: int) -> None:
    while True:
        path = Path(place.decode())
        if path.exists() and len(path.read_text().splitlines()) >= n_lines:
            return
        time.sleep(0.01)


HOSTILITIES: dict[str, Callable[[bytes], bytes]] = {
    name: value for name, value in list(globals().items()) if callable(value) and name[0].islower()
}
