"""How the evidence of an alarm reads: what a run of days showed, and by how much the chart is over.

Used by the alarm itself and by the trigger of a training that an alarm became (`loop.model`). What the
numbers are is decided in `monitoring.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from varv.kernel.wording import count, facts, limits, number

UNITS = {"nats": ", in nats", "outcome": ", in the unit of the outcome", "outcome²": ", in that unit squared"}
"""How the unit of a number is said behind it."""


class Number(msgspec.Struct, frozen=True):
    """What a watched number is called, in which unit it is, and with how many decimals it is shown.

    Alarms keep it, so that they read the same when the task that they are about is not there any more.
    """

    label: str = ""
    """Empty in alarms of before there were other tasks than binary ones."""
    unit: str = ""
    digits: int = 3


UNNAMED = Number()


def evidence_line(seen: Mapping[str, float | None], subject: str = "", shown: Number = UNNAMED) -> str:
    """Return the evidence of an alarm in words, the numbers that decided first.

    Parameters
    ----------
    seen
        The numbers by name. A run of days has ``cusum``, ``threshold``, ``days``, ``n``, and ``mean`` with
        its 95 % limits ``low`` and ``high``; evidence without a ``cusum`` is shown name by name.
    subject
        The signal or the feature, which says what ``mean`` is the mean of.
    shown
        How that number reads.

    Examples
    --------
    >>> evidence_line(
    ...     {"cusum": 4.4, "threshold": 4.2, "days": 5, "n": 460, "mean": 0.06, "low": 0.03, "high": 0.09},
    ...     "underestimated",
    ... )
    'outcomes 6.0 points above the scores [3.0, 9.0] over 5 days, n 460; CUSUM 4.40, alarm from 4.20'
    >>> evidence_line({"days_since_training": 45.0})
    'days since training 45'
    >>> run = {"cusum": 4.4, "threshold": 4.2, "days": 5, "n": 460, "mean": 14.2, "low": 12.1, "high": 16.3}
    >>> evidence_line({**run, "reference": 9.5}, "loss", Number("absolute error", "outcome", 1))[:74]
    'absolute error 14.2 [12.1, 16.3], usual 9.5, in the unit of the outcome ov'
    """
    if "cusum" not in seen:
        return facts(seen)
    if seen.get("low") is not None:
        return _run(seen, subject, shown)
    run = f"CUSUM {number(seen['cusum'], 2)} over {number(seen.get('threshold'), 2)}"
    reference = f"mean {number(seen.get('mean'))}, reference {number(seen.get('reference_mean'))}"
    return f"{run} in {count(seen.get('days'))} days; {reference}"


def _run(seen: Mapping[str, float | None], subject: str, shown: Number) -> str:
    over = f"over {count(seen.get('days'))} days, n {count(seen.get('n'))}"
    allowed = f", {number(seen['allowed'], shown.digits)} allowed" if seen.get("allowed") else ""
    chart = f"CUSUM {number(seen['cusum'], 2)}, alarm from {number(seen.get('threshold'), 2)}"
    return f"{_shown(seen, subject, shown)} {over}{allowed}; {chart}"


def _shown(seen: Mapping[str, float | None], subject: str, shown: Number) -> str:
    """Return the mean of a run with its interval, in the words of its signal."""
    mean, low, high = (seen.get(name) or 0.0 for name in ("mean", "low", "high"))
    interval = f"[{number(low, shown.digits)}, {number(high, shown.digits)}]"
    if subject == "excess_loss":
        return f"{number(mean, shown.digits)} nats lost beyond what the scores promise {interval}"
    if subject in ("underestimated", "overestimated") and shown.label in ("", "bias"):
        return _points(subject, mean, low, high)
    if not shown.label:
        name = "AUC within days" if subject == "auc" else "mean"
        return f"{name} {limits(mean, low, high)}, usual {number(seen.get('reference'))}"
    usual = f"usual {number(seen.get('reference'), shown.digits)}"
    return f"{shown.label} {limits(mean, low, high, shown.digits)}, {usual}{UNITS.get(shown.unit, '')}"


def _points(subject: str, mean: float, low: float, high: float) -> str:
    """Return how far the rate of outcomes lies from the mean score, in points."""
    if subject == "underestimated":
        interval = f"[{number(100 * low, 1)}, {number(100 * high, 1)}]"
        return f"outcomes {number(100 * mean, 1)} points above the scores {interval}"
    interval = f"[{number(-100 * high, 1)}, {number(-100 * low, 1)}]"
    return f"outcomes {number(-100 * mean, 1)} points below the scores {interval}"
