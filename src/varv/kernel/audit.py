"""Audit: every file of segments and every blob compared with what the ledger names, one file at a time.

Whoever knows the ledger's events says what there must be (`app.verifying`); this module looks at the files.
Files that the ledger does not name are not read by anybody, so they are only mentioned: a crash between a
file and its entry leaves one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from varv.kernel.codec import Digest
from varv.kernel.errors import Corrupt
from varv.kernel.segment_files import (
    COMPACTED,
    COMPACTED_FILES,
    STREAM,
    SUFFIX,
    Listed,
    listed_in,
    read_file,
)
from varv.kernel.verify import Finding

_CURE = "restore this file from a copy of the home folder"
_BLOB = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")


class Named(msgspec.Struct, frozen=True):
    """A segment that the ledger names: by what, how many rows it has, and their digest, empty in older
    entries.
    """

    by: str
    n_rows: int
    digest: Digest
    keyed: bool = False
    """Whether the digest is that of the home's secret over the digest of the rows."""


class Unread(msgspec.Struct, frozen=True):
    """A file that nothing names, so that nobody reads it."""

    place: str


class Unchecked(msgspec.Struct, frozen=True):
    """A file whose rows could not be compared, since its entry is older than digests of rows."""

    place: str


Remark = Finding | Unread | Unchecked


def audit_columns(
    root: Path,
    tables: Mapping[str, Mapping[str, Named]],
    keyed: Callable[[Digest], Digest],
    *,
    besides: str = "",
) -> Iterator[Remark]:
    """Yield what is remarkable about the files of all tables.

    Parameters
    ----------
    root
        The folder of `FolderColumns`.
    tables
        By table and segment, what the ledger names.
    keyed
        Returns the keyed digest of a digest.
    besides
        The name of folders within tables that hold no segments, and are checked by somebody else.
    """
    folders = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_dir() and path.name != besides
    }
    for table in sorted(folders | tables.keys()):
        yield from _Table(root, table, tables.get(table, {}), keyed).remarks()


class _Table:
    """The files of one table."""

    def __init__(
        self, root: Path, table: str, named: Mapping[str, Named], keyed: Callable[[Digest], Digest]
    ) -> None:
        self._root, self._folder, self._named, self._keyed = root, root / table, named, keyed
        self._seen: set[str] = set()

    def remarks(self) -> Iterator[Remark]:
        files = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        for path in files:
            if path.is_file() and not path.name.startswith("."):  # a draft, which a crash left
                yield from self._file(path)
        for segment, named in self._named.items():
            if segment not in self._seen:
                place = self._shown(self._folder / segment)
                yield _finding(place, f"is missing; it is {named.by}", f"{named.n_rows} rows", "no file")

    def _file(self, path: Path) -> Iterator[Remark]:
        place, is_compacted = self._shown(path), path.match(COMPACTED_FILES)
        if not is_compacted and (path.name.startswith(COMPACTED) or path.suffix not in (STREAM, SUFFIX)):
            yield Unread(place)
            return
        if not is_compacted and path.stem not in self._named:
            yield Unread(place)
            return
        try:
            segments = read_file(path, place).segments
        except Corrupt as error:
            # A compaction under way removes what it has stored together with others long before.
            if path.exists():
                yield self._broken(path, place, error)
            return
        yield from (remark for one in segments for remark in self._segment(place, one))

    def _segment(self, place: str, stored: Listed) -> Iterator[Remark]:
        named = self._named.get(stored.segment)
        if named is None:
            yield Unread(f"{place}, segment {stored.segment}")
            return
        self._seen.add(stored.segment)
        about = f"segment {stored.segment}, {named.by}"
        if stored.n_rows != named.n_rows:
            yield _finding(
                place, f"has another number of rows of {about}", str(named.n_rows), str(stored.n_rows)
            )
            return
        found = self._keyed(stored.digest) if named.keyed and named.digest else stored.digest
        if named.digest and found != named.digest:
            yield _finding(place, f"has other rows of {about}", _short(named.digest), _short(found))
        elif not named.digest:
            yield Unchecked(f"{place}, {about}")

    def _broken(self, path: Path, place: str, error: Corrupt) -> Finding:
        """Say that a file is broken, and of which of its segments that is known."""
        own: list[str] = [path.stem]
        if path.name.startswith(COMPACTED):
            try:
                own = [one.segment for one in listed_in(path, place)]
            except Corrupt:
                own = []
        self._seen.update(own)
        named = [self._named[segment].by for segment in own if segment in self._named]
        whose = f"; it is {named[0]}" + (f" and {len(named) - 1} more" if named[1:] else "") if named else ""
        expected = str(error.facts.get("expected", "the rows that were stored"))
        found = str(error.facts.get("found", error.facts.get("why", "others")))
        return _finding(place, f"{error.problem}{whose}", expected, found)

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._root.parent).as_posix()


def audit_blobs(root: Path, named: Mapping[Digest, str]) -> Iterator[Remark]:
    """Yield what is remarkable about the blobs below `root`, and those that are named but not there.

    Parameters
    ----------
    named
        By digest, what each blob is that the ledger names.
    """
    missing = dict(named)
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        inside, place = path.relative_to(root).as_posix(), path.relative_to(root.parent).as_posix()
        if not _BLOB.fullmatch(inside):
            yield Unread(place)
            continue
        digest = Digest(inside.replace("/", ""))
        what = missing.pop(digest, "")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            whose = f"; it is {what}" if what else ""
            yield _finding(
                place, f"does not hold what it is named after{whose}", _short(digest), _short(found)
            )
    for digest, what in missing.items():
        place = f"{root.name}/{digest[:2]}/{digest[2:]}"
        yield _finding(place, f"is missing; it is {what}", _short(digest), "no file")


def _finding(place: str, problem: str, expected: str, found: str) -> Finding:
    return Finding(place=place, kind="file", problem=problem, expected=expected, found=found, cure=_CURE)


def _short(digest: str) -> str:
    return f"digest {digest[:12]}"
