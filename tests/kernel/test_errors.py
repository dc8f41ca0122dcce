"""The tree of errors is the same whatever is loaded, and a code means the general error."""

from __future__ import annotations

import varv.fronts.mlflow.errors  # noqa: F401 - errors of a room's own, with codes of general ones
from varv.kernel import errors


def test_of_equal_codes_the_general_error_comes_first():
    first = {}
    for kind in errors.tree():
        first.setdefault(kind.code, kind)
    assert first["not_found"] is errors.NotFound
    assert first["failed_precondition"] is errors.FailedPrecondition
    assert all(
        kind.__module__ == errors.__name__ for kind in first.values() if hasattr(errors, kind.__name__)
    )


def test_parents_come_before_their_children():
    seen = []
    for kind in errors.tree():
        assert kind is errors.VarvError or any(parent in seen for parent in kind.__bases__)
        seen.append(kind)
