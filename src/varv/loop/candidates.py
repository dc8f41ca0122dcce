"""Candidates: from what is known at a cut-off to a registered version.

Rows are those logged when the requests were made, so a feature in training is the very number that was
served; outcomes are as known at the cut-off, and only of requests that are mature by then, since outcomes
that come early are not a fair draw. The last stretches are held out in time order, each scored by a fit on
what came before it: these fits are what the gates judge (`training.gates`). Then, unless declared otherwise,
the same function is fitted on all rows, and that refit is the version that meets traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.data import Dataset, Datasets
from varv.data.identity import keys_of
from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest, digest_of, finite
from varv.kernel.errors import FailedPrecondition, UserCodeFailed
from varv.kernel.ids import Version
from varv.kernel.user_code import UserCode
from varv.loop.model import TrainCandidate
from varv.loop.plan import LoopParts, LoopPlan
from varv.monitoring.reference import Reference, reference
from varv.registry import (
    DatasetUse,
    Judged,
    Package,
    Runtimes,
    VersionRegistered,
    environment,
    open_package,
    signature_of,
)
from varv.stats.calibration import calibration_error, log_losses
from varv.stats.ranking import auc
from varv.training import (
    Input,
    Pipeline,
    PipelineResult,
    PipelineStep,
    StepCache,
    TrainingSet,
    build_package,
    code_closure,
)
from varv.training.gates import HeldOut
from varv.training.previous import Previous
from varv.training.weights import weights_of

LEAST_HELD_OUT = 50
"""Fewer held-out rows judge nothing."""


class Validation(msgspec.Struct, frozen=True):
    """What a fit shows on held-out rows."""

    n: int
    log_loss: float
    auc: float | None
    """None where all outcomes are equal."""
    ece: float
    base_rate: float

    def metrics(self) -> dict[str, float | None]:
        """Return the metrics by name."""
        return {"log_loss": self.log_loss, "auc": self.auc, "ece": self.ece, "base_rate": self.base_rate}


class Held(msgspec.Struct, frozen=True):
    """Two stretches of requests: those in [`fit_from`, `since`) are fitted on, those in [`since`, `until`)
    held out.
    """

    fit_from: Instant
    since: Instant
    until: Instant


class Rows(msgspec.Struct, frozen=True):
    """The labelled rows of one training, in the order of the requests, and the stretches that are held out,
    the last one first.
    """

    frame: pl.DataFrame
    names: tuple[str, ...]
    held: tuple[Held, ...]

    def between(self, since: Instant, until: Instant) -> pl.DataFrame:
        """Return the rows of requests made in [since, until)."""
        at = pl.col("requested_at")
        return self.frame.filter((at >= as_datetime(since)) & (at < as_datetime(until)))


class JudgedStretches(msgspec.Struct, frozen=True):
    """What the fits show on their held-out stretches: on each, the last one first, and on all together."""

    each: tuple[Validation, ...]
    together: Validation


class Candidates:
    """Trains candidates and scores what was held out of them.

    Parameters
    ----------
    datasets, blobs
        Of the home.
    cache
        Where results of training steps are found again.
    runtimes
        Score with packages.
    """

    def __init__(self, datasets: Datasets, blobs: Blobs, cache: StepCache, runtimes: Runtimes) -> None:
        self._runtimes = runtimes
        self._datasets = datasets
        self._blobs = blobs
        self._cache = cache

    def rows(self, parts: LoopParts, command: TrainCandidate) -> Rows:
        """Return the rows whose outcomes are mature at the command's cut-off, and what is held out of them.

        Raises
        ------
        FailedPrecondition
            If there are too few of them.
        """
        plan, cutoff = parts.loop, command.cutoff
        rows = labelled_rows(parts, cutoff)
        names = plan.features.names
        if command.planted is not None:
            column = command.planted.column
            rows, names = self._with_column(plan.outcome.requests, rows, column, cutoff), (*names, column)
        if isinstance(plan.train.weights, str) and plan.train.weights not in rows.columns:
            rows = self._with_column(plan.outcome.requests, rows, plan.train.weights, cutoff)
        candidates = [_held(rows, plan, cutoff, number) for number in range(plan.train.origins)]
        found = Rows(rows, names, tuple(candidates))
        allowed = [held for held in candidates if not _too_few(found, held, plan)]
        if candidates[0] not in allowed:
            n_fit, n_held_out = _counts(found, candidates[0])
            hint = "wait for more outcomes, or lower min_rows or validate"
            problem = "has too few rows to train on"
            raise FailedPrecondition(
                "model", plan.model, problem, n_fit=n_fit, n_held_out=n_held_out, hint=hint
            )
        return Rows(rows, names, tuple(allowed))

    def train(
        self, parts: LoopParts, command: TrainCandidate, champion: VersionRegistered | None = None
    ) -> VersionRegistered:
        """Fit, judge, package and check a candidate, and return how it is to be registered.

        Parameters
        ----------
        champion
            What it may start from, if that is declared.

        Raises
        ------
        UserCodeFailed
            If the author's function raised.
        FailedPrecondition
            If there are too few rows.
        """
        plan = parts.loop
        rows = self.rows(parts, command)
        datasets = self._datasets_used(plan)
        known = digest_of([datasets, command.cutoff, rows.names, rows.held, rows.frame.height])
        start = None if champion is None or not plan.train.warm_start else self._start(champion)
        results = _pipeline(plan, command, rows, known, self._runtimes, start).run(self._cache)
        judged = _judged(rows, results)
        served = results["train"] if plan.train.refit else results["fit-1"]
        package = open_package(served.value)
        span = _served_span(rows, plan)
        together: Validation = results["validate"].value.together
        return VersionRegistered(
            model=plan.model,
            version=command.version,
            package=served.digest,
            reference=results["reference"].digest,
            signature=package.signature.names,
            estimator=package.estimator,
            trained_from=Instant(int(span["requested_at"].to_physical()[0])),
            held_out_from=rows.held[-1].since,
            fitted_until=rows.held[0].until if plan.train.refit else rows.held[0].since,
            cutoff=command.cutoff,
            n_rows=span.height,
            n_validation=together.n,
            metrics=together.metrics(),
            params=package.params,
            seed=command.seed,
            code=code_closure(plan.train.fit).digest,
            environment=package.environment.digest,
            datasets=datasets,
            pipeline_key=served.key,
            work=sum(fit.work for fit in judged) + (_work(package) if plan.train.refit else 0),
            planted=command.planted.name if command.planted else "",
            judged=judged,
        )

    def held_out(
        self, parts: LoopParts, made: VersionRegistered, champion: VersionRegistered | None
    ) -> HeldOut:
        """Return the held-out rows of a registered candidate, as its judged fits and the champion score
        them.
        """
        columns: list[tuple[np.ndarray, ...]] = []
        plan = parts.loop
        for fit in made.judged_fits:
            rows = parts.predictions.labelled(fit.since, fit.until, known_by=made.cutoff)
            own = rows
            for column in sorted(set(made.signature) - set(plan.features.names)):
                own = self._with_column(plan.outcome.requests, own, column, made.cutoff)
            at = rows["requested_at"].to_physical().to_numpy()
            ours = self._scores(fit.package, own)
            theirs = ours if champion is None else self._scores(champion.package, rows)
            unseen = np.full(len(at), fill_value=True) if champion is None else at >= champion.data_end
            columns.append((rows["outcome"].to_numpy(), ours, at, theirs, unseen))
        outcome, candidate, at, theirs, unseen = (
            np.concatenate(parts) for parts in zip(*columns, strict=True)
        )
        if champion is None:
            return HeldOut(outcome, candidate, at)
        return HeldOut(outcome, candidate, at, theirs, unseen)

    def _start(self, champion: VersionRegistered) -> _Start:
        def load() -> Previous:
            package = open_package(self._blobs.get(champion.package))
            return Previous(package, Version(champion.version), self._runtimes)

        return _Start(Input(champion.package, load), champion.data_end)

    def _scores(self, package: Digest, rows: pl.DataFrame) -> np.ndarray:
        opened = open_package(self._blobs.get(package))
        # A planted column that nobody caught: broken in production, so empty here.
        gone = [name for name in opened.signature.names if name not in rows.columns]
        return package_scores(
            self._runtimes, opened, rows.with_columns(pl.lit(None, pl.Float32).alias(name) for name in gone)
        )

    def _with_column(
        self, requests: Dataset, rows: pl.DataFrame, column: str, cutoff: Instant
    ) -> pl.DataFrame:
        """Return `rows` with a column of the requests as the history holds it, even if its values came to be
        known after the request; as they are, if there is no such column.
        """
        known = self._datasets.read(requests, known_at=cutoff)
        if column not in known.columns:
            return rows
        values = known.select(keys_of(requests.key, known), pl.col(column).cast(pl.Float32))
        return rows.join(values, on="key", how="left", maintain_order="left")

    def _datasets_used(self, plan: LoopPlan) -> tuple[DatasetUse, ...]:
        used = []
        for dataset in plan.datasets:
            batches = self._datasets.versions(dataset)
            used.append(
                DatasetUse(dataset.name, len(batches), digest_of([batch.digest for batch in batches]))
            )
        return tuple(used)


def labelled_rows(parts: LoopParts, cutoff: Instant) -> pl.DataFrame:
    """Return the rows that a training at `cutoff` may read: requests that are mature, with outcomes as known
    then. Earlier origins read as far back from their own end as the last one does.
    """
    train = parts.loop.train
    reach = 0 if train.window is None else train.window + (train.origins - 1) * train.validate
    since = Instant(0 if train.window is None else cutoff - reach)
    until = Instant(cutoff - parts.loop.outcome.mature)
    return parts.predictions.labelled(since, until, known_by=cutoff)


def _held(rows: pl.DataFrame, plan: LoopPlan, cutoff: Instant, number: int) -> Held:
    """Return the stretch that is `number` before the last, which ends with the last request that has its
    outcome.
    """
    train = plan.train
    last = int(rows["requested_at"].to_physical().max() or 0) if rows.height else 0  # type: ignore[arg-type]
    back = number * train.validate
    fit_from = 0 if train.window is None else cutoff - train.window - back
    until = last + 1 - back
    return Held(Instant(fit_from), Instant(until - train.validate), Instant(until))


def _counts(rows: Rows, held: Held) -> tuple[int, int]:
    fit, held_out = rows.between(held.fit_from, held.since), rows.between(held.since, held.until)
    return fit.height, held_out.height


def _too_few(rows: Rows, held: Held, plan: LoopPlan) -> bool:
    n_fit, n_held_out = _counts(rows, held)
    return n_fit < plan.train.min_rows or n_held_out < LEAST_HELD_OUT


def _served_span(rows: Rows, plan: LoopPlan) -> pl.DataFrame:
    """Return the rows that the served version is fitted on."""
    last = rows.held[0]
    return rows.between(last.fit_from, last.until if plan.train.refit else last.since)


def _judged(rows: Rows, results: PipelineResult) -> tuple[Judged, ...]:
    shown: JudgedStretches = results["validate"].value
    found = []
    for number, (held, validation) in enumerate(zip(rows.held, shown.each, strict=True), 1):
        result = results[f"fit-{number}"]
        package = open_package(result.value)
        found.append(
            Judged(
                package=result.digest,
                since=held.since,
                until=held.until,
                n_rows=package.n_rows,
                n_held_out=validation.n,
                metrics=validation.metrics(),
                work=_work(package),
            )
        )
    return tuple(found)


def _work(package: Package) -> int:
    return package.n_rows * int(package.params.get("max_iter", 1))


class _Start(NamedTuple):
    """A version to start from, and where the requests that it was fitted on end."""

    previous: Input
    data_end: Instant


def _pipeline(
    plan: LoopPlan,
    command: TrainCandidate,
    rows: Rows,
    known: Digest,
    runtimes: Runtimes,
    start: _Start | None,
) -> Pipeline:
    """Return one step for each fit, so that a training that was cut short fits nothing twice."""
    data = Input(known, lambda: rows)
    declared = [
        list(rows.names),
        list(plan.features.names),
        plan.train.params,
        plan.outcome.column,
        command.version,
        command.seed,
        *([plan.train.weights] if isinstance(plan.train.weights, str) else []),
    ]
    recipe = Input(digest_of(declared), lambda: _Recipe(plan, command.version, command.seed, runtimes))
    both = {"rows": data, "recipe": recipe}
    code, seed = plan.train.code, command.seed
    steps = []
    for number, held in enumerate(rows.held, 1):
        span = Input(digest_of(held), lambda held=held: (held.fit_from, held.since))
        needs = {**both, "span": span}
        # A champion that knows the held-out rows by heart would let its heir pass the gates by memory.
        if start is not None and start.data_end <= held.since:
            needs["previous"] = start.previous
        steps.append(PipelineStep(name=f"fit-{number}", run=_fit, needs=needs, code=code, seed=seed))
    fits: dict[str, Input | str] = {f"fit_{number}": f"fit-{number}" for number in range(1, len(steps) + 1)}
    rest = {**both, **fits}
    steps.append(PipelineStep(name="validate", run=_validate, produces=JudgedStretches, needs=rest))
    steps.append(PipelineStep(name="reference", run=_reference, produces=Reference, needs=rest))
    if plan.train.refit:
        last = rows.held[0]
        span = Input(digest_of([last, "refit"]), lambda: (last.fit_from, last.until))
        needs = {**both, "span": span, **({} if start is None else {"previous": start.previous})}
        steps.append(PipelineStep(name="train", run=_fit, needs=needs, code=code, seed=seed))
    return Pipeline(tuple(steps))


class _Recipe(NamedTuple):
    plan: LoopPlan
    version: Version
    seed: int
    runtimes: Runtimes


def _fit(
    rows: Rows, recipe: _Recipe, span: tuple[Instant, Instant], previous: Previous | None = None
) -> bytes:
    fit = rows.between(*span)
    signature, train = signature_of(fit, rows.names), recipe.plan.train
    given = TrainingSet(
        fit,
        fit["outcome"].to_numpy().astype(np.int64),
        fit["requested_at"].to_physical().to_numpy(),
        signature,
        seed=recipe.seed,
        weights=None if train.weights is None else weights_of(train.weights, fit, signature),
        previous=previous,
    )
    estimator = _fitted(recipe.plan, given)
    return build_package(
        estimator,
        given,
        rows.between(rows.held[0].since, rows.held[0].until).head(2000),
        task=recipe.plan.outcome.task,
        runtimes=recipe.runtimes,
        environment=environment(code_closure(train.fit).libraries),
        params={**train.params, **_work_of(estimator)},
        keep_state=train.warm_start,
    )


def _fitted(plan: LoopPlan, given: TrainingSet) -> Any:
    name = getattr(plan.train.fit, "__qualname__", "fit")
    with UserCode("function", name):
        estimator = plan.train.fit(given, plan.train.params)
    if estimator is None:
        raise UserCodeFailed("function", name, "returned None", hint="return the fitted estimator")
    return estimator


def _work_of(estimator: Any) -> Mapping[str, int]:
    rounds = getattr(estimator, "n_iter_", None)
    return {"max_iter": int(rounds)} if isinstance(rounds, int | np.integer) else {}


def _validate(rows: Rows, recipe: _Recipe, **fits: bytes) -> JudgedStretches:
    scored = _scored(rows, recipe, fits)
    return JudgedStretches(tuple(map(_validation, scored)), _validation(pl.concat(scored)))


def _validation(scored: pl.DataFrame) -> Validation:
    outcome, predicted = scored["outcome"].to_numpy(), scored["score"].to_numpy()
    return Validation(
        n=len(outcome),
        log_loss=round(float(log_losses(outcome, predicted).mean()), 6),
        auc=finite(round(auc(outcome, predicted), 6)),
        ece=round(calibration_error(outcome, predicted).value, 6),
        base_rate=round(float(outcome.mean()), 6),
    )


def _scored(rows: Rows, recipe: _Recipe, fits: Mapping[str, bytes]) -> list[pl.DataFrame]:
    """Return the held-out stretches, the last one first, each with the ``score`` of the fit before it."""
    found = []
    for number, held in enumerate(rows.held, 1):
        part = rows.between(held.since, held.until)
        score = pl.Series("score", package_scores(recipe.runtimes, open_package(fits[f"fit_{number}"]), part))
        found.append(part.with_columns(score))
    return found


def _reference(rows: Rows, recipe: _Recipe, **fits: bytes) -> Reference:
    # Rows that the model was fitted on flatter it: only the held-out ones carry a score.
    scored = _scored(rows, recipe, fits)[::-1]
    fitted = rows.between(rows.held[0].fit_from, rows.held[-1].since)
    parts = [fitted.with_columns(score=pl.lit(None, dtype=pl.Float32)), *scored]
    names = recipe.plan.features.names
    frame = pl.concat([part.select("requested_at", "score", "outcome", *names) for part in parts])
    return reference(frame, model=recipe.plan.model, version=Version(recipe.version), features=names)


def package_scores(runtimes: Runtimes, package: Package, rows: pl.DataFrame) -> np.ndarray:
    """Return what a package says of `rows`, float32 of shape (n,)."""
    return runtimes.load(package, threads=2).predict(package.signature.feed(rows))[:, 0]
