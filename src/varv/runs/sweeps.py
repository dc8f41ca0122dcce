"""Values that are tried in turn: the arguments of each run of a sweep, from ``depth=2,4 rate=0.1,0.3``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from varv.kernel.errors import InvalidInput

MOST_RUNS = 1000
_RANGE = re.compile(r"range\((-?\d+),\s*(-?\d+)(?:,\s*(-?\d+))?\)")
_ASSIGNED = re.compile(r"[A-Za-z_][\w.]*=", re.ASCII)
_CLOSES = {"[": "]", "{": "}", "(": ")"}


def expanded(arguments: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the arguments of each run: every combination of the values that arguments list.

    Raises
    ------
    InvalidInput
        If no argument lists several values, or there are more than `MOST_RUNS` combinations.

    Examples
    --------
    >>> expanded(["depth=2,4", "--fast", "kind=[a,b]"])
    [('depth=2', '--fast', 'kind=[a,b]'), ('depth=4', '--fast', 'kind=[a,b]')]
    >>> expanded(["seed=range(0,3)"])
    [('seed=0',), ('seed=1',), ('seed=2',)]
    """
    choices = [_choices(argument) for argument in arguments]
    n = 1
    for some in choices:
        n *= len(some)
    if n > MOST_RUNS:
        raise InvalidInput("sweep", "", "has too many runs", n=n, most=MOST_RUNS, hint="list fewer values")
    if n < 2:
        hint = "list values with commas between: depth=2,4"
        raise InvalidInput("sweep", " ".join(arguments)[:80], "has nothing to try in turn", hint=hint)
    return list(itertools.product(*choices))


def varied(arguments: Sequence[str], run: Sequence[str]) -> str:
    """Return what tells one run of a sweep from the others, as the name of the run."""
    return " ".join(own for given, own in zip(arguments, run, strict=True) if given != own)


def parts_of(text: str) -> list[str]:
    """Return what stands between commas, but for those in brackets and quotes; quotes around all of a part
    go.

    Examples
    --------
    >>> parts_of("1, [2,3], 'a,b'")
    ['1', '[2,3]', 'a,b']
    """
    parts: list[str] = []
    waiting: list[str] = []
    start = 0
    for place, character in enumerate(text):
        if waiting and character == waiting[-1]:
            waiting.pop()
        elif waiting and waiting[-1] in "\"'":
            continue
        elif character in "\"'":
            waiting.append(character)
        elif character in _CLOSES:
            waiting.append(_CLOSES[character])
        elif character == "," and not waiting:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return [_unquoted(part.strip()) for part in parts if part.strip()]


def _choices(argument: str) -> list[str]:
    if not _ASSIGNED.match(argument):
        return [argument]
    name, _, text = argument.partition("=")
    if counted := _RANGE.fullmatch(text):
        first, end, step = int(counted[1]), int(counted[2]), int(counted[3] or 1)
        if not step or not (values := range(first, end, step)):
            raise InvalidInput("sweep", argument[:80], "counts nothing", hint="write range(FIRST,END)")
        return [f"{name}={value}" for value in values]
    return [f"{name}={part}" for part in parts_of(text)] or [argument]


def _unquoted(part: str) -> str:
    return part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'" else part
