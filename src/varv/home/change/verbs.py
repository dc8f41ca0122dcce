"""The use case of a running server: carry a changed declaration out, while requests are answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from varv.kernel.verbs import OPERATE, verb
from varv.project.planned import Plan, Retirement


class ApplyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which models may be retired, and whether also those that answered requests in the last day. The
    declaration itself is read by the server, from where it was started with.
    """

    retire: tuple[str, ...] = ()
    despite_traffic: bool = False
    by: str = "operator"


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What was carried out; what is computed and trained for it goes on behind the answer."""

    plan: Plan
    lines: tuple[str, ...]
    number: int | None
    """Of the change; None if there was nothing to do."""


@dataclass(frozen=True)
class Declarations:
    """What a server can do about its declaration.

    Parameters
    ----------
    apply
        Reads the declaration anew, and carries out what differs from what is on record.
    """

    apply: Callable[[Retirement, str], Applied]


@verb("change.apply", needs=OPERATE)
def apply(declarations: Declarations, asked: ApplyRequest) -> Applied:
    """Read the declaration anew, and carry out what changed while requests are answered.

    Raises
    ------
    FailedPrecondition
        If any of it is refused, or another change is under way; nothing is changed then.
    """
    retirement = Retirement(models=asked.retire, despite_traffic=asked.despite_traffic)
    return declarations.apply(retirement, asked.by)
