"""Changes of runs as server-sent events: once a second, if there is something to see.

An event says only that there is; the page asks for itself again. Its id is the seq of the ledger's head and a
digest of what is known of the runs, so a browser that was away hears at once whether it missed something.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from varv.fronts.problems import TooMuchUnderWay
from varv.home.tracking.looking import RunDesk
from varv.kernel.codec import digest_of
from varv.kernel.errors import InvalidInput, NotFound, VarvError
from varv.kernel.ledger import Ledger

EVERY_S = 1.0
LONGEST_TURNS = 600
"""Looks until a stream ends; a browser asks again by itself, and is asked who it is again."""
MOST_STREAMS = 64
MOST_RUNS = 20
_CHANGES_LOOKED_AT = 2000
_OF_RUN = """
SELECT status, ended_ms, name, folded, deleted, (SELECT max(no) FROM points WHERE points.run = run.no),
    (SELECT max(number) FROM sealed WHERE sealed.run = run.no)
FROM run WHERE id = ?
"""
_OF_EXPERIMENT = """
SELECT max(no) FROM (SELECT no, experiment FROM changed ORDER BY no DESC LIMIT ?)
WHERE experiment = ?
"""


class Live:
    """Streams of changes.

    Parameters
    ----------
    desk, ledger
        Of the home.
    allow
        Refuses those who may not read runs.
    headers
        Of every answer.
    ends
        Returns whether the server is about to stop, which would wait for open streams.
    """

    def __init__(
        self,
        desk: RunDesk,
        ledger: Ledger,
        allow: Callable[[Request], None],
        headers: Mapping[str, str],
        ends: Callable[[], bool] = lambda: False,
    ) -> None:
        self._desk, self._ledger, self._allow = desk, ledger, allow
        self._headers, self._ends = dict(headers), ends
        self._n_streams = 0

    async def stream(self, request: Request) -> Response:
        """Answer a page that wants to be told of changes of runs, or of an experiment's.

        Raises
        ------
        InvalidInput
            If it names neither, or too many.
        NotFound
            If one does not exist.
        TooMuchUnderWay
            If too many streams are open.
        """
        self._allow(request)
        runs = request.query_params.getlist("run")
        experiment = request.query_params.get("experiment", "")
        if not 0 < len(runs) + bool(experiment) <= MOST_RUNS:
            raise InvalidInput("query", "run", "names no run, or too many", hint="write /live?run=ID")
        if self._n_streams >= MOST_STREAMS:
            hint = "the page refreshes itself when it is loaded again"
            raise TooMuchUnderWay("stream", request.url.path, "comes while too many are open", hint=hint)
        # What the page shows was read before this; one that comes back says what it has seen.
        now = await run_in_threadpool(self._state, runs, experiment)
        events = self._events(runs, experiment, request.headers.get("last-event-id", "") or now)
        return StreamingResponse(events, media_type="text/event-stream", headers=self._headers)

    async def _events(self, runs: list[str], experiment: str, seen: str) -> AsyncGenerator[bytes]:
        self._n_streams += 1
        try:
            yield b"retry: 2000\n\n"
            for _ in range(LONGEST_TURNS):
                await asyncio.sleep(EVERY_S)
                if self._ends():
                    return
                with suppress(VarvError):
                    now = await run_in_threadpool(self._state, runs, experiment)
                    seq, _, known = now.partition("-")
                    # Entries about something else move the head as well.
                    if known != seen.rpartition("-")[2]:
                        seen = now
                        yield b"id: %b\ndata: %b\n\n" % (now.encode(), msgspec.json.encode({"seq": int(seq)}))
                        continue
                # By which a connection that is gone is found to be.
                yield b":\n\n"
        finally:
            self._n_streams -= 1

    def _state(self, runs: list[str], experiment: str) -> str:
        """Return what is different once there is something new to see."""
        with self._desk.search.reading() as db:
            told: list[object] = []
            for run in runs:
                row = db.execute(_OF_RUN, (run,)).fetchone()
                if row is None:
                    raise NotFound("run", run[:80])
                told.append([*row, self._ledger.head(f"run/{run}").version])
            if experiment:
                known = self._desk.experiment(db, experiment)
                row = db.execute(_OF_EXPERIMENT, (_CHANGES_LOOKED_AT, known.no)).fetchone()
                told += [row[0], known.updated_ms]
        return f"{self._ledger.head().version}-{digest_of(told)[:12]}"
