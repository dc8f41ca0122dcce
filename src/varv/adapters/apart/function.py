"""A function of Python that another process runs: columns in, columns out."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from varv.adapters.apart.model import Life
from varv.kernel.errors import Corrupt

MOST_BYTES = 64 << 20
"""Of what one call returns."""
_COLUMNS = msgspec.json.Decoder(dict[str, list[Any]])


class ApartFunction:
    """A function whose calls are answered by another process; that process ends with this object.

    Parameters
    ----------
    life
        Its processes.
    """

    def __init__(self, life: Life) -> None:
        self._life = life
        weakref.finalize(self, life.close)

    def call(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return the columns that the function returns.

        Raises
        ------
        DeadlineExceeded
            If it took longer than it may; its process is ended then.
        UserCodeFailed
            If it raised, used more memory than it may, or ended its process.
        Unavailable
            If its process is gone by somebody else's doing, or is being started again.
        Corrupt
            If it returned something else than columns.
        """
        asked = msgspec.json.encode(dict(columns))
        said = self._life.during(lambda process: process.call(asked, MOST_BYTES))
        try:
            return _COLUMNS.decode(said)
        except msgspec.MsgspecError as error:
            problem, hint = "does not return columns", "let it write only to files that it opened"
            raise Corrupt("function", self._life.name, problem, why=str(error)[:200], hint=hint) from None
