"""The console: pages over the ledger and its read models, rendered on the server. They only read, but for one
act: a run that is under way can be asked to end from its page.

Every page is a GET whose URL holds all of its state, with its data as JSON beside it (``/ledger`` and
``/ledger.json``). Nothing here reads a clock: a page depends on the ledger and its URL alone, so the head of
the ledger is its ETag and an unchanged page costs a 304. Pages of runs depend on points of metrics too, and
have none; while a run is under way they are told of changes (`live`). Two files of script are all that a page
may run, where it says so; the content policy forbids any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

import varv
from varv.fronts.gateway import require_own_site
from varv.fronts.problems import status_of
from varv.fronts.web.headers import HEADERS, PICTURE_HEADERS, POLICY, REPORT_HEADERS, SCRIPTED
from varv.fronts.web.labelling import LabelDesk, label_routes
from varv.fronts.web.live import Live
from varv.fronts.web.page import Page, reading
from varv.fronts.web.pages import entries, runs
from varv.fronts.web.paths import GROWING, NAVIGATION, OF_RUNS, PAGES, Build
from varv.fronts.web.templating import STATIC, asset, environment, source
from varv.home.tracking.looking import RunDesk
from varv.kernel.codec import digest
from varv.kernel.columns import Columns
from varv.kernel.errors import NotFound, VarvError
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views
from varv.kernel.wording import facts

Reports = Callable[[str], Path | None]
"""From a model to the file that a replay has reported on it in, if there is one."""

Allow = Callable[[Request], None]
"""Raises where whoever asks may not read runs."""

Stop = Callable[[Request, str], None]
"""Asks for a run's end, by the run's id; raises where whoever asks may not."""

FOLLOW_S = 5

_TITLES = {
    400: "Not understood",
    401: "Token needed",
    403: "Not allowed",
    404: "Not found",
    405: "Not allowed",
}


def create_console(
    views: Views,
    ledger: Ledger,
    *,
    title: str = "varv",
    columns: Columns | None = None,
    reports: Reports = lambda model: None,
    home: Path | None = None,
    tracked: RunDesk | None = None,
    allow: Allow = lambda request: None,
    stop: Stop | None = None,
    ends: Callable[[], bool] = lambda: False,
    labels: LabelDesk | None = None,
) -> Starlette:
    """Return the console as an ASGI application, to be mounted at ``/``.

    Parameters
    ----------
    views
        Read models of `ledger`: registry, routing, rollouts, monitoring, skew, loops and datasets.
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
    tracked
        Where runs are; None where none are tracked.
    allow
        Refuses those who may not read runs.
    stop
        Asks a run to end; None where none can be.
    ends
        Returns whether the server is about to stop.
    labels
        Where people label requests; None where nobody can.
    """
    site = _Site(views, ledger, title, columns, reports, home, tracked, allow, stop, labels is not None)
    routes = [Route(f"/static/{name}", site.static(name)) for name in STATIC]
    for path, build in PAGES:
        # Before the page itself, whose last parameter would match the suffix too.
        beside = "/overview.json" if path == "/" else f"{path}.json"
        routes.append(Route(beside, site.endpoint(build, path, as_json=True)))
    routes.append(Route("/models/{model}/report", site.report))
    if tracked is not None:
        routes.append(Route("/runs/{run}/picture", site.picture))
        routes.append(Route("/runs/{run}/stop", site.stopped, methods=["POST"]))
        routes.append(Route("/live", Live(tracked, ledger, allow, HEADERS, ends).stream))
    if labels is not None:
        routes += label_routes(labels, site.labelled)
    for path, build in PAGES:
        routes.append(Route(path, site.endpoint(build, path, as_json=False)))
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
        tracked: RunDesk | None,
        allow: Allow,
        stop: Stop | None,
        labels: bool,
    ) -> None:
        self._views, self._ledger, self._title = views, ledger, title
        self._columns, self._reports, self._home = columns, reports, home
        self._tracked, self._allow, self._stop = tracked, allow, stop
        left_out = {*(() if tracked else OF_RUNS), *(() if labels else ("/labels",))}
        self._navigation = [one for one in NAVIGATION if one[0] not in left_out]
        self._templates = environment()
        self._assets = {name: asset(name) for name in STATIC}
        self._look = _digest_of_look(self._templates, self._assets, title)

    def endpoint(self, build: Build, path: str, *, as_json: bool) -> Callable[[Request], Response]:
        """Return the handler of one page."""
        grows, of_runs = path in GROWING, path in OF_RUNS

        def serve(request: Request) -> Response:
            runs = self._runs(request, required=of_runs)
            tag = self._etag(runs is not None)
            if _has(request, tag) and not grows:
                # Without the policy: a browser keeps that of the page it has, which may run a script.
                kept = {name: value for name, value in HEADERS.items() if name != POLICY}
                return Response(status_code=304, headers={**kept, "ETag": tag})
            with reading(self._views, self._columns, self._has_report, self._home, runs) as now:
                page = build(now, self._ledger, request.path_params, request.query_params)
                body = self._json(page) if as_json else self._html(page, request)
            kind = "application/json" if as_json else "text/html; charset=utf-8"
            headers = HEADERS if grows else {**HEADERS, "ETag": tag}
            if page.scripts and not as_json:
                headers = {**headers, POLICY: SCRIPTED + HEADERS[POLICY]}
            if page.acts:
                # Without a referrer a browser calls the origin of a form null, as of a page of another site.
                headers = {**headers, "Referrer-Policy": "same-origin"}
            return Response(body, media_type=kind, headers=headers)

        return serve

    def _runs(self, request: Request, *, required: bool) -> RunDesk | None:
        """Return what reads runs, if whoever asks may; who may not is refused if the page needs them."""
        try:
            self._allow(request)
        except VarvError:
            if required:
                raise
            return None
        return self._tracked

    def stopped(self, request: Request) -> Response:
        """Ask a run to end, and show its page again."""
        require_own_site(request)
        self._allow(request)
        run = request.path_params["run"]
        if self._stop is None or self._tracked is None:
            raise NotFound("page", request.url.path[:80], hint="use the command line to act")
        with self._tracked.search.reading() as db:
            id = self._tracked.run(db, run).id
        self._stop(request, id)
        return RedirectResponse(f"/runs/{quote(id, safe='')}", status_code=303, headers=HEADERS)

    def labelled(self, page: Page, request: Request, status: int) -> Response:
        """Answer with a page on which requests are labelled."""
        body = self._render(page, request, json_url=None, as_of=entries.last(self._ledger))
        policy = SCRIPTED + HEADERS[POLICY] if page.scripts else HEADERS[POLICY]
        # Without a referrer a browser calls the origin of a form null, as of a page of another site.
        headers = {**HEADERS, POLICY: policy, "Referrer-Policy": "same-origin"}
        return Response(body, status, headers, "text/html")

    def picture(self, request: Request) -> Response:
        """Answer with a picture among the artifacts of a run."""
        self._allow(request)
        assert self._tracked is not None, "there is no such path otherwise"
        path = request.query_params.get("path", "")
        data, kind = runs.picture_of(self._tracked, request.path_params["run"], path)
        return Response(data, media_type=kind, headers=PICTURE_HEADERS)

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
            known = ", ".join(path for path, _ in self._navigation)
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
        # By which a browser asks for the token, as the password of any name.
        asked = {"WWW-Authenticate": 'Basic realm="varv"'} if status == 401 else {}
        headers = {**HEADERS, **asked}
        if request.url.path.endswith(".json"):
            body = msgspec.json.encode({"error": {"status": status, "problem": problem, "hint": hint}})
            return Response(body, status, headers, "application/json")
        page = Page(_TITLES.get(status, "Error"), "problem.html", {"problem": problem, "hint": hint})
        body = self._render(page, request, json_url=None, as_of=None)
        return Response(body, status, headers, "text/html")

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
            navigation=self._navigation,
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

    def _etag(self, with_runs: bool) -> str:
        head = self._ledger.head()
        return f'W/"{head.version}-{head.hash.hex()[:16]}-{self._look}{"r" if with_runs else ""}"'


def _has(request: Request, tag: str) -> bool:
    held = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    return tag in held or "*" in held


def _digest_of_look(templates: jinja2.Environment, assets: Mapping[str, bytes], title: str) -> str:
    """Return what changes when pages would look different over the same ledger."""
    parts = [varv.__version__.encode(), title.encode(), *assets.values()]
    parts += [source(name) for name in sorted(templates.list_templates())]
    return digest(b"\x00".join(parts))[:8]
