"""What was observed of datasets, as the histories behind feature views: one state a view, whoever reads it.

`observe` takes in what became known, in any order; what is kept of a dataset is in `features.observed`.
Requests are looked up in `features.engine`, which each model has one of.

The rules, the same offline and online: a row counts from its knowledge time on, inclusively; a request of the
dataset itself sees rows of before it (`FeatureSet.own_views`). A key is stated once; a row that states it
again is ignored. A later part counts once its base row is observed too, and only if it became known within
`PATIENCE` of the event, so that forgetting old rows changes nothing.

Rows count as soon as they are observed, however late they come: a window that is looked up afterwards holds
them. The watermark of a view, its latest instant less the lateness that it declares, refuses nothing; what
comes behind it is counted (`progress`). Rows are in the ledger before they are observed, and a key is
observed once, so after a crash what is told again changes nothing: each row counts exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import polars as pl

from varv.data.dataset import Dataset
from varv.data.intake import Batch
from varv.features.feature_view import FeatureView
from varv.features.observed import Observed, ObservedState
from varv.features.online.stored import StoredHistory
from varv.features.reads import ReadCounts
from varv.features.view_history import Progress, ViewHistory, key_of
from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.ids import new_secret
from varv.kernel.mapped import MappedFile
from varv.kernel.secret import Secret


class FeatureStore:
    """The state of all feature views of a home, in memory.

    One thread observes; others may look up at the same time. Views are added before the first row is
    observed.

    Parameters
    ----------
    secret
        Of the home, which salts the hashes of keys, so that a state can be given to another process; by
        default nobody knows the salt.
    stored
        Returns what is behind a view that is read from the online store; None of one that is held in memory,
        as all are by default.
    reads
        Counts reads by models; counts of its own by default.
    """

    def __init__(
        self,
        secret: Secret | None = None,
        stored: Callable[[FeatureView], StoredHistory | None] = lambda _: None,
        reads: ReadCounts | None = None,
    ) -> None:
        self.reads = reads or ReadCounts()
        salt = new_secret() if secret is None else bytes.fromhex(secret.digest(b"keys of known rows"))
        self._salt = int.from_bytes(salt[:8])
        self._observed: dict[str, Observed] = {}
        self._views: dict[str, ViewHistory] = {}
        self._stored: dict[str, StoredHistory] = {}
        self._is_stored = stored
        self.oldest = Instant(0)
        """Requests before this instant cannot be looked up any more."""

    def history(self, view: FeatureView, *, own_outcomes: bool = False) -> ViewHistory | StoredHistory:
        """Return the history behind a view; the same one for every model that reads the view, and for each of
        its uses.

        Parameters
        ----------
        own_outcomes
            See `FeatureSet.own_outcome_views`. A view that is read from the online store makes no difference:
            what it holds was known before the request came.

        Raises
        ------
        InvalidDeclaration
            If another view has its name, or its dataset's name another dataset.
        """
        view = view.of
        key = key_of(view, own_outcomes=own_outcomes)
        if (found := self._views.get(key) or self._stored.get(key)) is not None:
            return found
        if (stored := self._is_stored(view)) is not None:
            return self._stored.setdefault(key, stored)
        # A view that is kept for a version may stand beside one that is declared under its name by now.
        if any(
            not (one.view.is_kept or view.is_kept)
            for one in self._views.values()
            if one.view.name == view.name and key_of(one.view) != key_of(view)
        ):
            hint = "rename one of them, or share one object"
            raise InvalidDeclaration("feature view", view.name, "is declared twice", hint=hint)
        observed = self._observed.setdefault(view.source.name, Observed(view.source, self._salt))
        if observed.dataset is not view.source:
            hint = "use one Dataset object in all views"
            raise InvalidDeclaration("dataset", view.source.name, "is declared twice", hint=hint)
        made = self._views[key] = observed.history(view, own_outcomes=own_outcomes)
        return made

    def observe(self, dataset: Dataset | str, part: str, frame: pl.DataFrame) -> None:
        """Take in rows of one part that became known; datasets and parts without a feature view are passed
        over.

        Rows need the columns of the part (`Dataset.columns`); more do no harm. Rows without a time never
        become known. The same rows once more change nothing.

        Raises
        ------
        InvalidInput
            If a column is missing or of another type, or the value of a window is 2^23 or more in size.
        """
        observed = self._observed.get(dataset if isinstance(dataset, str) else dataset.name)
        if observed is not None and not frame.is_empty():
            observed.observe(part, frame)

    def rows_known(self, batch: Batch) -> None:
        """Observe a batch; the store listens to ingestion."""
        self.observe(batch.dataset, batch.part, batch.rows)

    def observe_anew(self, dataset: Dataset, batches: Iterable[Batch]) -> None:
        """Hold of a dataset what these batches say, all that is stored of it, and nothing else: its rows were
        replaced. Until all are observed, requests find what was there before.
        """
        held = self._observed.get(dataset.name)
        if held is None:
            return
        fresh = Observed(held.dataset, self._salt)
        of_it = [one for one in self._views.values() if one.view.source is held.dataset]
        for one in of_it:
            fresh.history(one.view, own_outcomes=one.own_outcomes)
        for batch in batches:
            if not batch.rows.is_empty():
                fresh.observe(batch.part, batch.rows)
        fresh.trim(self.oldest)
        self._observed[dataset.name] = fresh
        # Engines hold these, and go on with them.
        fresh.hand_to(of_it)

    def progress(self) -> list[tuple[FeatureView, Progress]]:
        """Return how far the rows of each view have come: the watermark, and what came late."""
        return [(one.view, one.progress) for one in self._views.values()]

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files; it is read again when needed."""
        for observed in self._observed.values():
            observed.let_go()

    def trim(self, before: Instant) -> None:
        """Forget what no request at or after `before` can see; earlier requests are refused from now on."""
        if before <= self.oldest:
            return
        self.oldest = before
        for observed in self._observed.values():
            observed.trim(before)

    def as_state(self, dataset: Dataset) -> ObservedState | None:
        """Return what was observed of a dataset, for another store of the same secret and views; None if no
        view reads it. Nothing changes what is returned.
        """
        observed = self._observed.get(dataset.name)
        return None if observed is None else observed.as_state()

    def restore(self, dataset: Dataset, state: ObservedState, lies_in: MappedFile, oldest: Instant) -> None:
        """Take in what another store had observed of a dataset, before any row is.

        Parameters
        ----------
        lies_in
            What the longer arrays of the state lie in.
        oldest
            Up to where the other one had trimmed.
        """
        self._observed[dataset.name].restore(state, lies_in)
        self.oldest = max(self.oldest, oldest)

    def identity(self, dataset: Dataset) -> str:
        """Return what two stores must have in common for one to take in what the other has observed of a
        dataset; nothing if no view reads it.
        """
        observed = self._observed.get(dataset.name)
        return "" if observed is None else observed.identity()
