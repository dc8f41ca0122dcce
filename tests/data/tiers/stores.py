"""A store with an archive: files of rows that go cold and come back."""

from __future__ import annotations

from pathlib import Path

from tests.data.versioning.stores import TRIPS, Store

from varv.data.cold import ColdFiles
from varv.data.tiers import Moved, Reach, Tiers
from varv.kernel.clock import Instant, instant
from varv.kernel.faults import Faults


class TierStore(Store):
    """A `Store` whose old files can be moved."""

    def __init__(
        self, folder: Path, *, in_memory: bool = True, faults: Faults | None = None, place: str = ""
    ) -> None:
        self.place = place
        self.reached: list[Reach] = []
        super().__init__(folder, in_memory=in_memory, faults=faults)

    def reopen(self, named=None) -> None:
        super().reopen(named)
        if self.faults is not None:
            self.datasets.cold = ColdFiles(self.folder, self.faults)
        self.tiers = Tiers(
            self.columns,
            self.datasets.cold,
            self.views,
            self.clock,
            self.datasets.commit,
            place=self.place,
            reached=lambda _: self.reached,
            faults=self.faults,
        )

    def archive(self, before: str = "2013-01-10") -> Moved:
        return self.tiers.archive(TRIPS, instant(before), by="ana")

    def restore(self, since: str = "", until: str = "") -> Moved:
        ends = [Instant(instant(one)) if one else None for one in (since, until)]
        return self.tiers.restore(TRIPS, *ends, by="ana", why="an audit")

    def cold(self) -> set[str]:
        """Return the names of the files that are archived, as the catalogue has it."""
        held = self.tiers.cold(TRIPS)
        return {f"{part}/{one.name}" for part, several in held.items() for one in several}

    def blobs(self) -> set[str]:
        """Return the digests of what lies in the archive of the home."""
        root = self.folder / "archive"
        return {path.parent.name + path.name for path in root.glob("??/*")}
