"""Pages on which a person asks a model: a field for each column, and the answer. There is no script.

What is asked here is a request like any other: it is captured, and counts in every statistic. Pages are made
in threads, so that no program waits for a template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import polars as pl
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from varv.fronts.gateway import Bodies, form_fields, require_own_site
from varv.fronts.inference import typed
from varv.fronts.inference.doorway import caller_of, shown_to, watch_of
from varv.fronts.inference.scoring import Columns, parsed
from varv.fronts.inference.served import Inference
from varv.fronts.inference.timing import Visit
from varv.fronts.problems import status_of
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import VarvError
from varv.serving import Answering

MOST_BYTES = 64 << 10
Tried = Callable[[Answering, Columns, Visit], dict[str, Any]]


def routes(inference: Inference, tried: Tried) -> list[Route]:
    """Return the routes of the pages.

    Parameters
    ----------
    tried
        Answers what was typed.
    """
    bodies = Bodies(MOST_BYTES, 16 * MOST_BYTES)

    def first(request: Request) -> Response:
        return RedirectResponse("/docs")

    def overview(request: Request) -> Response:
        return _page("try_overview.html", shown_to(request, inference), request, title="Predictions")

    def form(request: Request) -> Response:
        seen = shown_to(request, inference)
        try:
            answering = seen.model(request.path_params["model"])
        except VarvError as error:
            return _problem(seen, request, error)
        return _form(seen, request, answering, typed.example_row(answering))

    async def ask(request: Request) -> Response:
        seen, caller = shown_to(request, inference), caller_of(request)
        try:
            require_own_site(request)
            answering = seen.model(request.path_params["model"])
            async with bodies.receive(request) as body:
                given = form_fields(body)
            visit = Visit(caller, wall_seconds(), watch=watch_of(request))
            inference.door.admit(caller, answering.model, visit.began)
        except VarvError as error:
            return await run_in_threadpool(_problem, seen, request, error)
        try:
            return await run_in_threadpool(answered, request, seen, answering, given, visit)
        finally:
            inference.door.done()

    def answered(
        request: Request, seen: Inference, answering: Answering, given: dict[str, str], visit: Visit
    ) -> Response:
        try:
            answer = tried(answering, _columns(given, answering), visit)
        except VarvError as error:
            return _form(seen, request, answering, given, problem=error)
        return _form(seen, request, answering, given, answer=answer)

    return [
        Route("/", first),
        Route("/docs", overview),
        Route("/docs/{model}", form),
        Route("/docs/{model}", ask, methods=["POST"]),
        Route("/static/{name}", _static),
    ]


def _form(
    inference: Inference,
    request: Request,
    answering: Answering,
    given: Mapping[str, Any],
    *,
    answer: Mapping[str, Any] | None = None,
    problem: VarvError | None = None,
) -> Response:
    told = {
        "model": answering.model,
        "task": answering.task.name,
        "fields": [
            {"name": one.name, "kind": one.dtype, "required": one.required and not one.may_be_null}
            for one in answering.columns.values()
        ],
        "given": given,
        "answer": answer,
        "answered": answer and json.dumps(answer, indent=2, ensure_ascii=False),
        "problem": problem and str(problem),
        "host": request.url.netloc,
        "example": json.dumps({"rows": [typed.example_row(answering)]}, ensure_ascii=False),
    }
    status = 200 if problem is None else status_of(problem)
    return _page("try.html", inference, request, title=answering.model, status=status, **told)


def _columns(given: Mapping[str, str], answering: Answering) -> Columns:
    found: dict[str, list[Any]] = {}
    for name, column in answering.columns.items():
        if name in given or (column.required and column.may_be_null):
            found[name] = parsed(pl.Series(name, [given.get(name)], dtype=pl.String), column)
    return found


def _problem(inference: Inference, request: Request, error: VarvError) -> Response:
    told = {"problem": str(error), "hint": ""}
    return _page(
        "problem.html", inference, request, title="That did not work", status=status_of(error), **told
    )


def _page(
    template: str, inference: Inference, request: Request, *, title: str, status: int = 200, **told: Any
) -> Response:
    from varv.fronts.web.headers import HEADERS  # only here: those that answer programs do not need them

    models = [("/docs", "Predictions"), *((f"/docs/{name}", name) for name in inference.models)]
    common = {"site": "varv", "look": "", "navigation": models, "path": request.url.path, "as_of": None}
    page = {"title": title}
    html = (
        _templates()
        .get_template(template)
        .render(**common, page=page, json_url=None, models=inference.models.values(), **told)
    )
    # Without a referrer a form would not say where it comes from, and be refused.
    headers = {**HEADERS, "Referrer-Policy": "same-origin"}
    return Response(html, status, headers, media_type="text/html")


@cache
def _templates() -> Any:
    from varv.fronts.web.templating import environment

    return environment()


def _static(request: Request) -> Response:
    from varv.fronts.web.headers import HEADERS
    from varv.fronts.web.templating import STATIC, asset

    name = request.path_params["name"]
    if name not in STATIC:
        return Response(status_code=404)
    return Response(asset(name), 200, HEADERS, media_type=STATIC[name])
