"""What a replay showed: the policies held against each other, as frames, and the home to go on with."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from varv.app.client.homes import ReadableHome
from varv.app.client.models import ReadableModel
from varv.app.client.sources import LocalSource, When
from varv.app.replaying import report_name
from varv.home.comparison import DECLARED
from varv.home.model import Comparison, Comparisons, Measure, PolicyScore
from varv.kernel.blobs import write_atomically
from varv.kernel.clock import as_datetime
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.faults import Faults
from varv.kernel.ids import ModelName
from varv.kernel.wording import number
from varv.project import Replay


class ReplayedModel:
    """What a replay showed of one model.

    Parameters
    ----------
    comparison
        The policies held against each other.
    source_of
        Gives the home in which a policy was lived through.
    """

    def __init__(self, comparison: Comparison, source_of: _Policies) -> None:
        self._comparison = comparison
        self._source_of = source_of

    def __repr__(self) -> str:
        return f"<replay of {self.name}: {_told(self.comparison)}>"

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import replay_fragment

        return replay_fragment([(self.comparison, self._source_of(DECLARED).desk.views)])

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
                **_measures({"loss": Measure(one.loss, one.loss_low, one.loss_high), **one.metrics}),
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
                **_measures({"loss": Measure(month.loss, month.low, month.high), **month.metrics}),
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


class ReplayResult(Mapping[str, ReplayedModel]):
    """What a replay showed, a `ReplayedModel` by the name of each model.

    Where one model was replayed, what there is of it is here as well: ``result.policies``,
    ``result.predictions("never")``.

    Parameters
    ----------
    home
        The folder that the replay is in.
    comparisons
        What it showed.
    replay
        What was replayed.
    temporary
        Whether the folder goes with this result.
    """

    def __init__(
        self, home: Path, comparisons: Comparisons, replay: Replay, *, temporary: bool = False
    ) -> None:
        self.folder = home
        self.comparisons = comparisons
        self.since, self.train_at, self.until = (
            as_datetime(at) for at in (replay.since, replay.train_at, replay.until)
        )
        self._policies = _Policies(home, temporary=temporary)
        self._models = {one.model: ReplayedModel(one, self._policies) for one in comparisons.models}

    def __getitem__(self, model: str) -> ReplayedModel:
        return self._models[ModelName(model)]

    def __iter__(self) -> Iterator[str]:
        return iter(map(str, self._models))

    def __len__(self) -> int:
        return len(self._models)

    def __enter__(self) -> ReplayResult:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(ReplayedModel, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self._only(), name)

    def __dir__(self) -> list[str]:
        shared = [name for name in dir(ReplayedModel) if not name.startswith("_")]
        return sorted({*super().__dir__(), *(shared if len(self) == 1 else ())})

    def __repr__(self) -> str:
        span = f"{self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}, first trained at {self.train_at:%Y-%m-%d}"
        told = "; ".join(f"{one.name}: {_told(one.comparison)}" for one in self.values())
        return f"<replay of {span}; {told}>"

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import replay_fragment

        views = self._policies(DECLARED).desk.views
        return replay_fragment([(one, views) for one in self.comparisons.models])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What has to be known before anything else, of all models."""
        return self.comparisons.warnings

    @property
    def home(self) -> ReadableHome:
        """The home as the declared policies left it, to be read."""
        return ReadableHome(self._policies(DECLARED))

    @property
    def reports(self) -> dict[str, Path]:
        """The report of each model: an HTML file that stands alone."""
        return {name: self.folder / report_name(name, len(self)) for name in self._models}

    def save(self, path: str | Path, model: str = "") -> Path:
        """Write the report on a model, the only one if none is named, to a file; return its place.

        Raises
        ------
        InvalidInput
            If there are several models, and none is named.
        NotFound
            If there is no such model, or no folder for the file.
        """
        chosen = model or self._only().name
        if chosen not in self:
            hint = f"the models are {', '.join(self)}"
            raise NotFound("model", chosen[:80], "was not replayed", hint=hint)
        target = Path(path)
        if not target.parent.is_dir():
            raise NotFound("folder", str(target.parent), hint="make it first")
        write_atomically(target, self.reports[chosen].read_bytes(), Faults())
        return target

    def close(self) -> None:
        """Give back what is held; a temporary folder is removed. Again does nothing."""
        self._policies.close()

    def _only(self) -> ReplayedModel:
        if len(self._models) != 1:
            hint = (
                f"name the model: result[{next(iter(self._models), '')!r}]; the models are {', '.join(self)}"
            )
            raise InvalidInput("replay", ", ".join(self), "is of several models", hint=hint)
        return next(iter(self._models.values()))


class _Policies:
    """The homes of a replay's policies, each opened when it is first asked for.

    Parameters
    ----------
    home
        The folder of the declared policies.
    temporary
        Whether it goes when nobody holds this, or what was opened here, any more.
    """

    def __init__(self, home: Path, *, temporary: bool) -> None:
        self._home = home
        self._open: dict[str, LocalSource] = {}
        self._finalize = weakref.finalize(self, _give_back, home if temporary else None)

    def __call__(self, policy: str) -> LocalSource:
        if policy not in self._open:
            folder = self._home if policy == DECLARED else self._home / "policies" / policy
            source = LocalSource(folder, state="not running; it was replayed")
            # Whoever reads there keeps the folder.
            source.keeps = self
            self._open[policy] = source
        return self._open[policy]

    def close(self) -> None:
        """Close those that are open, and remove a temporary folder."""
        for source in self._open.values():
            source.close()
        self._finalize()


def _told(comparison: Comparison) -> str:
    """Return what each policy lost, in a few words."""
    losses = ", ".join(f"{one.name} {_loss(one)}" for one in comparison.policies)
    return f"{comparison.policies[0].n:,} requests; {losses}"


def _loss(score: PolicyScore) -> str:
    return f"{score.n:,} answered" if score.loss is None else number(score.loss, 4)


def _measures(measures: Mapping[str, Measure]) -> dict[str, float | None]:
    """Return numbers with their limits; those that no row has are left out by `_frame`."""
    return {
        name + suffix: value
        for name, one in measures.items()
        for suffix, value in (("", one.value), ("_low", one.low), ("_high", one.high))
    }


def _frame(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame, without columns of measures that no row has."""
    given = list(rows)
    names = dict.fromkeys(name for row in given for name in row)
    kept = [name for name in names if any(row.get(name) is not None for row in given)]
    return pl.DataFrame([{name: row.get(name) for name in kept} for row in given], infer_schema_length=None)


def _give_back(temporary: Path | None) -> None:
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
