"""Where readers of a home have it from: a folder in this process, or a server over HTTP. Both run the same
verbs, so everything that is read is read once.
"""

from __future__ import annotations

import datetime as dt
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import polars as pl

from varv.app.compose import open_ledger, open_runs, open_views
from varv.app.desk import Desk
from varv.app.online import offline_online
from varv.app.verbs import build_verbs
from varv.data.delta.verbs import offline_publications
from varv.data.tiers.verbs import tier_desk
from varv.data.verbs import offline_desk
from varv.data.versioning.verbs import offline_versions
from varv.home.named_versions import named_versions
from varv.home.paging import Table
from varv.home.reached import reached
from varv.home.tables import MOST_ROWS
from varv.home.tracking.looking import RunDesk
from varv.kernel.clock import SystemClock
from varv.kernel.errors import Corrupt, FailedPrecondition, NotFound
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.verbs import EXPORT, READ, VerbTable

When = str | dt.date | dt.datetime
"""An instant: ISO 8601, a date, or a datetime; in UTC if it does not say otherwise."""
T = TypeVar("T")
MOST_PAGES = 100_000
"""Of one table, so that a server that never ends is given up."""


class Source(Protocol):
    """Runs verbs."""

    place: str
    """The folder or the address, for messages."""
    verbs: VerbTable
    """Those that this process knows."""

    def ask(self, verb: str, fields: Mapping[str, Any]) -> Any:
        """Return the result of a verb.

        Raises
        ------
        VarvError
            As the verb says.
        NotFound
            If there is no such verb.
        """
        ...

    def close(self) -> None:
        """Give back what is held; again does nothing."""
        ...


class LocalSource:
    """A home folder that is only read, also while its server runs.

    Parameters
    ----------
    home
        The folder.
    state
        What its server is doing, in words.

    Raises
    ------
    NotFound
        If the folder holds no home.
    Corrupt
        If its ledger is not what was written.
    """

    def __init__(self, home: Path, *, state: str = "not running") -> None:
        self.place = str(home)
        self.keeps: object = None
        """What must be there as long as this is."""
        ledger = open_ledger(home, read_only=True)
        runs = open_runs(home)
        self._close = weakref.finalize(self, _close, ledger, runs)
        with ExitStack() as undone:
            undone.callback(self.close)
            self.desk = _desk(home, ledger, runs, state)
            undone.pop_all()
        self.verbs = build_verbs(self.desk)

    def ask(self, verb: str, fields: Mapping[str, Any]) -> Any:
        """Return the result of a reading verb."""
        self._require_open()
        found = self.verbs.get(verb)
        if found.permission not in (EXPORT, READ):
            hint = "ask its server: varv.connect(url)"
            raise FailedPrecondition("home", self.place, f"is only read, which {verb} is not", hint=hint)
        return found.run(found.decode(msgspec.json.encode(fields, enc_hook=str)))

    def close(self) -> None:
        """Give the ledger back."""
        self._close()

    def _require_open(self) -> None:
        if not self._close.alive:
            raise FailedPrecondition("home", self.place, "is closed", hint="open it again: varv.open(home)")


def _close(ledger: SqliteLedger, runs: RunDesk) -> None:
    runs.search.recorder.close()
    ledger.close()


def _desk(home: Path, ledger: SqliteLedger, runs: RunDesk, state: str) -> Desk:
    views = open_views(ledger, home)
    views.catch_up()  # which compares every entry with the one before it, from a snapshot on
    clock = SystemClock()
    desk = Desk(home, ledger, views, clock, None, running=False)
    desk.most_rows = None
    desk.state = lambda: state
    desk.runs = runs
    desk.quarantine = offline_desk(home, ledger, views, clock)
    desk.versions = offline_versions(home, ledger, views, clock, lambda of: named_versions(views, of))
    desk.online = offline_online(home, ledger, views, clock)
    desk.tiers = tier_desk(desk.versions, clock, lambda of: reached(views, ledger, of))
    desk.publications = offline_publications(desk.versions, clock)
    return desk


def whole_table(
    source: Source, verb: str, fields: Mapping[str, Any], *, most: int | None = None
) -> pl.DataFrame:
    """Return the rows that a verb gives page by page, all of them or the first `most`.

    Raises
    ------
    Corrupt
        If pages do not come to an end.
    """
    frames: list[pl.DataFrame] = []
    n = 0
    if most is not None:
        fields = {**fields, "limit": max(1, min(most, MOST_ROWS))}
    for page in _pages(source, verb, fields):
        frames.append(page.rows)
        n += page.rows.height
        if most is not None and n >= most:
            break
    filled = [frame for frame in frames if frame.height] or frames[:1]
    found = pl.concat(filled, how="diagonal_relaxed") if len(filled) > 1 else filled[0]
    return found if most is None else found.head(most)


def _pages(source: Source, verb: str, fields: Mapping[str, Any]) -> Iterator[Table]:
    after = ""
    for _ in range(MOST_PAGES):
        page: Table = source.ask(verb, {**fields, "after": after})
        yield page
        if not page.after:
            return
        if page.after == after:
            break
        after = page.after
    raise Corrupt(
        "server", source.place, "gives pages that do not end", verb=verb, hint="read a shorter window"
    )


def of_name(known: Mapping[str, T], kind: str, name: str) -> T:
    """Return the thing of a name; the only one if no name is given.

    Raises
    ------
    NotFound
        If there is none of that name.
    """
    if name in known:
        return known[name]
    if not name and len(known) == 1:
        return next(iter(known.values()))
    hint = f"there are {', '.join(known) or 'none'}"
    raise NotFound(kind, str(name)[:80], "does not exist in this home", hint=hint)
