"""The sources of a class are the files of the project that its module imports."""

from __future__ import annotations

import importlib
import json.decoder
import sys

import pytest
from sklearn.linear_model import LinearRegression

from varv.kernel.errors import InvalidInput
from varv.training import sources as module
from varv.training.sources import sources_of

FILES = {
    "top.py": "import os, numpy\nimport inner.deep.one as one\nclass Top:\n    class Nested:\n        pass\n",
    "inner/__init__.py": "from . import beside\n",
    "inner/beside.py": "",
    "inner/deep/one.py": "def f():\n    from ..late import x\n    import gone\n",
    "inner/late.py": "x = 1\n",
    "inner/unused.py": "",
}


@pytest.fixture
def top(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield importlib.import_module("top")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("top", "inner")]:
        del sys.modules[name]


def test_what_is_imported_anywhere_in_the_files_is_taken_and_libraries_are_not(top):
    found = sources_of(top.Top.Nested)
    assert (found.module, found.name) == ("top", "Top.Nested")
    assert set(found.files) == set(FILES) - {"inner/unused.py"}
    assert found.files["top.py"] == FILES["top.py"].encode()


def test_a_class_below_a_package_is_taken_with_the_package(top):
    one = importlib.import_module("inner.deep.one")
    one.Low = type("Low", (), {"__module__": "inner.deep.one"})
    found = sources_of(one.Low)
    assert {"inner/__init__.py", "inner/deep/one.py"} <= set(found.files)
    assert "top.py" not in found.files


@pytest.mark.parametrize("cls", [LinearRegression, json.decoder.JSONDecoder])
def test_a_class_of_a_library_needs_no_source(cls):
    assert sources_of(cls).files == {}


def test_a_class_that_no_file_defines_is_refused():
    space = {"__name__": "nowhere"}
    exec("class Ghost:\n    pass", space)
    with pytest.raises(InvalidInput, match="class 'Ghost' is not defined in a file; define the class"):
        sources_of(space["Ghost"])


def test_more_source_than_a_package_should_hold_is_refused(top, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_SOURCE", 10)
    with pytest.raises(InvalidInput, match="imports more than"):
        sources_of(top.Top)
