"""Secrets that a declaration names and does not hold: ``${SHOP_PASSWORD}`` is a variable of the environment,
or the content of the file that ``SHOP_PASSWORD_FILE`` names, as orchestrators hand out secrets.

Everything of varv is set in `app.settings`; these variables are the author's, and every process that
loads the declaration looks for them where it runs. Nothing here is ever written down.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
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
        given = _value(found[1])
        if given is None:
            problem = f"needs the variable {found[1]}, which is not set"
            hint = f"export {found[1]}=..., or {found[1]}_FILE=... with the path of a file that can be read"
            raise FailedPrecondition(kind, name, problem, hint=hint)
        return quote(given, safe="") if in_address else given

    return _NAMED.sub(value, text)


def scrubbed(text: str, templates: Iterable[str]) -> str:
    """Return what somebody else said, without the values of variables that templates name."""
    return _without_values(text, templates, lambda name: HIDDEN)


def named_again(text: str, templates: Iterable[str]) -> str:
    """Return what somebody else said with the names of variables where it has their values, to be kept and
    filled in later.
    """
    return _without_values(text, templates, lambda name: f"${{{name}}}")


def _without_values(text: str, templates: Iterable[str], instead: Callable[[str], str]) -> str:
    values: dict[str, str] = {}
    for name in (name for template in templates for name in names_in(template)):
        value = _value(name) or ""
        values |= {value: instead(name), quote(value, safe=""): instead(name)}
    for value in sorted(values.keys() - {""}, key=len, reverse=True):
        text = text.replace(value, values[value])
    return text


def _value(name: str) -> str | None:
    """Return the value of a variable, or of the file that its sibling names; None if there is neither."""
    # The author's own, which no setting knows.
    given = os.environ.get(name)  # noqa: TID251
    place = os.environ.get(f"{name}_FILE")  # noqa: TID251
    if given is not None or place is None:
        return given
    try:
        return Path(place).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
