"""Which versions of datasets something names that has to be explained or made again: versions of models."""

from __future__ import annotations

from varv.home.views import HomeView
from varv.kernel.views import Views
from varv.registry import RegistryView


def named_versions(views: Views, dataset: str) -> dict[int, str]:
    """Return the versions of a dataset that training sets and models were made from, each with the last of
    these: of every model version that is registered, in a rollout or not.
    """
    found: dict[int, str] = {}
    with views.reading(HomeView) as home:
        for name, reads in home.training_sets.items():
            found |= {version: f"training set {name}" for read, version in reads if read == dataset}
    with views.reading(RegistryView) as registry:
        for name, record in registry.models.items():
            for number, version in sorted(record.versions.items()):
                uses = [use.version for use in version.registered.datasets if use.dataset == dataset]
                found |= dict.fromkeys(uses, f"{name} v{number}")
    return found
