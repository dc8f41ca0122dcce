"""Profiles of the versions of a dataset, kept beside its rows.

A profile is made when somebody asks, since most versions, a few live rows each, are never looked at. It is
kept under the number of its version, and the next one reads only the rows that came after. What is kept
follows from rows, so it is no truth of its own: whoever deletes the folder loses time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import polars as pl

from varv.data.dataset import Dataset
from varv.data.service import Datasets
from varv.kernel.blobs import write_atomically
from varv.kernel.catalogue import Extent
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import digest
from varv.kernel.errors import Corrupt
from varv.kernel.faults import Faults
from varv.profiles import Profile, Scale, merged, profile_of, scale_of
from varv.profiles.profile import FORMAT

FOLDER = "profiles"
KEPT = 16
"""Profiles of a part that are kept, those of the last versions; and of windows, those that were made last.
Each is half a megabyte."""
SCALE_ROWS = 10_000
"""Rows from which the scale of a part follows, those that came first."""
_DIGEST_BYTES = 64


class Profiles:
    """The profiles of one home.

    Parameters
    ----------
    datasets
        Where rows are.
    home
        The folder.
    """

    def __init__(self, datasets: Datasets, home: Path) -> None:
        self._datasets = datasets
        self._root = home / FOLDER

    def of_version(self, dataset: Dataset, part: str, version: int) -> Profile:
        """Return the profile of all rows of a part as of a version.

        Raises
        ------
        NotFound
            If there is no such version.
        Expired
            If its files were removed.
        """
        extents = self._datasets.extents(dataset, part, upto=version)
        kept = read_kept(self._place(dataset.name, part, version))
        if kept is not None:
            return kept
        scale = self.scale(dataset, part, extents, version)
        base, since = self._base(dataset, part, version, scale)
        later = profile_of(self._rows(dataset, part, extents, since, version), scale=scale)
        found = later if base is None else merged([base, later])
        self._keep(dataset.name, part, version, found)
        return found

    def of_window(
        self, dataset: Dataset, part: str, version: int, *, since: Instant, until: Instant
    ) -> Profile:
        """Return the profile of the rows of a version whose time of the part is in [since, until), on the
        scale of the part, so that windows can be compared cell by cell and merged.

        Raises
        ------
        NotFound
            If there is no such version.
        Expired
            If its files were removed.
        """
        extents = self._datasets.extents(dataset, part, upto=version)
        place = self._root / dataset.name / part / f"{version}.{since}-{until}.{FORMAT}.window"
        kept = read_kept(place)
        if kept is not None:
            return kept
        columns = dataset.columns(part)
        scale = self.scale(dataset, part, extents, version)
        within = pl.col(part).is_between(as_datetime(since), as_datetime(until), closed="left")
        rows = self._datasets.batches(
            dataset, part, columns=columns, version=version, since=since, until=until
        )
        none = pl.DataFrame(schema=dataset.part_types(part)).select(columns)
        found = profile_of(chain([none], (one.filter(within) for one in rows)), scale=scale)
        write_kept(place, found)
        windows = sorted(place.parent.glob("*.window"), key=lambda one: one.stat().st_mtime_ns)
        for old in windows[:-KEPT]:
            old.unlink(missing_ok=True)
        return found

    def scale(self, dataset: Dataset, part: str, extents: Sequence[Extent], version: int) -> Scale:
        """Return the scale of a part, which follows from the rows that came first."""
        rows, n = [pl.DataFrame(schema=dataset.part_types(part))], 0
        for one in extents:
            n_rows = self._datasets.n_rows_upto(dataset, part, one, version)
            if n >= SCALE_ROWS or not n_rows:
                continue
            rows.append(self._datasets.rows_in(dataset, part, one).head(min(n_rows, SCALE_ROWS - n)))
            n += rows[-1].height
        first = pl.concat([one.select(dataset.columns(part)) for one in rows])
        return scale_of(first, key=dataset.key)

    def _base(self, dataset: Dataset, part: str, version: int, scale: Scale) -> tuple[Profile | None, int]:
        """Return the newest profile of a version before, and that version; None and 0 if there is none, or
        rows were replaced since.
        """
        earlier = [one for one in self._versions(dataset.name, part) if one < version]
        for since in sorted(earlier, reverse=True):
            if self._datasets.was_rewritten(dataset, since):
                break
            kept = read_kept(self._place(dataset.name, part, since))
            if kept is not None and kept.scale == scale:
                return kept, since
        return None, 0

    def _rows(
        self, dataset: Dataset, part: str, extents: Sequence[Extent], since: int, version: int
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows that came after one version and by another; at least one frame."""
        yield pl.DataFrame(schema=dataset.part_types(part)).select(dataset.columns(part))
        for one in extents:
            first = self._datasets.n_rows_upto(dataset, part, one, since) if since else 0
            end = self._datasets.n_rows_upto(dataset, part, one, version)
            if end <= first:
                continue
            yield self._datasets.rows_in(dataset, part, one).slice(first, end - first)

    def _place(self, dataset: str, part: str, version: int) -> Path:
        return self._root / dataset / part / f"{version}.{FORMAT}.profile"

    def _versions(self, dataset: str, part: str) -> list[int]:
        return kept_versions(self._root.parent, dataset, part)

    def _keep(self, dataset: str, part: str, version: int, profile: Profile) -> None:
        place = self._place(dataset, part, version)
        write_kept(place, profile)
        kept = {self._place(dataset, part, one) for one in self._versions(dataset, part)[-KEPT:]}
        # Those of another format, too: nobody reads them any more.
        for old in {*place.parent.glob("*.profile")} - kept:
            old.unlink(missing_ok=True)


def write_kept(place: Path, profile: Profile) -> None:
    """Write a profile to a file, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    data = profile.to_bytes()
    write_atomically(place, digest(data).encode() + data, Faults())


def kept_versions(home: Path, dataset: str, part: str) -> list[int]:
    """Return the versions of which profiles are kept, the least first."""
    files = (home / FOLDER / dataset / part).glob(f"*.{FORMAT}.profile")
    return sorted(int(one.name.partition(".")[0]) for one in files)


def last_kept(home: Path, dataset: str, part: str) -> tuple[int, Profile] | None:
    """Return the profile of the last version that has one, and that version; None if none has."""
    for version in reversed(kept_versions(home, dataset, part)):
        found = kept_profile(home, dataset, part, version)
        if found is not None:
            return version, found
    return None


def kept_profile(home: Path, dataset: str, part: str, version: int) -> Profile | None:
    """Return the profile of a version; None if none is kept."""
    return read_kept(home / FOLDER / dataset / part / f"{version}.{FORMAT}.profile")


def read_kept(place: Path) -> Profile | None:
    """Return the profile in a file; None if it is not there, or not what was written."""
    with suppress(FileNotFoundError, Corrupt):
        data = place.read_bytes()
        if digest(data[_DIGEST_BYTES:]).encode() == data[:_DIGEST_BYTES]:
            return Profile.from_bytes(data[_DIGEST_BYTES:])
    return None
