"""Which versions of a dataset are kept: tags, retention, and the removal of files that no version needs.

A file may go when every version that counts on it is one that nothing names: no tag, nothing that `Named`
knows of, not the retention. What is removed is on record before the first file is gone, and a removal that a
crash cut short is finished by the next one, or by the next compaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from varv.data.dataset import Dataset
from varv.data.retention import Retention
from varv.data.service import Datasets
from varv.data.versioning.references import TAG, Reference, version_meant
from varv.data.versions import stream_of
from varv.data.versions.model import DatasetTagged, DatasetUntagged, DatasetVacuumed
from varv.data.views import DatasetsView
from varv.kernel.catalogue import Catalogue, Extent
from varv.kernel.clock import DAY, Clock, Duration, Instant
from varv.kernel.codec import Digest
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.ids import Version
from varv.kernel.ledger import Ledger
from varv.kernel.sagas import Fact
from varv.kernel.segment_files import SUFFIX
from varv.kernel.views import Views

LONGEST_READER = Duration(DAY)
"""A file that a version lost less long ago than this stays: somebody may be reading it."""

Named = Callable[[str], Mapping[int, str]]
"""Returns, of a dataset, the versions that must stay, each with what names it: ``model late v3``."""


class Removable(NamedTuple):
    """What a vacuum would remove of a dataset: extents by part."""

    extents: Mapping[str, list[Extent]]
    kept: Mapping[int, str]
    """By version that is named, by what."""
    retention: Retention

    @property
    def n_files(self) -> int:
        """How many files they are."""
        return sum(map(len, self.extents.values()))

    @property
    def n_rows(self) -> int:
        """How many rows lie in them."""
        return sum(one.n_rows for several in self.extents.values() for one in several)


class Versions:
    """The names of versions, and what is kept of them.

    Parameters
    ----------
    datasets, views, ledger, clock
        Of the same store.
    named
        What else names versions.
    """

    def __init__(
        self, datasets: Datasets, views: Views, ledger: Ledger, clock: Clock, named: Named = lambda _: {}
    ) -> None:
        self._datasets = datasets
        self._views = views
        self._ledger = ledger
        self._clock = clock
        self._named = named
        self._cold = datasets.cold
        self.before_naming: Callable[[Dataset, Version], None] = lambda dataset, version: None
        """Called before a version gets a tag, which somebody may read it by from then on."""

    def named(self, dataset: str) -> dict[int, str]:
        """Return the versions of a dataset that something names, each with what does."""
        with self._views.reading(DatasetsView) as view:
            history = view.history(dataset)
            tagged = {int(one.version): f"tag {one.tag}" for one in history.tags.values()}
            # Readers of the last version of a table have to find its files.
            published = {int(one.version): "its last publication" for one in history.published.values()}
        return {**published, **self._named(dataset), **tagged}

    def meant(self, reference: Reference) -> Version:
        """Return the version that a reference means; see `references.version_meant`."""
        return version_meant(reference, self._views, self._ledger)

    def tag(self, reference: Reference, tag: str, *, by: str = "", why: str = "") -> DatasetTagged:
        """Give the version that a reference means a name, which another version may have had until now.

        Raises
        ------
        InvalidInput
            If a tag could not be called so.
        NotFound
            If there is no such version.
        Expired
            If its files were removed.
        """
        if not TAG.fullmatch(tag):
            hint = "begin with a letter; use lower-case letters, digits and . _ -, 63 at most"
            raise InvalidInput("tag", tag[:80], "is not a valid name", hint=hint)
        version = self.meant(reference)
        dataset = self._datasets.registered(reference.dataset)
        for part in dataset.parts:
            self._datasets.extents(dataset, part, upto=version)
        self.before_naming(dataset, version)
        with self._views.reading(DatasetsView) as view:
            before = view.history(dataset.name).tags.get(tag)
        event = DatasetTagged(
            dataset=dataset.name,
            tag=tag,
            version=version,
            before=None if before is None else before.version,
            by=by,
            why=why,
        )
        if before is None or before.version != version:
            self._datasets.commit([Fact(stream_of(dataset.name), event)])
        return event

    def now(self) -> Instant:
        """Return the present."""
        return self._clock.now()

    def untag(self, dataset: str, tag: str, *, by: str = "", why: str = "") -> DatasetUntagged:
        """Give a name of a version up.

        Raises
        ------
        NotFound
            If no version has it.
        """
        version = self.meant(Reference(dataset, tag=tag))
        known = self._datasets.registered(dataset)
        event = DatasetUntagged(dataset=known.name, tag=tag, version=version, by=by, why=why)
        self._datasets.commit([Fact(stream_of(dataset), event)])
        return event

    def removable(self, dataset: Dataset, retention: Retention | None = None) -> Removable:
        """Return what a vacuum would remove.

        Parameters
        ----------
        retention
            What is kept though nothing names it; by default what the dataset declares.
        """
        with self._views.reading(DatasetsView) as view:
            history, last = view.history(dataset.name), view.version(dataset.name)
            held = {part: view.catalogue(dataset.name, part) for part in dataset.parts}
            live = {part: set(history.live.get(part, ())) for part in dataset.parts}
            retention = history.retention if retention is None else retention
        kept = self.named(dataset.name)
        since = self._since(dataset, last, retention)
        latest = Instant(self._clock.now() - LONGEST_READER)

        def spent(part: str, catalogue: Catalogue) -> Iterator[Extent]:
            # What is left of a version that stays, once rows of it were erased, stays with it.
            spared = catalogue.holding_remains(lambda one: _is_needed(one, since, kept, latest))
            for one in catalogue.ever():
                if one.name not in spared and not _is_needed(one, since, kept, latest):
                    yield one
            for one in catalogue.superseded:
                # Its rows lie in a larger file, so no version is kept by it, but published ones by name.
                if not _is_needed(one, last, kept, latest) and f"{one.name}{SUFFIX}" not in live[part]:
                    yield one
            yield from (one for name, one in catalogue.left.items() if name not in spared)

        found = {
            part: [one for one in spent(part, catalogue) if not one.removed_by]
            for part, catalogue in held.items()
        }
        return Removable({part: several for part, several in found.items() if several}, kept, retention)

    def vacuum(self, dataset: Dataset, retention: Retention | None = None, *, by: str = "") -> Removable:
        """Remove the files that only versions need which nothing names; return what was removed."""
        self._finish(dataset)
        found = self.removable(dataset, retention)
        if found.n_files:
            event = DatasetVacuumed(
                dataset=dataset.name,
                files={part: tuple(one.name for one in several) for part, several in found.extents.items()},
                because=f"needed by no version that is named; kept besides: {found.retention}",
                by=by,
                n_rows=found.n_rows,
            )
            self._datasets.commit([Fact(stream_of(dataset.name), event)])
            self._finish(dataset)
        return found

    def _finish(self, dataset: Dataset) -> None:
        """Remove what the last vacuum was to remove, also where it is archived."""
        self._datasets.finish_vacuum(dataset)
        with self._views.reading(DatasetsView) as view:
            event = view.history(dataset.name).vacuumed
            if event is None:
                return
            were_cold = [
                one.cold
                for part, names in event.files.items()
                for one in view.catalogue(dataset.name, part).ever()
                if one.cold and one.name in names
            ]
            on_record = view.in_archives() if were_cold else set[tuple[str, Digest]]()
        for cold in were_cold:
            if (cold.place, cold.digest) not in on_record:
                self._cold.drop(cold.place, cold.digest)

    def _since(self, dataset: Dataset, last: Version, retention: Retention) -> int:
        """Return the first version that retention keeps; all after it are kept too."""
        if retention.keeps_all:
            return 0
        if retention.n_versions is not None:
            return max(0, last - retention.n_versions + 1)
        at = Instant(self._clock.now() - (retention.span or 0))
        try:
            return self.meant(Reference(dataset.name, at=at))
        except NotFound:
            return 0


def _is_needed(one: Extent, since: int, kept: Mapping[int, str], latest: Instant) -> bool:
    """Return whether a version that stays needs an extent, or somebody may be reading it still."""
    if not one.gone or one.gone > since or one.gone_at > latest:
        return True
    return any(one.counts_at(version) for version in kept)
