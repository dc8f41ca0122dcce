"""Environments from locks: what a requirement may be, and one made by uv and by pip."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from varv.app.scripts.environments import made, matches, requirements_in
from varv.kernel.environment import Environment, installed
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.runs.capture import captured


def wheel_of(folder, name, version, code):
    """Write a wheel of one module, and return it with its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    described = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{described}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{described}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, content in files.items():
        raw = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={raw},{len(content)}")
    place = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(place, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{described}/RECORD", "\n".join([*lines, f"{described}/RECORD,,"]))
    return place, hashlib.sha256(place.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://evil.example",
        "-r other.txt",
        "-e .",
        "./wheel.whl",
        "numpy @ https://evil.example/n.whl",
        "git+https://evil.example/x",
        "numpy>=1.0",
        "numpy",
        "numpy==1.0 --global-option=x",
        "numpy==1.0; os_name --index-url x",
        "numpy==1.0 && touch x",
        "numpy==$(id)",
    ],
)
def test_what_pins_no_version_is_refused(line):
    with pytest.raises(InvalidInput, match="is refused"):
        requirements_in(f"good==1.0\n{line}\n")


def test_a_lock_is_read_with_its_hashes_over_several_lines():
    text = "# made\ntiny==1.0 ; python_version >= '3.11' \\\n  --hash=sha256:ab \\\n  --hash=sha256:cd\n\n"
    assert requirements_in(text) == ["tiny==1.0; python_version >= '3.11' --hash=sha256:ab --hash=sha256:cd"]


@given(st.text("ab=.-;#\\\n @/:$&[]", max_size=30))
def test_no_line_that_is_let_through_is_an_option_or_names_a_place(text):
    try:
        lines = requirements_in(text)
    except InvalidInput:
        return
    for line in lines:
        assert line[0].isalnum()
        assert not set("@/:$&\n") & set(line.partition(";")[0])


@pytest.fixture
def capture(tmp_path):
    (tmp_path / "project").mkdir()
    return captured(tmp_path / "project", "train.py", (), dict(os.environ)).capture


def test_the_present_environment_matches_only_if_all_is_equal(capture, tmp_path):
    assert matches(capture, tmp_path)
    name = next(iter(capture.contents))
    assert not matches(replace(capture, contents={**capture.contents, name: "0" * 64}), tmp_path)
    libraries = {**capture.environment.libraries, "brought": "1.0"}
    assert not matches(
        replace(capture, environment=replace(capture.environment, libraries=libraries)), tmp_path
    )


def offline(folder, *, with_uv):
    found = {**os.environ, "UV_FIND_LINKS": str(folder), "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}
    return {**found, "PIP_FIND_LINKS": str(folder), "PIP_NO_INDEX": "1", **({} if with_uv else {"PATH": ""})}


@pytest.mark.slow
@pytest.mark.parametrize("with_uv", [True, False])
def test_pinned_versions_are_installed_and_nothing_else(capture, tmp_path, with_uv, monkeypatch):
    wheel_of(tmp_path / "wheels", "tiny", "1.0", "X = 1.0\n")
    here = capture.environment
    wanted = Environment(here.python, here.platform, {"tiny": "1.0", "own": "3"})
    pinned = replace(capture, environment=wanted, local=("own",), contents={})
    if not with_uv:
        monkeypatch.setattr("varv.app.scripts.environments.shutil.which", lambda *_, **__: None)
    variables = offline(tmp_path / "wheels", with_uv=with_uv)
    python = made(pinned, tmp_path, tmp_path / "environment", variables)
    found = installed(python).environment
    assert found.python == capture.environment.python
    assert found.libraries["tiny"] == "1.0"
    assert "numpy" not in found.libraries
    answer = subprocess.run([python, "-c", "import tiny; print(tiny.X)"], capture_output=True, check=True)
    assert answer.stdout == b"1.0\n"


@pytest.mark.slow
def test_an_environment_that_cannot_be_had_says_why(capture, tmp_path):
    wanted = Environment(capture.environment.python, "", {"tiny": "9.9"})
    pinned = replace(capture, environment=wanted, local=(), contents={})
    (tmp_path / "wheels").mkdir()
    with pytest.raises(FailedPrecondition, match=r"environment 'recorded' cannot be made.*tiny"):
        made(pinned, tmp_path, tmp_path / "environment", offline(tmp_path / "wheels", with_uv=True))


def test_a_version_of_python_is_no_option(capture, tmp_path):
    wanted = replace(capture.environment, python="--config-file=/tmp/x")
    with pytest.raises(InvalidInput, match="is no version of Python"):
        made(replace(capture, environment=wanted), tmp_path, tmp_path / "environment", dict(os.environ))
    assert sys.version.startswith(capture.environment.python)
