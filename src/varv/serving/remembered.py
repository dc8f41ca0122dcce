"""What a version said before, by what it was asked: a response cache, and what to fall back on.

Keyed by the numbers and texts that the version is fed, so an answer is that of the same features and not just
of the same request, and routing, features and the log are as for any other request.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from varv.kernel.clock import wall_seconds
from varv.registry import Rows, n_rows
from varv.serving.scores import Scores

MOST_ROWS = 20_000
"""That are remembered of a version; those that were asked for longest ago go first."""
_DIGEST_BYTES = 16


class _Said(NamedTuple):
    at: float
    scores: Scores


class Remembered:
    """The last answers of one version.

    Parameters
    ----------
    fresh_s
        Seconds for which an answer is given again; with 0 the version is always asked.
    most_rows
        How many answers are held.
    now
        Tells seconds.
    """

    def __init__(
        self, fresh_s: float, *, most_rows: int = MOST_ROWS, now: Callable[[], float] = wall_seconds
    ) -> None:
        self._fresh_s = fresh_s
        self._most_rows = most_rows
        self._now = now
        self._said: OrderedDict[bytes, _Said] = OrderedDict()
        self._lock = threading.Lock()
        self.n_hits = 0
        self.n_misses = 0

    def scores(self, rows: Rows, ask: Callable[[Rows], Scores]) -> Scores:
        """Return what the version says of rows, and ask it only for those that it was not asked lately."""
        keys = _keys(rows)
        if not self._fresh_s:
            said = ask(rows)
            self._keep(keys, said)
            return said
        known = self._known(keys, self._fresh_s)
        missing = [place for place, one in enumerate(known) if one is None]
        self.n_hits += len(keys) - len(missing)
        self.n_misses += len(missing)
        if len(missing) == len(keys):
            said = ask(rows)
            self._keep(keys, said)
            return said
        fresh = None
        if missing:
            fresh = ask(_taken(rows, missing))
            self._keep([keys[place] for place in missing], fresh)
        return _together(known, missing, fresh)

    def said_before(self, rows: Rows, max_age_s: float, width: int) -> Scores:
        """Return what was said of rows at most so long ago, of shape (n, width); NaN where nothing was."""
        known = self._known(_keys(rows), max_age_s)
        found = np.full((len(known), width), np.nan, np.float32)
        for place, one in enumerate(known):
            if one is not None:
                found[place] = one
        return found

    def _known(self, keys: Sequence[bytes], max_age_s: float) -> list[Scores | None]:
        since = self._now() - max_age_s
        found: list[Scores | None] = []
        with self._lock:
            for key in keys:
                said = self._said.get(key)
                if said is not None:
                    self._said.move_to_end(key)
                found.append(None if said is None or said.at < since else said.scores)
        return found

    def _keep(self, keys: Sequence[bytes], scores: Scores) -> None:
        at = self._now()
        with self._lock:
            for key, row in zip(keys, scores, strict=True):
                # A copy, since a view would keep the whole batch.
                self._said[key] = _Said(at, row.copy())
                self._said.move_to_end(key)
            while len(self._said) > self._most_rows:
                self._said.popitem(last=False)


def _together(known: Sequence[Scores | None], missing: Sequence[int], fresh: Scores | None) -> Scores:
    first = next(one for one in known if one is not None)
    found = np.empty((len(known), len(first)), np.float32)
    for place, one in enumerate(known):
        if one is not None:
            found[place] = one
    if fresh is not None:
        found[missing] = fresh
    return found


def _keys(rows: Rows) -> list[bytes]:
    """Return what tells each row from others."""
    if isinstance(rows, np.ndarray):
        return [blake2b(row.tobytes(), digest_size=_DIGEST_BYTES).digest() for row in rows]
    columns = [values.tolist() for values in rows.values()]
    # The texts of a row in the order of its columns, each with its length, so that none runs into the next.
    return [
        blake2b(b"".join(map(_part, row)), digest_size=_DIGEST_BYTES).digest()
        for row in (zip(*columns, strict=True) if columns else [()] * n_rows(rows))
    ]


def _part(value: object) -> bytes:
    data = repr(value).encode()
    return len(data).to_bytes(4, "little") + data


def _taken(rows: Rows, places: Sequence[int]) -> Rows:
    if isinstance(rows, np.ndarray):
        return rows[list(places)]
    return {name: values[list(places)] for name, values in rows.items()}
