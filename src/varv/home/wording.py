"""How a comparison reads: the loss and the metrics to show, their labels and their digits, by the task.

The command line and the report take from here what their tables hold; neither knows which task it shows.
"""

from __future__ import annotations

from varv.home.model import Comparison, Measure
from varv.home.regret import Regret, price_text
from varv.kernel.wording import limits, number
from varv.tasks import Loss, Metric, Task, task_of
from varv.tasks.measures import OWN_UNIT, OWN_UNIT_SQUARED

_UNITS = {OWN_UNIT: "in the outcome's unit", OWN_UNIT_SQUARED: "in the outcome's unit, squared"}


def loss_of(comparison: Comparison) -> Loss | None:
    """Return the loss that policies are compared by; None where the task has no outcome."""
    return task_of(comparison.task).loss


def unit_text(loss: Loss) -> str:
    """Return the unit of a loss in words; empty for a pure number.

    Examples
    --------
    >>> unit_text(task_of("binary").losses["log_loss"])
    'nats'
    """
    return _UNITS.get(loss.unit, loss.unit)


def compared_digits(loss: Loss) -> int:
    """Return with how many decimals losses are compared: one more than a loss alone is shown with."""
    return loss.digits + 1


def metrics_shown(comparison: Comparison) -> tuple[Metric, ...]:
    """Return the metrics that say something of the policies: not those that every policy has equal, since
    these are about the outcomes.
    """
    metrics = task_of(comparison.task).metrics.values()
    values = {
        metric.name: {measured(policy.metrics, metric).value for policy in comparison.policies}
        for metric in metrics
    }
    alone = len(comparison.policies) == 1
    return tuple(metric for metric in metrics if alone or len(values[metric.name]) > 1)


def measured(metrics: dict[str, Measure], metric: Metric) -> Measure:
    """Return what was measured of a metric, which may be nothing."""
    return metrics.get(metric.name, Measure(None))


def measure_text(metrics: dict[str, Measure], metric: Metric) -> str:
    """Return a metric with its interval, with as many digits as it deserves."""
    found = measured(metrics, metric)
    if found.low is None or found.high is None:
        return number(found.value, metric.digits)
    return limits(found.value, found.low, found.high, metric.digits)


def validation_columns(task: Task) -> dict[str, tuple[str, int]]:
    """Return by name the label and the digits of each number that a version is registered with.

    Examples
    --------
    >>> list(validation_columns(task_of("binary")).values())[:2]
    [('log-loss', 4), ('AUC', 3)]
    """
    found = {} if task.loss is None else {task.loss.name: (task.loss.label, compared_digits(task.loss))}
    return found | {metric.name: (metric.label, metric.digits) for metric in task.metrics.values()}


def regret_notes(found: Regret) -> list[str]:
    """Return how regret is to be read, a sentence a note."""
    return [
        f"Price {price_text(found.prices[1])}: {found.price_said}. Regret is summed loss and trainings at "
        "their price, beyond the best schedule in hindsight; refused trainings are paid.",
        f"Not lived (*): scored on the losses of {found.n_versions} versions, one every {found.period_days} "
        f"days, with {found.delay_days} days from a training to its service: {found.delay_said}. Calendars "
        "are the mean over the weeks they may begin in.",
        "Lived in full: with every delay and refusal of its own. References that replace at once are not "
        "held up, so they may be better than the best.",
        "Luck: how much worse the schedule that is best on one half of the requests is on the other half "
        "than the best there. Differences below it are no evidence.",
    ]
