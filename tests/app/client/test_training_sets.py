"""`varv.training_set`: from frames, files and homes, in memory and beyond, named, recorded and read again."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

import varv
from varv.app.compose import open_ledger, open_views
from varv.data import Datasets
from varv.data.delta.publishing import Publications
from varv.features.bulk import training_set as core
from varv.home.named_versions import named_versions
from varv.kernel.clock import SystemClock
from varv.kernel.errors import AlreadyExists, InvalidDeclaration, InvalidInput, NotFound
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.secret import SECRET_FILE, Secret

UTC = dt.UTC


def day(number, hour=0):
    return dt.datetime(2026, 10, number, hour, tzinfo=UTC)


ROWS = pl.DataFrame(
    {
        "id": [1, 2, 3, 4],
        "shop": ["a", "b", "a", "a"],
        "at": [day(1), day(2), day(3), day(5)],
        "paid": [5.0, 6.0, None, 8.0],
        "back_at": [day(2), None, day(9), day(6)],
        "back": [True, None, False, True],
    }
)
ASKED = pl.DataFrame({"shop": ["a", "b", "a", "z", "a"], "when": [day(4), day(4), day(1), day(9), day(4)]})


@pytest.fixture
def sales():
    known = {"back_at": ["back"]}
    return varv.Dataset("sales", source=varv.Frame(ROWS), key="id", event_time="at", known_at=known)


@pytest.fixture
def features(sales):
    recent = varv.windows("paid", ["mean", "count"], over="3d")
    return [
        varv.FeatureView("last", source=sales, entity="shop", features=["paid"]),
        varv.FeatureView("recent", source=sales, entity="shop", features=recent),
        varv.FeatureView("returns", source=sales, entity="shop", features=["back"]),
        varv.derived("is_dear", pl.col("last__paid") > pl.col("recent__paid_mean_3d")),
        varv.derived("hour", pl.col("when").dt.hour()),
    ]


def test_each_request_gets_a_row_in_its_place_with_what_was_known(features):
    found = varv.training_set(ASKED, features, at="when")
    assert found.select(ASKED.columns).equals(ASKED)
    assert found.columns[2:] == [
        "last__paid",
        "recent__paid_mean_3d",
        "recent__paid_count_3d",
        "returns__back",
        "is_dear",
        "hour",
    ]
    assert found["last__paid"].to_list() == [None, 6.0, 5.0, None, None]
    assert found["recent__paid_count_3d"].to_list() == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert found["returns__back"].to_list() == [1.0, None, None, None, 1.0]


def test_by_event_time_a_request_sees_what_nobody_knew_yet(features):
    found = varv.training_set(ASKED, features, at="when", mode="event")
    assert found["returns__back"].to_list() == [0.0, None, 1.0, None, 0.0]


def test_pandas_arrow_files_zones_and_units_give_the_same(features, tmp_path):
    wanted = varv.training_set(ASKED, features, at="when")
    added = wanted.columns[2:]
    ASKED.write_parquet(tmp_path / "asked.parquet")
    berlin = ASKED.with_columns(pl.col("when").dt.convert_time_zone("Europe/Berlin").dt.cast_time_unit("ns"))
    naive = ASKED.with_columns(pl.col("when").dt.replace_time_zone(None).dt.cast_time_unit("ms"))
    several = [ASKED.to_arrow(), ASKED.to_pandas(), tmp_path / "asked.parquet", berlin, naive]
    for requests in several:
        found = varv.training_set(requests, features[:-1], at="when")
        assert found.select(added[:-1]).equals(wanted.select(added[:-1]))


def test_a_file_written_in_parts_holds_the_same_rows(features, tmp_path, monkeypatch):
    many = pl.concat([ASKED] * 20)
    monkeypatch.setattr(core, "_MOST_ROWS", 7)
    path = varv.training_set(many, features, at="when", to=tmp_path / "set.parquet")
    assert path == tmp_path / "set.parquet"
    assert pl.read_parquet(path).equals(pl.concat([varv.training_set(ASKED, features, at="when")] * 20))
    assert [one.name for one in tmp_path.iterdir()] == ["set.parquet"]


def test_no_requests_make_an_empty_training_set(features, tmp_path):
    found = varv.training_set(ASKED.clear(), features, at="when")
    assert found.is_empty()
    assert found.schema == varv.training_set(ASKED, features, at="when").schema
    path = varv.training_set(ASKED.clear(), features, at="when", to=tmp_path / "none.parquet")
    assert pl.read_parquet(path).equals(found)


def test_requests_that_a_dataset_holds_keep_their_outcomes(sales, features):
    found = varv.training_set(sales, features[:3])
    assert found["back"].to_list() == [True, None, False, True]
    assert found["returns__back"].to_list() == [None, None, 1.0, 1.0]


def test_requests_of_a_dataset_do_not_see_their_own_rows(sales, features):
    found = varv.training_set(sales, features[:2])
    assert found["last__paid"].to_list() == [None, None, 5.0, None]
    assert found["recent__paid_count_3d"].to_list() == [0.0, 0.0, 1.0, 0.0]


def test_what_is_wrong_is_named(features, sales, tmp_path):
    with pytest.raises(InvalidInput, match="at='when'"):
        varv.training_set(ASKED, features)
    with pytest.raises(InvalidInput, match="does not exist"):
        varv.training_set(ASKED, features, at="when", mode="latest")
    with pytest.raises(InvalidInput, match="hold no rows"):
        varv.training_set(7, features, at="when")
    with pytest.raises(InvalidInput, match="without a home"):
        varv.training_set(ASKED, features, at="when", name="one")
    with pytest.raises(InvalidInput, match="is too little"):
        varv.training_set(ASKED, features, at="when", most_bytes=1000)
    with pytest.raises(InvalidDeclaration, match="no column 'shop'"):
        varv.training_set(ASKED.drop("shop"), features, at="when")
    with pytest.raises(InvalidDeclaration, match="would leak"):
        varv.training_set(sales, ["back"])
    other = varv.Dataset("sales", source=varv.Frame(ROWS.head(1)), key="id", event_time="at")
    another = varv.FeatureView("other", source=other, entity="shop", features=["paid"])
    with pytest.raises(InvalidDeclaration, match="declared twice"):
        varv.training_set(ASKED, [*features, another], at="when")
    with pytest.raises(NotFound, match="holds no ledger"):
        varv.training_set(ASKED, features, at="when", home=tmp_path, name="one")


# --- in a home ---------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, sales):
    store(tmp_path / "home", sales, ROWS, "first")
    return tmp_path / "home"


def store(folder, sales, rows, segment):
    folder.mkdir(exist_ok=True)
    ledger = open_ledger(folder)
    columns, secret = FolderColumns(folder / "columns"), Secret(folder / SECRET_FILE)
    datasets = Datasets(ledger, columns, SystemClock(), open_views(ledger), secret)
    datasets.commit(datasets.register(sales))
    for part in sales.parts:
        datasets.append(sales, part, sales.part(rows, part), segment=segment)
    ledger.close()


def test_a_training_set_of_a_home_is_a_dataset_of_it_made_once(home, sales, features):
    known = {"at": "when", "home": home, "name": "autumn"}
    made = varv.training_set(ASKED, features, **known)
    assert made.equals(varv.training_set(ASKED, features, at="when"))
    with varv.open(home) as opened:
        assert opened.datasets["autumn"].read().height == ASKED.height
        [line] = opened.entries(event="features.training_set_made")["line"]
        seq = opened.entries()["seq"].max()
    assert line.startswith("autumn: 5 rows")
    assert line.endswith("by known time")
    assert varv.training_set(ASKED, features, **known).equals(made)
    with varv.open(home) as opened:
        assert opened.entries()["seq"].max() == seq


def test_requests_with_the_column_that_numbers_them_are_refused(home, features):
    numbered = ASKED.with_row_index("request_row")
    with pytest.raises(InvalidInput, match="request_row"):
        varv.training_set(numbered, features, at="when", home=home, name="numbered")


def test_requests_named_as_in_the_home_are_those_of_the_dataset(home, sales, features):
    named, given = (
        varv.training_set(requests, features[:3], home=home, name=name)
        for requests, name in (("sales", "named"), (sales, "given"))
    )
    assert named.select(given.columns).equals(given)
    assert named["last__paid"].to_list() == [None, None, 5.0, None]


def test_rows_that_came_later_do_not_reach_a_version(home, sales, features):
    before = varv.training_set(ASKED, features, at="when", home=home, name="before")
    late = ROWS.head(1).with_columns(id=pl.lit(9, pl.Int64), at=pl.lit(day(3, 12)), back_at=pl.lit(day(4)))
    store(home, sales, late, "second")
    pinned = {"sales": 2}
    again = varv.training_set(ASKED, features, at="when", home=home, name="again", versions=pinned)
    after = varv.training_set(ASKED, features, at="when", home=home, name="after")
    assert again.equals(before)
    assert after["last__paid"].to_list() == [5.0, 6.0, 5.0, None, 5.0]
    assert varv.training_set("sales@2", features[:3], home=home, name="own").height == 4
    assert varv.training_set("sales@2999-01-01", features[:3], home=home, name="all").height == 5
    with pytest.raises(AlreadyExists, match="sales@2"):
        varv.training_set(ASKED, features, at="when", home=home, name="before")
    with pytest.raises(AlreadyExists, match="is no training set"):
        varv.training_set(ASKED, features, at="when", home=home, name="sales")


def test_a_published_dataset_is_published_as_a_training_set_reads_it(home, sales, features):
    def published(publish=False):
        ledger = open_ledger(home)
        views, columns = open_views(ledger, home), FolderColumns(home / "columns")
        datasets = Datasets(ledger, columns, SystemClock(), views, Secret(home / SECRET_FILE))
        publications = Publications(datasets, columns, views, ledger, SystemClock())
        if publish:
            publications.publish(sales, 1)
        found = publications.published(sales)
        ledger.close()
        return found

    varv.training_set(ASKED, features, at="when", home=home, name="one")
    assert published() is None
    assert published(publish=True) == 1
    varv.training_set(ASKED, features, at="when", home=home, name="two", versions={"sales": 1})
    assert published() == 1
    varv.training_set("sales", features[:3], home=home, name="three")
    assert published() == 2


def test_versions_that_a_training_set_is_made_of_are_named_and_so_kept(home, features):
    varv.training_set("sales@2", features[:3], home=home, name="own", versions={"sales": 1})
    ledger = open_ledger(home, read_only=True)
    named = named_versions(open_views(ledger), "sales")
    ledger.close()
    assert named == {1: "training set own", 2: "training set own"}


def test_what_a_crash_left_before_the_record_does_no_harm(home, features, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    known = {"at": "when", "home": home, "name": "autumn"}
    with monkeypatch.context() as patched:
        patched.setattr(Datasets, "commit", crash)
        with pytest.raises(KeyboardInterrupt):
            varv.training_set(ASKED, features, **known)
    with varv.open(home) as opened:
        assert list(opened.datasets) == ["sales"]
    monkeypatch.setattr(core, "_MOST_ROWS", 2)
    made = varv.training_set(ASKED.reverse(), features, **known)
    assert made.equals(varv.training_set(ASKED.reverse(), features, at="when"))
