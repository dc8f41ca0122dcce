import msgspec

from varv.kernel.codec import canonical
from varv.kernel.ledger import Entry
from varv.monitoring.views import MonitoringView

from .test_rules import SAGA, START, day, drift, reference_set


def entry(seq, event, stream):
    return Entry(
        seq=seq, stream=stream, version=seq, name=event.event_name, event_version=1, at=START + seq,
        cause=None, data=canonical(event), hash=b"",
    )  # fmt: skip


def folded(*events):
    """Fold what the ledger holds once the monitor saga has seen `events`."""
    view, state, seq = MonitoringView(), SAGA.initial("monitor/late"), 0
    for event in events:
        step = SAGA.step(state, event, START)
        state = step.state
        entries = [("monitor/late", event), *((fact.stream, fact.event) for fact in step.emits)]
        entries += [(message.saga, message.event) for message in step.tells]
        for stream, one in entries:
            seq += 1
            made = entry(seq, one, stream)
            view.apply(made, made.event)
    return view


def test_series_are_in_order_of_time_and_by_version():
    view = folded(reference_set(), day(2), day(1), day(1), day(1, version=9))
    assert [one.window for one in view.series("late", 1)] == [day(1).window, day(2).window]
    assert view.versions("late") == [1, 9]
    assert view.models() == ["late"]
    assert view.watched("late") == 1
    assert view.series("other", 1) == []


def test_an_alarm_is_open_until_it_is_cleared_and_then_history():
    bad = [day(n, excess=0.3) for n in range(20)]
    view = folded(reference_set(), *bad)
    assert [one.raised.subject for one in view.open_alarms("late")] == ["excess_loss"]
    view = folded(reference_set(), *bad, *(day(n) for n in range(20, 40)))
    assert view.open_alarms("late") == []
    (alarm,) = view.alarms("late")
    assert alarm.cleared_because == "recovered"
    assert alarm.cleared_at > alarm.raised_at


def test_the_drift_matrix_has_a_row_per_feature_and_a_column_per_window():
    other = drift(21, harmful=False)
    renamed = msgspec.structs.replace(other.features[0], name="wind")
    other = msgspec.structs.replace(other, features=(*other.features, renamed))
    matrix = folded(reference_set(), drift(14, harmful=False), other).drift("late")
    assert matrix.features == ("temperature", "wind")
    assert matrix.windows == (drift(14, harmful=False).window, other.window)
    assert matrix.cells[1] == (None, renamed)
    assert folded().drift("late").windows == ()
