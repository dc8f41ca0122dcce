"""The page on a profile: sound markup, small, and no value of the rows is markup."""

from __future__ import annotations

import numpy as np
import polars as pl
from tests.fronts.browsing import Tree, get
from tests.fronts.history import MODEL, history

from varv.data.profiling.keeping import FOLDER
from varv.data.profiling.trained import keep_training
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


def test_the_page_of_two_hundred_columns_is_small():
    page = profile_page(_shown(_profile(200), _profile(200, seed=1, shift=1.0)))
    assert len(page.encode()) < 300_000
    assert len(answer_fragment(_shown(_profile(200)))) < 300_000


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
    assert "Since version" not in page.text
    before = _profile(shift=2.0).to_bytes()
    (place.parent / f"5.{FORMAT}.profile").write_bytes(digest(before).encode() + before)
    assert "against=5" in get(console, "/data/flights/profile").text
    moved = get(console, "/data/flights/profile?against=5")
    assert Tree(moved.text).faults == []
    assert "What moved since version 5" in moved.text
    for wrong in ("6", "7", "../5"):
        assert get(console, f"/data/flights/profile?against={wrong}").status_code == 404


def test_the_page_of_a_version_shows_what_it_was_trained_on(tmp_path):
    views, ledger = history()
    console = create_console(views, ledger, home=tmp_path)
    page = f"/models/{MODEL}/versions/2"
    assert "What it was trained on" not in get(console, page).text
    rng = np.random.default_rng(0)
    for version, mean in ((1, 0.0), (2, 2.0)):
        late = pl.Series("outcome", rng.integers(0, 2, 3000))
        rows = pl.DataFrame({"temp": rng.normal(mean, 1, 3000), HOSTILE: ["UA", "AA", None] * 1000})
        keep_training(tmp_path, MODEL, version, [rows.with_columns(late)])
    text = get(console, page).text
    assert Tree(text).faults == []
    assert HOSTILE not in text
    assert "Distribution of temp" in text
    assert "one column drifted since" in text
    shown = get(console, f"{page}.json").json()["training"]
    assert (shown["before"], shown["drifted"], shown["profile"]["n_rows"]) == (1, ["temp"], 3000)
    assert set(shown["tells"]) == {"temp", HOSTILE}


def test_a_column_without_numbers_has_no_bars():
    assert bars("x", ()) == ""
    assert bars("x", (Bar(0.0, 1.0, 3.0), Bar(1.0, 2.0, 0.0))).count("M") == 1
