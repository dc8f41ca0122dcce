"""The folder of one table: which files it holds, and which segments lie in which of them.

Nothing here reads rows; `kernel.folder_columns` does, and decides what is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from varv.kernel.catalogue import Compacted
from varv.kernel.codec import Digest
from varv.kernel.errors import InvalidInput
from varv.kernel.segment_files import (
    COMPACTED,
    COMPACTED_FILE,
    COMPACTED_FILES,
    STREAM,
    SUFFIX,
    Listed,
    Looks,
    listed_in,
    looks_of,
)

# No leading dot and no slash: a name can neither leave its folder nor pass for a draft.
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]{0,127}")
_MANY = 512
_MUCH_BYTES = 32 << 20
"""So many small segments, or so much of them, are worth a file."""
_SMALL_PARQUET_BYTES = 64 * 1024
"""Earlier versions of varv wrote small segments as Parquet too."""


class Place(NamedTuple):
    """Where a segment is: a file of its own, some rows of a compacted one, or such a file as a whole."""

    segment: str
    path: Path
    first: int = 0
    n_rows: int | None = None
    """None for the whole file."""

    def follows(self, other: Place) -> bool:
        """Return whether its rows follow those of another in the same file."""
        is_same = self.path == other.path and other.n_rows is not None
        return is_same and self.first == other.first + (other.n_rows or 0)


class Alone(NamedTuple):
    """A segment that has a file of its own."""

    segment: str
    path: Path
    n_bytes: int

    @property
    def is_small(self) -> bool:
        """Whether it is worth being stored with others."""
        return self.path.suffix == STREAM or self.n_bytes < _SMALL_PARQUET_BYTES


class TableFolder:
    """The files of a table.

    Parameters
    ----------
    path
        The folder, which may not be there.
    root
        The folder of all tables; errors name files by their place beside it.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self._root = root
        # By compacted file that was looked into: what it looked like, and the segments in it.
        self._listed: dict[Path, tuple[Looks, dict[str, Place]]] = {}
        # Segments with a file of their own that no compacted file lists.
        self._strange: set[str] = set()

    def own(self, segment: str) -> Path | None:
        """Return the file of a segment, if it has one of its own.

        Raises
        ------
        InvalidInput
            If a segment could not be called so.
        """
        require_segment_name(segment)
        for suffix in (STREAM, SUFFIX):
            # Not `with_suffix`: names hold dots.
            path = self.path / f"{segment}{suffix}"
            if path.exists():
                return path
        return None

    def compacted(self, file: str) -> Path:
        """Return where a compacted file is, or would be."""
        return self.path / f"{file}{SUFFIX}"

    def find(self, segment: str) -> Place | None:
        """Return where a segment, or a compacted file, is; None if it is not there."""
        if COMPACTED_FILE.fullmatch(segment):
            path = self.compacted(segment)
            return Place(segment, path) if path.exists() else None
        if (own := self.own(segment)) is not None:
            return Place(segment, own)
        # Whoever knows it by its name has not heard yet of its file, or reads a home of before.
        for path, (looks, places) in self._listed.items():
            if segment in places and path.exists() and looks_of(path) == looks:
                return places[segment]
        return self.in_compacted().get(segment)

    def alone(self) -> dict[str, Alone]:
        """Return the segments that have a file of their own."""
        found = {}
        for file in os.scandir(self.path) if self.path.is_dir() else ():
            name, dot, kind = file.name.rpartition(".")
            if f"{dot}{kind}" in (STREAM, SUFFIX) and name[:1] not in ("", COMPACTED) and file.is_file():
                found[name] = Alone(name, Path(file.path), file.stat().st_size)
        return found

    def last_compacted(self) -> str | None:
        """Return the name of the last compacted file, if there is one."""
        return max((path.stem for path in self.path.glob(COMPACTED_FILES)), default=None)

    def in_compacted(self) -> dict[str, Place]:
        """Return the segments in compacted files; another process may have made some since we last looked."""
        before, self._listed = self._listed, dict[Path, tuple[Looks, dict[str, Place]]]()
        for path in sorted(self.path.glob(COMPACTED_FILES)):
            looks, known = looks_of(path), before.get(path)
            if known is not None and known[0] == looks:
                self._listed[path] = known
            else:
                self._listed[path] = looks, {place.segment: place for place in self._places(path)}
        return {segment: place for _, places in self._listed.values() for segment, place in places.items()}

    def listed(self, path: Path) -> list[Listed]:
        """Return the segments of a compacted file.

        Raises
        ------
        Corrupt
            If it does not list them.
        """
        return listed_in(path, self.shown(path))

    def shown(self, path: Path) -> str:
        """Return how a file is named in errors."""
        return path.relative_to(self._root.parent).as_posix()

    # Compaction

    def spent(
        self, alone: Collection[str], segments: Collection[str], files: Collection[str]
    ) -> Iterator[tuple[Place, set[str]]]:
        """Yield compacted files of `files`, each with the segments of `alone` that it holds, and that are not
        needed any more.
        """
        left = set(alone) - set(segments) - self._strange
        for file in sorted(files, reverse=True):
            if not left:
                return
            path = self.compacted(file)
            if held := left.intersection(one.segment for one in self.listed(path)):
                left -= held
                yield Place(file, path), held
        self._strange |= left

    def made_before(self, segments: Mapping[str, Digest], alone: Collection[str]) -> list[Compacted]:
        """Return the compacted files of an earlier version of varv, which did not put them on record: they
        hold `segments`, of which only some are alone.
        """
        if not segments.keys() - set(alone):
            return []
        made = []
        for path in sorted(self.path.glob(COMPACTED_FILES)):
            listed = self.listed(path)
            if all(one.digest and segments.get(one.segment) == one.digest for one in listed):
                made.append(Compacted(file=path.stem, segments=tuple(one.segment for one in listed)))
        return made

    def next_file(
        self,
        files: Collection[str] | None = None,
        alone: Collection[str] = (),
        removed: Collection[str] = (),
    ) -> str:
        """Return the name of the next compacted file. One that a try before this one left, not among `files`,
        is made again if all that it holds has files of its own. No name of a `removed` one is given again.
        """
        number = 1 + max((_number_of(name) for name in removed), default=0)
        for path in sorted(self.path.glob(COMPACTED_FILES), reverse=True):
            is_left = files is not None and path.stem not in files
            if not is_left or not all(one.segment in alone for one in self.listed(path)):
                number = max(number, _number_of(path.stem) + 1)
                break
        return f"{COMPACTED}{number:09d}"

    def remove_left(self, known: Collection[str]) -> None:
        """Remove compacted files that are not on record and hold nothing beyond those that are."""
        left = [path for path in self.path.glob(COMPACTED_FILES) if path.stem not in known]
        if not left:
            return
        there = (self.compacted(file) for file in known)
        held = {one.segment for path in there if path.exists() for one in self.listed(path)}
        for path in left:
            if held.issuperset(one.segment for one in self.listed(path)):
                path.unlink()

    def _places(self, path: Path) -> Iterator[Place]:
        first = 0
        for one in self.listed(path):
            yield Place(one.segment, path, first, one.n_rows)
            first += one.n_rows


def _number_of(file: str) -> int:
    return int(file.removeprefix(COMPACTED))


def worth_a_file(small: Sequence[Alone], *, however_few: bool = False) -> Iterator[list[str]]:
    """Yield the names of small segments that go together, in their order; those that are left and too few
    only if they are to be stored `however_few` they are.
    """
    names: list[str] = []
    n_bytes = 0
    for one in small:
        names.append(one.segment)
        n_bytes += one.n_bytes
        if len(names) >= _MANY or n_bytes >= _MUCH_BYTES:
            yield names
            names, n_bytes = list[str](), 0
    if names and however_few:
        yield names


NAMES = "use letters, digits and _ . = + -, not a dot first, 128 at most"


def require_segment_name(segment: object) -> None:
    """Raise `InvalidInput` if a segment could not be called so."""
    if not isinstance(segment, str) or not PART.fullmatch(segment):
        raise InvalidInput("segment", str(segment)[:80], "is not a valid name", hint=NAMES)
