"""Handlers that are begun before their turn, on another processor.

A replay runs one command after the other, so that its ledger is the same each time. What models of one home
ask for has nothing to do with each other, though: while one command has its turn, the next ones of other
*lanes* may already be under way, and hand over what came of them when theirs comes. The order of the ledger
is that of a single thread, and so is every byte of it, also after a crash: what was begun and never had its
turn is done again, as handlers allow.

Not for commands whose handler reads what a command of another lane decides, and not for a server, whose
workers claim commands themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from varv.kernel.errors import VarvError
from varv.kernel.ledger import ClaimedCommand
from varv.kernel.sagas import Command, Reply

Outcome = Reply | VarvError


class _Begun(NamedTuple):
    id: str
    outcome: Future[Outcome]


class Ahead:
    """What was begun before its turn, one command a lane.

    Parameters
    ----------
    lane
        Returns what a command belongs to: those of one lane may depend on each other, others never do.
    n_threads
        How many handlers run at once.
    """

    def __init__(self, lane: Callable[[Command], Hashable], n_threads: int = 2) -> None:
        self._lane = lane
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="ahead")
        self._begun: dict[Hashable, _Begun] = {}

    def begin(
        self, waiting: Sequence[tuple[ClaimedCommand, Command]], run: Callable[[ClaimedCommand], Outcome]
    ) -> None:
        """Begin the first command of every lane, given all that wait in the order of their turns; nothing if
        there is one lane only.
        """
        first: dict[Hashable, ClaimedCommand] = {}
        for claimed, command in waiting:
            first.setdefault(self._lane(command), claimed)
        if len(first) < 2:
            return
        for lane, claimed in first.items():
            if lane not in self._begun:
                self._begun[lane] = _Begun(claimed.id, self._threads.submit(run, claimed))

    def take(self, claimed: ClaimedCommand, command: Command) -> Outcome | None:
        """Return what came of a command that has its turn now; None if it was not begun."""
        begun = self._begun.pop(self._lane(command), None)
        if begun is None:
            return None
        outcome = begun.outcome.result()
        # Another one of its lane goes first, and may change what the one that was begun has read.
        return outcome if begun.id == claimed.id else None

    def close(self) -> None:
        """Wait for what is under way, and end the threads."""
        self._threads.shutdown(cancel_futures=True)
        self._begun.clear()
