"""The fleet in this process: data planes by model, and features that are observed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from varv.data import Dataset, Datasets
from varv.data.intake import Batch, Intake, stored_batches
from varv.features import FeatureStore
from varv.kernel.blobs import Blobs
from varv.kernel.codec import Digest
from varv.kernel.errors import NotFound
from varv.kernel.ids import ModelName, Version
from varv.registry import Package, Runtimes, open_package
from varv.serving.dataplane import DataPlane
from varv.serving.policy import ServingPolicy
from varv.serving.recorded import Recorded
from varv.serving.residence import Residence
from varv.serving.routing import RoutingTable
from varv.tasks import Task, task_of


class Reserves:
    """The champions before, of models that are to keep theirs in memory."""

    def __init__(self) -> None:
        self._held: dict[ModelName, Version | None] = {}

    def keep(self, model: ModelName, version: Version | None) -> None:
        """Keep that of a model from now on."""
        self._held[model] = version

    def drop(self, model: ModelName) -> Version | None:
        """Keep that of a model no more, and return which it was."""
        return self._held.pop(model, None)

    def of(self, model: ModelName) -> Version | None:
        """Return the version that a model has in reserve."""
        return self._held.get(model)

    def models(self) -> list[ModelName]:
        """Return the models that keep theirs."""
        return sorted(self._held)

    def changed(self, model: ModelName, before: RoutingTable | None, table: RoutingTable) -> bool:
        """Take note of a table that has taken the place of another, and return whether the model has another
        version in reserve now.

        One that comes back leaves nobody in reserve: what it replaces was not good enough.
        """
        if model not in self._held or before is None or before.champion == table.champion:
            return False
        returns = table.champion == self._held[model]
        self._held[model] = None if returns else before.champion
        return True


class DataPlanes:
    """The data plane of each model that this process answers for.

    Parameters
    ----------
    runtimes
        Bring packages into memory.
    blobs
        Where packages are.
    timer
        Reads seconds, to measure how long each version takes; None for a replay, whose answers must not
        depend on the machine.
    most_bytes
        What the models of all of them may take in memory; None for no bound.
    recorded
        Calls of the models, by which versions are warmed; None for their probe rows only.
    """

    def __init__(
        self,
        runtimes: Runtimes,
        blobs: Blobs,
        timer: Callable[[], float] | None = None,
        most_bytes: int | None = None,
        recorded: Recorded | None = None,
    ) -> None:
        self._residence = Residence(most_bytes)
        self._recorded = recorded
        self._runtimes = runtimes
        self._blobs = blobs
        self._timer = timer
        self._planes: dict[ModelName, DataPlane] = {}
        self._reserves = Reserves()

    def add(self, model: ModelName, task: Task, policy: ServingPolicy | None = None) -> DataPlane:
        """Return the data plane of a model, made if it is not there.

        Parameters
        ----------
        policy
            How the model is served, if that is known by now.
        """
        plane = self._planes.setdefault(model, DataPlane(task, self._runtimes, self._timer, self._residence))
        if policy is not None:
            plane.serve_by(policy)
        return plane

    def plane(self, model: ModelName) -> DataPlane:
        """Return the data plane of a model.

        Raises
        ------
        NotFound
            If the model was not added.
        """
        if model not in self._planes:
            raise NotFound("model", model, "is not answered for here", models=sorted(self._planes))
        return self._planes[model]

    def warm(self, model: ModelName, version: Version, package: Digest) -> None:
        """Bring a version into memory."""
        plane = self._planes.get(model)
        if plane is None or version not in plane.warm_versions:

            def read() -> Package:
                return open_package(self._blobs.get(package))

            opened = read()
            calls = None if self._recorded is None else partial(self._recorded.calls, model)
            self.add(model, task_of(opened.task)).warm(version, opened, read, calls)

    def apply(self, model: ModelName, table: RoutingTable) -> int:
        """Put a table in force and return its epoch."""
        plane, held = self.plane(model), self._reserves.of(model)
        before = plane.table
        epoch = plane.swap(table)
        if self._reserves.changed(model, before, table):
            plane.reserve(self._reserves.of(model))
            if held is not None and held not in table.versions:
                plane.unload(held)
        return epoch

    def unload(self, model: ModelName, version: Version) -> None:
        """Let a version go, unless it is kept in reserve."""
        if version != self._reserves.of(model):
            self.plane(model).unload(version)

    def reserve(self, model: ModelName, version: Version | None) -> None:
        """Keep the champion before of a model from now on."""
        self._reserves.keep(model, version)
        self.plane(model).reserve(version)

    def keep_no_reserve(self, model: ModelName) -> None:
        """Keep the champion before of a model no more."""
        held, plane = self._reserves.drop(model), self.plane(model)
        plane.reserve(None)
        if held is not None and (plane.table is None or held not in plane.table.versions):
            plane.unload(held)


class LocalFleet:
    """The fleet of a home that answers requests in its own process.

    Parameters
    ----------
    planes
        Of its models.
    features
        Observes what becomes known.
    datasets, declared
        Where rows are read from, and which datasets there are.
    """

    def __init__(
        self, planes: DataPlanes, features: FeatureStore, datasets: Datasets, declared: Iterable[Dataset]
    ) -> None:
        self._planes = planes
        self._features = features
        self._datasets = datasets
        self._declared = declared

    def warm(self, model: ModelName, version: Version, package: Digest) -> None:
        """Bring a version into memory."""
        self._planes.warm(model, version, package)

    def apply(self, model: ModelName, table: RoutingTable) -> int:
        """Put a table in force and return its epoch."""
        return self._planes.apply(model, table)

    def unload(self, model: ModelName, version: Version) -> None:
        """Let a version go."""
        self._planes.unload(model, version)

    def reserve(self, model: ModelName, version: Version | None) -> None:
        """Keep the champion before of a model from now on."""
        self._planes.reserve(model, version)

    def keep_no_reserve(self, model: ModelName) -> None:
        """Keep the champion before of a model no more."""
        self._planes.keep_no_reserve(model)

    def restore(self) -> None:
        """Observe all that is stored."""
        Intake(self._datasets, [self._features]).restore(self._declared, warm_only=True)

    def rows_known(self, batch: Batch) -> None:
        """Observe rows."""
        self._features.rows_known(batch)

    def rows_rewritten(self, dataset: Dataset) -> None:
        """Observe a dataset anew."""
        self._features.observe_anew(dataset, stored_batches(self._datasets, dataset, warm_only=True))
