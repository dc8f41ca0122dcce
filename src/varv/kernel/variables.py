"""Secrets that a declaration names and does not hold: ``${SHOP_PASSWORD}`` is a variable of the environment.

Everything of varv is set in `app.settings`; these variables are the author's, and every process that
loads the declaration looks for them where it runs. Nothing here is ever written down.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from urllib.parse import quote

from varv.kernel.errors import FailedPrecondition

_NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
HIDDEN = "***"


def names_in(text: str) -> tuple[str, ...]:
    """Return the variables that a text names.

    Examples
    --------
    >>> names_in("postgresql://reader:${SHOP_PASSWORD}@db/shop")
    ('SHOP_PASSWORD',)
    """
    return tuple(_NAMED.findall(text))


def filled_in(text: str, *, kind: str, name: str, in_address: bool = False) -> str:
    """Return a text with the values of the variables that it names.

    Parameters
    ----------
    kind, name
        What needs it, as the error will name it.
    in_address
        Whether the text is an address, in which values are written with per cent signs.

    Raises
    ------
    FailedPrecondition
        If a variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        given = os.environ.get(found[1])  # noqa: TID251 - the author's own, which no setting knows
        if given is None:
            problem = f"needs the variable {found[1]}, which is not set"
            raise FailedPrecondition(kind, name, problem, hint=f"export {found[1]}=...")
        return quote(given, safe="") if in_address else given

    return _NAMED.sub(value, text)


def scrubbed(text: str, templates: Iterable[str]) -> str:
    """Return what somebody else said, without the values of variables that templates name."""
    named = {name for template in templates for name in names_in(template)}
    values = {os.environ.get(name, "") for name in named}  # noqa: TID251 - as above
    values |= {quote(value, safe="") for value in values}
    for value in sorted(values - {""}, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text
