"""What was made of a subject's rows goes with them: training sets, and datasets that steps made."""

from __future__ import annotations

import polars as pl
import pytest
from tests.home.erasure.people import ANA, BOB, People, base, day, people

import varv
from varv.app.verifying import verify_report
from varv.data import Dataset, Frame
from varv.data.versions.model import DatasetDerived
from varv.home.erasure.searching import search
from varv.kernel.errors import Erased

UTC = pl.Datetime("us", "UTC")


@pytest.fixture
def home(tmp_path):
    People(tmp_path / "home").fill().close()
    asked = pl.DataFrame({"who": [ANA, BOB], "at": [day(20), day(20)]}, schema={"who": pl.String, "at": UTC})
    source = people()
    own = varv.FeatureView("lately", source=source, entity="id", features=["age"])
    varv.training_set("people", ["email", own], home=tmp_path / "home", name="of-rows")
    by = varv.FeatureView("mailed", source=source, entity="email", features=["age"])
    varv.training_set(asked.rename({"who": "email"}), [by], home=tmp_path / "home", name="of-frame", at="at")
    found = People(tmp_path / "home")
    yield found
    found.close()


def erased(home, value, column):
    return home.erasures.carry(home.erasures.request("people", column, value, by="ana"))


def rows_of(home, name, **more):
    dataset = home.datasets.registered(name)
    return home.datasets.read(dataset, **more)


def test_training_sets_lose_the_rows_of_a_subject_and_keep_the_others(home):
    before = rows_of(home, "of-rows")
    record = erased(home, ANA, "email")
    assert record.proven is not None, record.searched
    assert search(home.folder, [ANA]).places == {}
    assert record.proven.n_rows["data/of-rows/at"] == 3
    assert record.proven.n_rows["data/of-frame/at"] == 1
    assert set(record.proven.after) == {"people", "of-rows", "of-frame"}
    after = rows_of(home, "of-rows")
    assert after.equals(before.filter(~pl.col("id").is_in(["k1", "k3", "k6"])))
    assert rows_of(home, "of-frame")["email"].to_list() == [BOB]
    with pytest.raises(Erased):
        rows_of(home, "of-rows", version=1)
    assert rows_of(home, "of-rows", version=1, remaining=True).equals(after)
    assert verify_report(home.folder).findings == ()


def test_a_row_is_known_by_its_key_where_the_value_is_not_taken_over(home):
    record = erased(home, "k2", "id")
    assert record.proven is not None, record.searched
    assert "k2" not in rows_of(home, "of-rows")["id"].to_list()
    assert rows_of(home, "of-frame").height == 2
    # The number of a request is no key of anybody.
    assert record.proven.n_rows["data/of-rows/at"] == 1


def test_what_a_step_made_goes_too_and_what_was_made_of_that(home):
    ages = base(("k2", 2, BOB, 1), ("k3", 3, ANA, 2)).select("id", "at", "age")
    derive(home, "ages", ages, {"people": 1})
    derive(home, "again", ages, {"ages": 1})
    # Of several that were joined, a key of the same name may be of another thing.
    derive(home, "joined", ages, {"people": 1, "ages": 1})
    assert erased(home, ANA, "email").proven is not None
    assert [rows_of(home, name)["id"].to_list() for name in ("ages", "again", "joined")] == [
        ["k2"],
        ["k2"],
        ["k2", "k3"],
    ]


def derive(home, name, rows, made_from):
    dataset = Dataset(name, source=Frame(rows.clear()), key="id", event_time="at")
    home.datasets.commit(home.datasets.register(dataset))
    also = DatasetDerived(dataset=name, part="at", made_from=made_from)
    home.datasets.overwrite(dataset, "at", rows, also=(also,))
