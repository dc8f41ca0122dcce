"""Which warnings of contracts stand."""

from __future__ import annotations

from tests.fronts.history import empty
from tests.home.alarming import START, TRIPS, put, warned

from varv.data.alarms import DataAlarmsView
from varv.data.model import DatasetVersionAppended
from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.codec import Digest


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
