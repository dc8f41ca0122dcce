"""The files whose rows were compared with their digests, each the first time that a process reads it.

A file holds the digest of its segments' rows, and the ledger holds it too. Rows are compared with both:
whoever names a segment together with its digest gets those rows, or `Corrupt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from varv.kernel.codec import Digest
from varv.kernel.columns import Segments
from varv.kernel.errors import Corrupt
from varv.kernel.segment_files import (
    COMPACTED,
    RESTORE,
    Looks,
    listed_in,
    listing_digest,
    looks_of,
    read_file,
)
from varv.kernel.table_folder import Place

_FEWEST = 4096
"""So many files are remembered as compared before those are forgotten that are gone."""


class ComparedFiles:
    """What a process knows of files of segments.

    Parameters
    ----------
    root
        The folder of all tables; errors name files by their place beside it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # By file: what it looked like when its rows were compared, and what they, or its list, were.
        self._known: dict[Path, tuple[Looks, Digest]] = {}
        self._most = _FEWEST

    def __len__(self) -> int:
        return len(self._known)

    def require(self, stretch: Sequence[Place], segments: Segments) -> pl.DataFrame | None:
        """Compare the rows of some segments of one file with what was stored, and with the digests asked for.

        Returns
        -------
        pl.DataFrame
            The rows of the file, if it had to be read for this; None if this process knows it already.

        Raises
        ------
        Corrupt
            If they are others; the file is named.
        """
        rows, path = None, stretch[0].path
        compared = self._known.get(path)
        looks = looks_of(path)
        if compared is None or compared[0] != looks:
            rows, listed = read_file(path, self._shown(path))
            found = listing_digest(listed) if path.name.startswith(COMPACTED) else listed[0].digest
            compared = looks, found
            self._remember(path, compared)
        if isinstance(segments, Mapping):
            for name, found in self._digests(stretch, compared[1]).items():
                if segments[name] and found != segments[name]:
                    raise Corrupt(
                        "file",
                        self._shown(path),
                        "does not hold the rows that the ledger names",
                        segment=name,
                        expected=segments[name][:12],
                        found=found[:12],
                        hint=RESTORE,
                    )
        return rows

    def written(self, path: Path, content: Digest) -> None:
        """Take a file that was just written for compared, with the digest of its rows or of its list."""
        self._remember(path, (looks_of(path), content))

    def forget(self, path: Path) -> None:
        """Forget a file that is gone."""
        self._known.pop(path, None)

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._root.parent).as_posix()

    def _remember(self, path: Path, compared: tuple[Looks, Digest]) -> None:
        self._known[path] = compared
        if len(self._known) > self._most:
            # Compacted segments lose their files, in another process than the one that has read them too.
            self._known = {path: one for path, one in self._known.items() if path.exists()}
            self._most = max(_FEWEST, 2 * len(self._known))

    def _digests(self, stretch: Sequence[Place], of_file: Digest) -> dict[str, Digest]:
        """Return the digests of the rows of a stretch's segments, whose file was compared."""
        if stretch[0].n_rows is None:
            return {stretch[0].segment: of_file}
        path = stretch[0].path
        listed = {one.segment: one.digest for one in listed_in(path, self._shown(path))}
        return {one.segment: listed[one.segment] for one in stretch}
