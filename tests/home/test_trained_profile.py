"""What a version was trained on, shown from the profile that its training has kept."""

from __future__ import annotations

import polars as pl
import pytest
from tests.home.live_home import LiveHome
from tests.home.test_impact import records_of

from varv.app.cli import main
from varv.app.client.opening import reading
from varv.data.profiling.trained import keep_training
from varv.home.trained_profile import TrainingProfileRequest, profile_training
from varv.kernel.errors import NotFound

MODEL = "late-parcel"


@pytest.fixture(scope="module")
def home(lived, tmp_path_factory):
    found: LiveHome = lived(tmp_path_factory.mktemp("home"))
    rows = pl.DataFrame({"load": [5.0, 6.0] * 400, "outcome": [0, 1] * 400})
    keep_training(found.home.folder, MODEL, 9, [rows])
    yield found
    found.close()


def asked(home, **more):
    return profile_training(records_of(home), TrainingProfileRequest(**more))


def test_by_default_it_is_what_the_champion_was_trained_on(home):
    found = asked(home)
    assert (found.dataset, found.part, found.version, found.difference) == (MODEL, "", 1, None)
    assert {"load", "outcome"} <= {one.name for one in found.profile.columns}
    assert found.profile.outcome == "outcome"


def test_two_versions_are_compared(home):
    found = asked(home, model=MODEL, version=9, against=1)
    assert (found.against, found.difference.n_after) == ("v1", 800)
    [load] = [one for one in found.difference.columns if one.name == "load"]
    assert load.drifted


def test_a_version_without_a_profile_is_refused_with_those_that_have_one(home):
    with pytest.raises(NotFound, match=r"late-parcel v4.*not kept.*v1, v9"):
        asked(home, version=4)
    with pytest.raises(NotFound, match="not registered"):
        asked(home, model="gone")


def test_the_command_line_and_python_show_it(home, capsys, monkeypatch):
    monkeypatch.delenv("VARV_HOME", raising=False)

    def run(*arguments, status=0):
        told = main(
            ["--home", str(home.home.folder), "data", "profile", f"{MODEL}@v9", "--model", *arguments]
        )
        assert told == status
        said = capsys.readouterr()
        return said.err if status else said.out

    assert "late-parcel, version 9, what it was trained on" in run()
    assert "what moved since v1" in run("--against", "1")
    assert "is for datasets" in run("--window", "2013-01-01/2013-02-01", status=1)
    with reading(home.home.folder) as opened:
        shown = opened.model(MODEL).profile(9, against=1)
    assert shown.difference.n_after == 800
    assert "What version 9 of late-parcel was trained on" in shown._repr_html_()
