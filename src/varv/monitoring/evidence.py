"""How the evidence of an alarm reads: what a run of days showed, and by how much the chart is over.

Used by the alarm itself and by the trigger of a training that an alarm became (`loop.model`). What the
numbers are is decided in `monitoring.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping

from varv.kernel.wording import count, facts, limits, number


def evidence_line(seen: Mapping[str, float | None], subject: str = "") -> str:
    """Return the evidence of an alarm in words, the numbers that decided first.

    Parameters
    ----------
    seen
        The numbers by name. A run of days has ``cusum``, ``threshold``, ``days``, ``n``, and ``mean`` with
        its 95 % limits ``low`` and ``high``; evidence without a ``cusum`` is shown name by name.
    subject
        The signal or the feature, which says what ``mean`` is the mean of.

    Examples
    --------
    >>> evidence_line(
    ...     {"cusum": 4.4, "threshold": 4.2, "days": 5, "n": 460, "mean": 0.06, "low": 0.03, "high": 0.09},
    ...     "underestimated",
    ... )
    'outcomes 6.0 points above the scores [3.0, 9.0] over 5 days, n 460; CUSUM 4.40, alarm from 4.20'
    >>> evidence_line({"days_since_training": 45.0})
    'days since training 45'
    """
    if "cusum" not in seen:
        return facts(seen)
    if seen.get("low") is not None:
        return _run(seen, subject)
    run = f"CUSUM {number(seen['cusum'], 2)} over {number(seen.get('threshold'), 2)}"
    reference = f"mean {number(seen.get('mean'))}, reference {number(seen.get('reference_mean'))}"
    return f"{run} in {count(seen.get('days'))} days; {reference}"


def _run(seen: Mapping[str, float | None], subject: str) -> str:
    over = f"over {count(seen.get('days'))} days, n {count(seen.get('n'))}"
    allowed = f", {number(seen['allowed'])} allowed" if seen.get("allowed") else ""
    chart = f"CUSUM {number(seen['cusum'], 2)}, alarm from {number(seen.get('threshold'), 2)}"
    return f"{_shown(seen, subject)} {over}{allowed}; {chart}"


def _shown(seen: Mapping[str, float | None], subject: str) -> str:
    """Return the mean of a run with its interval, in the words of its signal."""
    mean, low, high = (seen.get(name) or 0.0 for name in ("mean", "low", "high"))
    if subject == "underestimated":
        interval = f"[{number(100 * low, 1)}, {number(100 * high, 1)}]"
        return f"outcomes {number(100 * mean, 1)} points above the scores {interval}"
    if subject == "overestimated":
        interval = f"[{number(-100 * high, 1)}, {number(-100 * low, 1)}]"
        return f"outcomes {number(-100 * mean, 1)} points below the scores {interval}"
    if subject == "excess_loss":
        interval = f"[{number(low)}, {number(high)}]"
        return f"{number(mean)} nats lost beyond what the scores promise {interval}"
    name = "AUC within days" if subject == "auc" else "mean"
    return f"{name} {limits(mean, low, high)}, usual {number(seen.get('reference'))}"
