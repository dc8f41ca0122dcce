"""Whatever is sent to a live home, what is bad is refused or put in quarantine, and the store verifies."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from tests.home.live_home import NOW, REQUEST

from varv.app.verifying import verify_report
from varv.kernel.errors import VarvError

REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "r"),
    "a column too few": ({"load": [0.5], "heat": [0.0]}, "r"),
    "a column too many": ({**REQUEST, "colour": ["red"]}, "r"),
    "a column that is known later": ({**REQUEST, "late": [True]}, "r"),
    "text for a number": ({**REQUEST, "load": ["much"]}, "r"),
    "number for a text": ({**REQUEST, "route": [3]}, "r"),
    "null where none was": ({**REQUEST, "load": [None]}, "r"),
    "infinite": ({**REQUEST, "load": [10**400]}, "r"),
    "a text without end": ({**REQUEST, "route": ["x" * 100_000]}, "r"),
    "too many rows": ({name: values * 101 for name, values in REQUEST.items()}, "r"),
    "nested": ({**REQUEST, "load": [[0.5]]}, "r"),
}
ROWS: dict[str, tuple[str, str, Any]] = {
    "an outcome without key": ("parcels", "arrived_at", [{"late": True}]),
    "an outcome of null key": ("parcels", "arrived_at", [{"parcel": None, "late": True}]),
    "an outcome that is text": ("parcels", "arrived_at", [{"parcel": "a", "late": "yes"}]),
    "an outcome at no time": ("parcels", "arrived_at", [{"parcel": "a", "late": True, "arrived_at": "soon"}]),
    "an outcome of the year 9999": (
        "parcels",
        "arrived_at",
        [{"parcel": "a", "late": True, "arrived_at": "9999-01-01T00:00:00Z"}],
    ),
    "an outcome of another class": ("parcels", "arrived_at", [{"parcel": "a", "late": 7}]),
    "an outcome with more": ("parcels", "arrived_at", [{"parcel": "a", "late": True, "colour": 1}]),
    "a key that is a number": ("parcels", "arrived_at", [{"parcel": 7, "late": True}]),
    "a dataset that is a path": ("../../etc", "arrived_at", [{"parcel": "a", "late": True}]),
    "a part that is a path": ("parcels", "../arrived_at", [{"parcel": "a", "late": True}]),
    "a dataset in another script": ("посылки", "arrived_at", [{"parcel": "a", "late": True}]),
    "requests by the back door": ("parcels", "", [{"parcel": "a"}]),
}
DAY = [NOW]
GOOD: dict[str, Any] = {"parcel": ["b-1"], "asked_at": DAY, "load": [0.1], "heat": [0.2], "route": ["north"]}
BATCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "a column is missing": ("s", {name: GOOD[name] for name in ("parcel", "asked_at", "load", "heat")}),
    "texts for numbers": ("s", {**GOOD, "load": ["much"]}),
    "a null key": ("s", {**GOOD, "parcel": [None]}),
    "no time": ("s", {**GOOD, "asked_at": [None]}),
    "routes that never were": (
        "s",
        {
            **{name: values * 50 for name, values in GOOD.items()},
            "parcel": [f"b-{number}" for number in range(50)],
            "route": ["\u202eнорд"] * 50,
        },
    ),
    "infinite": ("s", {**GOOD, "load": [float("inf")]}),
    "numbers that are none": (
        "s",
        {
            **{name: values * 50 for name, values in GOOD.items()},
            "parcel": [f"c-{number}" for number in range(50)],
            "load": [float("nan")] * 50,
        },
    ),
    "huge": ("s", {**GOOD, "load": [1e300]}),
    "lists": ("s", {**GOOD, "load": [[0.1]]}),
    "a segment that is a path": ("../../s", GOOD),
    "a segment with a null byte": ("s\x00", GOOD),
    "a time to come": ("s", {**GOOD, "asked_at": [NOW * 2]}),
}


@pytest.fixture(scope="module")
def home(lived, tmp_path_factory):
    found = lived(tmp_path_factory.mktemp("home"))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _verifies(home):
    """After each of them, no answer was captured, nothing was taken in, and every entry is as written."""
    versions = home.home.datasets.versions(home.parts.schema.requests)
    yield
    assert home.ingest() == 0
    assert home.home.datasets.versions(home.parts.schema.requests) == versions
    assert verify_report(home.home.folder).ok


def frame(columns: dict[str, Any]) -> pl.DataFrame:
    time = pl.col("asked_at").cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(columns).with_columns(time)


def refused(error: VarvError) -> None:
    assert error.problem or error.hint
    assert len(str(error)) < 2000


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_bad_request_is_refused(home, kind):
    with pytest.raises(VarvError) as caught:
        home.answering.answer(*REQUESTS[kind])
    refused(caught.value)


@pytest.mark.parametrize("kind", ROWS)
def test_bad_rows_are_refused(home, kind):
    with pytest.raises(VarvError) as caught:
        home.inbox.accept(*ROWS[kind])
    refused(caught.value)


@pytest.mark.parametrize("kind", BATCHES)
def test_a_bad_batch_is_refused_or_put_in_quarantine_with_a_report(home, kind):
    name, columns = BATCHES[kind]
    segment = name if name != "s" else f"bad-{list(BATCHES).index(kind)}"
    try:
        appended = home.home.datasets.append(
            home.parts.schema.requests, "asked_at", frame(columns), segment=segment
        )
    except VarvError as error:
        refused(error)
    else:
        assert appended.version is None
        assert appended.report.violations


def test_the_tables_are_long_enough():
    assert len(REQUESTS) + len(ROWS) + len(BATCHES) >= 30
