"""Datasets as they are on record: as they were registered, with what they have gained since."""

from __future__ import annotations

from collections.abc import Iterable

from varv.data.dataset import Dataset, dataset_of
from varv.data.views import DatasetsView
from varv.kernel.errors import NotFound
from varv.kernel.views import Views


def recall_types(views: Views, datasets: Iterable[Dataset]) -> None:
    """Let datasets know the types in which their rows are stored, so that nothing is guessed once there are
    any.
    """
    for dataset in datasets:
        with views.reading(DatasetsView) as view:
            registered = view.registered(dataset.name)
        if registered is not None:
            dataset.recall(dataset_of(registered).types())


def registered_dataset(views: Views, name: str) -> Dataset:
    """Return a dataset as it was registered.

    Raises
    ------
    NotFound
        If there is none of that name.
    """
    with views.reading(DatasetsView) as view:
        registered, known = view.registered(name), [str(one.dataset) for one in view.datasets()]
    if registered is None:
        hint = f"the datasets are {', '.join(known) or 'none'}"
        raise NotFound("dataset", name[:80], "is not registered", hint=hint)
    return dataset_of(registered)
