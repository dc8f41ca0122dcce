"""The ranking task: a score that orders the rows of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl

from varv.kernel.errors import InvalidDeclaration
from varv.stats.intervals import Estimate, Numbers, clustered_mean
from varv.stats.lists import ListScores, ndcg, reciprocal_ranks
from varv.tasks.binary import FEWEST_OF_A_CLASS, SHARE_OF_A_CLASS
from varv.tasks.estimators import predictions
from varv.tasks.measures import Array, Loss, Mask, Metric, SignalSpec
from varv.tasks.model import OutcomeRule, OutputTensor, declared
from varv.tasks.numeric import NumericTask, is_whole
from varv.tasks.signals import mean_error

MOST_PLACES = 10_000
_LOSS = "what the order of a list lost against the best order of it"


class Ranking(NumericTask):
    """The outcome is how relevant a row was, 0 for not at all; a prediction is a score, and rows of a list
    are shown in the order of their scores, highest first.

    Parameters
    ----------
    group
        The request column that names the list: the query, the session.
    at
        Places that count, from the top.

    Notes
    -----
    The unit is the list. Every row of a list carries the list's loss, 1 less its NDCG, so in gates and
    rollouts a list weighs by its rows, while metrics and signals weigh lists alike. Rows of a list must be
    known together, and a cluster must never be smaller than a list. A list without a relevant row has loss
    0, since no order was better, and is left out of metrics.
    """

    name: ClassVar[str] = "ranking"
    outcome_dtype = pl.Float64()
    default_loss = "ndcg_loss"
    guards = ("ndcg_loss",)

    def __init__(self, group: str, at: int = 10) -> None:
        if not isinstance(group, str) or not group:
            hint = 'give the request column that names the list: group="query"'
            raise declared("ranking", "group", "it is no name", hint, given=repr(group)[:60])
        if not is_whole(at, 1, MOST_PLACES):
            hint = f"give a whole number from 1 to {MOST_PLACES}"
            raise declared("ranking", "at", "it is no number of places", hint, given=repr(at)[:60])
        self.group: str | None = group
        self._at = at
        self.losses: Mapping[str, Loss] = {
            "ndcg_loss": Loss(
                name="ndcg_loss",
                label=f"1 − NDCG@{at}",
                unit="",
                bound=1.0,
                rows=self._row_losses,
                valid=self.valid,
                # A list says less than ten rows: a thousandth would take years of a hundred lists a day.
                margin=0.01,
                of_lists=True,
                meaning=_LOSS,
            )
        }
        self.metrics: Mapping[str, Metric] = {
            "ndcg": self._metric("ndcg", f"NDCG@{at}", self._ndcg),
            "mrr": self._metric("mrr", "mean reciprocal rank", self._reciprocal_ranks),
        }
        self.signals = (self._signal(),)

    @property
    def options(self) -> dict[str, Any]:
        """The group and the places."""
        return {"group": self.group, "at": self._at}

    def rule(self) -> OutcomeRule:
        """Demand that relevance is not negative."""
        return OutcomeRule(lowest=0.0)

    def require_history(self, outcomes: pl.Series, column: str) -> None:
        """Check that relevance is not negative, and not always 0.

        Raises
        ------
        InvalidDeclaration
            If it is.
        """
        known = self._known(outcomes)
        n_negative = int(np.sum(known < 0))
        if n_negative >= max(FEWEST_OF_A_CLASS, SHARE_OF_A_CLASS * known.size):
            problem = f"is negative in {n_negative / known.size:.2%} of rows, where 0 is not relevant at all"
            hint = "derive a column that is 0 for rows that do not matter and grows with relevance"
            raise InvalidDeclaration("outcome", column, problem, hint=hint)
        if known.size and not np.any(known > 0):
            hint = "name the column that is above 0 in relevant rows"
            raise InvalidDeclaration("outcome", column, "holds no relevance above 0", hint=hint)

    def valid(self, predicted: Array) -> Mask:
        """Whether each row is a finite score."""
        return np.isfinite(self.matrix(predicted)[:, 0])

    def estimates(self, estimator: Any, rows: Array) -> Numbers:
        """Return what ``predict`` says."""
        return predictions(estimator, rows, 1, kind="ranker")

    def tensors(self) -> tuple[OutputTensor, ...]:
        """Return ``score``."""
        return (OutputTensor("score", "FP32", lambda predicted: predicted[:, 0].tolist()),)

    def said(self, row: Array) -> str:
        """Return the score with four digits."""
        return f"{float(row[0]):.4g}"

    def _are_outcomes(self, outcome: Numbers) -> np.ndarray:
        return np.isfinite(outcome) & (outcome >= 0)

    def _ndcg(self, outcome: Array, predicted: Array, groups: Array | None) -> ListScores:
        return ndcg(outcome, self.matrix(predicted)[:, 0], _list_codes(groups), at=self._at)

    def _reciprocal_ranks(self, outcome: Array, predicted: Array, groups: Array | None) -> ListScores:
        return reciprocal_ranks(outcome, self.matrix(predicted)[:, 0], _list_codes(groups))

    def _row_losses(self, outcome: Array, predicted: Array, groups: Array | None) -> Numbers:
        lists = self._ndcg(outcome, predicted, groups)
        return np.nan_to_num(1 - lists.value, nan=0.0)[lists.code]

    def _metric(self, name: str, label: str, lists_of: Any) -> Metric:
        def value(y: Array, p: Array, groups: Array | None) -> float:
            known = _known_lists(lists_of(y, p, groups))
            return float(known.value.mean()) if known.value.size else float("nan")

        def interval(y: Array, p: Array, clusters: Array, groups: Array | None) -> Estimate:
            known = _known_lists(lists_of(y, p, groups))
            if not known.value.size:
                return Estimate(float("nan"), 0.0, 1.0, 0)
            found = clustered_mean(known.value, np.asarray(clusters)[known.first])
            return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0), found.n)

        return Metric(name=name, label=label, point=value, interval=interval, higher_is_better=True, needs=1)

    def _signal(self) -> SignalSpec:
        def losses(y: Array, p: Array, groups: Array | None) -> ListScores:
            lists = _known_lists(self._ndcg(y, p, groups))
            return lists._replace(value=1 - lists.value)

        def estimate(y: Array, p: Array, clusters: Array, groups: Array | None) -> Estimate:
            known = losses(y, p, groups)
            if not known.value.size:
                return Estimate(float("nan"), 0.0, 1.0, 0)
            return clustered_mean(known.value, np.asarray(clusters)[known.first])

        return SignalSpec(
            name="loss",
            label=f"1 − NDCG@{self._at}",
            kind="performance",
            subjects=(("loss", 1),),
            learns_level=True,
            interval=estimate,
            spread=lambda y, p, groups: mean_error(losses(y, p, groups).value),
            margin=2.0,
            meaning=_LOSS,
        )


def _known_lists(lists: ListScores) -> ListScores:
    """Return the lists that have a relevant row."""
    known = np.isfinite(lists.value)
    return lists._replace(value=lists.value[known], first=lists.first[known])


def _list_codes(groups: Array | None) -> Array:
    if groups is None:
        raise ValueError("a ranking is judged by lists: groups are needed")
    names = np.asarray(groups)
    # Sorting texts by Python's comparisons takes seconds for a million rows.
    return names if names.dtype.kind in "iub" else pl.Series(names.tolist()).rank("dense").to_numpy()
