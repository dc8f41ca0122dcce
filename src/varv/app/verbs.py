"""All verbs of a server: those that rooms declare, and those that other packages bring.

A package brings verbs by an entry point of the group ``varv.verbs`` that names a module of functions declared
with `kernel.verbs.verb`. They work on one of `PARTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from varv.app import quarantine, use_cases
from varv.app.quarantine import QuarantineDesk
from varv.app.use_cases import Desk
from varv.kernel.ledger import Ledger
from varv.kernel.verbs import VerbTable, declared_in
from varv.kernel.views import Views

PARTS: Mapping[type[Any], Callable[[Desk], Any]] = {
    Desk: lambda desk: desk,
    QuarantineDesk: lambda desk: desk.require_quarantine(),
    Ledger: lambda desk: desk.ledger,
    Views: lambda desk: desk.views,
}
"""What a verb can work on, by the type of its first parameter."""


def build_verbs(desk: Desk) -> VerbTable:
    """Return every use case of a desk."""
    others = [point.load() for point in entry_points(group="varv.verbs")]
    table = VerbTable()
    for module in (use_cases, quarantine, *others):
        for declared in declared_in(module, lambda kind: PARTS[kind](desk)):
            table.register(declared)
    return table
