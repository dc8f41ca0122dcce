"""The fits of one training: which rows each is given, what it may go on from, and the steps that run them.

`loop.candidates` joins these steps to those that score. A fit is handed a fit of the champion only if that
one has seen nothing of the stretch on which the new fit is judged: the champion's own judged fits serve for
that, since each ends where its held-out stretch begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import UserCodeFailed
from varv.kernel.executor import Cancelled
from varv.kernel.ids import Version
from varv.loop.plan import LoopPlan
from varv.pipelines import Input, PipelineStep
from varv.registry import Package, Runtimes, Trial, VersionRegistered, open_package
from varv.serving.scores import Scores
from varv.training import FitInput, FitOf, Fitter, Train
from varv.training.fit import MOST_PROBED
from varv.training.search import best

_STRETCH = 1 << 16


class Held(msgspec.Struct, frozen=True):
    """Two stretches of requests: those in [`fit_from`, `since`) are fitted on, those in [`since`, `until`)
    held out.
    """

    fit_from: Instant
    since: Instant
    until: Instant


class Parent(msgspec.Struct, frozen=True):
    """A fit of the champion: its package, and where the requests that it was fitted on end."""

    package: Digest
    end: Instant


class Ancestry(msgspec.Struct, frozen=True):
    """The fits of the champion that a training may go on from, the latest first."""

    version: Version
    fits: tuple[Parent, ...]

    def before(self, when: Instant) -> Parent | None:
        """Return the latest fit that has seen no request from `when` on."""
        return next((fit for fit in self.fits if fit.end <= when), None)


class Rows(msgspec.Struct, frozen=True):
    """The rows of one training, in the order of the requests, and the stretches that are held out, the last
    one first.
    """

    frame: pl.DataFrame
    """Requests whose outcome never came are among them, and in no stretch: without them this would be a copy
    of what is in memory."""
    names: tuple[str, ...]
    held: tuple[Held, ...]
    ancestry: Ancestry | None = None
    """What the fits go on from, if they do."""
    inner: Held | None = None
    """Where a search tries parameters, if one is declared."""
    has_outcome: bool = True
    """Whether only rows that have an outcome count."""

    @property
    def n(self) -> int:
        """How many rows count."""
        return self._n_in(self.frame)

    @property
    def end(self) -> Instant:
        """Where the rows end: just after the last request that counts."""
        at = self._counting(self.frame.select("requested_at", "outcome"))["requested_at"].cast(pl.Int64)
        return Instant(int(at[-1]) + 1 if len(at) else 1)

    def between(
        self, since: Instant, until: Instant, *, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return the rows of requests made in [since, until): all columns, or those and the outcome."""
        found = self.all_between(since, until)
        return self._counting(found if columns is None else found.select(*columns, "outcome"))

    def all_between(self, since: Instant, until: Instant) -> pl.DataFrame:
        """Return the rows of [since, until) with those that do not count; none if it ends before it begins.
        No row is copied.
        """
        # They are in order, so a stretch is a slice.
        at = self.frame["requested_at"].cast(pl.Int64).to_numpy()
        first, last = np.searchsorted(at, (since, until)).tolist()
        return self.frame.slice(first, max(0, last - first))

    def stretches(self, since: Instant, until: Instant) -> Iterator[pl.DataFrame]:
        """Yield features and outcomes of the rows of [since, until), some at a time, so that no copy is made
        of all of them.
        """
        whole = self.all_between(since, until).select(*self.names, "outcome")
        return (self._counting(part) for part in whole.iter_slices(_STRETCH))

    def n_between(self, since: Instant, until: Instant) -> int:
        """Return how many rows there are of [since, until)."""
        return self._n_in(self.all_between(since, until))

    def counts(self, held: Held) -> tuple[int, int]:
        """Return how many rows are fitted on, and how many held out."""
        return self.n_between(held.fit_from, held.since), self.n_between(held.since, held.until)

    def _counting(self, part: pl.DataFrame) -> pl.DataFrame:
        # Not `drop_nulls`, which makes one piece of all rows first: a second copy of them.
        return part if self._n_in(part) == part.height else part.filter(part["outcome"].is_not_null())

    def _n_in(self, part: pl.DataFrame) -> int:
        return part.height - (part["outcome"].null_count() if self.has_outcome else 0)


class Trials(msgspec.Struct, frozen=True):
    """What a search has tried."""

    trials: tuple[Trial, ...]


class Chosen(msgspec.Struct, frozen=True):
    """The parameters of the best trial."""

    params: dict[str, Any]


class Span(NamedTuple):
    """One fit: the step that it is, the requests it is given, and what it goes on from."""

    step: str
    since: Instant
    until: Instant
    previous: Digest | None

    def input(self, *mark: str) -> Input:
        """Return it as an input of a step; `mark` tells two fits of one span apart."""
        known: list[object] = [self.since, self.until, *mark]
        if self.previous is not None:
            known.append(self.previous)
        return Input(digest_of(known), lambda: self)


class Recipe(NamedTuple):
    """What all fits of a training share."""

    plan: LoopPlan
    version: Version
    seed: int
    fitter: Fitter
    runtimes: Runtimes
    blobs: Blobs
    scored: dict[int, Scores]
    """What the judged fits say of their stretches, by number, once a step has asked: others ask again."""
    cancelled: Cancelled | None = None


def ancestry(train: Train, champion: VersionRegistered | None, names: Sequence[str]) -> Ancestry | None:
    """Return the fits that a training may go on from; None where it starts anew: it is not declared to go on,
    there is no champion, or the champion reads a column that is not there any more or was trained elsewhere.
    """
    if champion is None or champion.imported is not None or not train.continues:
        return None
    if not set(champion.signature) <= set(names):
        return None
    own = Parent(champion.package, champion.data_end)
    judged = [Parent(fit.package, fit.since) for fit in champion.judged_fits]
    fits = sorted(dict.fromkeys([own, *judged]), key=lambda fit: fit.end, reverse=True)
    return Ancestry(Version(champion.version), tuple(fits))


def new_rows_only(held: Sequence[Held], past: Ancestry) -> tuple[list[Held], Ancestry | None]:
    """Return those stretches before which the champion has a fit, each fitted on what that has not seen, and
    the ancestry; if there are none, all stretches without an ancestry.
    """
    found = [
        Held(Instant(max(one.fit_from, parent.end)), one.since, one.until)
        for one in held
        if (parent := past.before(one.since)) is not None
    ]
    return (found, past) if found else (list(held), None)


def judged_span(rows: Rows, number: int) -> Span:
    """Return the fit that is judged on the stretch that is `number` before the last, which is 0."""
    held = rows.held[number]
    parent = None if rows.ancestry is None else rows.ancestry.before(held.since)
    return Span(f"fit-{number + 1}", held.fit_from, held.since, None if parent is None else parent.package)


def served_span(rows: Rows, train: Train) -> Span:
    """Return the fit that is served: the refit if there is one, else the one that is judged last."""
    if not train.refit:
        return judged_span(rows, 0)
    last = rows.held[0]
    parent = None if rows.ancestry is None else rows.ancestry.before(last.until)
    if parent is None:
        return Span("train", last.fit_from, last.until, None)
    since = last.fit_from if train.strategy is None else Instant(max(last.fit_from, parent.end))
    return Span("train", since, last.until, parent.package)


def fit_steps(rows: Rows, train: Train, both: Mapping[str, Input], seed: int) -> list[PipelineStep]:
    """Return the steps before scoring: the search, if one is declared, and a fit for each held-out stretch.

    Parameters
    ----------
    both
        The inputs ``rows`` and ``recipe``.
    """
    code, steps = train.code, list[PipelineStep]()
    if rows.inner is not None:
        steps += _search_steps(rows.inner, train, both, seed)
    for number in range(len(rows.held)):
        span = judged_span(rows, number)
        needs = {**both, "span": span.input(), **chosen(rows)}
        steps.append(PipelineStep(name=span.step, run=fit, needs=needs, code=code, seed=seed))
    return steps


def refit_step(rows: Rows, train: Train, both: Mapping[str, Input], seed: int) -> PipelineStep:
    """Return the step that fits the version that is served on all rows."""
    span = served_span(rows, train)
    needs = {**both, "span": span.input("refit"), **chosen(rows)}
    return PipelineStep(name=span.step, run=fit, needs=needs, code=train.code, seed=seed)


def chosen(rows: Rows) -> dict[str, str]:
    """Return what a fit needs of the search, if there is one."""
    return {} if rows.inner is None else {"chosen": "chosen"}


def fit(rows: Rows, recipe: Recipe, span: Span, chosen: Chosen | None = None) -> bytes:
    """Fit and package."""
    params = recipe.plan.train.params if chosen is None else chosen.params
    first = rows.held[0]
    return _fitted(rows, recipe, span, params, rows.between(first.since, first.until))


def _search_steps(inner: Held, train: Train, both: Mapping[str, Input], seed: int) -> list[PipelineStep]:
    assert train.search is not None, "an inner stretch is for a search"
    drawn = train.search.draws(train.params)
    steps, needs = list[PipelineStep](), dict[str, Input | str]()
    for number, params in enumerate(drawn, 1):
        span = Span(f"trial-{number}", inner.fit_from, inner.since, None)
        given = Input(digest_of(params), lambda params=params: params)
        inputs = {**both, "span": span.input("trial"), "params": given}
        steps.append(PipelineStep(name=span.step, run=_trial, needs=inputs, code=train.code, seed=seed))
        needs[f"trial_{number}"] = span.step
    compared = Input(digest_of([drawn, inner, train.search.metric]), lambda: drawn)
    steps.append(
        PipelineStep(
            name="search", run=_compared, produces=Trials, needs={**both, "drawn": compared, **needs}
        )
    )
    # Alone, so that fits are found again if another search chooses the same parameters.
    steps.append(PipelineStep(name="chosen", run=_chosen, produces=Chosen, needs={"found": "search"}))
    return steps


def _trial(rows: Rows, recipe: Recipe, span: Span, params: Mapping[str, Any]) -> bytes:
    assert rows.inner is not None, "trials have an inner stretch"
    try:
        return _fitted(rows, recipe, span, params, rows.between(rows.inner.since, rows.inner.until))
    except UserCodeFailed as error:
        error.facts.setdefault("params", dict(params))
        raise


def _compared(rows: Rows, recipe: Recipe, drawn: Sequence[dict[str, Any]], **packages: bytes) -> Trials:
    search, task = recipe.plan.train.search, recipe.plan.outcome.task
    assert search is not None, "compared after a search"
    assert rows.inner is not None, "compared on an inner stretch"
    held_out = rows.between(rows.inner.since, rows.inner.until)
    outcome = held_out["outcome"].to_numpy()
    groups = held_out[task.group].to_numpy() if task.group in held_out.columns else None
    found = []
    for number, params in enumerate(drawn, 1):
        package = open_package(packages[f"trial_{number}"])
        predicted = recipe.runtimes.load(package, threads=2).predict(package.signature.feed(held_out))
        loss = search.loss(task, outcome, predicted.astype(np.float64), groups)
        n_rows, work = package.n_rows, work_of(package)
        found.append(Trial(params=params, loss=loss, n_rows=n_rows, n_held_out=held_out.height, work=work))
    return Trials(tuple(found))


def _chosen(found: Trials) -> Chosen:
    return Chosen(best(found.trials).params)


def _fitted(rows: Rows, recipe: Recipe, span: Span, params: Mapping[str, Any], later: pl.DataFrame) -> bytes:
    plan = recipe.plan
    which = FitOf(model=plan.model, version=recipe.version, step=span.step, cancelled=recipe.cancelled)
    weights = plan.train.weights_column
    wanted = dict.fromkeys((*rows.names, "outcome", "requested_at", *([weights] if weights else [])))
    given = FitInput(
        rows=rows.all_between(span.since, span.until).select(
            [name for name in wanted if name in rows.frame.columns]
        ),
        probe=later.head(MOST_PROBED).select(rows.names),
        names=rows.names,
        params=params,
        seed=recipe.seed,
        previous=None if span.previous is None else recipe.blobs.get(span.previous),
        parent=None if span.previous is None or rows.ancestry is None else rows.ancestry.version,
    )
    return recipe.fitter.fit(which, plan.train, plan.outcome.task, given)


def work_of(package: Package) -> int:
    """Return the rows that a package was fitted on times its boosting rounds."""
    return package.n_rows * int(package.params.get("max_iter", 1))
