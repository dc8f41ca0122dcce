"""A cursor over what a server lists by its start: the server's own page tokens are numbers of rows, which
shift while others write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
Page = Callable[[int, str], tuple[list[T], str]]
"""Takes the start from which on things are asked for and a page token, which is mostly empty; returns things,
the earliest first, and the token of what follows.
"""


def by_start(page: Page[T], most: int, at: Callable[[T], tuple[str, int]]) -> Iterator[Sequence[T]]:
    """Yield everything that a server lists, each thing once.

    Parameters
    ----------
    most
        Things on a page; the last has fewer.
    at
        Returns the id and the start of a thing.
    """
    since, token, seen = 0, "", set[str]()
    while True:
        things, following = page(since, token)
        if fresh := [one for one in things if at(one)[0] not in seen]:
            yield fresh
        if len(things) < most:
            return
        last = at(things[-1])[1]
        # As long as all of a page began at one instant only the server's own token goes on.
        token = following if last == since else ""
        latest = {at(one)[0] for one in things if at(one)[1] == last}
        seen = seen | latest if last == since else latest
        since = last
