"""Candidates: from what is known at a cut-off to a registered version.

Rows are those logged when the requests were made, so a feature in training is the very number that was
served; outcomes are as known at the cut-off, and only of requests that are mature by then, since outcomes
that come early are not a fair draw. The last stretches are held out in time order, each scored by a fit on
what came before it: these fits are what the gates judge (`training.gates`). Then, unless declared otherwise,
the same function is fitted on all rows, and that refit is the version that meets traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.data import Dataset, Datasets
from varv.data.identity import keys_of
from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import FailedPrecondition
from varv.kernel.executor import Cancelled
from varv.kernel.ids import Version
from varv.labels.counting import Counted
from varv.loop.fits import (
    Held,
    Recipe,
    Rows,
    ancestry,
    fit_steps,
    judged_span,
    new_rows_only,
    refit_step,
    served_span,
    work_of,
)
from varv.loop.model import Offer, TrainCandidate
from varv.loop.offers import offered_rows, take_in_step
from varv.loop.plan import LoopParts, LoopPlan
from varv.loop.row_weights import ARMS, effective_n, is_by_chance, n_worth, with_counts
from varv.monitoring import MonitorPlan
from varv.monitoring.reference import Reference, reference
from varv.pipelines import Graph, Input, PipelineResult, PipelineStep, StepCache, code_closure, run_graph
from varv.registry import (
    DatasetUse,
    Judged,
    Package,
    Runtimes,
    Trial,
    VersionRegistered,
    open_package,
)
from varv.registry.signature import Rows as ModelRows
from varv.serving.scores import GROUP, Scores, lists_of, score_columns, score_series, scores_in
from varv.tasks import Task, TaskSpec
from varv.training import Fitter
from varv.training.gates import Judgement, Served

LEAST_HELD_OUT = 50
"""Fewer held-out rows judge nothing."""
TrainedOn = Callable[[str, int, Iterator[pl.DataFrame]], None]
"""Is given a model, a version, and the features and outcomes that it was fitted on, frame by frame."""


class Validation(msgspec.Struct, frozen=True):
    """What a fit shows on held-out rows."""

    n: int
    metrics: dict[str, float | None]
    """The default loss and every metric of the task; None where the rows do not determine one."""


class JudgedStretches(msgspec.Struct, frozen=True):
    """What the fits show on their held-out stretches: on each, the last one first, and on all together."""

    each: tuple[Validation, ...]
    together: Validation


class Scorer(NamedTuple):
    """Scores rows in two steps: packages that read alike can share the first."""

    reads: Digest
    """What identifies what it reads."""
    feed: Callable[[pl.DataFrame], ModelRows]
    predict: Callable[[ModelRows], Scores]


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
    fitter
        Runs the author's function.
    timer
        Reads seconds, for gates on time; None for a replay, whose ledger must not depend on the machine.
    before_use
        Is told of the version of each dataset that a training is about to read.
    trained_on
        Is told what a version was trained on.
    counted
        Returns what outcomes of a model count for, by what was on record at an instant.
    """

    def __init__(
        self,
        datasets: Datasets,
        blobs: Blobs,
        cache: StepCache,
        runtimes: Runtimes,
        fitter: Fitter,
        timer: Callable[[], float] | None = None,
        before_use: Callable[[Dataset, Version], None] = lambda dataset, version: None,
        trained_on: TrainedOn = lambda model, version, rows: None,
        counted: Callable[[str, Instant], Counted] = lambda model, known_by: Counted({}, {}),
    ) -> None:
        self._counted = counted
        self._runtimes = runtimes
        self._before_use = before_use
        self._trained_on = trained_on
        self.fitter = fitter
        self._timer = timer
        self._datasets = datasets
        self._blobs = blobs
        self._cache = cache

    def rows(
        self, parts: LoopParts, command: TrainCandidate, champion: VersionRegistered | None = None
    ) -> Rows:
        """Return the rows whose outcomes are mature at the command's cut-off, what is held out of them, and
        what the fits go on from.

        Raises
        ------
        FailedPrecondition
            If there are too few of them.
        """
        plan, cutoff = parts.loop, command.cutoff
        rows = self._gathered(parts, command)
        if command.offer is not None:
            return offered_rows(rows, plan, command.offer, LEAST_HELD_OUT)
        names = plan.features.names
        if command.planted is not None:
            column = command.planted.column
            rows, names = self._with_column(plan.outcome.requests, rows, column, cutoff), (*names, column)
        weights = plan.train.weights_column
        if weights is not None and weights not in rows.columns:
            rows = self._with_column(plan.outcome.requests, rows, weights, cutoff)
        # A planted column is none of the champion's, and a plant none of its successors.
        past = None if command.planted is not None else ancestry(plan.train, champion, names)
        found = Rows(rows, names, (), past, has_outcome=plan.outcome.task.has_outcome)
        end = found.end
        candidates = [_held(end, plan, cutoff, number) for number in range(plan.train.origins)]
        if past is not None and plan.train.strategy is not None:
            candidates, past = new_rows_only(candidates, past)
        found = msgspec.structs.replace(found, held=tuple(candidates), ancestry=past)
        allowed = [held for held in candidates if not _too_few(found, held, plan)]
        if candidates[0] not in allowed or n_worth(found, plan.train) < plan.train.min_rows:
            raise _too_few_to_train(found, candidates[0], plan)
        found = msgspec.structs.replace(found, held=tuple(allowed))
        return found if plan.train.search is None else _with_inner(found, plan)

    def train(
        self,
        parts: LoopParts,
        command: TrainCandidate,
        champion: VersionRegistered | None = None,
        cancelled: Cancelled | None = None,
    ) -> VersionRegistered:
        """Fit, judge, package and check a candidate, and return how it is to be registered; one that was
        trained elsewhere is not fitted.

        Parameters
        ----------
        champion
            What the fits go on from, if that is declared.
        cancelled
            Ends the fit that is under way once it is set.

        Raises
        ------
        UserCodeFailed
            If the author's function raised, or did not end by itself.
        FailedPrecondition
            If there are too few rows.
        Interrupted
            If a fit was cancelled.
        """
        rows = self.rows(parts, command, champion)
        datasets = self._datasets_used(parts.loop)
        for dataset, used in zip(parts.loop.datasets, datasets, strict=True):
            self._before_use(dataset, Version(used.version))
        recipe = self._recipe(parts.loop, command, cancelled)
        graph = _graph(recipe, rows, _known(command, rows, datasets), command.offer)
        results = run_graph(graph, self._cache)
        made = _registered(command, recipe, rows, datasets, results)
        if command.offer is not None:
            return _imported(made, command.offer)
        span = served_span(rows, parts.loop.train)
        self._trained_on(made.model, made.version, rows.stretches(span.since, span.until))
        return made

    def fitted(self, parts: LoopParts, command: TrainCandidate) -> Package:
        """Return the package that a training would serve, fitted alone, without what judges it; anew, where
        trainings go on from the champion.

        Raises
        ------
        UserCodeFailed
            If the author's function raised.
        FailedPrecondition
            If there are too few rows.
        """
        plan, rows = parts.loop, self.rows(parts, command)
        recipe = self._recipe(plan, command)
        known = _known(command, rows, self._datasets_used(plan))
        both = _both(recipe, rows, known)
        steps = fit_steps(rows, plan.train, both, command.seed)
        if plan.train.refit:
            steps.append(refit_step(rows, plan.train, both, command.seed))
        served = steps[-1].name if plan.train.refit else judged_span(rows, 0).step
        needed = [step for step in steps if step.name == served or not step.name.startswith("fit-")]
        return open_package(run_graph(Graph(tuple(needed)), self._cache)[served].value)

    def scorer(self, package: Package) -> Scorer:
        """Return what scores rows by a package, which is loaded once."""
        model = self._runtimes.load(package, threads=2)
        return Scorer(digest_of(package.signature), package.signature.feed, model.predict)

    def held_out(
        self, parts: LoopParts, made: VersionRegistered, champion: VersionRegistered | None
    ) -> Judgement:
        """Return the held-out rows of a registered candidate, as its judged fits and the champion score
        them, and both versions as they serve.
        """
        plan = parts.loop
        task = plan.outcome.task
        stretches = [self._stretch(parts, fit, made, champion) for fit in made.judged_fits]
        frame = pl.concat([stretch.frame for stretch in stretches])
        at = frame["requested_at"].to_physical().to_numpy()
        names = dict.fromkeys([*plan.features.names, *made.signature])
        return Judgement(
            task=task,
            outcome=frame["outcome"].to_numpy(),
            candidate=np.concatenate([stretch.candidate for stretch in stretches]),
            at=at,
            champion=None
            if champion is None
            else np.concatenate([stretch.champion for stretch in stretches]),
            unseen=None if champion is None else at >= champion.data_end,
            groups=lists_of(frame, task),
            rows=frame.select("key", "requested_at", *names),
            served=self._served(made),
            champion_served=None if champion is None else self._served(champion),
            timer=self._timer,
        )

    def _gathered(self, parts: LoopParts, command: TrainCandidate) -> pl.DataFrame:
        """Return the rows that a training may read, with what weighs them by probabilities, if declared."""
        train, cutoff = parts.loop.train, command.cutoff
        # A key of every row is as large as five features, and only needed to look further columns up.
        keyed = train.weights_column is not None or command.planted is not None
        if not is_by_chance(train):
            return training_rows(parts, cutoff, keyed=keyed)
        rows = training_rows(parts, cutoff, keyed=keyed, more=ARMS)
        return with_counts(rows, self._counted(parts.loop.model, cutoff))

    def _recipe(self, plan: LoopPlan, command: TrainCandidate, cancelled: Cancelled | None = None) -> Recipe:
        return Recipe(
            plan=plan,
            version=command.version,
            seed=command.seed,
            fitter=self.fitter,
            runtimes=self._runtimes,
            blobs=self._blobs,
            scored={},
            cancelled=cancelled,
        )

    def _stretch(
        self, parts: LoopParts, fit: Judged, made: VersionRegistered, champion: VersionRegistered | None
    ) -> _Stretch:
        """Return one held-out stretch, as the fit before it and the champion score it."""
        plan = parts.loop
        rows = _judgeable(parts, fit.since, fit.until, made.cutoff)
        own = rows
        for column in sorted(set(made.signature) - {*plan.features.names, *rows.columns}):
            own = self._with_column(plan.outcome.requests, own, column, made.cutoff)
        ours = self.scores(fit.package, own)
        return _Stretch(own, ours, ours if champion is None else self.scores(champion.package, rows))

    def _served(self, version: VersionRegistered) -> Served:
        return Served(lambda: self._blobs.get(version.package), self._runtimes)

    def scores(self, package: Digest, rows: pl.DataFrame) -> Scores:
        """Return what a stored package says of `rows`, float32 of shape (n, width)."""
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
        held = self._datasets
        return tuple(DatasetUse(one.name, held.version(one), held.digest(one)) for one in plan.datasets)


class _Stretch(NamedTuple):
    """Held-out rows, and what two versions say of them."""

    frame: pl.DataFrame
    candidate: Scores
    champion: Scores


def training_rows(
    parts: LoopParts, cutoff: Instant, *, keyed: bool = False, more: Sequence[str] = ()
) -> pl.DataFrame:
    """Return the rows that a training at `cutoff` may read: requests that are mature, with outcomes as known
    then, null where they never came, with their ``key`` if asked for, and `more` columns. Earlier origins
    read as far back from their own end as the last one does.
    """
    train = parts.loop.train
    reach = 0 if train.window is None else train.window + (train.origins - 1) * train.validate
    since = Instant(0 if train.window is None else cutoff - reach)
    until = Instant(cutoff - parts.loop.outcome.mature)
    return _matured(parts, since, until, cutoff, keyed=keyed, more=more)


def _judgeable(parts: LoopParts, since: Instant, until: Instant, known_by: Instant) -> pl.DataFrame:
    """Return the rows that have an outcome, and all of them where the task has none."""
    rows = _matured(parts, since, until, known_by, keyed=True)
    return rows.drop_nulls("outcome") if parts.loop.outcome.task.has_outcome else rows


def _matured(
    parts: LoopParts,
    since: Instant,
    until: Instant,
    known_by: Instant,
    *,
    keyed: bool,
    more: Sequence[str] = (),
) -> pl.DataFrame:
    plan = parts.loop
    # What was answered is of no use here, and takes as much room as the features.
    lists = () if plan.outcome.task.group is None else (GROUP,)
    columns = (*(("key",) if keyed else ()), "requested_at", *lists, *more, *plan.features.names)
    return parts.predictions.matured(since, until, known_by=known_by, columns=columns).drop("known_at")


def _held(end: Instant, plan: LoopPlan, cutoff: Instant, number: int) -> Held:
    """Return the stretch that is `number` before the last, which ends with the rows."""
    train = plan.train
    back = number * train.validate
    fit_from = 0 if train.window is None else cutoff - train.window - back
    until = end - back
    return Held(Instant(fit_from), Instant(until - train.validate), Instant(until))


def _too_few(rows: Rows, held: Held, plan: LoopPlan) -> bool:
    n_fit, n_held_out = rows.counts(held)
    return n_fit < plan.train.min_rows or n_held_out < LEAST_HELD_OUT


def _too_few_to_train(rows: Rows, held: Held, plan: LoopPlan) -> FailedPrecondition:
    n_fit, n_held_out = rows.counts(held)
    hint = "wait for more outcomes, or lower min_rows or validate"
    problem = "has too few rows to train on"
    return FailedPrecondition("model", plan.model, problem, n_fit=n_fit, n_held_out=n_held_out, hint=hint)


def _with_inner(rows: Rows, plan: LoopPlan) -> Rows:
    """Return the rows with a stretch to search on, before all that judges; where there are too few rows for
    it, fewer stretches judge.
    """
    inner = [Held(held.fit_from, Instant(held.since - plan.train.validate), held.since) for held in rows.held]
    for n_held in range(len(inner), 0, -1):
        if not _too_few(rows, inner[n_held - 1], plan):
            return msgspec.structs.replace(rows, held=rows.held[:n_held], inner=inner[n_held - 1])
    raise _too_few_to_train(rows, inner[0], plan)


def _registered(
    command: TrainCandidate,
    recipe: Recipe,
    rows: Rows,
    datasets: tuple[DatasetUse, ...],
    results: PipelineResult,
) -> VersionRegistered:
    """Return how what a training made is to be registered."""
    plan, judged = recipe.plan, _judged(rows, results)
    refit = plan.train.refit and command.offer is None
    served = results["train"] if refit else results["fit-1"]
    package = open_package(served.value)
    fitted = served_span(rows, plan.train)
    span = rows.between(fitted.since, fitted.until, columns=("requested_at",))
    trials: tuple[Trial, ...] = () if rows.inner is None else results["search"].value.trials
    works = [*judged, *trials]
    together: Validation = results["validate"].value.together
    return VersionRegistered(
        model=plan.model,
        version=command.version,
        package=served.digest,
        reference=results["reference"].digest,
        signature=package.signature.names,
        estimator=package.estimator,
        trained_from=Instant(int(span["requested_at"].to_physical()[0])) if span.height else fitted.since,
        held_out_from=rows.held[-1].since,
        fitted_until=rows.held[0].until if refit else rows.held[0].since,
        cutoff=command.cutoff,
        n_rows=span.height,
        n_validation=together.n,
        metrics=together.metrics,
        params=package.params,
        seed=command.seed,
        code=code_closure(plan.train.fit).digest,
        environment=package.environment.digest,
        datasets=datasets,
        pipeline_key=served.key,
        work=sum(one.work for one in works) + (work_of(package) if refit else 0),
        planted=command.planted.name if command.planted else "",
        judged=judged,
        strategy="full" if rows.ancestry is None or plan.train.strategy is None else "incremental",
        parent=None if rows.ancestry is None else rows.ancestry.version,
        trials=trials,
        effective_n=None if command.offer is not None else effective_n(rows, plan.train),
    )


def _imported(made: VersionRegistered, offer: Offer) -> VersionRegistered:
    """Return how a model that was trained elsewhere is registered: without what is known of our own fits."""
    return msgspec.structs.replace(
        made,
        imported=offer.source,
        code=offer.source.content,
        trained_from=offer.fitted_until,
        fitted_until=offer.fitted_until,
        n_rows=0,
        work=0,
        judged=tuple(msgspec.structs.replace(fit, n_rows=0, work=0) for fit in made.judged),
    )


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
                metrics=validation.metrics,
                work=work_of(package),
            )
        )
    return tuple(found)


def _known(command: TrainCandidate, rows: Rows, datasets: tuple[DatasetUse, ...]) -> Digest:
    """Return what identifies the rows of a training."""
    return digest_of([datasets, command.cutoff, rows.names, rows.held, rows.n])


def _both(recipe: Recipe, rows: Rows, known: Digest) -> dict[str, Input]:
    """Return the inputs that every fit needs: the rows, and what all fits of the training share."""
    plan = recipe.plan
    declared = [
        list(rows.names),
        list(plan.features.names),
        plan.train.params,
        plan.outcome.column,
        recipe.version,
        recipe.seed,
        *([repr(plan.train.weights)] if is_by_chance(plan.train) else []),
        *([plan.train.weights] if isinstance(plan.train.weights, str) else []),
        # What every training once was is left out: homes hold results by keys without it.
        *([plan.outcome.task.spec] if plan.outcome.task.spec != TaskSpec() else []),
        *(["continues"] if plan.train.continues else []),
        *([["no outcome", plan.outcome.no_outcome]] if plan.outcome.no_outcome is not None else []),
    ]
    return {"rows": Input(known, lambda: rows), "recipe": Input(digest_of(declared), lambda: recipe)}


def _graph(recipe: Recipe, rows: Rows, known: Digest, offer: Offer | None) -> Graph:
    """Return one step for each fit, so that a training that was cut short fits nothing twice."""
    plan, seed = recipe.plan, recipe.seed
    both = _both(recipe, rows, known)
    refit = plan.train.refit and offer is None
    steps = fit_steps(rows, plan.train, both, seed) if offer is None else [take_in_step(rows, offer, both)]
    fits = {f"fit_{number}": f"fit-{number}" for number in range(1, len(rows.held) + 1)}
    rest = {**both, **fits}
    steps.append(PipelineStep(name="validate", run=_validate, produces=JudgedStretches, needs=rest))
    # Models that are fitted alike share their fits; a reference names its model, and knows what that watches.
    watched = Input(digest_of([plan.model, plan.monitors]), lambda: plan.monitors)
    needs = {**rest, "watched": watched}
    steps.append(PipelineStep(name="reference", run=_reference, produces=Reference, needs=needs))
    if refit:
        steps.append(refit_step(rows, plan.train, both, seed))
    return Graph(tuple(steps))


def _validate(rows: Rows, recipe: Recipe, **fits: bytes) -> JudgedStretches:
    scored, task = _scored(rows, recipe, fits), recipe.plan.outcome.task
    together = _validation(pl.concat(scored), task)
    return JudgedStretches(tuple(_validation(part, task) for part in scored), together)


def _validation(scored: pl.DataFrame, task: Task) -> Validation:
    outcome, predicted = scored["outcome"].to_numpy(), scores_in(scored, task)
    return Validation(scored.height, task.validation(outcome, predicted, lists_of(scored, task)))


def _scored(rows: Rows, recipe: Recipe, fits: Mapping[str, bytes]) -> list[pl.DataFrame]:
    """Return the held-out stretches, the last one first, each with the ``score`` of the fit before it."""
    found: list[pl.DataFrame] = []
    task = recipe.plan.outcome.task
    for number, held in enumerate(rows.held, 1):
        part = rows.between(held.since, held.until)
        if number not in recipe.scored:
            package = open_package(fits[f"fit_{number}"])
            recipe.scored[number] = package_scores(recipe.runtimes, package, part)
        found.append(part.with_columns(score_series(task, "score", recipe.scored[number])))
    return found


def _reference(rows: Rows, recipe: Recipe, watched: MonitorPlan, **fits: bytes) -> Reference:
    # Rows that the model was fitted on flatter it: only the held-out ones carry a score.
    scored = _scored(rows, recipe, fits)[::-1]
    fitted = rows.between(rows.held[0].fit_from, rows.held[-1].since)
    plan = recipe.plan
    task, names = plan.outcome.task, plan.features.names
    scores = score_columns(task)
    parts = [fitted.with_columns(pl.lit(None, pl.Float32).alias(name) for name in scores), *scored]
    lists = () if task.group is None else (GROUP,)
    frame = pl.concat([part.select("requested_at", *scores, "outcome", *lists, *names) for part in parts])
    return reference(
        frame,
        task=task,
        model=plan.model,
        version=Version(recipe.version),
        features=names,
        monitors=watched.declared,
    )


def package_scores(runtimes: Runtimes, package: Package, rows: pl.DataFrame) -> Scores:
    """Return what a package says of `rows`, float32 of shape (n, width)."""
    return runtimes.load(package, threads=2).predict(package.signature.feed(rows))
