"""Whoever is killed while a subject is erased leaves nothing that is reported as proven and is not, and the
next one finishes it.
"""

from __future__ import annotations

import shutil
import sqlite3

import pytest
from tests.faults.erasing_writer import erase, fill, opened
from tests.faults.killed import kill
from tests.home.erasure.people import ANA

from varv.app.verifying import verify_report
from varv.home.erasure.searching import search
from varv.home.erasure.subject import FOLDER
from varv.home.erasure.views import ErasuresView
from varv.kernel.content import rows_digest

POINTS = [
    *("columns.before_rename:2", "columns.before_unlink:3", "ledger.before_commit:5"),
    *("ledger.after_commit:6", "erasure.after_subject:1", "erasure.after_key:1"),
    *("erasure.after_owners:1", "ledger.before_commit:8"),
]
MORE = [
    *(f"columns.before_rename:{nth}" for nth in (1, 3, 6, 7)),
    *(f"columns.before_unlink:{nth}" for nth in (1, 5, 6, 7)),
    *(f"ledger.before_commit:{nth}" for nth in (1, 3, 7, 9, 11)),
    *(f"ledger.after_commit:{nth}" for nth in (1, 3, 9, 10)),
    *("erasure.after_files:1", "erasure.after_rows:4", "erasure.after_rows:6", "erasure.after_online:1"),
]
MOMENTS = [*POINTS, *(pytest.param(one, marks=pytest.mark.soak) for one in MORE)]


def told(folder):
    """Return what the home holds after an erasure: rows, proofs, and whether anything is left."""
    home = opened(folder)
    parts = [rows_digest(home.datasets.read_part(home.dataset, part)) for part in home.dataset.parts]
    derived = home.datasets.registered("of-rows")
    parts.append(rows_digest(home.datasets.read(derived).select(sorted(derived.types()))))
    with home.views.reading(ErasuresView) as view:
        proofs = [(record.proven.n_rows, record.proven.models) for record in view.of.values()]
    kept = list((home.secret.purposes.folder / FOLDER).iterdir())
    home.close()
    with sqlite3.connect(home.secret.purposes.folder / "subjects.db") as keys:
        n_keys = keys.execute("SELECT count(*) FROM subjects").fetchone()
    files = [home.columns.files(f"data/{name}/at") for name in ("people", "of-rows")]
    return parts, proofs, search(folder, [ANA]).places, kept, files, n_keys, online(folder)


def online(folder):
    """Return what is there of features online."""
    return sorted(path.name for path in (folder / "online").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full") / "home"
    fill(folder)
    assert online(folder)
    return folder


@pytest.fixture(scope="module")
def whole(full, tmp_path_factory):
    folder = copied(full, tmp_path_factory.mktemp("whole"))
    erase(folder)
    return told(folder)


def copied(home, to):
    """Return a copy of a home, with its keys beside it."""
    for name in ("home", "home.keys"):
        shutil.copytree(home.with_name(name), to / name)
    return to / "home"


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_erasure_that_is_killed_is_finished_and_proves_nothing_false(tmp_path, full, whole, moment):
    folder = copied(full, tmp_path)
    kill("erasing_writer", folder, moment)
    home = opened(folder)
    with home.views.reading(ErasuresView) as view:
        is_proven = any(record.proven is not None for record in view.of.values())
    assert not is_proven or search(folder, [ANA]).places == {}
    home.erasures.finish()
    home.close()
    if not is_proven and moment in ("erasure.after_subject:1", "ledger.before_commit:1"):
        erase(folder)  # it never came on record
    assert told(folder) == whole
    report = verify_report(folder)
    assert report.findings == ()
    assert report.unread == ()
