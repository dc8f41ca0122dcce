"""Which versions of datasets something names that has to be explained or made again: versions of models,
training sets, and datasets that were made from others.
"""

from __future__ import annotations

from varv.data.views import DatasetsView
from varv.home.views import HomeView
from varv.kernel.views import Views
from varv.registry import RegistryView


def named_versions(views: Views, dataset: str) -> dict[int, str]:
    """Return the versions of a dataset that training sets, models and other datasets were made from, each
    with the last of these: of every model version that is registered, in a rollout or not, and of each
    dataset the last version that was made.
    """
    found: dict[int, str] = {}
    with views.reading(HomeView) as home:
        for name, reads in home.training_sets.items():
            found |= {version: f"training set {name}" for read, version in reads if read == dataset}
    with views.reading(DatasetsView) as data:
        for name, history in data.histories.items():
            last = max(history.made_from, default=0)
            if dataset in history.made_from.get(last, {}):
                found[history.made_from[last][dataset]] = f"{name}@{last}, made from it"
    with views.reading(RegistryView) as registry:
        for name, record in registry.models.items():
            for number, version in sorted(record.versions.items()):
                uses = [use.version for use in version.registered.datasets if use.dataset == dataset]
                found |= dict.fromkeys(uses, f"{name} v{number}")
    return found
