"""What the ledger says of datasets: their versions, where the rows of each are, and what became of batches.

Nothing here reads rows; `data.stored` does.
"""

from __future__ import annotations

from varv.data.cold import require_warm
from varv.data.dataset import Dataset
from varv.data.registered import registered_dataset
from varv.data.versions import Came, DatasetVersion, batch_of, versions_of
from varv.data.views import DatasetsView
from varv.kernel.catalogue import Extent
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest
from varv.kernel.errors import Erased, Expired, NotFound
from varv.kernel.ids import Version
from varv.kernel.ledger import Ledger
from varv.kernel.purpose_keys import PurposeKeys
from varv.kernel.secret import Secret
from varv.kernel.views import Views


class RecordedDatasets:
    """The datasets that one ledger knows.

    Parameters
    ----------
    ledger
        Where facts are kept.
    views
        Views of it, `DatasetsView` among them.
    secret
        Of the home, for digests of what the ledger must not reveal.
    """

    def __init__(self, ledger: Ledger, views: Views, secret: Secret) -> None:
        self._ledger = ledger
        self._views = views
        self._secret = secret

    @property
    def purposes(self) -> PurposeKeys:
        """The keys of the home's pseudonyms, and of its subjects."""
        return self._secret.purposes

    def keyed(self, content: Digest) -> Digest:
        """Return the digest by which the ledger knows rows that it must not reveal."""
        return self._secret.digest(content.encode())

    def registered(self, name: str) -> Dataset:
        """Return a dataset as it was registered.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        dataset = registered_dataset(self._views, name)
        dataset.bind(self._secret.purposes)
        return dataset

    def columns_at(self, dataset: Dataset, version: int) -> list[str]:
        """Return the columns that a dataset had at a version."""
        with self._views.reading(DatasetsView) as view:
            return view.history(dataset.name).columns_at(list(dataset.types()), version)

    def empty_in_archive(self, dataset: Dataset) -> frozenset[str]:
        """Return the columns of the base part that were empty in some row that was ever archived."""
        with self._views.reading(DatasetsView) as view:
            return frozenset(view.history(dataset.name).empty_in_archive)

    def require_warm(self, dataset: Dataset, *, version: Version | int | None = None) -> None:
        """Raise `FailedPrecondition` if some rows of a version, by default the last, are archived."""
        for part in dataset.parts:
            require_warm(dataset.name, self.extents(dataset, part, upto=version))

    def extents(
        self, dataset: Dataset, part: str, *, upto: Version | int | None = None, remaining: bool = False
    ) -> list[Extent]:
        """Return where the rows of a part are, in the order in which they came.

        Parameters
        ----------
        remaining
            Whether of files of which rows were erased the files with the other rows are wanted.

        Raises
        ------
        NotFound
            If there is no version `upto`.
        Expired
            If its files were removed, since nothing had named it.
        Erased
            If rows of it were erased, and the others are not asked for or cannot be told from later ones.
        """
        with self._views.reading(DatasetsView) as view:
            last = view.version(dataset.name)
            found = view.catalogue(dataset.name, part).extents(upto)
        if upto is None:
            return found
        if remaining:
            found = self._remaining(dataset, part, found, upto)
        if not 0 <= upto <= last:
            raise NotFound("dataset", dataset.name, f"has no version {upto}", hint=f"the last is {last}")
        if erased := [one for one in found if one.erased]:
            problem = f"does not have version {upto} as it was: rows were erased"
            hint = "read the others with --remaining or remaining=True, or read a later version"
            if remaining:
                hint = "read a later version: its rows cannot be told from those that came after it"
            raise Erased("dataset", dataset.name, problem, entry=erased[0].removed_by, hint=hint)
        if removed := [one for one in found if one.removed_by]:
            problem = f"has no version {upto} any more: it expired"
            hint = "read a later version; tag what is to be kept"
            raise Expired("dataset", dataset.name, problem, entry=removed[0].removed_by, hint=hint)
        return found

    def _remaining(self, dataset: Dataset, part: str, extents: list[Extent], upto: int) -> list[Extent]:
        """Return extents, those of which rows were erased replaced by what holds the others."""
        with self._views.reading(DatasetsView) as view:
            return view.catalogue(dataset.name, part).remaining(extents, upto)

    def version(self, dataset: Dataset) -> Version:
        """Return the last version of a dataset; 0 if nothing was ingested."""
        with self._views.reading(DatasetsView) as view:
            return view.version(dataset.name)

    def digest(self, dataset: Dataset) -> Digest:
        """Return what identifies the batches of all versions of a dataset, in their order."""
        with self._views.reading(DatasetsView) as view:
            return view.digest(dataset.name)

    def versions(self, dataset: Dataset, *, since: Instant | None = None) -> list[DatasetVersion]:
        """Return the versions of a dataset, each with the batch that made it, the first one first; they are
        read from the ledger.

        Parameters
        ----------
        since
            Only those that came from then on, and some that came before.
        """
        with self._views.reading(DatasetsView) as view:
            mark = None if since is None else view.history(dataset.name).mark_before(since)
        if mark is None:
            return [version for _, version in versions_of(self._ledger, dataset.name)]
        later = versions_of(self._ledger, dataset.name, after=mark.place - 1, version=mark.version - 1)
        return [version for _, version in later]

    def version_of(self, dataset: Dataset, part: str, segment: str) -> Version | None:
        """Return the version that a batch made; None if it made none."""
        came = self.came(dataset.name, part, segment)
        return None if came is None else came.version

    def was_rewritten(self, dataset: Dataset, since: Version | int) -> bool:
        """Return whether rows of a dataset were replaced after a version, so that what follows from its rows
        up to there does not hold any more.
        """
        with self._views.reading(DatasetsView) as view:
            return view.history(dataset.name).last_rewrite > since

    def came(self, dataset: str, part: str, segment: str) -> Came | None:
        """Return what became of a batch; None if it never came."""
        with self._views.reading(DatasetsView) as view:
            batch, extent = view.batch(dataset, part, segment), view.segment(dataset, part, segment)
            is_old = batch is None and view.may_have_come(dataset, part, segment)
        if batch is not None:
            return (
                Came(batch, None, None)
                if extent is None
                else Came(batch, extent.digest, Version(extent.number))
            )
        return batch_of(self._ledger, dataset, part, segment) if is_old else None

    def has_come(self, dataset: Dataset, part: str, segment: str) -> bool:
        """Return whether a batch came before, whatever became of its rows."""
        return self.came(dataset.name, part, segment) is not None

    def n_quarantined(self, dataset: Dataset, part: str, segment: str) -> int:
        """Return how many rows of a batch are in quarantine."""
        with self._views.reading(DatasetsView) as view:
            held = view.arrivals.quarantined(dataset.name, part, segment)
        return 0 if held is None else held.n_rows
