"""The runner: the process in which one job's code runs; forked by the supervisor, ended by the first of the
two that has a reason.

It makes itself harmless to its neighbours, imports what jobs are likely to need until it is told to begin,
runs the job, and writes what came of it. Nothing here can be trusted once the author's code has run.
"""

from __future__ import annotations

import faulthandler
import importlib
import io
import os
import resource
import select
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from varv.adapters.jobs import tree, wire
from varv.adapters.jobs.birth import SIGNAL_OF_WHERE, Birth
from varv.kernel.clock import cpu_seconds
from varv.kernel.errors import NotFound, UserCodeFailed, VarvError
from varv.kernel.executor import GIB, Job, result_of
from varv.kernel.job_ends import spoken_bytes
from varv.kernel.storage import storing
from varv.kernel.user_code import UserCode

_FIRST_FOR_THE_KERNEL = 1000


def run(birth: Birth, begin: int, supervisor: int) -> NoReturn:
    """Be the runner of one job: wait for it, run it, and end."""
    own, status = os.getpid(), 1
    try:
        _settle(birth, supervisor)
        reports = _take_over_output()
        _preload(birth.preload, begin)
        if os.read(begin, 1):
            os.write(reports, f"running {cpu_seconds():.6f}\n".encode())
            os.close(reports)
            answer, value = _worked(birth.order)
            # Where the author's code forked and both returned, one answers.
            if os.getpid() == own:
                _write_answer(Path(birth.answer), answer, value)
        status = 0
    except BaseException:  # noqa: BLE001 - nobody else would show it
        traceback.print_exc()
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    # Threads that the job left, and what it registered to be done at exit, are not waited for.
    os._exit(status)


def _settle(birth: Birth, supervisor: int) -> None:
    os.setsid()
    tree.die_with_parent(supervisor)
    with suppress(OSError):
        os.nice(birth.nice)
    _write("/proc/self/autogroup", birth.nice)  # Linux may weigh sessions against each other, not processes
    _write("/proc/self/oom_score_adj", _FIRST_FOR_THE_KERNEL)
    # Zero forbids a core file; one forbids also the program that the system may pipe a core to.
    _limit(resource.RLIMIT_CORE, 1)
    for handle in (birth.order, birth.where):
        os.set_inheritable(handle, False)
    faulthandler.enable(birth.where, all_threads=False)
    faulthandler.register(SIGNAL_OF_WHERE, birth.where, all_threads=False)


def _take_over_output() -> int:
    """Let all that is printed go to the owner, and return where the runner's own reports go."""
    reports = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What was printed before a crash is to be seen.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return reports


def _preload(modules: str, begin: int) -> None:
    """Import modules until the job comes."""
    waiting = select.poll()
    waiting.register(begin, select.POLLIN)
    for name in filter(None, modules.split(",")):
        if waiting.poll(0):
            return
        with suppress(ImportError):
            importlib.import_module(name)


def _worked(handle: int) -> tuple[wire.Answer, bytes]:
    """Run the job and return what came of it."""
    order, encoded = wire.read_order(handle)
    os.close(handle)
    sys.path[:] = order.path
    _limit_memory(order.memory_bytes)
    _limit_processes(order.n_processes)
    given = [encoded]  # whose only holder from here on is the job itself, if it wants to be
    del encoded
    try:
        value = result_of(_decoded(order, given))
    except VarvError as error:
        if isinstance(error.__cause__, MemoryError):
            error.facts["allowed"] = spoken_bytes(order.memory_bytes)
        return wire.Answer(raised=wire.flattened(error)), b""
    except BaseException as error:  # noqa: BLE001 - an author may raise anything, also what is no Exception
        kind, name = order.subject
        failed = UserCodeFailed(kind, name, f"raised {type(error).__name__}")
        return wire.Answer(raised=wire.flattened(failed)), b""
    if len(value) > order.result_bytes:
        return wire.Answer(too_large=len(value)), b""
    return wire.Answer(n_bytes=len(value)), value


def _decoded(order: wire.Order, given: list[bytes]) -> Job:
    kind, name = order.subject
    module, _, cls = order.entry.partition(":")
    with UserCode(kind, name):
        found = getattr(importlib.import_module(module), cls, None)
        if found is None:
            raise NotFound("job", order.entry, hint="name its class as package.module:Class")
        return found.decode(given.pop())


def _write_answer(place: Path, answer: wire.Answer, value: bytes) -> None:
    # No handler of the author's is to run while the answer is written.
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Opened only now, since the author's code may close whatever is open: daemons do so as they begin.
    handle = os.open(place, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        with storing("result", place):
            wire.write(handle, answer, value)
    except VarvError as error:
        wire.write(handle, wire.Answer(raised=wire.flattened(error)))
    finally:
        os.close(handle)


def _limit_memory(memory_bytes: int) -> None:
    """Bound what may be asked for at once; the owner looks at what is used only every so often.

    What counts is private memory that may be written, of which libraries reserve a quarter of a gigabyte more
    than they use, and every thread eight megabytes for its stack. The whole address space is no measure: it
    is several times as large, and on a machine with an accelerator a thousand times.
    """
    _limit(resource.RLIMIT_DATA, memory_bytes + memory_bytes // 2 + GIB)


def _limit_processes(n_processes: int) -> None:
    """Bound what multiplies faster than the owner looks. The kernel counts all threads of the user, whosever
    they are, so there is much room; and it excepts the first user, for whom it is not worth counting.
    """
    if os.getuid() != 0:
        _limit(resource.RLIMIT_NPROC, tree.n_threads_of_user() + 4 * n_processes)


def _limit(kind: int, most: int) -> None:
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _write(path: str, value: int) -> None:
    with suppress(OSError):
        Path(path).write_text(str(value))
