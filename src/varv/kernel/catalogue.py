"""Catalogue: what counts of one table of the columns, file by file, as a read model folds it from the ledger.

Live, a segment comes every few seconds and is soon compacted with hundreds of others. From then on the file
is remembered and not its segments, so what a process holds grows with files, not with batches. What a
segment was, once it lies in such a file, the file itself and the ledger tell.

Rows of a dataset can be replaced. What lay in a file then goes at a number, like that at which it came, and
stays in the catalogue: whoever reads as of an earlier number still finds it, until its file is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from varv.kernel.clock import Duration, Instant
from varv.kernel.codec import Digest
from varv.kernel.segment_files import COMPACTED, Listed, listing_digest


class Cold(msgspec.Struct, frozen=True, kw_only=True):
    """A file in an archive: where that is, empty for the one beside the columns; what the file is called in a
    table's folder, the digest of its bytes, how many they are, and the entry that says so.
    """

    place: str
    file: str
    digest: Digest
    n_bytes: int
    by: int


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in one file: a segment, or many that were compacted, in the order of their numbers."""

    name: str
    """Of the segment, or of the compacted file; `kernel.columns` reads either."""
    digest: Digest
    """Of the segment's rows, or of what the file lists; empty if an entry of an older version names none."""
    n_rows: int
    first: Instant | None = None
    """The earliest time of a row; None where no entry says it, or there is no row."""
    last: Instant | None = None
    number: int
    """Of the first segment, counted from 1 in the order of the ledger."""
    offsets: bytes = b""
    """How much higher each further segment's number is than the first's, as 32-bit integers."""
    at: Instant = Instant(0)
    """When the last segment came."""
    gone: int = 0
    """The number from which on it does not count any more; 0 as long as it does."""
    gone_at: Instant = Instant(0)
    """When that was."""
    removed_by: int = 0
    """The entry that says that the file was removed; 0 as long as it is there."""
    erased: bool = False
    """Whether it was removed for rows that had to be erased."""
    remains: str = ""
    """The segment that holds its other rows then, if it has any."""
    cold: Cold | None = None
    """Where its file is, if it was archived."""
    stays_until: Instant = Instant(0)
    """Up to when it is not archived by itself, since somebody had it restored."""
    remains_digest: Digest = Digest("")
    """Of these rows."""
    n_left: int = 0
    """How many these are."""
    counts: bytes = b""
    """How many of these rows came with each of its segments, as 32-bit integers; empty if it has one."""

    @property
    def is_file(self) -> bool:
        """Whether it is a compacted file."""
        return self.name.startswith(COMPACTED)

    @property
    def n_segments(self) -> int:
        """How many segments it holds."""
        return 1 + len(self.offsets) // _OFFSET.itemsize

    @property
    def last_number(self) -> int:
        """The number of the last segment."""
        return self.number + (int(np.frombuffer(self.offsets, _OFFSET)[-1]) if self.offsets else 0)

    def numbers(self) -> list[int]:
        """Return the numbers of the segments, in their order."""
        return [self.number, *(self.number + np.frombuffer(self.offsets, _OFFSET).astype(np.int64)).tolist()]

    def n_upto(self, number: int) -> int:
        """Return how many of the segments have at most this number."""
        later = np.frombuffer(self.offsets, _OFFSET)
        return int(self.number <= number) + int(np.searchsorted(later, number - self.number, side="right"))

    @property
    def sizes(self) -> list[int]:
        """How many of the rows that are left of it came with each of its segments, if it has several."""
        return np.frombuffer(self.counts, _OFFSET).tolist()

    def n_left_upto(self, number: int) -> int:
        """Return how many of the rows that are left of it came by a number: the first ones."""
        return sum(self.sizes[: self.n_upto(number)])

    def counts_at(self, number: int | None) -> bool:
        """Return whether some of it counts as of a number, by default now."""
        if number is None:
            return not self.gone
        return self.number <= number and (not self.gone or number < self.gone)

    def reaches(self, since: Instant | None, until: Instant | None) -> bool:
        """Return whether it may hold rows of [since, until); None bounds nothing."""
        if self.first is None or self.last is None:
            return True
        return (until is None or self.first < until) and (since is None or self.last >= since)


_OFFSET = np.dtype(np.uint32)


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """A file that holds segments from now on, in the order in which it lists them."""

    file: str
    segments: tuple[str, ...]


class Merged(NamedTuple):
    """A file that holds what others do, and the digest of what it lists."""

    file: str
    digest: Digest


class Catalogue(msgspec.Struct):
    """The segments and files of one table that count, by the order in which they came."""

    alone: dict[str, Extent] = {}
    """Segments that are not in a compacted file, as far as the ledger says."""
    files: list[Extent] = []
    n: int = 0
    """Segments that ever came."""
    n_rows: int = 0
    """Of all of them."""
    superseded: list[Extent] = []
    """What larger files have taken the place of, and only published versions of before name."""
    left: dict[str, Extent] = {}
    """What is left of extents of which rows were erased, and that no version counts on."""
    lies_in: dict[str, str] = {}
    """By segment that holds what is left of an erased extent, the file that it came to lie in with others."""
    latest: dict[str, str] = {}
    """By writer, the greatest name of a segment that does not lie alone any more."""

    def add(self, extent: Extent) -> None:
        """Take in the next segment."""
        self.alone[extent.name] = extent
        self.n += 1
        self.n_rows += extent.n_rows

    def replace(
        self,
        removed: Collection[str],
        added: Iterable[Extent],
        number: int,
        at: Instant,
    ) -> None:
        """Let extents count no more from a number on, and others, which have that number, from then on."""
        self.alone.update(
            {name: _gone(one, number, at) for name, one in self.alone.items() if name in removed}
        )
        self.files = [_gone(one, number, at) if one.name in removed else one for one in self.files]
        for one in added:
            self.add(one)

    def note_remains(self, name: str, segment: str, digest: Digest, n_rows: int) -> None:
        """Remember which segment holds the rows of an extent that are left once others are erased."""
        self._change([name], remains=segment, remains_digest=digest, n_left=n_rows)

    def note_counts(self, name: str, counts: Iterable[int]) -> None:
        """Remember how many of the rows that are left of an extent came with each of its segments."""
        self._change([name], counts=np.array([*counts], _OFFSET).tobytes())

    def note_removed(self, names: Collection[str], by: int, *, erased: bool = False) -> None:
        """Remember that the files of extents that are gone were removed, by an entry of the ledger."""
        self._change(names, removed_by=by, erased=erased)
        gone = [one for one in self.superseded if one.removed_by]
        # The last name is remembered, so that it is not given again.
        last = max((one for one in gone if one.is_file), key=lambda one: one.name, default=None)
        self.superseded = [one for one in self.superseded if not one.removed_by or one is last]

    def note_archived(self, files: Mapping[str, Cold]) -> None:
        """Remember that the files of extents are in an archive, and not in the table's folder any more."""
        self._change_each(files.keys(), lambda one: msgspec.structs.replace(one, cold=files[one.name]))

    def note_restored(self, names: Collection[str], stays_until: Instant) -> None:
        """Remember that the files of extents are back in the table's folder."""
        self._change(names, cold=None, stays_until=stays_until)

    def keep_left(self, name: str, left: Extent, by: int) -> None:
        """Take in what is left of an extent of which rows were erased, for whoever asks for what remains; no
        version counts on it.
        """
        if name not in {one.name for one in self.stored()}:
            # What once was left of another one, and came to lie in a file with others since.
            self.left[name] = Extent(
                name=name, digest=Digest(""), n_rows=0, number=0, gone=1, removed_by=by, erased=True
            )
        self.note_remains(name, left.name, left.digest, left.n_rows)
        self.left[left.name] = msgspec.structs.replace(left, gone=1)

    def moved(self) -> set[str]:
        """Return the segments that hold what is left of extents and lie in files with others by now."""
        every = self.stored()
        return {one.remains for one in every if one.erased} - {one.name for one in every} - {""}

    def _change(self, names: Collection[str], **fields: Any) -> None:
        """Change extents by name, wherever they are."""
        self._change_each(names, lambda one: msgspec.structs.replace(one, **fields))

    def _change_each(self, names: Collection[str], change: Callable[[Extent], Extent]) -> None:
        def changed(one: Extent) -> Extent:
            return change(one) if one.name in names else one

        self.files = [changed(one) for one in self.files]
        self.superseded = [changed(one) for one in self.superseded]
        # In place: thousands lie alone, and few change.
        for held in (self.alone, self.left):
            held.update({name: changed(held[name]) for name in names if name in held})

    def remaining(self, extents: Iterable[Extent], upto: int) -> list[Extent]:
        """Return extents, those that were erased replaced by what holds their other rows; one that goes on
        after the number stays if an entry of an older version does not tell its rows of before from others.
        """
        every, found = {**{one.name: one for one in self.ever()}, **self.left}, list[Extent]()
        for one in extents:
            if not one.erased or (one.remains and one.last_number > upto and not one.counts):
                found.append(one)
            elif (last := _last_remains(one, every)) is not None:
                name, digest, n_rows = last
                n_rows = sum(one.sizes) if one.counts else n_rows
                # With the numbers of what it is left of: it counted when that did.
                left = msgspec.structs.replace(one, name=name, digest=digest, erased=False, removed_by=0)
                if (holds := every.get(self.lies_in.get(name, name))) is not None and not holds.erased:
                    left = msgspec.structs.replace(left, removed_by=holds.removed_by, cold=holds.cold)
                found.append(msgspec.structs.replace(left, n_rows=n_rows, remains=""))
        return found

    def holding_remains(self, is_needed: Callable[[Extent], bool]) -> set[str]:
        """Return the names of what holds what is left of those erased extents that are needed."""
        every = {**{one.name: one for one in self.ever()}, **self.left}
        lasts = [_last_remains(one, every) for one in self.ever() if one.erased and is_needed(one)]
        return {self.lies_in.get(last[0], last[0]) for last in lasts if last is not None}

    def left_in(self, name: str) -> list[Extent]:
        """Return the extents of many segments whose rows that are left lie in this one."""
        every = {**{one.name: one for one in self.ever()}, **self.left}
        erased = [one for one in every.values() if one.sizes and one.erased]
        return [one for one in erased if (_last_remains(one, every) or ("",))[0] == name]

    def compacted(self, made: Compacted, first: Instant | None = None, last: Instant | None = None) -> None:
        """Let a file take the place of segments.

        Parameters
        ----------
        first, last
            The times of its rows, where those of its segments are not known.
        """
        self._note_lying(made.segments, made.file)
        gone = [self.alone.pop(name) for name in made.segments]
        listed = listing_digest([Listed(one.name, one.n_rows, one.digest) for one in gone])
        self._take_together(made.file, listed, gone, first, last)
        self._note([one.name for one in gone])

    def merged(self, file: str, digest: Digest, names: Collection[str], number: int, at: Instant) -> None:
        """Let a larger file take the place of extents, whose segments it holds in their order, at a number.

        Parameters
        ----------
        digest
            Of what the file lists.
        """
        gone = [one for one in self.ever() if one.name in names]
        self._note_lying(names, file)
        self.superseded += [
            msgspec.structs.replace(one, gone=number, gone_at=at, remains=file) for one in gone
        ]
        self.forget(names, [one.name for one in gone if not one.is_file])
        self._take_together(file, digest, gone)

    def _note_lying(self, names: Collection[str], file: str) -> None:
        """Remember where to find what is left of erased extents, once a file takes the place of others."""
        remains = {one.remains for one in self.stored() if one.remains}
        if remains:
            self.lies_in |= {name: file for name, held in self.lies_in.items() if held in names}
            self.lies_in |= {name: file for name in names if name in remains}

    def _take_together(
        self,
        file: str,
        digest: Digest,
        gone: Sequence[Extent],
        first: Instant | None = None,
        last: Instant | None = None,
    ) -> None:
        numbers = [number for one in gone for number in one.numbers()]
        spans = [(one.first, one.last) for one in gone if one.first is not None and one.last is not None]
        if len(spans) == sum(one.n_rows > 0 for one in gone) and spans:
            first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        self.files.append(
            Extent(
                name=file,
                digest=digest,
                n_rows=sum(one.n_rows for one in gone),
                first=first,
                last=last,
                number=numbers[0],
                offsets=(np.array(numbers[1:], np.int64) - numbers[0]).astype(_OFFSET).tobytes(),
                at=max(one.at for one in gone),
            )
        )
        self.files.sort(key=lambda one: one.number)

    def forget(self, names: Collection[str], segments: Iterable[str]) -> None:
        """Let go of extents, which hold these segments."""
        self.files = [one for one in self.files if one.name not in names]
        self.alone = {name: one for name, one in self.alone.items() if name not in names}
        self._note(segments)

    def _note(self, segments: Iterable[str]) -> None:
        for name in segments:
            writer = writer_of(name)
            self.latest[writer] = max(self.latest.get(writer, ""), name)

    def may_lie_in_files(self, segment: str) -> bool:
        """Return whether a segment may be one of those in compacted files; False is certain.

        Notes
        -----
        The segments of a writer are named in the order in which they come, so a name above all that were
        compacted is a new one.
        """
        return segment not in self.alone and segment <= self.latest.get(writer_of(segment), "")

    def extents(self, upto: int | None = None) -> list[Extent]:
        """Return what counts as of a number, by default now, in the order in which it came; the last of them
        may hold segments of later numbers too.
        """
        return [one for one in self.ever() if one.counts_at(upto)]

    def swap(self, taken: Mapping[str, Extent | None], segments: Iterable[str]) -> None:
        """Put extents in the place of others, by name, with the numbers of these; None for nothing.

        Parameters
        ----------
        segments
            All that lay in what is taken out.
        """
        put = [
            msgspec.structs.replace(new, number=one.number, at=one.at)
            for one in self.ever()
            if (new := taken.get(one.name)) is not None
        ]
        self.n_rows += sum(one.n_rows for one in put)
        self.n_rows -= sum(one.n_rows for one in self.ever() if one.name in taken)
        self.forget(taken, segments)
        self.alone |= {one.name: one for one in put}

    @property
    def has_gone(self) -> bool:
        """Whether anything counts no more."""
        return any(one.gone for one in (*self.files, *self.alone.values()))

    def ever(self) -> list[Extent]:
        """Return everything that ever came, in that order."""
        return sorted([*self.files, *self.alone.values()], key=lambda one: one.number)

    def stored(self) -> list[Extent]:
        """Return everything of which a file may lie there."""
        return [*self.ever(), *self.superseded, *self.left.values()]

    def compactable(self) -> tuple[dict[str, Digest], set[str]]:
        """Return the segments that lie alone and of which the ledger knows the digests, which a file could
        vouch for, in their order, without those that are gone or archived; and the compacted files that are
        there.
        """
        alone = sorted(self.alone.values(), key=lambda one: one.number)
        counting = {one.name: one.digest for one in alone if one.digest and not one.gone and not one.cold}
        return counting, {one.name for one in self.files if not one.removed_by and not one.cold}

    def removed_files(self) -> set[str]:
        """Return the names of compacted files that were removed or archived; none is given again."""
        every = (*self.files, *self.superseded)
        return {one.name for one in every if one.is_file and (one.removed_by or one.cold)}

    @property
    def has_cold(self) -> bool:
        """Whether anything is archived."""
        every = (*self.files, *self.superseded, *self.alone.values(), *self.left.values())
        return any(one.cold for one in every)

    def before(self, now: Instant, window: Duration) -> list[list[str]]:
        """Return the segments that lie alone and whose rows are all of an earlier window, by window."""
        found: dict[int, list[str]] = {}
        for one in sorted(self.alone.values(), key=lambda one: one.number):
            if one.first is not None and one.last is not None and one.last // window < now // window:
                found.setdefault(one.last // window, []).append(one.name)
        return list(found.values())

    def span(self) -> tuple[Instant | None, Instant | None]:
        """Return the first and the last time of any row, as far as they are known."""
        every = self.extents()
        first = min((one.first for one in every if one.first is not None), default=None)
        return first, max((one.last for one in every if one.last is not None), default=None)


def _gone(one: Extent, number: int, at: Instant) -> Extent:
    return one if one.gone else msgspec.structs.replace(one, gone=number, gone_at=at)


def _last_remains(one: Extent, every: Mapping[str, Extent]) -> tuple[str, Digest, int] | None:
    """Return the name, the digest and the rows of the segment that holds what is left of an extent by now,
    None if nothing is. It may have been erased from several times.
    """
    while one.remains:
        then = every.get(one.remains)
        if then is None or not then.erased:
            # It may lie in a file with others by now, where it is found by its name.
            return one.remains, one.remains_digest, one.n_left
        one = then
    return None


def writer_of(segment: str) -> str:
    """Return what the names of one writer's segments begin with.

    Examples
    --------
    >>> writer_of("20260101T000000000000-1-000007"), writer_of("20260101T000000000000")
    ('20260101T000000000000-1', '')
    """
    return segment.rpartition("-")[0]


def digests(extents: Iterable[Extent]) -> dict[str, Digest]:
    """Return the digests of extents by name, as `kernel.columns` reads them."""
    return {one.name: one.digest for one in extents}
