"""`varv.connect`: a running server, read as a home and asked to act, with predictions and outcomes."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import polars as pl

from varv.app.client.answers import Answer
from varv.app.client.homes import ReadableHome
from varv.app.client.inferring import inferred
from varv.app.client.remote import RemoteSource
from varv.app.client.rows import MOST_AT_ONCE, Rows, frame_of_rows, in_parts, plain_rows
from varv.data.verbs import Accepted
from varv.fronts.client import Client
from varv.kernel.errors import Corrupt, FailedPrecondition, InvalidInput

MOST_NAMED = 100
"""Refused rows that an answer names, as a server does."""


def connect(
    url: str = "http://127.0.0.1:8400",
    token: str | None = None,
    timeout: float = 60.0,
    inference_token: str | None = None,
    authority: str | Path | None = None,
) -> Server:
    """Return a running server, to be read like a home and asked to act.

    Parameters
    ----------
    url
        Of its control port, where the console is.
    token
        What `varv up` was started with, if anything; needed for what changes something.
    timeout
        How many seconds to wait for a connection, and for each part of an answer.
    inference_token
        That of a client in ``varv.toml``, if there are any; needed for predictions.
    authority
        The file of the authorities, or of the certificate, to trust over TLS; the system's by default.

    Raises
    ------
    InvalidInput
        If the URL is not one of a server.
    Unavailable
        If it cannot be reached.
    Corrupt
        If what is there does not answer as varv does.

    Examples
    --------
    ``varv.connect("http://127.0.0.1:8400").predict("late-parcel", [{"delivery_id": "P-1", "hour": 18}])``
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 86_400:
        hint = "give seconds, up to a day"
        raise InvalidInput("argument", "timeout", "is no time to wait", given=repr(timeout)[:40], hint=hint)
    verify = None if authority is None else _trusting(authority)
    client = Client(url, token=token or "", timeout_s=timeout, verify=verify)
    with ExitStack() as undone:
        undone.callback(client.close)
        health = _told(client)
        undone.pop_all()
    return Server(client, health, token=inference_token or "", timeout_s=timeout, verify=verify)


class Server(ReadableHome):
    """A running server: a home to be read, and every verb as a function of its capability:
    ``server.model.retrain("late-arrival", reason="new labels")``.

    Parameters
    ----------
    client
        Of its control plane.
    health
        What it said of itself.
    token, timeout_s, verify
        For its data plane.
    """

    def __init__(
        self,
        client: Client,
        health: _Health,
        *,
        token: str,
        timeout_s: float,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        source = RemoteSource(client)
        super().__init__(source)
        self._remote = source
        self._answers = health.inference_port > 0
        beside = _beside(client.url, health.inference_port)
        self._inference = Client(beside, token=token, timeout_s=timeout_s, verify=verify)

    def __repr__(self) -> str:
        return f"<varv server {self.place}>"

    def close(self) -> None:
        """Close the connections; again does nothing."""
        self._inference.close()
        super().close()

    @property
    def health(self) -> dict[str, Any]:
        """What the server says of itself: its state, its workers, and how many entries it has."""
        return self._remote.client.get("/health")

    def verbs(self) -> dict[str, str]:
        """Return every verb that the server offers, and what it does; those of its packages too."""
        return self._remote.client.verbs()

    def call(self, verb: str, **fields: Any) -> Answer[Any]:
        """Return the answer of a verb by its name, also of one that only the server knows.

        Raises
        ------
        VarvError
            What the server raised, of the same class.
        """
        return Answer(self._remote.ask(verb, fields))

    def predict(self, model: str, rows: Rows) -> pl.DataFrame:
        """Return what the server answers to requests, a row each, in their order.

        Parameters
        ----------
        model
            Which model is asked.
        rows
            The columns of a request, and the key if it is to be known; times as ISO 8601 or datetimes.

        Returns
        -------
        pl.DataFrame
            ``key``, the task's outputs by their names (several numbers each as an array), ``version``,
            ``arm``, and ``captured``: whether the prediction is on record.

        Raises
        ------
        InvalidInput
            If a column is missing, unknown, or of another type.
        NotFound
            If the server has no such model.
        FailedPrecondition
            If it is a `varv track`, which serves none.
        """
        if not self._answers:
            hint = "start varv up on its home"
            raise FailedPrecondition("server", self.place, "tracks runs and answers no requests", hint=hint)
        given = frame_of_rows(rows)
        parts = [
            inferred(self._inference, model, given.slice(first, MOST_AT_ONCE))
            for first in range(0, given.height, MOST_AT_ONCE)
        ]
        return pl.concat(parts, how="vertical_relaxed")

    def record(self, model: str, rows: Rows) -> Answer[Accepted]:
        """Make outcomes of a model's requests durable: rows with the key and the outcome, by the dataset's
        own column names.

        Rows that do not fit are refused and named; the same outcome again changes nothing.

        Raises
        ------
        InvalidInput
            If none fits of the rows that are sent together, a thousand at most.
        """
        return self._sent("outcome.record", {"model": model}, rows)

    def append(self, dataset: str, rows: Rows, *, part: str = "") -> Answer[Accepted]:
        """Make rows of a dataset durable, or of one of its later parts; as `record` does with outcomes."""
        return self._sent("dataset.append", {"dataset": dataset, "part": part}, rows)

    def _sent(self, verb: str, fields: dict[str, Any], rows: Rows) -> Answer[Accepted]:
        found = Accepted(n_rows=0)
        first = 0
        for part in in_parts(plain_rows(rows)):
            one: Accepted = self._remote.ask(verb, {**fields, "rows": part})
            refused = [msgspec.structs.replace(row, row=row.row + first) for row in one.refused]
            found = Accepted(
                n_rows=found.n_rows + one.n_rows,
                n_unknown=found.n_unknown + one.n_unknown,
                n_refused=found.n_refused + one.n_refused,
                refused=tuple([*found.refused, *refused][:MOST_NAMED]),
            )
            first += len(part)
        return Answer(found)


class _Health(msgspec.Struct, frozen=True):
    """What is needed of what a server says of itself."""

    state: str
    inference_port: int = 0
    """0 where it only tracks runs."""


def _told(client: Client) -> _Health:
    said = client.get("/health")
    try:
        return msgspec.convert(said, type=_Health)
    except msgspec.ValidationError as error:
        hint = "is it the control port of varv, of the same version?"
        problem = "does not answer as varv does"
        raise Corrupt("server", client.url, problem, why=str(error), hint=hint) from None


def _trusting(authority: str | Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        hint = "give a file of certificates as PEM"
        raise InvalidInput(
            "argument", "authority", "cannot be read", given=str(authority)[:80], why=str(error), hint=hint
        ) from None


def _beside(url: str, port: int) -> str:
    """Return the address of another port of the same machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
