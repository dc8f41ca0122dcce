"""Features of entities on the data plane, in Feast's shape: answered where requests arrive, and by the
application where they are long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from varv.features import FeatureView
from varv.features.online.reading import OnlineReader
from varv.fronts.access import Caller, Door
from varv.fronts.access.cors import Headers
from varv.fronts.feast.reading import answer, read_request, refused, services_of
from varv.fronts.gateway import is_meant, require_same_site, unknown_host
from varv.fronts.inference.forms import Reply
from varv.kernel.clock import SystemClock, wall_seconds
from varv.kernel.errors import PermissionDenied, VarvError

TARGET = "/get-online-features"


class OnlineFeatures:
    """Answers requests for features of the views that models read.

    Parameters
    ----------
    models
        The views of each model.
    """

    def __init__(self, reader: OnlineReader, models: Mapping[str, Sequence[FeatureView]], door: Door) -> None:
        self._reader, self._models, self._door = reader, models, door
        self._services = services_of(models)
        self._clock = SystemClock()

    def reply(self, caller: Caller, body: bytes) -> Reply:
        """Answer one request of a caller, if the door takes it; on the event loop."""
        try:
            self.admit(caller)
        except VarvError as error:
            return Reply(*refused(error))
        try:
            return self.answered(caller, body)
        finally:
            self.done()

    def admit(self, caller: Caller) -> None:
        """Take a request of a caller, on the event loop; see `Door.admit` for what it raises."""
        self._door.admit(caller, _model_of(caller), wall_seconds())

    def done(self) -> None:
        """Let a request go that was taken."""
        self._door.done()

    def answered(self, caller: Caller, body: bytes) -> Reply:
        """Answer a request that was taken; in any thread."""
        try:
            request = read_request(body)
            entities = request.entities
            n_rows = (
                len(entities) if isinstance(entities, list) else max(map(len, entities.values()), default=0)
            )
            self._door.admit_rows(caller, _model_of(caller), n_rows, wall_seconds())
            may = partial(self._require, caller)
            return Reply(answer(self._reader, self._services, request, self._clock.now(), may))
        except VarvError as error:
            return Reply(*refused(error))

    def _require(self, caller: Caller, views: Sequence[str]) -> None:
        if caller.models is None:
            return
        own = [view for model in caller.models for view in self._models.get(model, ())]
        allowed = {name for view in own for name in (view.name, view.of.name)}
        for view in views:
            if view not in allowed:
                hint = "ask whoever runs the server; rights are declared in varv.toml"
                raise PermissionDenied("client", caller.name, f"may not read view {view[:80]!r}", hint=hint)

    def refusal_of(self, said: Mapping[bytes, bytes], hosts: frozenset[str] | None) -> Reply | None:
        """Return the answer to what is not meant for this server, or comes from a page of another site; None
        to anything else.
        """
        host = said.get(b"host", b"")
        try:
            if not is_meant(host, hosts):
                raise unknown_host(host)
            site, origin = said.get(b"sec-fetch-site", b"none"), said.get(b"origin")
            require_same_site(TARGET, site, origin, host, self._door.origins)
        except VarvError as error:
            return Reply(*refused(error))
        return None

    def caller(self, said: Mapping[bytes, bytes]) -> Caller:
        """Return who sends these headers."""
        return self._door.callers[said.get(b"authorization")]

    def headers(self, origin: bytes | None) -> Headers:
        """Return what every answer says."""
        return self._door.headers(TARGET, origin)


def _model_of(caller: Caller) -> str:
    """Return a model that a caller may ask: whoever may ask some only reads the features of these."""
    return "" if caller.models is None else next(iter(sorted(caller.models)), "")
