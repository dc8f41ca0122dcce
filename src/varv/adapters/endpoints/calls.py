"""Asking one endpoint: within a deadline, again where that may help, and not at all while it does not
answer.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import numpy as np

from varv.adapters.endpoints.connections import Connections, Overlong, Reply, Unreached
from varv.adapters.endpoints.forms import Garbage, Unfit, predictions, request
from varv.adapters.endpoints.patience import Breaker, RetryBudget
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import Corrupt, DeadlineExceeded, InvalidInput, Unavailable, VarvError
from varv.kernel.hops import passed_on
from varv.kernel.ids import coin
from varv.kernel.tracing import outgoing
from varv.registry import Rows, n_rows
from varv.registry.endpoint import Endpoint

T = TypeVar("T")
MOST_TRIES = 3
_FIRST_WAIT_S = 0.05
_MOST_BYTES = 1 << 20
_BYTES_A_NUMBER = 64
_SHOWN = 200
_BUSY = (429, 503)


class Calls:
    """Asks one endpoint.

    Parameters
    ----------
    endpoint
        The model.
    variables
        The environment, of which the endpoint may name what holds its token.
    """

    def __init__(self, endpoint: Endpoint, variables: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._variables = variables
        self._connections = Connections(endpoint.endpoint)
        self._path = urlsplit(endpoint.endpoint).path or "/"
        self._budget = RetryBudget()
        self._breaker = Breaker(f"{endpoint.endpoint}/{os.getpid()}")
        self._lock = threading.Lock()

    def predict(self, rows: Rows, width: int) -> np.ndarray:
        """Return predictions, float32 of shape (n,) or (n, several).

        Raises
        ------
        Unavailable
            If the endpoint cannot be reached, has too much to do, does not let varv ask, or is not asked for
            a while.
        DeadlineExceeded
            If it took too long.
        InvalidInput
            If a value is none of its input.
        Corrupt
            If it answers with something else than predictions, or leads back to whoever asks it.
        """
        n = n_rows(rows)
        try:
            body, headers = request(self._endpoint, rows)
        except Unfit as unfit:
            raise InvalidInput("endpoint", self._endpoint.name, f"is not asked: {unfit}") from None
        # An answer of the two probabilities of classes has twice as many numbers.
        most_bytes = _MOST_BYTES + 2 * _BYTES_A_NUMBER * n * width

        def read(reply: Reply) -> np.ndarray:
            return predictions(self._endpoint, reply.body, reply.headers, n)

        return self.infer(body, headers, most_bytes, read)

    def infer(
        self, body: bytes, headers: Mapping[str, str], most_bytes: int, read: Callable[[Reply], T]
    ) -> T:
        """Return what `read` makes of the answer to a request of the endpoint's protocol; it raises as
        `predict`.

        Parameters
        ----------
        most_bytes
            Of the answer.
        read
            Raises `Garbage` if it is none.
        """
        suffix = "/infer" if self._endpoint.protocol == "oip" else ""
        reply = self._answered("POST", self._path + suffix, headers, body, most_bytes)
        try:
            return read(reply)
        except Garbage as garbage:
            raise self._failed(self._strange(str(garbage))) from None

    def get(self, path: str) -> bytes:
        """Return what the host says of a path; it raises as `predict`."""
        return self._answered("GET", path, {}, None, _MOST_BYTES).body

    def close(self) -> None:
        """Close what is open."""
        self._connections.close()

    def _answered(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, most_bytes: int
    ) -> Reply:
        """Return the answer to a request that was taken, after as many tries as it takes and may take."""
        until = wall_seconds() + self._endpoint.timeout_s
        accept = {"accept": "application/json, application/octet-stream"}
        through = passed_on(self._endpoint.endpoint, self._endpoint.name)
        headers = {**accept, **headers, **outgoing(), **through, **self._token()}
        with self._lock:
            self._budget.called()
        number = 1
        while True:
            self._require_closed()
            reply, error = self._tried(method, path, headers, body, most_bytes, until)
            if reply is not None and error is None:
                return reply
            assert error is not None, "there is an answer, or the reason that there is none"
            asked_s = 0.0 if reply is None else _asked_to_wait(reply)
            wait_s = max(asked_s, _FIRST_WAIT_S * 2**number * (0.5 + coin(path, str(wall_seconds())) / 2))
            if not self._may_try_again(error, number, wait_s, until):
                raise error
            time.sleep(wait_s)
            number += 1

    def _tried(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        most_bytes: int,
        until: float,
    ) -> tuple[Reply | None, VarvError | None]:
        """Return what a request was answered with, and why that is none to it, if it is none."""
        try:
            reply = self._connections.ask(
                method, path, headers=headers, body=body, most_bytes=most_bytes, until=until
            )
        except Unreached as unreached:
            return None, self._unreached(unreached)
        except Overlong as overlong:
            return None, self._failed(self._strange(str(overlong)))
        error = self._refused(reply)
        if error is None:
            with self._lock:
                self._breaker.answered()
        return reply, error

    def _may_try_again(self, error: VarvError, number: int, wait_s: float, until: float) -> bool:
        if number >= MOST_TRIES or not error.facts.get("again") or wall_seconds() + wait_s >= until:
            return False
        with self._lock:
            return self._budget.take()

    def _require_closed(self) -> None:
        with self._lock:
            wait_s = self._breaker.wait_s(wall_seconds())
        if wait_s:
            problem = "is not asked for now, since it has not answered several times in a row"
            hint, facts = "try again later", {"retry_after_s": max(1, math.ceil(wait_s))}
            raise Unavailable("endpoint", self._endpoint.name, problem, hint=hint, **facts)

    def _unreached(self, unreached: Unreached) -> VarvError:
        name = self._endpoint.name
        if unreached.is_late:
            hint = "see whether it is slow, or allow it more time"
            problem = f"took longer than {self._endpoint.timeout_s:g} s"
            return self._failed(DeadlineExceeded("endpoint", name, problem, hint=hint))
        hint = "see whether it runs, and whether its certificate is valid"
        problem = "cannot be reached"
        return self._failed(Unavailable("endpoint", name, problem, why=str(unreached), again=True, hint=hint))

    def _refused(self, reply: Reply) -> VarvError | None:
        """Return what an answer is if it is none to what was asked."""
        status, name = reply.status, self._endpoint.name
        if status == 200:
            return None
        facts = {"status": status, "why": reply.body[:_SHOWN].decode(errors="replace")}
        if status in _BUSY:
            retry_after_s = max(1, math.ceil(_asked_to_wait(reply)))
            busy = Unavailable(
                "endpoint", name, "has too much to do", again=True, retry_after_s=retry_after_s, **facts
            )
            # That it has too much to do says nothing of whether it would answer somebody else.
            return busy if status == 429 else self._failed(busy)
        if status in (401, 403):
            hint = "see the token that its version names"
            return Unavailable("endpoint", name, "does not let varv ask", hint=hint, **facts)
        if 300 <= status < 400:
            hint = "register the address that it names"
            facts["location"] = reply.headers.get("location", "")[:_SHOWN]
            return Unavailable(
                "endpoint", name, "is elsewhere, and varv is not redirected", hint=hint, **facts
            )
        if status == 404:
            hint = "see whether it still serves this model"
            return self._failed(Unavailable("endpoint", name, "has no such model", hint=hint, **facts))
        if status >= 500:
            return self._failed(Corrupt("endpoint", name, "fails to answer", **facts))
        return Corrupt("endpoint", name, "refuses what it is asked", **facts)

    def _strange(self, why: str) -> Corrupt:
        return Corrupt("endpoint", self._endpoint.name, "does not answer with predictions", why=why)

    def _failed(self, error: VarvError) -> VarvError:
        with self._lock:
            self._breaker.failed(wall_seconds())
        return error

    def _token(self) -> dict[str, str]:
        variable, file = self._endpoint.token_variable, self._endpoint.token_file
        if not variable and not file:
            return {}
        try:
            # Read each time, since tokens are replaced.
            token = self._variables[variable] if variable else Path(file).read_text()
        except (KeyError, OSError, UnicodeDecodeError):
            where = f"variable {variable}" if variable else f"file {file}"
            hint = "put it there, where varv up runs"
            problem = f"needs a token, which is not in the {where}"
            raise Unavailable("endpoint", self._endpoint.name, problem, hint=hint) from None
        return {"authorization": f"Bearer {token.strip()}"}


def _asked_to_wait(reply: Reply) -> float:
    """Return the seconds that an answer asks to be waited; a date is not read."""
    said = reply.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) < 7 else 0.0
