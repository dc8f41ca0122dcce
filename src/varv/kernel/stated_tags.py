"""Tags by which the server states what it found out about a model; nobody else may set them.

They stand among the tags that clients set, so that every client shows them and searches find them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from varv.kernel.errors import InvalidInput

FLAVORS = "varv.flavors"
"""What MLflow calls the ways in which a model can be loaded."""
RUNTIME = "varv.runtime"
"""What can answer for it without running code of whoever made it; `NO_RUNTIME` if nothing can."""
SCAN = "varv.scan"
"""`CLEAN`, or the first file that would run code, and what it is."""
FILES = "varv.files"
"""The digest of the files that this was found in."""
CAME_FROM = "varv.from"
"""Of a version of a loop that was brought: what it was brought from."""
BECAME = "varv.became"
"""Of a logged model: the versions of loops that came of it."""
NO_RUNTIME = "none"
CLEAN = "clean"
STATED = frozenset({FLAVORS, RUNTIME, SCAN, FILES, CAME_FROM, BECAME})


def require_free(names: Iterable[str]) -> None:
    """Raise `InvalidInput` if one of the tags is only the server's to set.

    Examples
    --------
    >>> require_free(["team"])
    >>> require_free(["varv.scan"])
    Traceback (most recent call last):
    varv.kernel.errors.InvalidInput: tag 'varv.scan' is set by the server alone; choose another name
    """
    for name in names:
        if name in STATED:
            raise InvalidInput("tag", name, "is set by the server alone", hint="choose another name")


def free(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags without the server's own, which come along where a version is copied with its tags."""
    return {name: value for name, value in tags.items() if name not in STATED}


def with_one_more(before: str, name: str) -> str:
    """Return a list of names, as a tag holds it, with one more; again changes nothing.

    Examples
    --------
    >>> with_one_more(with_one_more("late v2", "late v3"), "late v3")
    'late v2, late v3'
    """
    listed = [one for one in before.split(", ") if one]
    return ", ".join(listed if name in listed else [*listed, name])
