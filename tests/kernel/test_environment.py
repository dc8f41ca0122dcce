"""What is installed, read from folders as installers leave them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from varv.kernel.environment import installed
from varv.kernel.errors import FailedPrecondition
from varv.kernel.machine import machine


def install(folder, name, version, *, code="", direct_url="", installer="pip"):
    described = folder / f"{name}-{version}.dist-info"
    described.mkdir(parents=True)
    record = [
        f"{name}.py,sha256={code or 'x'},3",
        f"../../bin/{name},sha256={installer},9",
        f"__pycache__/{name}.pyc,,",
        f"{described.name}/INSTALLER,sha256={installer},3",
    ]
    (described / "RECORD").write_text("\n".join(reversed(record) if installer == "uv" else record))
    (described / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    if direct_url:
        (described / "direct_url.json").write_text(direct_url)


def test_distributions_are_found_with_versions_and_contents(tmp_path):
    install(tmp_path, "Tiny_Dep", "1.0")
    found = installed(paths=[str(tmp_path)])
    assert found.environment.libraries["tiny-dep"] == "1.0"
    assert found.environment.libraries["numpy"] == __import__("numpy").__version__
    assert set(found.contents) <= set(found.environment.libraries)


def test_who_installed_a_wheel_makes_no_difference_but_its_files_do(tmp_path):
    install(tmp_path / "a", "tiny", "1.0")
    install(tmp_path / "b", "tiny", "1.0", installer="uv")
    install(tmp_path / "c", "tiny", "1.0", code="patched")
    a, b, c = (installed(paths=[str(tmp_path / name)]).contents["tiny"] for name in "abc")
    assert a == b
    assert a != c


def test_the_first_of_a_name_is_the_one_that_counts(tmp_path):
    install(tmp_path / "a", "numpy", "0.1")
    assert installed(paths=[str(tmp_path / "a")]).environment.libraries["numpy"] == "0.1"


@pytest.mark.parametrize(
    ("direct_url", "local"),
    [
        ("", False),
        ('{"url": "https://x.example/t.whl", "archive_info": {}}', False),
        ('{"url": "file:///work/t.whl", "archive_info": {}}', True),
        ('{"url": "file:///work", "dir_info": {"editable": true}}', True),
    ],
)
def test_what_no_index_has_is_local(tmp_path, direct_url, local):
    install(tmp_path, "tiny", "1.0", direct_url=direct_url)
    assert ("tiny" in installed(paths=[str(tmp_path)]).local) is local


def test_another_interpreter_says_the_same_of_itself():
    here, asked = installed(), installed(Path(sys.executable))
    assert asked.environment.python == here.environment.python
    assert asked.environment.libraries.items() <= here.environment.libraries.items()


def test_what_is_no_interpreter_is_refused(tmp_path):
    with pytest.raises(FailedPrecondition, match="does not say what it is"):
        installed(tmp_path / "python")


def test_the_machine_is_read_without_numeric_libraries():
    found = machine(sys.path)
    assert found.n_processors >= 1
    assert found.memory_bytes > 1 << 20
    assert "blas" in found.blas
