"""What read models of a home hold of one model, as frames: measured windows, alarms, rollouts.

Pure functions; `home.verbs` offers them to notebooks and to clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from varv.data.versions import DatasetVersion
from varv.kernel.columns import TIME
from varv.monitoring import PerformanceMeasured
from varv.monitoring.summary import columns_of
from varv.monitoring.views import Alarm
from varv.rollout.views import RolloutRecord
from varv.tasks import Task


def performance_frame(measured: Sequence[PerformanceMeasured], task: Task) -> pl.DataFrame:
    """Return measured windows, a row each: the numbers of the task, each with its 95 % limits in columns that
    end in ``_low`` and ``_high``.
    """
    numbers = [one.numbers() for one in measured]
    found: dict[str, pl.Series] = {
        "since": _times([one.window.start for one in measured]),
        "until": _times([one.window.end for one in measured]),
        "version": pl.Series([one.version for one in measured], dtype=pl.Int64),
        "role": pl.Series([one.role for one in measured], dtype=pl.String),
        "n_requests": pl.Series([one.n_requests for one in measured], dtype=pl.Int64),
        "n": pl.Series([one.n for one in measured], dtype=pl.Int64),
        "missing_share": pl.Series([one.missing_share for one in measured], dtype=pl.Float64),
    }
    for column in columns_of(task):
        seen = [of.get(column.name) for of in numbers]
        for suffix, value in (("", "value"), ("_low", "low"), ("_high", "high")):
            values = [None if one is None else getattr(one, value) for one in seen]
            found[column.name + suffix] = pl.Series(values, dtype=pl.Float64)
    return pl.DataFrame(found)


def alarms_frame(alarms: Sequence[Alarm]) -> pl.DataFrame:
    """Return alarms, a row each, with what they rest on in words; `cleared_at` is null while one is open."""
    return pl.DataFrame(
        {
            "seq": pl.Series([one.seq for one in alarms], dtype=pl.Int64),
            "raised_at": _times([one.raised_at for one in alarms]),
            "cleared_at": _times([one.cleared_at for one in alarms]),
            **_texts([one.raised for one in alarms], ("kind", "subject", "severity")),
            "version": pl.Series([one.raised.version for one in alarms], dtype=pl.Int64),
            "evidence": pl.Series([one.raised.evidence_line() for one in alarms], dtype=pl.String),
            "cleared_because": pl.Series([one.cleared_because for one in alarms], dtype=pl.String),
        }
    )


def rollouts_frame(rollouts: Sequence[RolloutRecord]) -> pl.DataFrame:
    """Return rollouts, a row each; `outcome` is empty and `settled_at` null while one is open."""
    return pl.DataFrame(
        {
            "version": pl.Series([one.version for one in rollouts], dtype=pl.Int64),
            "champion": pl.Series([one.champion for one in rollouts], dtype=pl.Int64),
            "phase": pl.Series([one.phase for one in rollouts], dtype=pl.String),
            "share": pl.Series([one.share for one in rollouts], dtype=pl.Float64),
            "started_at": _times([one.started_at for one in rollouts]),
            "settled_at": _times([one.settled_at for one in rollouts]),
            **_texts(rollouts, ("outcome", "reason", "held")),
        }
    )


def dataset_versions_frame(versions: Sequence[DatasetVersion]) -> pl.DataFrame:
    """Return versions of a dataset, a row each: the batch that made it, and the times of its rows."""
    return pl.DataFrame(
        {
            "version": pl.Series([one.version for one in versions], dtype=pl.Int64),
            "at": _times([one.at for one in versions]),
            **_texts(versions, ("part", "segment")),
            "n_rows": pl.Series([one.n_rows for one in versions], dtype=pl.Int64),
            "first": _times([one.first for one in versions]),
            "last": _times([one.last for one in versions]),
            "digest": pl.Series([one.digest for one in versions], dtype=pl.String),
            **_texts(versions, ("cause", "by", "why")),
        }
    )


def _texts(things: Sequence[object], names: Sequence[str]) -> Mapping[str, pl.Series]:
    return {name: pl.Series([str(getattr(one, name)) for one in things], dtype=pl.String) for name in names}


def _times(instants: Sequence[int | None]) -> pl.Series:
    return pl.Series(instants, dtype=pl.Int64).cast(TIME)
