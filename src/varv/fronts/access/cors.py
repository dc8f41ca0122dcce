"""Pages of other sites that may ask the data plane through their readers' browsers: what a browser is told
about it, by the protocol called CORS (Fetch, section 3.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from varv.kernel.errors import InvalidInput

Headers = tuple[tuple[str, str], ...]
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](?::[0-9]{1,5})?")
_ASKED = (
    "authorization, content-type, inference-header-content-length, x-request-id, x-varv-model, "
    "x-varv-timeout-ms"
)
_SHOWN = (
    "deprecation, inference-header-content-length, link, ratelimit, ratelimit-policy, retry-after, "
    "www-authenticate, x-request-id, x-varv-arm, x-varv-captured, x-varv-epoch, x-varv-version"
)
_KEPT_S = 600


class Origins:
    """The sites whose pages may ask.

    Parameters
    ----------
    allowed
        Their origins, with commas between.

    Raises
    ------
    InvalidInput
        If one is no origin.

    Examples
    --------
    >>> origins = Origins("https://shop.example, http://localhost:3000")
    >>> b"https://shop.example" in origins, b"https://other.example" in origins
    (True, False)
    """

    def __init__(self, allowed: str = "") -> None:
        named = [one.strip().lower().rstrip("/") for one in allowed.split(",") if one.strip()]
        for one in named:
            if not _ORIGIN.fullmatch(one):
                hint = 'write schemes and names, with commas between: "https://shop.example"'
                raise InvalidInput("origin", one[:80], "is not the origin of a site", hint=hint)
        self._answers: Mapping[bytes, Headers] = {
            one.encode(): (
                ("access-control-allow-origin", one),
                ("access-control-expose-headers", _SHOWN),
                ("vary", "origin"),
            )
            for one in named
        }

    def __bool__(self) -> bool:
        return bool(self._answers)

    def __contains__(self, origin: object) -> bool:
        return origin in self._answers

    def headers(self, origin: bytes | None) -> Headers:
        """Return what an answer says to a browser, or to a cache on the way to one."""
        if not self._answers:
            return ()
        return (("vary", "origin"),) if origin is None else self._answers.get(origin, (("vary", "origin"),))

    def preflight(self, origin: bytes | None, wanted: bytes | None) -> Headers | None:
        """Return the answer to a browser's question whether a page may ask; None if it is no such question,
        or comes from another site.

        Parameters
        ----------
        origin, wanted
            The headers ``Origin`` and ``Access-Control-Request-Method``.
        """
        if wanted is None or origin not in self:
            return None
        return (
            *self.headers(origin),
            ("access-control-allow-methods", "GET, POST"),
            ("access-control-allow-headers", _ASKED),
            ("access-control-max-age", str(_KEPT_S)),
        )
