"""`varv package` writes a version that a home holds, once its graph has answered the probe rows."""

from __future__ import annotations

import json

import pytest

from varv.app.cli import packaging
from varv.app.cli.parser import main
from varv.fronts.packages import TARGETS


@pytest.fixture(scope="module")
def home(lived, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packaged") / "home"
    lived(folder).close()
    return folder


def told(capsys, home, *arguments):
    status = main(["--home", str(home), "package", *arguments])
    found = capsys.readouterr()
    return status, found.out, found.err


@pytest.mark.parametrize("target", TARGETS)
def test_the_champion_of_a_home_is_written(capsys, home, tmp_path, target):
    status, out, _ = told(capsys, home, "late-parcel", "--as", target, "--to", str(tmp_path), "--json")
    found = json.loads(out)
    assert (status, found["version"], found["computed_by_varv"]) == (0, 1, ["recent.late_mean_24h"])
    assert found["apart"] <= 1e-6
    assert all((tmp_path / name).is_file() for name in found["files"])
    about = json.loads((tmp_path / "signature.json").read_text())
    assert (about["model"], about["version"]) == ("late-parcel", 1)
    assert about["columns"][3]["from"] == "mean of parcels.late over 1d by route"


def test_the_same_version_is_written_again_over_itself(capsys, home, tmp_path):
    for version in ("1", "v1"):
        status, out, _ = told(capsys, home, "late-parcel", version, "--as", "triton", "--to", str(tmp_path))
        assert (status, "late-parcel v1 for triton" in out) == (0, True)
        assert "recent.late_mean_24h" in out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["late-parcel", "v9", "--as", "triton"], "v9' is not registered"),
        (["late-parcel", "../1", "--as", "triton"], "is not a number"),
        (["early", "--as", "triton"], "'early' is not registered"),
        (["late-parcel", "--as", "pickle"], "invalid choice"),
        (["late-parcel", "--as", "triton", "--storage-uri", "models"], "is no address"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(capsys, home, tmp_path, arguments, problem):
    status, out, error = told(capsys, home, *arguments, "--to", str(tmp_path / "new"))
    assert (status > 0, out) == (True, "")
    assert problem in error
    assert not (tmp_path / "new").exists()


def test_a_graph_that_answers_otherwise_is_not_written(capsys, home, tmp_path, monkeypatch):
    monkeypatch.setattr(packaging, "PROBE_TOLERANCE", -1.0)
    status, _, error = told(capsys, home, "late-parcel", "--as", "triton", "--to", str(tmp_path / "new"))
    assert (status, "does not answer as it did" in error) == (1, True)
    assert not (tmp_path / "new").exists()
