"""What the registry asks of loops: whether one works under a name, and for a number that it will not give.

A version that a client logs under the name of a declared model takes its number from the loop, which counts
its own candidates; so no number is given twice, whoever asks at the same moment.
"""

from __future__ import annotations

from varv.kernel.engine import Engine
from varv.kernel.ids import Version
from varv.kernel.ledger import Ledger
from varv.kernel.sagas import Message
from varv.loop.model import NumberAsked, NumberGiven
from varv.loop.plan import loop_id

MOVED = frozenset({"champion", "challenger"})
"""Aliases by which a loop serves."""


class LoopNumbers:
    """The loops of a home, as the registry asks them; a `registry.LoopNames`.

    Parameters
    ----------
    ledger
        Says which loops there are.
    engine
        Tells them; it needs no handlers, since a number has no consequence.
    """

    def __init__(self, ledger: Ledger, engine: Engine) -> None:
        self._ledger, self._engine = ledger, engine

    def has(self, model: str) -> bool:
        """Return whether a loop works under this name."""
        return self._ledger.saga(loop_id(model)) is not None

    def number(self, model: str) -> int | None:
        """Return a number for a version that the loop will not give itself; None if there is no loop."""
        return self._asked(model) if self.has(model) else None

    def _asked(self, model: str) -> Version | None:
        entries = self._engine.tell(Message(loop_id(model), NumberAsked()))
        given = (entry.event for entry in entries)
        return next((event.version for event in given if isinstance(event, NumberGiven)), None)

    def stream(self, model: str) -> str:
        """Return the stream that a loop of this name begins."""
        return loop_id(model)

    def moves(self, model: str, alias: str) -> bool:
        """Return whether it is the loop that moves this alias."""
        return alias in MOVED and self.has(model)
