"""The wheel, as somebody without this repository installs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, folder: Path) -> str:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("VARV_", "PYTHON"))}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_a_project_is_made_and_replayed_by_what_the_wheel_holds(tmp_path):
    uv = Path(sys.executable).with_name("uv")
    run(
        uv,
        "build",
        "--quiet",
        "--no-build-isolation",
        "--wheel",
        "--out-dir",
        tmp_path,
        ROOT,
        folder=tmp_path,
    )
    (wheel,) = tmp_path.glob("varv-*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    bin_ = tmp_path / "venv" / "bin"
    run(uv, "pip", "install", "--quiet", "--no-deps", "--python", bin_ / "python", wheel, folder=tmp_path)
    # What varv depends on is taken from where this test runs; varv itself is not.
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(bin_ / "python", "-c", "import varv; print(varv.__file__)", folder=tmp_path)
    assert where.startswith(str(site))

    run(bin_ / "varv", "init", "deliveries", folder=tmp_path)
    project = tmp_path / "deliveries"
    run(bin_ / "varv", "replay", "deliveries.py", "--declared-only", folder=project)
    assert "<svg" in (project / ".varv" / "report.html").read_text()
    status = json.loads(run(bin_ / "varv", "status", "--json", folder=project))
    assert status["models"][0]["champion"] is not None

    run(
        bin_ / "varv",
        "package",
        status["models"][0]["model"],
        "--as",
        "vertex",
        "--to",
        "out",
        folder=project,
    )
    assert "Scorer" in (project / "out" / "server.py").read_text()
