"""Which warnings of contracts stand."""

from __future__ import annotations

from msgspec.structs import replace
from tests.fronts.history import empty
from tests.home.alarming import PARCELS, START, TRIPS, alarming, anomaly, put, warned

from varv.data.alarms import DataAlarmsView, declaration_facts
from varv.data.model import DatasetVersionAppended
from varv.data.versions.model import DatasetDerived
from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.codec import Digest
from varv.kernel.ids import DatasetName


def _appended(n_rows: int, segment: str) -> DatasetVersionAppended:
    return DatasetVersionAppended(
        dataset=TRIPS, part="at", segment=segment, n_rows=n_rows, digest=Digest("0"), first=None, last=None
    )


def test_a_warning_stands_until_rows_come_a_day_after_the_last():
    views, ledger = empty()

    def standing() -> list[Instant]:
        with views.reading(DataAlarmsView) as view:
            return [one.since for one in view.warnings.values()]

    def come(after: int, n_rows: int = 3) -> None:
        put(ledger, ("dataset/trips", _appended(n_rows, f"s{after}-{n_rows}")), at=Instant(START + after))

    put(ledger, ("dataset/trips", warned(TRIPS)), ("dataset/trips", _appended(9, "s1")))
    come(2 * HOUR)
    put(ledger, ("dataset/trips", warned(TRIPS)), at=Instant(START + 3 * HOUR))
    come(26 * HOUR)
    assert standing() == [START]
    come(DAY + 3 * HOUR, n_rows=0)
    assert standing() == [START]
    come(DAY + 3 * HOUR)
    assert standing() == []


def test_what_pipelines_make_is_never_stated_as_undeclared():
    views, ledger = empty()
    raised = [(f"anomalies/{name}/at", replace(anomaly("missing"), dataset=name)) for name in (TRIPS, "made")]
    made = DatasetDerived(dataset=DatasetName("made"), part="at", made_from={TRIPS: 1})
    put(ledger, *raised, ("dataset/made", made))
    assert [fact.event.dataset for fact in declaration_facts(views, [])] == [TRIPS]


def test_that_a_dataset_with_alarms_is_undeclared_is_stated_once():
    views, ledger = alarming()

    def stated(*declared: str) -> list[tuple[str, str]]:
        facts = [(fact.stream, fact.event) for fact in declaration_facts(views, declared)]
        put(ledger, *facts)
        return [(event.event_name, event.dataset) for _, event in facts]

    assert stated(TRIPS, PARCELS, "calm") == []
    assert stated(PARCELS) == [("data.dataset_undeclared", TRIPS)]
    assert stated() == [("data.dataset_undeclared", PARCELS)]
    assert stated() == []
    assert stated(TRIPS) == [("data.dataset_declared_again", TRIPS)]
    assert stated(TRIPS) == []
