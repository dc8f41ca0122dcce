"""What a home has on record: what its use cases look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from varv.home.tables import Tables
from varv.kernel.clock import Clock
from varv.kernel.errors import NotFound
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views
from varv.loop.views import LoopView
from varv.registry import RegistryView
from varv.runs.histories import RunThatRead

ThatRead = Callable[[Sequence[str]], Sequence[RunThatRead]]


@dataclass(frozen=True, kw_only=True)
class Records:
    """What a home has on record.

    Parameters
    ----------
    home, ledger, views
        Of the home.
    state
        Of its server, in words.
    that_read
        Returns the runs that have read datasets of some names.
    """

    home: Path
    ledger: Ledger
    views: Views
    clock: Clock
    state: str
    tables: Tables
    that_read: ThatRead = lambda _: []

    def model(self, name: str) -> ModelName:
        """Return the name of a model that the ledger knows; the only one if `name` is empty.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        with self.views.reading(RegistryView) as registry, self.views.reading(LoopView) as loops:
            known = sorted({*registry.models, *loops.loops})
        if name in known:
            return ModelName(name)
        if not name and len(known) == 1:
            return ModelName(known[0])
        hint = f"registered are {', '.join(known) or 'none'}"
        raise NotFound("model", name[:80], "is not registered", hint=hint)
