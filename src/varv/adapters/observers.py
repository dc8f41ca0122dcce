"""Sends what models were asked and answered to their observers: CloudEvents 1.0 over HTTP in the binary mode,
with the types and names that loggers of KServe have.

Each model has a thread, which sends one event after the other, each once: an observer looks on, so it is
sooner lost than waited for. What it answers is not read; nobody is redirected.

Sources: CloudEvents 1.0.2, HTTP protocol binding 3.1 (binary content mode); KServe's inference logger.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from varv.adapters.endpoints.connections import Connections, Overlong, Unreached
from varv.kernel.clock import iso, wall_seconds
from varv.kernel.observe import log
from varv.serving.observing import Event, Observed, Observing

EVERY_S = 0.1
"""How long a thread that has nothing to send waits before it looks again."""
TIMEOUT_S = 2.0
LAST_S = 1.0
"""How long what is left may take when a worker ends."""
_MOST_BYTES = 64 << 10
_TYPE = "org.kubeflow.serving.inference."
_LOG = logging.getLogger(__name__)


class EventSender:
    """The thread of one model's observer.

    Parameters
    ----------
    observing
        What waits.
    variables
        The environment, of which the observer may name what holds its token.
    """

    def __init__(self, observing: Observing, variables: Mapping[str, str]) -> None:
        self._observing = observing
        self._variables = variables
        url = observing.observer.url
        self._connections = Connections(url)
        self._path = urlsplit(url).path or "/"
        self._n_sent = self._n_failed = 0
        self._is_sound = True
        self._stopping = threading.Event()
        self._ends_at = float("inf")
        name = f"observer-{observing.model}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def counts(self) -> dict[str, int]:
        """What became of the requests that were to be sent."""
        dropped = self._observing.n_dropped
        return {"sent": self._n_sent, "failed": self._n_failed, "dropped": dropped}

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def close(self) -> None:
        """Send what is left, for as long as a worker that ends may take."""
        self._ends_at = wall_seconds() + LAST_S
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(LAST_S + TIMEOUT_S)
        self._connections.close()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stopping.wait(EVERY_S)
            while wall_seconds() < self._ends_at and (observed := self._observing.take()) is not None:
                self._send(observed)

    def _send(self, observed: Observed) -> None:
        try:
            why = self._why_not(observed)
        except Exception as error:  # noqa: BLE001 - what one request brings about must not end the thread
            why = f"{type(error).__name__}: {error}"[:200]
        if not why:
            self._n_sent += 1
        else:
            self._n_failed += 1
            if self._is_sound:
                # Once, not with each request.
                facts = {"url": self._observing.observer.url, "why": why}
                log(_LOG, logging.WARNING, "observer.failed", model=self._observing.model, **facts)
        self._is_sound = not why

    def _why_not(self, observed: Observed) -> str:
        """Send what is sent of a request, and return why not all of it was taken."""
        variable = self._observing.observer.token_variable
        if variable and not self._variables.get(variable):
            return f"needs a token, which is not in the variable {variable}"
        for event in observed.events(self._observing.observer):
            until = wall_seconds() + TIMEOUT_S
            headers = self._headers(event)
            try:
                reply = self._connections.ask(
                    "POST", self._path, headers=headers, body=event.body, most_bytes=_MOST_BYTES, until=until
                )
            except (Unreached, Overlong) as error:
                return str(error)
            if not 200 <= reply.status < 300:
                return f"status {reply.status}"
        return ""

    def _headers(self, event: Event) -> dict[str, str]:
        """Return the attributes of an event: a header each, printable, with the rest percent-encoded."""
        observer, model = self._observing.observer, self._observing.model
        found = {
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": quote(event.id, safe="!$&'()*+,/:;=?@[]~"),
            "ce-source": f"/v2/models/{quote(model)}",
            "ce-type": _TYPE + event.part,
            "ce-time": iso(event.at),
            "ce-inferenceservicename": quote(model),
            "ce-component": "predictor",
        }
        if observer.share < 1.0:
            found["ce-share"] = f"{observer.share:g}"
        if observer.token_variable:
            found["authorization"] = f"Bearer {self._variables[observer.token_variable].strip()}"
        return found
