"""Training a candidate: from what is known at a cut-off to a registered version.

Rows are those logged when the requests were made, so a feature in training is the very number that was
served; outcomes are as known at the cut-off. The last stretch is held out in time order and judges the
candidate; the model that was judged is the one that is served, not a refit of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest, digest_of, finite
from varv.kernel.errors import FailedPrecondition, UserCodeFailed
from varv.kernel.ids import Version
from varv.loop.declaration import Model
from varv.loop.intake import keys_of
from varv.loop.model import TrainCandidate
from varv.loop.world import World
from varv.monitoring.reference import Reference, reference
from varv.registry import DatasetUse, VersionRegistered
from varv.runs import (
    Input,
    Package,
    Pipeline,
    PipelineStep,
    TrainingSet,
    build_package,
    code_closure,
    environment,
    open_package,
    signature_of,
)
from varv.runs.packaging import scores, session
from varv.stats.calibration import calibration_error, log_losses
from varv.stats.ranking import auc


class Validation(msgspec.Struct, frozen=True):
    """What a candidate shows on its held-out rows."""

    n: int
    log_loss: float
    auc: float | None
    """None where all outcomes are equal."""
    ece: float
    base_rate: float

    def metrics(self) -> dict[str, float | None]:
        """Return the metrics by name."""
        return {"log_loss": self.log_loss, "auc": self.auc, "ece": self.ece, "base_rate": self.base_rate}


class Rows(msgspec.Struct, frozen=True):
    """The labelled rows of one training: those to fit on and those held out, both in the order of the
    requests.
    """

    fit: pl.DataFrame
    held_out: pl.DataFrame
    names: tuple[str, ...]
    held_out_from: Instant


def training_rows(world: World, command: TrainCandidate) -> Rows:
    """Return the rows that are known at the command's cut-off, split in time order.

    Raises
    ------
    FailedPrecondition
        If there are too few of them.
    """
    model, cutoff = world.model, command.cutoff
    since = Instant(0 if model.train.window is None else cutoff - model.train.window)
    rows = world.telemetry.labelled(since, cutoff, known_by=cutoff)
    names = model.feature_set.names
    if command.planted is not None:
        rows, names = (
            with_planted(world, rows, command.planted.column, cutoff),
            (*names, command.planted.column),
        )
    held_out_from = _held_out_from(rows, model)
    earlier = pl.col("requested_at") < as_datetime(held_out_from)
    fit, held_out = rows.filter(earlier), rows.filter(~earlier)
    if fit.height < model.train.min_rows or held_out.height < 50:
        hint = "wait for more outcomes, or lower min_rows or validate"
        raise FailedPrecondition(
            "model",
            model.name,
            "has too few rows to train on",
            n_fit=fit.height,
            n_held_out=held_out.height,
            hint=hint,
        )
    return Rows(fit, held_out, names, held_out_from)


def _held_out_from(rows: pl.DataFrame, model: Model) -> Instant:
    """Return where the held-out stretch begins: counted back from the last request that has its outcome."""
    last = int(rows["requested_at"].to_physical().max() or 0) if rows.height else 0  # type: ignore[arg-type]
    return Instant(last + 1 - model.train.validate)


def train_candidate(world: World, command: TrainCandidate) -> VersionRegistered:
    """Train, package and check a candidate, and return how it is to be registered.

    Raises
    ------
    UserCodeFailed
        If the author's function raised.
    FailedPrecondition
        If there are too few rows.
    """
    model = world.model
    rows = training_rows(world, command)
    datasets = _datasets_used(world)
    known = digest_of([datasets, command.cutoff, rows.names, [rows.fit.height, rows.held_out.height]])
    results = _pipeline(world, command, rows, known).run(world.cache)
    package: Package = open_package(results["train"].value)
    validation: Validation = results["validate"].value
    return VersionRegistered(
        model=model.name,
        version=command.version,
        package=results["train"].digest,
        reference=results["reference"].digest,
        signature=package.signature.names,
        estimator=package.estimator,
        trained_from=Instant(int(rows.fit["requested_at"].to_physical()[0])),
        held_out_from=rows.held_out_from,
        cutoff=command.cutoff,
        n_rows=rows.fit.height,
        n_validation=rows.held_out.height,
        metrics=validation.metrics(),
        params=package.params,
        seed=command.seed,
        code=code_closure(model.train.fit).digest,
        environment=package.environment.digest,
        datasets=datasets,
        pipeline_key=results["train"].key,
        work=rows.fit.height * int(package.params.get("max_iter", 1)),
        planted=command.planted.name if command.planted else "",
    )


def _pipeline(world: World, command: TrainCandidate, rows: Rows, known: Digest) -> Pipeline:
    model = world.model
    data = Input(known, lambda: rows)
    declared = [
        list(rows.names),
        list(model.feature_set.names),
        model.train.params,
        model.outcome.column,
        command.version,
        command.seed,
    ]
    recipe = Input(digest_of(declared), lambda: _Recipe(model, command.version, command.seed))
    rest = {"package": "train", "rows": data, "recipe": recipe}
    train = {"rows": data, "recipe": recipe}
    return Pipeline(
        (
            PipelineStep(name="train", run=_fit, needs=train, code=(model.train.fit,), seed=command.seed),
            PipelineStep(name="validate", run=_validate, produces=Validation, needs=rest),
            PipelineStep(name="reference", run=_reference, produces=Reference, needs=rest),
        )
    )


class _Recipe(NamedTuple):
    model: Model
    version: int
    seed: int


def _fit(rows: Rows, recipe: _Recipe) -> bytes:
    signature = signature_of(rows.fit, rows.names)
    given = TrainingSet(
        signature.encode(rows.fit),
        rows.fit["outcome"].to_numpy().astype(np.int64),
        rows.fit["requested_at"].to_physical().to_numpy(),
        signature,
        seed=recipe.seed,
    )
    train = recipe.model.train
    estimator = _fitted(recipe.model, given)
    return build_package(
        estimator,
        signature,
        signature.encode(rows.held_out.head(2000)),
        environment=environment(code_closure(train.fit).libraries),
        params={**train.params, **_work_of(estimator)},
        seed=recipe.seed,
        n_rows=rows.fit.height,
    )


def _fitted(model: Model, given: TrainingSet) -> Any:
    estimator = model.train.fit(given, model.train.params)
    if estimator is None:
        name = getattr(model.train.fit, "__qualname__", "fit")
        raise UserCodeFailed("function", name, "returned None", hint="return the fitted estimator")
    return estimator


def _work_of(estimator: Any) -> Mapping[str, int]:
    rounds = getattr(estimator, "n_iter_", None)
    return {"max_iter": int(rounds)} if isinstance(rounds, int | np.integer) else {}


def _validate(package: bytes, rows: Rows, recipe: _Recipe) -> Validation:
    outcome = rows.held_out["outcome"].to_numpy()
    predicted = package_scores(open_package(package), rows.held_out)
    return Validation(
        n=len(outcome),
        log_loss=round(float(log_losses(outcome, predicted).mean()), 6),
        auc=finite(round(auc(outcome, predicted), 6)),
        ece=round(calibration_error(outcome, predicted).value, 6),
        base_rate=round(float(outcome.mean()), 6),
    )


def _reference(package: bytes, rows: Rows, recipe: _Recipe) -> Reference:
    # Rows that the model was fitted on flatter it: only the held-out ones carry a score.
    scored = pl.Series("score", package_scores(open_package(package), rows.held_out))
    both = [rows.fit.with_columns(score=pl.lit(None, dtype=pl.Float32)), rows.held_out.with_columns(scored)]
    names = recipe.model.feature_set.names
    frame = pl.concat([part.select("requested_at", "score", "outcome", *names) for part in both])
    return reference(frame, model=recipe.model.name, version=Version(recipe.version), features=names)


def package_scores(package: Package, rows: pl.DataFrame) -> np.ndarray:
    """Return what a package says of `rows`, float32 of shape (n,)."""
    return scores(session(package.onnx, threads=2), package.signature.encode(rows))


def with_planted(world: World, rows: pl.DataFrame, column: str, cutoff: Instant) -> pl.DataFrame:
    """Return `rows` with a planted column as the history holds it: values that came to be known after the
    request.
    """
    data = world.model.requests
    known = world.datasets.read(data, known_at=cutoff)
    values = known.select(keys_of(data.key, known), pl.col(column).cast(pl.Float32))
    return rows.join(values, on="key", how="left", maintain_order="left")


def _datasets_used(world: World) -> tuple[DatasetUse, ...]:
    used = []
    for dataset in world.model.datasets:
        batches = world.datasets.versions(dataset)
        used.append(DatasetUse(dataset.name, len(batches), digest_of([batch.digest for batch in batches])))
    return tuple(used)
