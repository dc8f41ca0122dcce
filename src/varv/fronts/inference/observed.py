"""A request that was answered, as an observer is sent it: in the form of the Open Inference Protocol,
whatever it came in. It is written by the thread that sends it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from varv.fronts.datatypes import datatype_of
from varv.fronts.inference import oip
from varv.kernel.clock import Instant
from varv.serving import Answering, Answers
from varv.serving.observing import Event
from varv.serving.policy import Observer


class Exchange:
    """A request and its answer.

    Parameters
    ----------
    answering, asked, answered
        Who answered what, and how.
    at
        When.
    """

    __slots__ = ("_answered", "_answering", "_asked", "_at")

    def __init__(self, answering: Answering, asked: oip.Asked, answered: Answers, at: Instant) -> None:
        self._answering = answering
        self._asked = asked
        self._answered = answered
        self._at = at

    @property
    def n_rows(self) -> int:
        """How many rows it has."""
        return self._answered.n_rows

    def events(self, observer: Observer) -> list[Event]:
        """Return what an observer is sent of it."""
        found: list[Event] = []
        if observer.mode != "response":
            found.append(Event("request", self._asked.id, self._at, self._request()))
        if observer.mode != "request":
            answer = oip.said(self._asked._replace(outputs=()), self._answering, self._answered)
            found.append(Event("response", self._asked.id, self._at, msgspec.json.encode(answer)))
        return found

    def _request(self) -> bytes:
        hidden, n = self._answering.hidden, self._asked.n_rows
        tensors: list[dict[str, Any]] = []
        for name, column in self._answering.columns.items():
            if name in self._asked.columns and name not in hidden:
                values = list(self._asked.columns[name])
                datatype = datatype_of(column.dtype)
                tensors.append({"name": name, "datatype": datatype, "shape": [n], "data": values})
        return msgspec.json.encode({"id": self._asked.id, "inputs": tensors})
