"""The page on a profile: sound markup, small, and no value of the rows is markup."""

from __future__ import annotations

import numpy as np
import polars as pl
from tests.fronts.browsing import Tree, get
from tests.fronts.history import history

from varv.data.profiling.keeping import FOLDER
from varv.data.profiling.verbs import Profiled
from varv.fronts.web.console import create_console
from varv.fronts.web.distributions import bars
from varv.fronts.web.fragments import answer_fragment
from varv.fronts.web.profiles import profile_page
from varv.kernel.codec import digest
from varv.profiles import Profile, profile_of
from varv.profiles.difference import profile_difference
from varv.profiles.profile import FORMAT
from varv.profiles.reading import Bar, read

HOSTILE = "<script>alert(1)</script>"


def _profile(n_columns: int = 4, seed: int = 0, *, shift: float = 0.0) -> Profile:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({f"x{place}": rng.normal(shift, 1, 500) for place in range(n_columns)})
    texts = pl.Series(HOSTILE, rng.choice([HOSTILE, "b"], 500))
    return profile_of(frame.with_columns(texts, at=pl.datetime(2026, 1, 1, time_zone="UTC")))


def _shown(profile: Profile, before: Profile | None = None) -> Profiled:
    difference = None if before is None else profile_difference(before, profile)
    return Profiled(
        dataset="flights",
        part="at",
        version=3,
        profile=read(profile, outcome="x0"),
        against="" if before is None else "flights@1",
        difference=difference,
    )


def test_a_page_is_sound_and_values_of_rows_are_no_markup():
    page = profile_page(_shown(_profile(shift=0.5), _profile(seed=1)))
    assert Tree(page).faults == []
    assert HOSTILE not in page
    assert "What moved since flights@1" in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_of_a_hundred_columns_is_small():
    assert len(profile_page(_shown(_profile(100), _profile(100, seed=1))).encode()) < 300_000


def test_a_notebook_shows_a_profile():
    shown = answer_fragment(_shown(_profile()))
    assert "Distribution of x0" in shown
    assert HOSTILE not in shown


def test_the_console_shows_the_last_profile_that_was_made(tmp_path):
    views, ledger = history()
    console = create_console(views, ledger, home=tmp_path)
    assert "has a profile yet" in get(console, "/data/flights/profile").text
    data = _profile().to_bytes()
    place = tmp_path / FOLDER / "flights" / "requested_at" / f"7.{FORMAT}.profile"
    place.parent.mkdir(parents=True)
    place.write_bytes(digest(data).encode() + data)
    page = get(console, "/data/flights/profile")
    assert Tree(page.text).faults == []
    assert "Version 7 of flights" in page.text
    assert get(console, "/data/flights/profile.json").json()["found"]["version"] == 7
    assert get(console, "/data/flights/profile?part=nix").status_code == 404


def test_a_column_without_numbers_has_no_bars():
    assert bars("x", ()) == ""
    assert bars("x", (Bar(0.0, 1.0, 3.0), Bar(1.0, 2.0, 0.0))).count("M") == 1
