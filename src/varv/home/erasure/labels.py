"""Labels of a subject's requests: what is to be labelled is forgotten, and what was said of it.

The ledger is not touched: it goes on holding the keys of requests and what labellers said of them, which
without the rows are of nobody.
"""

from __future__ import annotations

import polars as pl

from varv.home.erasure.rows import Store
from varv.kernel.ids import ModelName
from varv.kernel.sagas import Fact
from varv.labels.model import LabelsErased, stream_of
from varv.labels.views import LabelsView


class SubjectLabels:
    """The labels of one model for a subject.

    Parameters
    ----------
    store
        Of a home that nobody else writes to.
    keys
        The keys of the subject's requests, as text.
    """

    def __init__(self, store: Store, model: ModelName, keys: pl.Series) -> None:
        self._store, self._model = store, model
        self._keys = set(keys.to_list())
        self.place = f"labels/{model}"

    def n_items(self) -> int:
        """Return how many requests of the subject wait for a label, have one, or were remarked on."""
        return len(self._held())

    def erase(self, erasure: str) -> None:
        """Let them go."""
        held = self._held()
        if not held:
            return
        digests = tuple(sorted(LabelsErased.digest_of(erasure, key) for key in held))
        event = LabelsErased(model=self._model, erasure=erasure, keys=digests)
        self._store.datasets.commit([Fact(stream_of(self._model), event)])
        self._store.faults.reach("erasure.after_rows")

    def _held(self) -> set[str]:
        with self._store.views.reading(LabelsView) as view:
            labelled = view.of(self._model)
            return self._keys & (labelled.items.keys() | labelled.feedback.keys())
