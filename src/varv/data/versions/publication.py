"""What the ledger says of datasets that others read as Delta tables (`data.delta`)."""

from __future__ import annotations

from varv.kernel.clock import Duration, spoken
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import DatasetName, Version
from varv.kernel.wording import count


@event("data.publication_declared")
class PublicationDeclared(Event, frozen=True, kw_only=True):
    """How often a dataset is published from now on; not by itself if `every` is None."""

    dataset: DatasetName
    every: Duration | None = None

    def line(self) -> str:
        """Return one line on what this event states."""
        when = "by command only" if self.every is None else f"every {spoken(self.every)}"
        return f"{self.dataset} is published {when}"


@event("data.dataset_published")
class DatasetPublished(Event, frozen=True, kw_only=True):
    """A version of one part was committed to its Delta log, where it is version `delta_version`.

    `files` came with it and `removed` went, both since the publication before; `digest` is that of the files
    that the version is made of, in their order, by what vouches for each of them.
    """

    dataset: DatasetName
    part: str
    version: Version
    delta_version: int
    files: tuple[str, ...]
    removed: tuple[str, ...] = ()
    digest: Digest = Digest("")

    def line(self) -> str:
        """Return one line on what this event states."""
        gone = f", {count(len(self.removed))} gone" if self.removed else ""
        files = f"{count(len(self.files))} new files{gone}"
        return f"{self.dataset} {self.part}: version {self.version} is {self.delta_version} in Delta, {files}"
