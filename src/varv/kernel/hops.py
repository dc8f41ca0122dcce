"""The endpoints that a request was passed on through, so that one that leads back to itself is found out.

A server that asks an endpoint for an answer names it, as a digest, in a header; one that is asked with that
header passes the names on with what it asks itself. What stands between two servers has to let it through.
"""

from __future__ import annotations

import hashlib
import re
from contextvars import ContextVar

from varv.kernel.errors import Corrupt

HEADER = "x-varv-through"
MOST = 16
"""Endpoints that a request may be passed on through."""
_NAME = re.compile(r"[0-9a-f]{16}")
_THROUGH: ContextVar[tuple[str, ...]] = ContextVar("through", default=())


def came_through(header: bytes) -> None:
    """Take note of the header of a request, in the context that answers it; what is no name in it is left
    out.
    """
    _THROUGH.set(tuple(_NAME.findall(header.decode("latin-1"))))


def passed_on(address: str, name: str) -> dict[str, str]:
    """Return the header for a request to an address.

    Parameters
    ----------
    name
        What errors call the endpoint.

    Raises
    ------
    Corrupt
        If the request that is answered has come through this endpoint, or through too many.

    Examples
    --------
    >>> passed_on("http://b/v2/models/m", "b")
    {'x-varv-through': 'c826140fe029ce33'}
    """
    through, mark = _THROUGH.get(), hashlib.blake2b(address.encode(), digest_size=8).hexdigest()
    if mark in through:
        hint = "register the address of a model that does not ask this one"
        raise Corrupt("endpoint", name, "leads back to the version that asks it", hint=hint)
    if len(through) >= MOST:
        hint = "ask the model that answers in the end"
        raise Corrupt("endpoint", name, "is asked through too many others", hint=hint, n_others=len(through))
    return {HEADER: ",".join((*through, mark))}
