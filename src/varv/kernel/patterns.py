"""LIKE in time that grows with the text; SQLite's own takes powers of it for patterns as ``%a%a%a%b``."""

from __future__ import annotations

import re
from functools import lru_cache

MATCHES = "matches"
"""The function in SQL, of a text and a pattern; the connections of a recorder have it."""
MOST_NATIVE = 2
"""Signs for any letters in a pattern that is left to SQLite's own LIKE, which is quicker then."""


def matches(text: str | None, pattern: str) -> bool:
    """Return whether all of a text matches a pattern, in which ``%`` stands for any letters and ``_`` for
    one.

    Examples
    --------
    >>> matches("gradient", "%die%"), matches("gradient", "gra_"), matches(None, "%")
    (True, False, False)
    """
    if text is None:
        return False
    parts = _compiled(pattern)
    first = parts[0][0].match(text)
    if first is None:
        return False
    if len(parts) == 1:
        return first.end() == len(text)
    place = first.end()
    # The leftmost place of each part leaves the most room for those after it.
    for part, _ in parts[1:-1]:
        found = part.search(text, place)
        if found is None:
            return False
        place = found.end()
    last, length = parts[-1]
    return len(text) - length >= place and last.match(text, len(text) - length) is not None


@lru_cache(64)
def _compiled(pattern: str) -> tuple[tuple[re.Pattern[str], int], ...]:
    """Return what lies between the signs for any letters, each with its length."""
    parts = pattern.split("%")
    return tuple((re.compile(re.escape(part).replace("_", "."), re.DOTALL), len(part)) for part in parts)
