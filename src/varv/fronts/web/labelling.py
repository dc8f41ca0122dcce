"""Pages on which a person labels requests: one question at a time, by keyboard or mouse.

Nothing is leased by looking: a form takes a request, another one says what it is and takes the next. Without
script the forms do the same. What the model said is not shown, since who sees it agrees with it too often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from varv.fronts.gateway import Bodies, form_fields, require_own_site
from varv.fronts.problems import status_of
from varv.fronts.web.page import Page
from varv.home.labelling.desk import Labelling
from varv.home.labelling.verbs import (
    GiveRequest,
    QueueRequest,
    ReturnRequest,
    TakeRequest,
    give,
    give_back,
    mine,
    queue,
    take,
)
from varv.kernel.errors import FailedPrecondition, VarvError
from varv.loop.views import LoopView

MOST_BYTES = 16 << 10
MOST_SHOWN = 30
Allow = Callable[[Request], None]
Render = Callable[[Page, Request, int], Response]


@dataclass(frozen=True, kw_only=True)
class LabelDesk:
    """What the pages work on.

    Parameters
    ----------
    labelling
        Returns the labels of the home.
    allow, allow_writing
        Raise where whoever asks may not read requests, or not label them.
    """

    labelling: Callable[[], Labelling]
    allow: Allow
    allow_writing: Allow


def label_routes(desk: LabelDesk, render: Render) -> list[Route]:
    """Return the routes of the pages.

    Parameters
    ----------
    render
        Writes a page, with a status.
    """
    bodies = Bodies(MOST_BYTES, 64 * MOST_BYTES)

    def overview(request: Request) -> Response:
        desk.allow(request)
        return render(Page("Labels", "labels.html", {"queues": _queues(desk.labelling())}), request, 200)

    def show(request: Request) -> Response:
        desk.allow(request)
        return _asked(desk, render, request, request.query_params.get("by", ""))

    async def act(request: Request) -> Response:
        require_own_site(request)
        desk.allow_writing(request)
        async with bodies.receive(request) as body:
            given = form_fields(body)
        return await run_in_threadpool(done, request, given)

    def done(request: Request, given: Mapping[str, str]) -> Response:
        model, by = request.path_params["model"], given.get("by", "")
        try:
            _do(desk.labelling(), model, by, given)
        except VarvError as error:
            return _asked(desk, render, request, by, problem=error)
        where = f"/labels/{quote(model, safe='')}?{urlencode({'by': by.strip()})}"
        return RedirectResponse(where, status_code=303)

    return [
        Route("/labels", overview),
        Route("/labels/{model}", show),
        Route("/labels/{model}", act, methods=["POST"]),
    ]


def _do(labelling: Labelling, model: str, by: str, given: Mapping[str, str]) -> None:
    """Do what a form says, and take the next request."""
    key, note = given.get("key", ""), given.get("note", "")
    match given.get("act", "take"):
        case "none":
            give(labelling, GiveRequest(model=model, key=key, by=by, no_outcome=True, note=note))
        case "return":
            give_back(labelling, ReturnRequest(model=model, key=key, by=by, note=note))
        case "take":
            pass
        case _:
            value = given.get("value", "")
            give(labelling, GiveRequest(model=model, key=key, by=by, value=value, note=note))
    take(labelling, TakeRequest(model=model, by=by))


def _asked(
    desk: LabelDesk, render: Render, request: Request, by: str, *, problem: VarvError | None = None
) -> Response:
    """Show a labeller the request that they have, and the queue."""
    labelling, model = desk.labelling(), request.path_params["model"]
    found = queue(labelling, QueueRequest(model=model))
    questions = mine(labelling, TakeRequest(model=model, by=by)).questions if by.strip() else ()
    data: dict[str, object] = {
        "model": model,
        "by": by.strip(),
        "queue": found,
        "shown": found.items[:MOST_SHOWN],
        "question": questions[0] if questions else None,
        "problem": problem and str(problem),
    }
    page = Page(f"Labels of {model}", "label.html", data, scripts=("label.js",), acts=True)
    return render(page, request, 200 if problem is None else status_of(problem))


def _queues(labelling: Labelling) -> list[dict[str, object]]:
    with labelling.views.reading(LoopView) as loops:
        names = [name for name in sorted(loops.declared) if loops.declared[name].labelling is not None]
    found: list[dict[str, object]] = []
    for name in names:
        try:
            found.append({"model": name, "queue": queue(labelling, QueueRequest(model=name)), "why": ""})
        except FailedPrecondition as error:
            found.append({"model": name, "queue": None, "why": error.problem})
    return found
