"""A running server as a source: verbs over HTTP. Answers are not believed."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import msgspec

from varv.app.verbs import build_verbs
from varv.fronts.client import Client
from varv.fronts.frames import frame_of
from varv.home.paging import Table
from varv.home.tables import MOST_ROWS
from varv.kernel.errors import Corrupt


class RemoteSource:
    """A running server.

    Parameters
    ----------
    client
        Calls it.
    """

    def __init__(self, client: Client) -> None:
        self.place = client.url
        self.verbs = build_verbs(None)
        self.client = client
        self._close = weakref.finalize(self, client.close)

    def ask(self, verb: str, fields: Mapping[str, Any]) -> Any:
        """Return the result of a verb, of its own type if this process knows the verb."""
        said = self.client.call(verb, **fields)
        known = next((one for one in self.verbs if one.name == verb), None)
        if known is None:
            return said
        if known.result is Table:
            after = said.get("after", "")
            if not isinstance(after, str):
                raise self._strange("after is no text")
            return Table(rows=frame_of(said.get("rows"), most_rows=MOST_ROWS), after=after)
        try:
            return msgspec.convert(said, type=known.result, str_keys=True)
        except msgspec.ValidationError as error:
            raise self._strange(str(error)) from None

    def close(self) -> None:
        """Close the connections."""
        self._close()

    def _strange(self, why: str) -> Corrupt:
        hint = "use the same version of varv on both sides"
        return Corrupt("server", self.place, "answers otherwise than varv does", why=why, hint=hint)
