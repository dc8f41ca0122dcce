"""Candidates: from what is known at a cut-off to a registered version.

The last stretches of the rows (`loop.candidate_rows`) are held out in time order, each scored by a fit on
what came before it: these fits are what the gates judge (`training.gates`). Then, unless declared otherwise,
the same function is fitted on all rows, and that refit is the version that meets traffic. The steps of it all
are in `loop.training_graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.data import Dataset, Datasets
from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, digest_of
from varv.kernel.executor import Cancelled
from varv.kernel.ids import Version
from varv.labels.counting import Counted
from varv.loop.candidate_rows import candidate_rows, judgeable, with_column
from varv.loop.commands import TrainCandidate
from varv.loop.fits import Recipe, Rows, fit_steps, judged_span, refit_step, served_span, work_of
from varv.loop.model import Offer
from varv.loop.plan import LoopParts, LoopPlan
from varv.loop.row_weights import effective_n
from varv.loop.training_graph import (
    JudgedStretches,
    Validation,
    package_scores,
    rows_identity,
    shared_inputs,
    training_graph,
)
from varv.pipelines import Graph, PipelineResult, StepCache, code_closure, run_graph
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
from varv.serving.scores import Scores, lists_of
from varv.training import Fitter
from varv.training.gates import Judgement, Served

TrainedOn = Callable[[str, int, Iterator[pl.DataFrame]], None]
"""Is given a model, a version, and the features and outcomes that it was fitted on, frame by frame."""


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
        """Return the rows of a training, as `candidate_rows`.

        Raises
        ------
        FailedPrecondition
            If there are too few of them.
        """
        return candidate_rows(self._datasets, self._counted, parts, command, champion)

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
        graph = training_graph(recipe, rows, rows_identity(command, rows, datasets), command.offer)
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
        known = rows_identity(command, rows, self._datasets_used(plan))
        both = shared_inputs(recipe, rows, known)
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
        rows = judgeable(parts, fit.since, fit.until, made.cutoff)
        own = rows
        for column in sorted(set(made.signature) - {*plan.features.names, *rows.columns}):
            own = with_column(self._datasets, plan.outcome.requests, own, column, made.cutoff)
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

    def _datasets_used(self, plan: LoopPlan) -> tuple[DatasetUse, ...]:
        held = self._datasets
        return tuple(DatasetUse(one.name, held.version(one), held.digest(one)) for one in plan.datasets)


class _Stretch(NamedTuple):
    """Held-out rows, and what two versions say of them."""

    frame: pl.DataFrame
    candidate: Scores
    champion: Scores


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
