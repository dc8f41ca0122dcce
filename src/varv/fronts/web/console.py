"""The console: read-only pages over the ledger and its read models, rendered on the server.

Every page is a GET whose URL holds all of its state, with its data as JSON beside it (``/ledger`` and
``/ledger.json``). Nothing here reads a clock: a page depends on the ledger and its URL alone, so the head of
the ledger is its ETag and an unchanged page costs a 304. There is no script; the content policy forbids it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import varv
from varv.fronts.problems import status_of
from varv.fronts.web.page import Page, Reading, reading, whole_number
from varv.fronts.web.pages import datasets, entries, models, monitors, overview, rollouts
from varv.fronts.web.templating import asset, environment, source
from varv.kernel.codec import digest
from varv.kernel.columns import Columns
from varv.kernel.errors import NotFound, VarvError
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views
from varv.kernel.wording import facts

Build = Callable[[Reading, Ledger, Mapping[str, str], Mapping[str, str]], Page]
"""From the read models, the ledger, the parameters of the path and those of the query."""

Reports = Callable[[str], Path | None]
"""From a model to the file that a replay has reported on it in, if there is one."""

NAVIGATION = (
    ("/", "Overview"),
    ("/models", "Models"),
    ("/rollouts", "Rollouts"),
    ("/monitors", "Monitors"),
    ("/data", "Data"),
    ("/ledger", "Ledger"),
)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

REPORT_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
"""A report brings its style with it."""

STATIC = {"varv.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}

FOLLOW_S = 5

PAGES: tuple[tuple[str, Build], ...] = (
    ("/", lambda now, ledger, path, query: overview.overview_page(now, ledger, query)),
    ("/models", lambda now, ledger, path, query: overview.models_page(now, query)),
    ("/models/{model}", lambda now, ledger, path, query: models.model_page(now, path["model"], query)),
    (
        "/models/{model}/versions/{version}",
        lambda now, ledger, path, query: models.version_page(now, path["model"], _number(path, "version")),
    ),
    (
        "/models/{model}/versions/{version}/output",
        lambda now, ledger, path, query: models.output_page(now, path["model"], _number(path, "version")),
    ),
    ("/rollouts", lambda now, ledger, path, query: rollouts.rollouts_page(now, query)),
    (
        "/rollouts/{model}/{version}",
        lambda now, ledger, path, query: rollouts.rollout_page(
            now, path["model"], _number(path, "version"), query
        ),
    ),
    ("/monitors", lambda now, ledger, path, query: monitors.monitors_page(now, query)),
    ("/monitors/{model}", lambda now, ledger, path, query: monitors.monitor_page(now, path["model"], query)),
    ("/data", lambda now, ledger, path, query: datasets.data_page(now, query)),
    ("/data/{dataset}", lambda now, ledger, path, query: datasets.dataset_page(now, path["dataset"], query)),
    (
        "/data/{dataset}/quarantine/{part}/{segment}",
        lambda now, ledger, path, query: datasets.quarantine_page(
            now, path["dataset"], path["part"], path["segment"]
        ),
    ),
    ("/ledger", lambda now, ledger, path, query: entries.ledger_page(ledger, query)),
    ("/ledger/{seq}", lambda now, ledger, path, query: entries.entry_page(ledger, _number(path, "seq"))),
)

GROWING = frozenset({"/models/{model}/versions/{version}/output"})
"""Pages that show more than the ledger, and may change without it."""


def create_console(
    views: Views,
    ledger: Ledger,
    *,
    title: str = "varv",
    columns: Columns | None = None,
    reports: Reports = lambda model: None,
    home: Path | None = None,
) -> Starlette:
    """Return the console as an ASGI application, to be mounted at ``/``.

    Parameters
    ----------
    views
        Read models of `ledger`: registry, routing, rollouts, monitoring, loops and datasets.
    ledger
        Where entries and the head are read; nothing is written.
    title
        Shown above the navigation, and in the title of every page.
    columns
        Where rows are that pages show, of those in quarantine.
    reports
        Finds the report of a replay on a model.
    home
        Where the output of trainings is.
    """
    site = _Site(views, ledger, title, columns, reports, home)
    routes = [Route(f"/static/{name}", site.static(name)) for name in STATIC]
    for path, build in PAGES:
        # Before the page itself, whose last parameter would match the suffix too.
        beside = "/overview.json" if path == "/" else f"{path}.json"
        routes.append(Route(beside, site.endpoint(build, as_json=True, grows=path in GROWING)))
    routes.append(Route("/models/{model}/report", site.report))
    for path, build in PAGES:
        routes.append(Route(path, site.endpoint(build, as_json=False, grows=path in GROWING)))
    return Starlette(
        routes=routes,
        middleware=[Middleware(GZipMiddleware, minimum_size=1000)],
        exception_handlers={HTTPException: site.refused, VarvError: site.failed},
    )


class _Site:
    """What all requests share. Nothing of it changes."""

    def __init__(
        self,
        views: Views,
        ledger: Ledger,
        title: str,
        columns: Columns | None,
        reports: Reports,
        home: Path | None,
    ) -> None:
        self._views, self._ledger, self._title = views, ledger, title
        self._columns, self._reports, self._home = columns, reports, home
        self._templates = environment()
        self._assets = {name: asset(name) for name in STATIC}
        self._look = _digest_of_look(self._templates, self._assets, title)

    def endpoint(self, build: Build, *, as_json: bool, grows: bool) -> Callable[[Request], Response]:
        """Return the handler of one page."""

        def serve(request: Request) -> Response:
            tag = self._etag()
            if _has(request, tag) and not grows:
                return Response(status_code=304, headers={**HEADERS, "ETag": tag})
            with reading(self._views, self._columns, self._has_report, self._home) as now:
                page = build(now, self._ledger, request.path_params, dict(request.query_params))
                body = self._json(page) if as_json else self._html(page, request)
            kind = "application/json" if as_json else "text/html; charset=utf-8"
            headers = HEADERS if grows else {**HEADERS, "ETag": tag}
            return Response(body, media_type=kind, headers=headers)

        return serve

    def static(self, name: str) -> Callable[[Request], Response]:
        """Return the handler of a static file; pages name it with its digest, so it may be kept for long."""

        def serve(request: Request) -> Response:
            headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
            return Response(self._assets[name], media_type=STATIC[name], headers=headers)

        return serve

    def report(self, request: Request) -> Response:
        """Answer with the report of a replay, which is a page that stands alone."""
        model = request.path_params["model"]
        path = self._reports(model)
        if path is None:
            raise NotFound("report", model[:80], hint="a replay writes one: varv replay FILE")
        return Response(path.read_bytes(), media_type="text/html; charset=utf-8", headers=REPORT_HEADERS)

    def _has_report(self, model: str) -> bool:
        return self._reports(model) is not None

    def refused(self, request: Request, error: Exception) -> Response:
        """Answer a path that is none, or a method that no page has."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404:
            known = ", ".join(path for path, _ in NAVIGATION)
            return self._problem(
                request, 404, f"There is no page {request.url.path[:80]!r}.", f"There are {known}."
            )
        return self._problem(request, status, "The console only answers GET.", "Use the command line to act.")

    def failed(self, request: Request, error: Exception) -> Response:
        """Answer with an error of varv's own: what is wrong, and what to do."""
        if not isinstance(error, VarvError):
            raise error
        known = facts(error.facts)
        problem = f"{error.subject.capitalize()} {error.problem}" + (f" ({known})" if known else "") + "."
        return self._problem(request, status_of(error), problem, error.hint and f"{error.hint.capitalize()}.")

    def _problem(self, request: Request, status: int, problem: str, hint: str) -> Response:
        if request.url.path.endswith(".json"):
            body = msgspec.json.encode({"error": {"status": status, "problem": problem, "hint": hint}})
            return Response(body, status, HEADERS, "application/json")
        title = {404: "Not found", 400: "Not understood", 405: "Not allowed"}.get(status, "Error")
        page = Page(title, "problem.html", {"problem": problem, "hint": hint})
        body = self._render(page, request, json_url=None, as_of=None)
        return Response(body, status, HEADERS, "text/html")

    def _html(self, page: Page, request: Request) -> str:
        path = "/overview" if request.url.path == "/" else request.url.path
        asked = [pair for pair in request.query_params.multi_items() if pair[0] != "follow"]
        query = urlencode(asked, safe="/")
        json_url = f"{path}.json{'?' if query else ''}{query}"
        return self._render(page, request, json_url=json_url, as_of=entries.last(self._ledger))

    def _render(self, page: Page, request: Request, **context: Any) -> str:
        template = self._templates.get_template(page.template)
        return template.render(
            page=page,
            site=self._title,
            navigation=NAVIGATION,
            path=request.url.path,
            look=self._look,
            follow_s=FOLLOW_S,
            charts=page.charts,
            **context,
            **page.data,
        )

    def _json(self, page: Page) -> bytes:
        last = entries.last(self._ledger)
        as_of = {"seq": last.seq, "at": last.at, "hash": last.hash.hex()} if last else None
        about = {"title": page.title, "as_of": as_of, "times": "microseconds since 1970-01-01T00:00:00Z"}
        return msgspec.json.encode({**about, **page.data}, order="sorted")

    def _etag(self) -> str:
        head = self._ledger.head()
        return f'W/"{head.version}-{head.hash.hex()[:16]}-{self._look}"'


def _number(path: Mapping[str, str], name: str) -> int:
    """Return a number of the path; what is none names nothing that exists."""
    text = path[name]
    if not text.isascii() or not text.isdigit():
        raise NotFound(name, text[:40], hint="it is a whole number")
    return whole_number(path, name, 0)


def _has(request: Request, tag: str) -> bool:
    held = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    return tag in held or "*" in held


def _digest_of_look(templates: jinja2.Environment, assets: Mapping[str, bytes], title: str) -> str:
    """Return what changes when pages would look different over the same ledger."""
    parts = [varv.__version__.encode(), title.encode(), *assets.values()]
    parts += [source(name) for name in sorted(templates.list_templates())]
    return digest(b"\x00".join(parts))[:8]
