"""The model that a caller means, and what is declared of it."""

from __future__ import annotations

from varv.kernel.errors import NotFound
from varv.kernel.views import Views
from varv.loop.declaring.model import Declared
from varv.loop.views import LoopView


def declared_model(views: Views, name: str) -> Declared:
    """Return what is declared of a model; of the only one if no name is given.

    Raises
    ------
    NotFound
        If there is none of that name.
    """
    with views.reading(LoopView) as loops:
        declared = {one: loops.declared[one] for one in sorted(loops.declared)}
    known = name or (next(iter(declared)) if len(declared) == 1 else "")
    if known not in declared:
        hint = f"declared are {', '.join(declared) or 'none'}"
        raise NotFound("model", name[:80], "is not declared", hint=hint)
    return declared[known]
