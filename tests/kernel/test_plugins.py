"""Ours and others' classes are found by name, and what is wrong with one is said."""

from __future__ import annotations

import pytest

from varv.kernel import plugins as module
from varv.kernel.errors import FailedPrecondition, NotFound
from varv.kernel.plugins import Plugins, required


def shapes(**ours: str) -> Plugins[type]:
    return Plugins("varv.shapes", "shape", ours, lambda found: isinstance(found, type))


@pytest.fixture
def others(monkeypatch):
    """Let other packages bring what is listed, as name and value."""

    def bring(**values: str):
        points = [module.EntryPoint(name, value, "varv.shapes") for name, value in values.items()]
        monkeypatch.setattr(module, "entry_points", lambda group: [p for p in points if p.group == group])

    return bring


def test_a_class_of_ours_is_found_without_being_installed():
    found = shapes(ordered="collections:OrderedDict")
    assert found.names() == ("ordered",)
    assert found.load("ordered").__name__ == "OrderedDict"


def test_a_class_of_another_package_is_found(others):
    others(counted="collections:Counter")
    found = shapes(ordered="collections:OrderedDict")
    assert found.names() == ("counted", "ordered")
    assert found.load("counted").__name__ == "Counter"


def test_nobody_takes_the_name_of_one_of_ours(others):
    others(ordered="collections:Counter")
    assert shapes(ordered="collections:OrderedDict").load("ordered").__name__ == "OrderedDict"


@pytest.mark.parametrize(
    ("value", "error", "problem"),
    [
        ("collections:Nothing", FailedPrecondition, "shape 'round' cannot be loaded"),
        ("nowhere_at_all:Thing", FailedPrecondition, "'round' cannot be loaded .*nowhere_at_all"),
        ("math:pi", FailedPrecondition, "shape 'round' is no shape"),
    ],
)
def test_what_is_wrong_with_a_plugin_is_said(others, value, error, problem):
    others(round=value)
    with pytest.raises(error, match=problem):
        shapes().load("round")


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(NotFound, match="shape 'square' does not exist; the shapes are a, b; install"):
        shapes(b="math:pi", a="math:e").load("square")


def test_a_library_that_is_not_installed_is_named_with_its_extra():
    with pytest.raises(FailedPrecondition, match="needs the package not_there; pip install 'varv\\[fast\\]'"):
        required("not_there.inner", kind="runtime", name="fast", extra="fast")
    assert required("math", kind="runtime", name="fast", extra="fast").pi > 3
