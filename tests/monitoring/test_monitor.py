import msgspec
import pytest

from varv.kernel.clock import DAY, HOUR
from varv.kernel.codec import canonical
from varv.kernel.errors import InvalidDeclaration
from varv.monitoring import MonitorPlan, monitor


def test_a_plan_survives_the_ledger():
    plan = monitor.plan([monitor.performance("auc", tolerance=0.01), monitor.calibration(), monitor.drift()])
    assert msgspec.json.decode(canonical(plan), type=MonitorPlan) == plan
    assert plan.drift is not None
    assert plan.drift.window == 14 * DAY
    assert monitor.plan([], maturity="6h") == MonitorPlan((), 6 * HOUR)
    assert monitor.plan([]).drift is None


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda: monitor.plan([monitor.performance("accuracy")]), "accuracy"),
        (lambda: monitor.performance(3), "no name"),
        (lambda: monitor.performance(tolerance=-0.1), "tolerance"),
        (lambda: monitor.performance(tolerance=float("nan")), "tolerance"),
        (lambda: monitor.performance(tolerance="small"), "tolerance"),
        (lambda: monitor.performance(tolerance=True), "tolerance"),
        (lambda: monitor.performance(false_alarm_every="3d"), "20 days"),
        (lambda: monitor.performance(false_alarm_every="often"), "false_alarm_every"),
        (lambda: monitor.plan([monitor.calibration(tolerance=2)]), "tolerance"),
        (lambda: monitor.plan([monitor.performance(tolerance=2)]), "tolerance"),
        (lambda: monitor.drift(window="36h"), "window"),
        (lambda: monitor.drift(window="3d"), "window"),
        (lambda: monitor.drift(every="1h"), "every"),
        (lambda: monitor.drift(psi=-1), "psi"),
        (lambda: monitor.plan([monitor.drift(harm=100)]), "harm"),
        (lambda: monitor.drift(every="30d", false_alarm_every="20d"), "longer"),
        (lambda: monitor.plan([monitor.drift(), monitor.drift()]), "twice"),
        (lambda: monitor.plan(["drift"]), "not a monitor"),
        (lambda: monitor.plan([], maturity="soon"), "maturity"),
    ],
)
def test_a_broken_declaration_names_what_is_wrong_with_it(declare, named):
    with pytest.raises(InvalidDeclaration, match=named):
        declare()
