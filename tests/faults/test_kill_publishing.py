"""Whoever is killed while a dataset is published or stored together for it leaves tables that say, after the
next start, what the ledger does.
"""

from __future__ import annotations

import pytest
from tests.data.delta.protocol import require_protocol
from tests.data.delta.test_publishing import read_by
from tests.data.versioning.stores import TRIPS
from tests.faults.killed import kill, wrong_files
from tests.faults.publishing_writer import write

from varv.app.verifying import verify_report
from varv.data.delta.log import log_entries
from varv.kernel.content import rows_digest

POINTS = [
    *("delta.before_commit:1", "delta.after_commit:1", "delta.before_commit:4", "delta.after_commit:5"),
    *("columns.before_rename:3", "columns.before_rename:7", "ledger.before_commit:5"),
]
MORE = [
    *(f"delta.before_commit:{nth}" for nth in (2, 3, 5, 6)),
    *(f"delta.after_commit:{nth}" for nth in (2, 3, 4, 6)),
    *(f"ledger.before_commit:{nth}" for nth in (4, 8, 9)),
    *("ledger.after_commit:4", "ledger.after_commit:5"),
]
MOMENTS = [*POINTS, *(pytest.param(one, marks=pytest.mark.soak) for one in MORE)]
"""Of three publications of two parts each, and of the compactions before them."""


def told(store):
    """Return what every published version holds, by the table of each part and by what is stored."""
    found = {}
    for event in store.publications.events(TRIPS):
        expected = store.datasets.read_part(TRIPS, event.part, version=event.version)
        rows = read_by("polars", store.table(event.part), event.delta_version)
        rows = rows.cast(dict(expected.schema)).select(expected.columns).sort(event.part, "id")
        assert rows.equals(expected)
        found[event.part, event.version] = (event.delta_version, rows_digest(rows))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    store = write(tmp_path_factory.mktemp("whole"))
    found = told(store)
    store.ledger.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_tables_and_ledger_agree_after_a_publication_was_killed(tmp_path, whole, moment):
    kill("publishing_writer", tmp_path, moment)
    store = write(tmp_path)
    assert told(store) == whole
    for part in TRIPS.parts:
        require_protocol(store.table(part))
        assert [one.version for one in log_entries(store.table(part))] == [0, 1, 2, 3]
    store.ledger.close()
    assert wrong_files(tmp_path) == []


def test_verify_names_the_place_where_a_log_is_not_what_was_published(tmp_path):
    store = write(tmp_path)
    store.ledger.close()

    def found():
        return [
            f"{one.place} {one.problem}" for one in verify_report(tmp_path).findings if one.kind == "file"
        ]

    assert found() == []
    log = store.table("at") / "_delta_log"
    first, last = (log / f"{number:020d}.json" for number in (1, 3))
    kept = first.read_text()
    first.write_text(kept.replace("~000000001.parquet", "other.parquet"))
    last.unlink()
    place = "columns/data/trips/at/_delta_log"
    assert found() == [
        f"{place}/{last.name} is missing; it is version 5 of dataset trips",
        f"{place}/{first.name} differs in its files of version 2 of dataset trips",
    ]
    first.write_text("{")
    assert found() == [f"{place}/{first.name} cannot be read as Delta log"]
