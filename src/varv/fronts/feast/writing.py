"""The rest of Feast's feature server on the control port: rows that are pushed, and requests to materialise.

What is pushed is a row of a dataset like any other: it is checked, goes into the ledger, and is online with
the next round. What is online is kept by the position in the ledger, which no interval of event time can
stand for, so a request to materialise an interval brings all that is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from varv.data.inbox import Inbox
from varv.features.online.verbs import OnlineDesk
from varv.fronts.feast.reading import Services, answer, read_request, refused
from varv.fronts.gateway import Bodies, require_own_site
from varv.kernel.clock import Clock
from varv.kernel.errors import InvalidInput, VarvError

MOST_BYTES = 16 << 20
_BY = "a client of Feast"


class PushRequest(msgspec.Struct, frozen=True):
    """Rows of a dataset, a column each; the source is its name, with ``/part`` for what came later."""

    push_source_name: str
    df: dict[str, list[Any]]
    to: str = "online"


class MaterialiseViews(msgspec.Struct, frozen=True):
    """Names the views; all if none."""

    feature_views: list[str] | None = None
    start_ts: str | None = None
    end_ts: str | None = None


def feast_routes(
    desk: Callable[[], OnlineDesk],
    inbox: Callable[[], Inbox],
    services: Services,
    clock: Clock,
    allow: Callable[[Request], None],
) -> list[Route]:
    """Return the routes of Feast's protocol.

    Parameters
    ----------
    desk, inbox
        Return what acts on the online store, and what takes rows in.
    allow
        Refuses a request whose sender may not act here.
    """

    def online(body: bytes) -> bytes:
        return answer(desk().reader, services, read_request(body), clock.now())

    def push(body: bytes) -> bytes:
        asked = _decoded(body, PushRequest)
        dataset, _, part = asked.push_source_name.partition("/")
        if len({len(values) for values in asked.df.values()}) != 1:
            raise InvalidInput("rows", asked.push_source_name, "are not columns of one length")
        rows = [dict(zip(asked.df, values, strict=True)) for values in zip(*asked.df.values(), strict=True)]
        found = inbox().accept(dataset, part, rows)
        if found.n_refused:
            first = found.refused[0]
            problem = f"row {first.row} is refused: {first.column} {first.problem}"
            raise InvalidInput("rows", dataset, problem, accepted=found.n_rows, refused=found.n_refused)
        return b"null"

    def materialise(body: bytes) -> bytes:
        asked = _decoded(body, MaterialiseViews)
        for view in desk().chosen(asked.feature_views or ()):
            desk().act(lambda writer, view=view: writer.materialise(view, by=_BY))
        return b"null"

    acts = {
        "/get-online-features": online,
        "/push": push,
        "/materialize": materialise,
        "/materialize-incremental": materialise,
    }
    bodies = Bodies(MOST_BYTES, 4 * MOST_BYTES)
    return [Route(path, _endpoint(act, bodies, allow), methods=["POST"]) for path, act in acts.items()]


def _endpoint(
    act: Callable[[bytes], bytes], bodies: Bodies, allow: Callable[[Request], None]
) -> Callable[[Request], Any]:
    async def answered(request: Request) -> Response:
        try:
            require_own_site(request)
            allow(request)
            async with bodies.receive(request) as body:
                return Response(await run_in_threadpool(act, body), media_type="application/json")
        except VarvError as error:
            told, status = refused(error)
            return Response(told, status, media_type="application/json")

    return answered


def _decoded(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInput("request", "", "is not valid", why=str(error)[:200]) from None
