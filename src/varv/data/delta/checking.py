"""Compares the logs of Delta tables with the ledger, for `varv verify`.

What readers follow is compared: the entries of a log, and its last checkpoint with the entries that it sums
up. An entry that is one ahead of the ledger is what a crash leaves, and the next publication takes it over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import polars as pl

from varv.data.delta.log import DIGEST, LOG, VERSION, LogEntry, entry_file, files_after, log_entries
from varv.data.delta.tables import app_of
from varv.data.versions.model import DatasetPublished
from varv.kernel.errors import Corrupt


class LogFlaw(NamedTuple):
    """A place in a log that does not say what the ledger does."""

    place: str
    problem: str
    expected: str
    found: str


def log_flaws(
    root: Path, published: Mapping[str, Sequence[DatasetPublished]], vacuumed: Mapping[str, Collection[str]]
) -> Iterator[LogFlaw]:
    """Yield what is wrong with the logs of the tables below a folder.

    Parameters
    ----------
    published
        By table, what is on record of its publications, in their order.
    vacuumed
        By table, the files that were removed; a log that was written again does not name them.
    """
    there = {place.parent.relative_to(root).as_posix() for place in root.glob(f"data/*/*/{LOG}")}
    for table in sorted(there | published.keys()):
        log = _Log(root, table, published.get(table, ()), vacuumed.get(table, ()))
        try:
            yield from log.flaws()
        except Corrupt as error:
            yield log.flaw(error.name, error.problem, "an entry", str(error.facts.get("why", "another")))


class _Log:
    """The log of one table."""

    def __init__(
        self, root: Path, table: str, published: Sequence[DatasetPublished], vacuumed: Collection[str]
    ) -> None:
        self._folder, self._place = root / table, f"{root.name}/{table}/{LOG}"
        self._published = {one.delta_version: one for one in published}
        self._vacuumed = vacuumed
        self._app = app_of(*table.split("/")[-2:])

    def flaws(self) -> Iterator[LogFlaw]:
        entries = {one.version: one for one in log_entries(self._folder)}
        for number, event in self._published.items():
            if number not in entries:
                what = f"is missing; it is version {event.version} of dataset {event.dataset}"
                yield self.flaw(entry_file(self._folder, number).name, what, "an entry", "no file")
        last = max(self._published, default=-1)
        for number, entry in entries.items():
            event = self._published.get(number)
            is_left = self._app in entry.transactions and number > last
            if event is not None:
                yield from self._differing(event, entry)
            elif not (entry.only_columns or is_left):
                problem = "was committed by somebody else"
                yield self.flaw(entry_file(self._folder, number).name, problem, "none", "an entry")
        yield from self._checkpoint(list(entries.values()))

    def flaw(self, file: str, problem: str, expected: str, found: str) -> LogFlaw:
        return LogFlaw(f"{self._place}/{file}", problem, expected, found)

    def _differing(self, event: DatasetPublished, entry: LogEntry) -> Iterator[LogFlaw]:
        about = f"of version {event.version} of dataset {event.dataset}"
        pairs = {
            "files": (self._there(event.files), self._there(entry.added)),
            "removed files": (self._there(event.removed), self._there(entry.removed)),
            "transaction": (event.version, entry.transactions.get(self._app)),
            "version": (event.version, entry.info.get(VERSION)),
            "digest": (event.digest, entry.info.get(DIGEST)),
        }
        for name, (expected, found) in pairs.items():
            if expected != found:
                file = entry_file(self._folder, entry.version).name
                yield self.flaw(file, f"differs in its {name} {about}", _short(expected), _short(found))

    def _there(self, files: Collection[str]) -> list[str]:
        return sorted(set(files).difference(self._vacuumed))

    def _checkpoint(self, entries: Sequence[LogEntry]) -> Iterator[LogFlaw]:
        """Compare the last checkpoint, which readers start from, with the entries up to it."""
        made = sorted((self._folder / LOG).glob("*.checkpoint.parquet"))
        if not made:
            return
        upto = int(made[-1].name.split(".")[0])
        files = files_after(entry for entry in entries if entry.version <= upto)
        try:
            added = pl.read_parquet(made[-1], columns=["add"])["add"].struct.field("path").drop_nulls()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            why = str(error).split("\n")[0][:80]
            yield self.flaw(made[-1].name, "cannot be read as a checkpoint", "a checkpoint", why)
            return
        found = {unquote(path) for path in added}
        if found != files:
            expected = f"{len(files)} files, as its entries say"
            yield self.flaw(made[-1].name, "names other files", expected, _short(sorted(found ^ files)))


def _short(value: object) -> str:
    return str(value)[:80]
