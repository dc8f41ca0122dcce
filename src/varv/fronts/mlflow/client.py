"""A client of a tracking server, in the few calls of MLflow's protocol that whoever runs a script needs."""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec

from varv.kernel.errors import (
    AlreadyExists,
    Corrupt,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
    VarvError,
)
from varv.runs.model import Status
from varv.runs.rules import LONGEST_PARAM, LONGEST_TAG, MOST_PARAMS

MOST_BYTES = 64 << 20
"""Of an artifact that is read into memory."""
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
_READ_AT_ONCE = 1 << 20
_RUNS_AT_ONCE = 1000
_KINDS: dict[int, type[VarvError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: FailedPrecondition,
    429: RateLimited,
}


class Words(NamedTuple):
    """What is said of a run in words."""

    params: dict[str, str]
    tags: dict[str, str]


class Begun(NamedTuple):
    """A run that has begun."""

    run: str
    experiment: str
    name: str
    place: str
    """Where its artifacts are, from the root of all artifacts."""


class TrackingClient:
    """Writes runs to a server, and reads their artifacts.

    Parameters
    ----------
    url
        Where its control plane listens.
    token
        Sent with every call, if given.
    verify
        Whom to trust over TLS; the system's authorities by default.
    timeout_s
        How long to wait for a connection, and for each part of an answer.
    """

    def __init__(
        self, url: str, *, token: str = "", verify: ssl.SSLContext | None = None, timeout_s: float = 30.0
    ) -> None:
        self.url = url
        headers = {"authorization": f"Bearer {token}"} if token else {}
        # The server is at a known address; a proxy that the environment names is not on the way to it.
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout_s, trust_env=False, verify=verify or True
        )

    def __enter__(self) -> TrackingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is made if there is none of that name."""
        try:
            answer = self._get("experiments/get-by-name", {"experiment_name": name})
            return str(answer["experiment"]["experiment_id"])
        except NotFound:
            pass
        try:
            return str(self._post("experiments/create", {"name": name})["experiment_id"])
        except AlreadyExists:  # by somebody else, meanwhile
            answer = self._get("experiments/get-by-name", {"experiment_name": name})
            return str(answer["experiment"]["experiment_id"])

    def begin(self, experiment: str, *, name: str, user: str, at_ms: int, tags: Mapping[str, str]) -> Begun:
        """Begin a run in an experiment; a name is made up where none is given."""
        asked = {
            "experiment_id": experiment,
            "run_name": name,
            "user_id": user,
            "start_time": at_ms,
            "tags": _pairs(tags, LONGEST_TAG),
        }
        info = self._post("runs/create", asked)["run"]["info"]
        return Begun(info["run_id"], experiment, info["run_name"], _place(info["artifact_uri"]))

    def end(self, run: str, status: Status, at_ms: int) -> None:
        """End a run."""
        self._post("runs/update", {"run_id": run, "status": status, "end_time": at_ms})

    def log(
        self,
        run: str,
        *,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
        at_ms: int = 0,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log metrics at a step, parameters and tags; more parameters than one request takes in several."""
        points = [
            {"key": name, "value": _spoken(value), "timestamp": at_ms, "step": step}
            for name, value in (metrics or {}).items()
        ]
        given = _pairs(params or {}, LONGEST_PARAM)
        first, rest = given[:MOST_PARAMS], given[MOST_PARAMS:]
        batch = {"metrics": points, "params": first, "tags": _pairs(tags or {}, LONGEST_TAG)}
        self._post("runs/log-batch", {"run_id": run, **batch})
        for start in range(0, len(rest), MOST_PARAMS):
            self._post("runs/log-batch", {"run_id": run, "params": rest[start : start + MOST_PARAMS]})

    def link(self, run: str, datasets: Mapping[str, str]) -> None:
        """Say which files a run reads, by path, with their digests."""
        if not datasets:
            return
        # The protocol's digests have 36 characters at most; the whole ones are in what was captured.
        told = [_dataset(path, digest) for path, digest in datasets.items()]
        self._post("runs/log-inputs", {"run_id": run, "datasets": told})

    def words(self, run: str) -> Words:
        """Return the parameters and tags of a run."""
        data = self._get("runs/get", {"run_id": run})["run"]["data"]
        params, tags = (
            {one["key"]: one.get("value", "") for one in data.get(kind, ())} for kind in ("params", "tags")
        )
        return Words(params, tags)

    def tagged(self, experiment: str, tag: str) -> Iterator[tuple[str, Status, dict[str, str]]]:
        """Yield the runs of an experiment that have a tag, with their tags, in the order in which they
        began.
        """
        asked = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{tag}` IS NOT NULL",
            "order_by": ["attributes.start_time ASC"],
            "max_results": _RUNS_AT_ONCE,
        }
        token: str | None = ""
        while token is not None:
            page = self._post("runs/search", {**asked, **({"page_token": token} if token else {})})
            for run in page.get("runs", ()):
                tags = {one["key"]: one.get("value", "") for one in run["data"].get("tags", ())}
                yield run["info"]["run_id"], run["info"]["status"], tags
            token = page.get("next_page_token") or None

    def put(self, place: str, path: str, content: bytes | Path) -> None:
        """Keep a file as an artifact of the run whose artifacts are at `place`."""
        sent = content if isinstance(content, bytes) else _read(content)
        headers = {"content-type": "application/octet-stream"}
        self._answered("PUT", _ARTIFACTS + quote(f"{place}/{path}"), content=sent, headers=headers)

    def get(self, place: str, path: str) -> bytes:
        """Return an artifact.

        Raises
        ------
        NotFound
            If there is none.
        Corrupt
            If it is larger than `MOST_BYTES`.
        """
        answer = self._answered("GET", _ARTIFACTS + quote(f"{place}/{path}"))
        return answer.content

    def place(self, run: str) -> str:
        """Return where the artifacts of a run are, from the root of all artifacts."""
        return _place(self._get("runs/get", {"run_id": run})["run"]["info"]["artifact_uri"])

    def _get(self, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
        return self._json(self._answered("GET", f"/api/2.0/mlflow/{path}", params=dict(asked)))

    def _post(self, path: str, body: object) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        content = msgspec.json.encode(body)
        return self._json(self._answered("POST", f"/api/2.0/mlflow/{path}", content=content, headers=headers))

    def _answered(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            with self._http.stream(method, path, **more) as answer:
                parts: list[bytes] = []
                size = 0
                for part in answer.iter_bytes():
                    size += len(part)
                    if size > MOST_BYTES:
                        raise Corrupt("server", self.url, "answers more than was asked for", n_bytes=size)
                    parts.append(part)
        except httpx.HTTPError as error:
            hint = "is varv track or varv up running?"
            raise Unavailable("server", self.url, "cannot be reached", why=str(error), hint=hint) from None
        whole = httpx.Response(answer.status_code, content=b"".join(parts))
        if answer.is_success:
            return whole
        raise self._refused(whole)

    def _refused(self, answer: httpx.Response) -> VarvError:
        try:
            said = answer.json()
            code, message = str(said["error_code"]), str(said["message"])
        except (ValueError, KeyError, TypeError):
            code, message = "", answer.text[:200]
        kind = (
            AlreadyExists
            if code == "RESOURCE_ALREADY_EXISTS"
            else _KINDS.get(answer.status_code, Unavailable)
        )
        return kind("request", self.url, "is refused", status=answer.status_code, why=message)

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Corrupt("server", self.url, "does not answer as a tracking server does")
        return found


def _spoken(value: float) -> float | str:
    """Return a number as the protocol has it: JSON has neither NaN nor infinity."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _place(address: str) -> str:
    return address.partition(":")[2].strip("/")


def _dataset(path: str, digest: str) -> dict[str, Any]:
    return {"dataset": {"name": path, "digest": digest[:36], "source_type": "local", "source": path}}


def _pairs(values: Mapping[str, str], most: int) -> list[dict[str, str]]:
    return [{"key": name, "value": value[:most]} for name, value in values.items()]


def _read(place: Path) -> Iterator[bytes]:
    with place.open("rb") as file:
        while part := file.read(_READ_AT_ONCE):
            yield part
