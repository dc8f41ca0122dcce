"""A project of Feast becomes a file that runs, and says what is otherwise."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import msgspec
import polars as pl
import pytest
from tests.features.moving.recorded import REGISTRY, at, repository

import varv
from varv.app.compose import open_ledger, open_views
from varv.data import Datasets
from varv.features.moving.comparing import AT, ROW, requests_for
from varv.features.moving.declaring import declaration
from varv.features.moving.model import FeastField, FeastRegistry, FeastService, FeastSource, FeastView
from varv.features.moving.planned import planned
from varv.features.moving.registry import items_of, registry_of
from varv.features.moving.source_rows import rows_of
from varv.kernel.author_files import run_file
from varv.kernel.clock import SystemClock
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.secret import SECRET_FILE, Secret


@pytest.fixture(scope="module")
def registry():
    return registry_of(items_of(REGISTRY.read_bytes()), "rides")


@pytest.fixture(scope="module")
def written(registry, tmp_path_factory):
    folder = repository(tmp_path_factory.mktemp("feast") / "repository")
    plan = planned(registry, lambda source, keys: rows_of(source, folder, keys))
    file = folder.parent / "declared_features.py"
    file.write_text(declaration(plan, str(folder)))
    return SimpleNamespace(plan=plan, file=file, module=run_file(file))


def test_what_is_written_runs_and_declares_what_feast_had(written):
    module = written.module
    assert module.driver_stats_source.key == ("driver_id", "event_timestamp", "stated_at")
    assert dict(module.driver_stats_source.known_at) == {
        "created": ("conv_rate", "acc_rate", "avg_daily_trips")
    }
    assert module.trips.entity == ("driver_id", "customer_id")
    assert (module.trips.ttl, module.trips.columns) == (None, ("fare", "city"))
    assert module.weather.entity == ()
    assert module.customer_trips.feature_names() == (
        "customer_trips.fare_mean_3h",
        "customer_trips.fare_count_3h",
    )
    assert [one.name for one in module.driver_activity_v1] == [
        "driver_hourly_stats",
        "conv_plus",
        "conv_scaled",
    ]


def test_training_sets_of_it_see_corrections_and_late_rows(written):
    stats = written.module.driver_hourly_stats
    asked = [89, 90, 130, 180, 300]
    frame = {"driver_id": [1] * len(asked), "at": [at(one) for one in asked]}
    requests = pl.DataFrame(frame)
    found = {
        mode: varv.training_set(requests, [stats], at="at", mode=mode)[
            "driver_hourly_stats__conv_rate"
        ].to_list()
        for mode in ("known", "event")
    }
    assert found["event"] == [0.75, 0.75, 1.0, 0.125, 0.125]
    assert found["known"] == [0.25, 0.75, 0.75, 0.125, 1.0]


def test_a_home_takes_its_rows_and_gives_the_same_values(written, tmp_path):
    stats = written.module.driver_hourly_stats
    ledger, source = open_ledger(tmp_path), stats.source
    secret = Secret(tmp_path / SECRET_FILE)
    columns = FolderColumns(tmp_path / "columns")
    datasets = Datasets(ledger, columns, SystemClock(), open_views(ledger), secret)
    datasets.commit(datasets.register(source))
    for part in source.parts:
        datasets.append(source, part, source.part(source.load(), part), segment="all")
    ledger.close()
    asked = requests_for(stats).drop(ROW)
    made = varv.training_set(asked, [stats], at=AT, home=tmp_path, name="made")
    assert made.equals(varv.training_set(asked, [stats], at=AT))
    assert made["driver_hourly_stats__acc_rate"].n_unique() > 3


def test_it_is_written_as_a_formatter_would(written):
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", str(written.file)]
    formatted = subprocess.run(command, capture_output=True, text=True)
    assert formatted.returncode == 0, formatted.stdout


def test_what_is_otherwise_is_listed_with_its_reason(written):
    stats = "source driver_stats_source"
    said = {one.line() for one in written.plan.differences}
    assert {
        f"{stats}: 1 rows correct another of the same time, so stated_at is part of the key",
        f"{stats}: 1 rows repeat a key and all its times; the first stands, Feast takes any",
        "view Driver_Fresh: is called driver_fresh",
        "view customer_profile: its source snow_source is not imported",
        "feature trips:stops: is of type List(Float64); features are numbers and texts",
    } <= said
    kinds = {one.about: one.kind for one in written.plan.differences}
    assert (kinds["stream trips_stream"], kinds["ttl"]) == ("not imported", "rule")


def test_a_source_without_its_file_is_written_as_a_comment(registry, tmp_path):
    plan = planned(registry, lambda source, keys: rows_of(source, tmp_path, keys))
    text = declaration(plan, str(tmp_path))
    assert "# driver_stats_source = varv.Dataset(" in text
    assert "# Not imported: cannot be read" in text
    (tmp_path / "nothing.py").write_text(text)
    assert not hasattr(run_file(tmp_path / "nothing.py"), "trips")


def test_rows_elsewhere_are_declared_by_what_the_registry_says(registry):
    remote = registry_with(registry, place="s3://bucket/rows.parquet")
    text = declaration(planned(remote, lambda source, keys: None), "/srv/rides")
    assert 'source=varv.Parquet("s3://bucket/rows.parquet")' in text


def registry_with(registry, **changes):
    views = tuple(
        msgspec.structs.replace(one, source=msgspec.structs.replace(one.source, **changes))
        for one in registry.views
    )
    return msgspec.structs.replace(registry, views=views)


HOSTILE = [
    '"); raise SystemExit("ran") #',
    "a\nraise SystemExit('ran')",
    "\u2028x\\",
    "'''",
    "import",
    "1",
    "",
    "é",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_of_a_registry_never_become_code(name, tmp_path):
    source = FeastSource(
        name=name, kind="BATCH_FILE", time="at", place=f"{name}.parquet", mapping={name: "x"}
    )
    fields = (FeastField("x", "DOUBLE"), FeastField(name, "MAP"))
    views = tuple(
        FeastView(
            name=name,
            entities=(name,),
            join_keys=(name or "k",),
            features=fields,
            ttl=None,
            source=one,
        )
        for one in (source, msgspec.structs.replace(source, name=f"{name}2", kind=name))
    )
    registry = FeastRegistry(
        project=name,
        views=views,
        on_demand=(),
        services=(FeastService(name=name, projections=()),),
        sources=(),
        others={name: 1},
    )
    text = declaration(planned(registry, lambda source, keys: None), name)
    calls = compile(text, "declared", "exec").co_names
    assert set(calls) <= {
        "__doc__",
        "varv",
        "pl",
        "polars",
        "FEAST",
        "Dataset",
        "FeatureView",
        "Parquet",
        "Frame",
        *_own(text),
    }


def _own(text):
    return {line.partition(" = ")[0].removeprefix("def ").partition("(")[0] for line in text.splitlines()}
