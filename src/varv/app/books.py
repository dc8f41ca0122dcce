"""Where pipelines and studies put their runs on record: a home that nobody serves, or the server of one."""

from __future__ import annotations

import math
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx

from varv.app.compose import open_ledger, open_tracking
from varv.app.server.server_file import Running, running_server
from varv.app.settings import Settings
from varv.kernel.clock import Clock, SystemClock
from varv.kernel.errors import Unavailable
from varv.kernel.faults import Faults
from varv.runs import HomeBook, RunBook
from varv.runs.book import TakenDown, in_parts
from varv.runs.model import ExperimentId, RunId, Status

_API = "/api/2.0/mlflow"
_TIMEOUT_S = 60.0
_PAGE = 1000


@contextmanager
def open_book(settings: Settings) -> Generator[RunBook]:
    """Give what takes down runs in a home: its server if one runs, else this process, its owner meanwhile.

    Raises
    ------
    FailedPrecondition
        If another process owns the home that is no server.
    """
    clock = SystemClock()
    if (server := running_server(settings)) is not None:
        verify: ssl.SSLContext | bool = True
        if server.tls:
            from varv.app.server.tls import pinned

            verify = pinned(settings.tls_certificate)
        with ServerBook(server, settings.token, clock, verify) as book:
            yield book
        return
    settings.home.mkdir(parents=True, exist_ok=True)
    faults = Faults.parse(settings.fault)
    ledger = open_ledger(settings.home, faults=faults)
    try:
        desk = open_tracking(settings.home, ledger, clock, faults=faults)
        try:
            yield HomeBook(desk.runs, clock)
        finally:
            desk.close()
    finally:
        ledger.close()


class ServerBook:
    """Takes down runs in a home that a server owns, over MLflow's protocol.

    Parameters
    ----------
    server
        The server.
    token
        What it asks for, if it does.
    verify
        Checks its certificate.
    """

    def __init__(self, server: Running, token: str, clock: Clock, verify: ssl.SSLContext | bool) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._server, self._clock = server, clock
        self._http = httpx.Client(base_url=server.url, headers=headers, timeout=_TIMEOUT_S, verify=verify)

    def __enter__(self) -> ServerBook:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def is_alone(self) -> bool:
        """False: several may run at a time beside a server, and nobody here knows which still do."""
        return False

    def experiment(self, name: str) -> ExperimentId:
        """Return the experiment of a name, made if it is not there."""
        answer = self._asked("GET", f"{_API}/experiments/get-by-name", params={"experiment_name": name})
        if answer.status_code == 404:
            made = self._ok(self._asked("POST", f"{_API}/experiments/create", json={"name": name}))
            return ExperimentId(made["experiment_id"])
        return ExperimentId(self._ok(answer)["experiment"]["experiment_id"])

    def begin(self, experiment: ExperimentId, name: str, tags: Mapping[str, str]) -> RunId:
        """Begin a run."""
        told = {"experiment_id": experiment, "start_time": self._now_ms(), "tags": _pairs(tags)}
        made = self._post("runs/create", {**told, **({"run_name": name} if name else {})})
        return RunId(made["run"]["info"]["run_id"])

    def log(
        self,
        run: RunId,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
    ) -> None:
        """Put parameters, tags and points of metrics on record."""
        at_ms = self._now_ms()
        points = [
            {"key": name, "value": _spoken(value), "timestamp": at_ms, "step": step}
            for name, value in (metrics or {}).items()
        ]
        for some, told in in_parts(params or {}, tags or {}):
            body = {"metrics": points, "params": _pairs(some), "tags": _pairs(told)}
            self._post("runs/log-batch", {"run_id": run, **body})
            points = points[:0]

    def keep(self, run: RunId, path: str, data: bytes) -> None:
        """Put a file among the artifacts of a run."""
        found = self._ok(self._asked("GET", f"{_API}/runs/get", params={"run_id": run}))
        root = str(found["run"]["info"]["artifact_uri"]).removeprefix("mlflow-artifacts:/")
        place = f"/api/2.0/mlflow-artifacts/artifacts/{root}/{quote(path)}"
        self._ok(self._asked("PUT", place, content=data))

    def end(self, run: RunId, status: Status) -> None:
        """End a run."""
        self._post("runs/update", {"run_id": run, "status": status, "end_time": self._now_ms()})

    def tagged(self, experiment: ExperimentId, tag: str) -> list[TakenDown]:
        """Return the runs with a tag, in the order in which they began."""
        asked = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{tag}` != ''",
            "order_by": ["attributes.start_time ASC"],
            "max_results": _PAGE,
        }
        found: list[TakenDown] = []
        token = ""
        while True:
            page = self._post("runs/search", {**asked, **({"page_token": token} if token else {})})
            for run in page.get("runs", ()):
                tags = {one["key"]: one["value"] for one in run["data"].get("tags", ())}
                found.append(TakenDown(run["info"]["run_id"], run["info"]["status"], tags))
            if not (token := page.get("next_page_token", "")):
                return found

    def _post(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._ok(self._asked("POST", f"{_API}/{what}", json=body))

    def _asked(self, method: str, path: str, **said: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **said)
        except httpx.TransportError as error:
            hint = "see whether varv up or varv track still runs"
            url, pid = self._server.url, self._server.pid
            raise Unavailable(
                "server", url, "cannot be reached", why=str(error), hint=hint, pid=pid
            ) from None

    def _ok(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.is_success:
            return answer.json() if answer.content else {}
        raise Unavailable(
            "server",
            self._server.url,
            "refuses to take a run down",
            status=answer.status_code,
            why=answer.text[:300],
            hint="set token if the server asks for one",
        )

    def _now_ms(self) -> int:
        return self._clock.now() // 1000


def _spoken(value: float) -> float | str:
    """Return a number as the protocol has it; JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else {"nan": "NaN", "inf": "Infinity"}.get(str(value), "-Infinity")


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": name, "value": value} for name, value in values.items()]
