from __future__ import annotations

import json

import polars as pl

from varv.app.cli import main
from varv.app.starting import data_text, write_project
from varv.kernel.clock import DAY, instant

NOW = instant("2026-03-10T12:00:00Z")


def test_the_project_is_written_once_and_never_overwritten(tmp_path):
    assert write_project(tmp_path / "p", NOW) == ["deliveries.py", "deliveries.csv"]
    (tmp_path / "p" / "deliveries.py").write_text('mine = 1  # since="2026-01-01"\n')
    assert write_project(tmp_path / "p", NOW) == []
    assert (tmp_path / "p" / "deliveries.py").read_text().startswith("mine")


def test_the_data_ends_with_yesterday_and_is_the_same_each_time(tmp_path):
    write_project(tmp_path, NOW)
    rows = pl.read_csv(tmp_path / "deliveries.csv", try_parse_dates=True)
    assert rows.height == 18_000
    assert str(rows["ordered_at"].max()).startswith("2026-03-09")
    assert rows["late"].null_count() > 0
    assert rows["late"].null_count() == rows["delivered_at"].null_count()
    assert (tmp_path / "deliveries.csv").read_text() == data_text(instant("2025-11-10"))
    assert 'until="2026-03-10T00:00:00Z"' in (tmp_path / "deliveries.py").read_text()


def test_data_that_is_missing_is_made_for_the_declaration_that_is_there(tmp_path):
    write_project(tmp_path, NOW)
    before = (tmp_path / "deliveries.csv").read_text()
    (tmp_path / "deliveries.csv").unlink()
    assert write_project(tmp_path, NOW + 30 * DAY) == ["deliveries.csv"]
    assert (tmp_path / "deliveries.csv").read_text() == before


def test_init_tells_what_it_wrote_and_what_comes_next(tmp_path, capsys):
    assert main(["init", str(tmp_path / "p"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == ["deliveries.py", "deliveries.csv"]
    assert main(["init", str(tmp_path / "p")]) == 0
    assert "nothing was changed" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file")]) == 1
    assert "cannot be written" in capsys.readouterr().err
