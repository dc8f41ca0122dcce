"""A script run with every combination of some values: a parent run, and a child for each, several at once.

Children are programs of their own, not jobs of an executor: they read the author's variables, secrets
included, and write the author's files, so nothing would be gained by handing them over as bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from varv.app.scripts.homes import Tracked
from varv.app.scripts.running import PARENT, Finished, Script, run
from varv.kernel.clock import SystemClock
from varv.kernel.errors import VarvError
from varv.kernel.executor import Cancelled
from varv.runs.capture import user
from varv.runs.left_behind import process_tag
from varv.runs.model import Status
from varv.runs.sweeps import expanded, varied
from varv.runs.verbs import MULTIRUN, STOP


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a sweep."""

    arguments: tuple[str, ...]
    name: str
    """What tells it from the others."""
    status: Status | None
    """None if it was not begun, since the sweep was ended."""
    run: str = ""
    why: str = ""
    """Why it failed, or could not be begun."""


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep that has ended."""

    run: str
    """The parent."""
    status: Status
    children: tuple[Child, ...]


def sweep(
    script: Script,
    tracked: Tracked,
    *,
    jobs: int,
    stop: Cancelled,
    home: Path | None = None,
    on_line: Callable[[bytes], None] = lambda line: None,
) -> Swept:
    """Run a script once for every combination of the values that its arguments list.

    Parameters
    ----------
    jobs
        How many run at once.
    stop
        Ends those that run, and begins no others, once set.
    on_line
        Called with what the children print, whole lines with their names before, from several threads.

    Raises
    ------
    InvalidInput
        If there is nothing to try in turn, or too much.
    """
    combinations = expanded(script.arguments)
    experiment = tracked.runs.experiment(script.experiment)
    source = {"mlflow.source.name": script.file, "mlflow.source.type": "LOCAL"}
    tags = {**source, **process_tag(), MULTIRUN: str(len(combinations)), **script.tags}
    if script.parent:
        tags[PARENT] = script.parent
    begun = tracked.runs.begin(
        experiment, name=script.name, user=user(), at_ms=SystemClock().now() // 1000, tags=tags
    )
    parent = begun.run
    wanted = _Wanted(parent, tracked, stop)

    def one(arguments: tuple[str, ...]) -> Child:
        name = varied(script.arguments, arguments)
        if wanted.is_set():
            return Child(arguments=arguments, name=name, status=None)
        child = msgspec.structs.replace(script, arguments=arguments, name=name, parent=parent)
        lines = _Lines(name, on_line)
        try:
            ended = run(child, tracked, stop=wanted, on_output=lines.take, home=home)
        except VarvError as error:
            return Child(arguments=arguments, name=name, status="FAILED", why=str(error))
        return _child(arguments, name, ended)

    status: Status = "FAILED"
    try:
        with ThreadPoolExecutor(jobs, thread_name_prefix="sweep") as pool:
            children = tuple(pool.map(one, combinations))
        if wanted.is_set():
            status = "KILLED"
        elif all(child.status == "FINISHED" for child in children):
            status = "FINISHED"
    finally:
        tracked.runs.end(parent, status, SystemClock().now() // 1000)
    return Swept(run=parent, status=status, children=children)


def _child(arguments: tuple[str, ...], name: str, ended: Finished) -> Child:
    why = ended.last_lines[-1] if ended.last_lines else ""
    return Child(arguments=arguments, name=name, status=ended.status, run=ended.run, why=why)


class _Wanted:
    """Says whether a sweep is to end: by a signal, or because its parent was asked to."""

    def __init__(self, parent: str, tracked: Tracked, stop: Cancelled) -> None:
        self._parent, self._tracked, self._stop = parent, tracked, stop
        self._asked = False
        self._next = threading.Lock()
        self._n = 0

    def is_set(self) -> bool:
        if self._stop.is_set() or self._asked:
            return True
        # Asked ten times a second for each child; the server, a tenth as often.
        with self._next:
            self._n += 1
            if self._n % 10 == 1:
                try:
                    self._asked = STOP in self._tracked.runs.words(self._parent).tags
                except VarvError:
                    return False
        return self._asked


class _Lines:
    """Puts a name before the lines of one child, so that those of several can be told apart."""

    def __init__(self, name: str, on_line: Callable[[bytes], None]) -> None:
        self._name, self._on_line = name.encode(), on_line
        self._rest = b""

    def take(self, part: bytes) -> None:
        *whole, self._rest = (self._rest + part).split(b"\n")
        for line in whole:
            self._on_line(b"[" + self._name + b"] " + line + b"\n")
