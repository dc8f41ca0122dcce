"""What a replay showed of a model: the policies held against each other, as frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl

from varv.app.client.models import ReadableModel
from varv.app.client.sources import LocalSource, Source, When
from varv.home.comparison import DECLARED
from varv.home.model import Comparison, Measure, PolicyScore
from varv.kernel.errors import NotFound
from varv.kernel.wording import number
from varv.tasks import task_of


class ReplayedModel:
    """What a replay showed of one model.

    Parameters
    ----------
    comparison
        The policies held against each other.
    source_of
        Gives the home in which a policy was lived through.
    """

    def __init__(self, comparison: Comparison, source_of: Callable[[str], Source]) -> None:
        self._comparison = comparison
        self._source_of = source_of

    def __repr__(self) -> str:
        return f"<replay of {self.name}: {summary(self.comparison)}>"

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import answer_fragment, replay_fragment

        source = self._source_of(DECLARED)
        if isinstance(source, LocalSource):
            return replay_fragment([(self.comparison, source.desk.views)])
        return answer_fragment(self.comparison)

    @property
    def comparison(self) -> Comparison:
        """The policies held against each other, as ``varv replay --json`` writes it."""
        return self._comparison

    @property
    def name(self) -> str:
        """The model."""
        return self.comparison.model

    @property
    def warnings(self) -> tuple[str, ...]:
        """What has to be known before anything else: rows that were lost."""
        return self.comparison.warnings

    @property
    def policies(self) -> pl.DataFrame:
        """Return a row for each policy, the declared one first: loss, metrics, and what it took."""
        return _frame(
            {
                "policy": one.name,
                "n": one.n,
                **self._numbers(Measure(one.loss, one.loss_low, one.loss_high), one.metrics),
                "auc_within_days": one.auc_within_days,
                "n_trainings": one.n_trainings,
                "n_retrains": one.n_retrains,
                "n_alarms": one.n_alarms,
                "work": one.work,
                "cpu_s": one.cpu_s,
            }
            for one in self.comparison.policies
        )

    @property
    def gains(self) -> pl.DataFrame:
        """Return for each two policies by how much the loss is lower than under the `over` one: above zero,
        the policy is better. Limits are 95 %.
        """
        return _frame(
            {
                "policy": one.name,
                "over": gain.over,
                "difference": gain.difference,
                "low": gain.low,
                "high": gain.high,
                "n_days": gain.n_days,
            }
            for one in self.comparison.policies
            for gain in one.gains
        )

    @property
    def months(self) -> pl.DataFrame:
        """Return a row for each policy and calendar month (UTC): loss and metrics with 95 % limits."""
        return _frame(
            {
                "policy": one.name,
                "month": month.month,
                "n": month.n,
                **self._numbers(Measure(month.loss, month.low, month.high), month.metrics),
                "auc_within_days": month.auc_within_days,
            }
            for one in self.comparison.policies
            for month in one.months
        )

    @property
    def rows(self) -> pl.DataFrame:
        """Return what became of the rows of each part of each dataset."""
        return _frame(
            {
                "dataset": one.dataset,
                "part": one.part,
                "n_arrived": one.n_arrived,
                "n_used": one.n_used,
                "n_equal": one.n_equal,
                "n_different": one.n_different,
                "n_waiting": one.n_waiting,
                "n_early": one.n_early,
                "n_quarantined": one.n_quarantined,
                "n_discarded": one.n_discarded,
                "n_lost": one.n_lost,
            }
            for one in self.comparison.rows
        )

    def of_policy(self, policy: str = DECLARED) -> ReadableModel:
        """Return the model as a policy left it.

        Raises
        ------
        NotFound
            If that policy was not replayed.
        """
        names = [one.name for one in self.comparison.policies]
        if policy not in names:
            hint = f"the policies are {', '.join(names)}"
            raise NotFound("policy", policy[:80], "was not replayed", hint=hint)
        return ReadableModel(self._source_of(policy), self.name)

    def predictions(
        self,
        policy: str = DECLARED,
        since: When = "",
        until: When = "",
        *,
        labelled: bool | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Return what a policy answered, with features and outcomes, as `ReadableModel.predictions` does."""
        return self.of_policy(policy).predictions(since, until, labelled=labelled, limit=limit)

    def decisions(self, policy: str = DECLARED) -> pl.DataFrame:
        """Return what a policy decided, and on what: entries of its ledger."""
        return self.of_policy(policy).decisions()

    def _numbers(self, loss: Measure, metrics: Mapping[str, Measure]) -> dict[str, float | None]:
        """Return numbers with their limits, in the task's order."""
        order = [name for name in task_of(self.comparison.task).metrics if name in metrics]
        every = {"loss": loss, **{name: metrics[name] for name in order}, **metrics}
        return {
            name + suffix: value
            for name, one in every.items()
            for suffix, value in (("", one.value), ("_low", one.low), ("_high", one.high))
        }


def replayed_in(source: Source, comparison: Comparison) -> ReplayedModel:
    """Return what a finished replay showed of a model, as the home that it is in knows it."""

    def source_of(policy: str) -> Source:
        if policy == DECLARED:
            return source
        if isinstance(source, LocalSource):
            return LocalSource(source.desk.home / "policies" / policy, state=REPLAYED)
        hint = "read its home where it is: varv.open(home)"
        raise NotFound(
            "policy", policy[:80], "has a home of its own, which a server does not show", hint=hint
        )

    return ReplayedModel(comparison, source_of)


REPLAYED = "not running; it was replayed"
"""What the server of a replayed home is doing."""


def summary(comparison: Comparison) -> str:
    """Return what each policy lost, in a few words."""
    losses = ", ".join(f"{one.name} {_loss(one)}" for one in comparison.policies)
    return f"{comparison.policies[0].n:,} requests; {losses}"


def _loss(score: PolicyScore) -> str:
    return f"{score.n:,} answered" if score.loss is None else number(score.loss, 4)


def _frame(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame, without columns of measures that no row has."""
    given = list(rows)
    names = dict.fromkeys(name for row in given for name in row)
    kept = [name for name in names if any(row.get(name) is not None for row in given)]
    return pl.DataFrame([{name: row.get(name) for name in kept} for row in given], infer_schema_length=None)
