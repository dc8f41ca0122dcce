"""A training as steps: its fits, what they show on the rows that were held out of them, the sample that
monitors compare with, and the refit that serves.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import polars as pl

from varv.kernel.codec import Digest, digest_of
from varv.kernel.ids import Version
from varv.loop.commands import TrainCandidate
from varv.loop.fits import Recipe, Rows, fit_steps, refit_step
from varv.loop.model import Offer
from varv.loop.offers import take_in_step
from varv.loop.row_weights import is_by_chance
from varv.monitoring import MonitorPlan
from varv.monitoring.reference import Reference, reference
from varv.pipelines import Graph, Input, PipelineStep
from varv.registry import DatasetUse, Package, Runtimes, open_package
from varv.serving.scores import GROUP, Scores, lists_of, score_columns, score_series, scores_in
from varv.tasks import Task, TaskSpec


class Validation(msgspec.Struct, frozen=True):
    """What a fit shows on held-out rows."""

    n: int
    metrics: dict[str, float | None]
    """The default loss and every metric of the task; None where the rows do not determine one."""


class JudgedStretches(msgspec.Struct, frozen=True):
    """What the fits show on their held-out stretches: on each, the last one first, and on all together."""

    each: tuple[Validation, ...]
    together: Validation


def rows_identity(command: TrainCandidate, rows: Rows, datasets: tuple[DatasetUse, ...]) -> Digest:
    """Return what identifies the rows of a training."""
    return digest_of([datasets, command.cutoff, rows.names, rows.held, rows.n])


def shared_inputs(recipe: Recipe, rows: Rows, known: Digest) -> dict[str, Input]:
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


def training_graph(recipe: Recipe, rows: Rows, known: Digest, offer: Offer | None) -> Graph:
    """Return one step for each fit, so that a training that was cut short fits nothing twice."""
    plan, seed = recipe.plan, recipe.seed
    both = shared_inputs(recipe, rows, known)
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
