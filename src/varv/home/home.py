"""What a home holds: the shared parts, and the parts of each model by name. `app.compose` builds it.

The only bag of parts below `app`: rooms are handed what they need of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import polars as pl

from varv.data import Dataset, Datasets
from varv.data.delta.publishing import Publications
from varv.data.intake import Batch
from varv.features import FeatureEngine, FeatureStore
from varv.kernel.blobs import Blobs
from varv.kernel.catalogue import Extent
from varv.kernel.clock import Clock, Duration, Instant
from varv.kernel.columns import Columns
from varv.kernel.engine import Engine
from varv.kernel.errors import Corrupt
from varv.kernel.ids import ModelName, Version
from varv.kernel.ledger import Ledger
from varv.kernel.sagas import Fact
from varv.kernel.segment_files import RESTORE
from varv.kernel.snapshots import Position, Snapshots
from varv.kernel.verify import Checked, require_sound_folder
from varv.kernel.views import Views
from varv.loop.leak_report import LeakReport
from varv.loop.model import LoopState
from varv.loop.plan import LoopPlan, loop_state
from varv.project import ModelPlan, datasets_of
from varv.registry import RegistryView
from varv.serving import DataPlane, DataPlanes, Fleet, Predictions, RequestSchema, Stored
from varv.serving.backfill import Backfilled
from varv.serving.known_times import Counted
from varv.serving.views import RoutingView, stream_of

_LOG = logging.getLogger(__name__)

WINDOWS_KEPT = 8
"""What is kept for a while is stored in files of an eighth of it at most, which are given up as a whole."""
CHECKED, _OUTCOMES = "checked", "outcomes"
"""Names of snapshots."""


class _Outcomes(msgspec.Struct, frozen=True):
    """How many outcomes each model had."""

    of: dict[ModelName, Counted]


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """What belongs to one model."""

    plan: ModelPlan
    predictions: Predictions
    features: FeatureEngine
    plane: DataPlane
    """Answers requests of the past in this process."""
    most_held: int
    """How many of its predictions are held in memory."""

    @property
    def name(self) -> ModelName:
        """The model."""
        return self.plan.name

    @property
    def loop(self) -> LoopPlan:
        """The declared loop."""
        return self.plan.loop

    @property
    def schema(self) -> RequestSchema:
        """What a request is."""
        return self.plan.schema


@dataclass(frozen=True, kw_only=True)
class Home:
    """Everything that is shared by the models of a home, and the models."""

    folder: Path
    clock: Clock
    ledger: Ledger
    engine: Engine
    views: Views
    blobs: Blobs
    columns: Columns
    datasets: Datasets
    publications: Publications
    features: FeatureStore
    planes: DataPlanes
    fleet: Fleet
    leaks: LeakReport
    snapshots: Snapshots
    checked: Checked
    """What is known of the ledger up to where it was found sound."""
    models: dict[ModelName, ModelParts] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held by whoever brings memory to what is stored, live."""

    def add(self, plan: ModelPlan, *, most_held: int) -> None:
        """Take a model in, and put what its last routing table needs back in force.

        Parameters
        ----------
        most_held
            How many of its predictions are held in memory; earlier ones are read when somebody asks.

        Raises
        ------
        Corrupt
            If a package that is in force is gone or is not what was stored.
        """
        outcome, name = plan.outcome, plan.name
        if outcome.column:
            self.datasets.contracts.expect_outcomes(outcome.requests, outcome.column, outcome.task.rule())

        self.models[name] = ModelParts(
            plan=plan,
            predictions=self._predictions(plan, most_held),
            features=FeatureEngine(plan.schema.features, plan.schema.requests, self.features),
            plane=self.planes.add(name, outcome.task, plan.schema.serving),
            most_held=most_held,
        )
        self._restore_serving(name)

    def read_again(self, model: ModelName) -> None:
        """Bring what is held of a model's predictions to what is stored, features included that were computed
        later.
        """
        with self.lock:
            parts = self.models[model]
            fresh = replace(parts, predictions=self._predictions(parts.plan, parts.most_held))
            self.restore(fresh)
            self.models[model] = fresh

    def restore(self, parts: ModelParts) -> None:
        """Bring the predictions of one model, and their outcomes, into memory."""
        kept = self.snapshots.newest(_OUTCOMES, _Outcomes, self.ledger)
        parts.predictions.restore(None if kept is None else kept.state.of.get(parts.name))

    def require_sound(self) -> None:
        """Compare every entry of the ledger, also those before the snapshot that this home went on from.

        Raises
        ------
        Corrupt
            If something is not as it was written.
        """
        require_sound_folder(self.folder, self.ledger)

    def save(self) -> None:
        """Keep what is the case in snapshots, so that a restart reads them and what came after.

        Raises
        ------
        Corrupt
            If the ledger is not as it was written.
        """
        require_sound_folder(self.folder, self.ledger, self.checked)
        position = Position(self.checked.last, self.checked.hash)
        self.snapshots.write(CHECKED, position, self.checked)
        self.views.save(self.snapshots)
        with self.lock:
            head = self.ledger.head()
            counted = {name: parts.predictions.counted for name, parts in self.models.items()}
        self.snapshots.write(_OUTCOMES, Position(head.version, head.hash), _Outcomes(counted))

    def compact(self) -> list[Fact]:
        """Store what came in small segments together, give up what is older than declared, and return the
        facts of it: from then on files are remembered, not segments.
        """
        facts = [fact for name in self.models for fact in self._compacted(name)]
        for dataset in self.declared:
            facts += self.datasets.compact(dataset)
        return facts

    def publish_used(self, dataset: Dataset, version: Version) -> None:
        """Publish a version that a model is trained on, if its dataset is one that is published."""
        with self.lock:
            self.publications.publish_used(dataset, version)

    def _compacted(self, name: ModelName) -> list[Fact]:
        parts, now = self.models[name], self.clock.now()
        retention = parts.plan.retention
        with self.views.reading(RoutingView) as routing:
            held = routing.catalogue(name)
            alone, files = held.compactable()
            apart = [] if retention is None else held.before(now, Duration(retention // WINDOWS_KEPT))
            gone, later = routing.gone.get(name), routing.backfilled.get(name, {}).keys()
            if gone is not None:
                # Only now: whoever had just found one of these files has read it by now.
                parts.predictions.stored.remove(gone, later)
        made = parts.predictions.stored.compact(alone, files, apart=apart)
        facts = [Fact(stream_of(name), event) for event in made]
        if retention is not None:
            stored = {segment for one in made for segment in one.segments}
            expired = parts.predictions.stored.expired(Instant(now - retention), besides=stored)
            facts += [] if expired is None else [Fact(stream_of(name), expired)]
        return facts

    def rows_known(self, batch: Batch) -> None:
        """Let the predictions of every model take in the outcomes of a batch; the home listens for them."""
        for parts in list(self.models.values()):
            parts.predictions.rows_known(batch)

    def rows_rewritten(self, dataset: Dataset) -> None:
        """Let those that answer, and the predictions whose outcomes it holds, go by the rows that a dataset
        has now; called under the lock, once the rewrite is committed.
        """
        self.fleet.rows_rewritten(dataset)
        for name, parts in list(self.models.items()):
            if parts.plan.outcome.requests.name == dataset.name:
                self.read_again(name)

    def _predictions(self, plan: ModelPlan, most_held: int) -> Predictions:
        outcome, name = plan.outcome, plan.name

        def outcomes(since: Instant, known_by: Instant | None) -> pl.DataFrame:
            if not outcome.column:
                return outcome.none()
            requests, part = outcome.requests, outcome.known_at
            return outcome.read(self.datasets.read_part(requests, part, since=since, known_at=known_by))

        def backfilled() -> Mapping[str, Sequence[Backfilled]]:
            with self.views.reading(RoutingView) as routing:
                return dict(routing.backfilled.get(name, {}))

        def n_ever() -> int:
            with self.views.reading(RoutingView) as routing:
                return routing.catalogue(name).n_rows

        held = Stored(lambda: self.extents(name), n_ever, outcomes, most_held)
        types = plan.schema.feature_types
        return Predictions(name, self.columns, outcome, held, features=types, backfilled=backfilled)

    @property
    def declared(self) -> tuple[Dataset, ...]:
        """Every dataset that some model reads."""
        return datasets_of([parts.plan for parts in self.models.values()])

    def extents(self, model: ModelName) -> list[Extent]:
        """Return where the predictions of a model are that count, in the order in which they came."""
        with self.views.reading(RoutingView) as routing:
            return routing.catalogue(model).extents()

    def loop_state(self, model: ModelName) -> LoopState:
        """Return where the loop of a model is."""
        return loop_state(self.ledger, model)

    def registered(self) -> list[Fact]:
        """Return the facts that make every declared dataset known.

        Raises
        ------
        AlreadyExists
            If a dataset is known with another shape.
        """
        return [fact for dataset in self.declared for fact in self.datasets.register(dataset)]

    def close(self) -> None:
        """Give the store back."""
        self.ledger.close()

    def _restore_serving(self, model: ModelName) -> None:
        """Warm what the last routing table needs, and put it in force again."""
        with self.views.reading(RoutingView) as routing:
            table = routing.tables.get(model)
        if table is None:
            return
        for version in sorted(table.versions):
            self._warm(model, version)
        self.fleet.apply(model, table)
        if self.models[model].schema.serving.keeps_former:
            before = loop_state(self.ledger, model).former
            reserve = None if before is None or before == table.champion else Version(before)
            if reserve is not None:
                self._warm(model, reserve)
            self.fleet.reserve(model, reserve)
        else:
            # A declaration of before may have kept it.
            self.fleet.keep_no_reserve(model)

    def _warm(self, model: ModelName, version: int) -> None:
        with self.views.reading(RegistryView) as registry:
            registered = registry.version(model, version).registered
        for name in (registered.package, registered.reference):
            if not self.blobs.has(name):
                what = f"is missing; it belongs to {model} v{version}"
                raise Corrupt("file", f"blobs/{name[:2]}/{name[2:]}", what, hint=RESTORE)
            self.blobs.path(name)
        self.fleet.warm(model, Version(version), registered.package)
