"""Modules of a package run apart from all others, and import each other by their own names."""

from __future__ import annotations

import sys
import traceback

import pytest

from varv.adapters.runtimes.private_modules import PrivateModules
from varv.kernel.errors import Corrupt


def modules(**texts: str) -> PrivateModules:
    return PrivateModules({path.replace("__", "/") + ".py": text.encode() for path, text in texts.items()})


def test_what_is_imported_is_found_among_them_and_else_as_usual():
    made = modules(a="import b.c as c\nimport b, math\nX = (c.Y, b.c.Y, math.pi > 3)", b__c="Y = 1")
    assert made.module("a").X == (1, 1, True)
    assert "a" not in sys.modules
    assert "b.c" not in sys.modules


def test_relative_and_late_imports_find_the_package():
    made = modules(
        p__a="from .b import Y\nfrom . import b as again\ndef f():\n    from p.b import Y\n    return Y",
        p__b="from __future__ import annotations\nY = 2",
    )
    assert made.module("p.a").f() == made.module("p.a").again.Y == made.module("p.a").Y == 2


def test_modules_that_import_each_other_see_what_is_there_so_far():
    made = modules(a="import b\nX = 1", b="import a\ndef f():\n    return a.X")
    assert made.module("a").b.f() == 1


def test_a_module_of_the_same_name_as_an_installed_one_comes_first():
    made = modules(a="import json\nX = json.X", json="X = 'mine'")
    assert made.module("a").X == "mine"
    import json

    assert not hasattr(json, "X")


@pytest.mark.parametrize("text", ["from .gone import x", "from . import gone"])
def test_what_the_package_lacks_is_an_import_error(text):
    with pytest.raises(ImportError, match="gone"):
        modules(p__a=text).module("p.a")


def test_a_module_that_fails_is_shown_with_its_lines_and_can_be_tried_again():
    made = modules(a="x = 1\n\nraise ValueError('no')\n")
    for _ in range(2):
        with pytest.raises(ValueError, match="no") as raised:
            made.module("a")
    assert 'a.py", line 3' in "".join(traceback.format_exception(raised.value))
    assert "raise ValueError('no')" in "".join(traceback.format_exception(raised.value))
    with pytest.raises(Corrupt, match="'b' has no source of this module"):
        made.module("b")


def test_forgotten_modules_go_on_working():
    made = modules(a="X = 1\ndef f():\n    return X")
    f = made.module("a").f
    assert f.__module__ in sys.modules
    made.forget()
    assert f.__module__ not in sys.modules
    assert f() == 1
