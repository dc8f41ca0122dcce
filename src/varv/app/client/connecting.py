"""`varv.connect`: a running server, read as a home and asked to act, with predictions and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote, urlsplit

import msgspec
import polars as pl

from varv.app.client.answers import Answer
from varv.app.client.homes import ReadableHome
from varv.app.client.sources import RemoteSource
from varv.data.verbs import Accepted
from varv.fronts.client import Client
from varv.fronts.datatypes import datatype_of
from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.verbs import MOST_REQUEST_BYTES

MOST_AT_ONCE = 1000
"""Rows of one request; more are sent in several."""
_ROOM = MOST_REQUEST_BYTES * 3 // 4
"""Bytes of rows in one request to the control plane."""
MOST_NAMED = 100
"""Refused rows that an answer names, as a server does."""


@runtime_checkable
class PandasFrame(Protocol):
    """What is used of a pandas frame."""

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        """Return the rows as dicts."""
        ...


Rows = pl.DataFrame | Sequence[Mapping[str, Any]] | PandasFrame
"""Rows: a polars or pandas frame, or a list of dicts."""


def connect(url: str = "http://127.0.0.1:8400", token: str | None = None, timeout: float = 60.0) -> Server:
    """Return a running server, to be read like a home and asked to act.

    Parameters
    ----------
    url
        Of its control port, where the console is.
    token
        What `varv up` was started with, if anything; needed for what changes something.
    timeout
        How many seconds to wait for a connection, and for each part of an answer.

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
    client = Client(url, token=token or "", timeout_s=timeout)
    try:
        health = _told(client)
    except BaseException:
        client.close()
        raise
    return Server(client, health, token=token or "", timeout_s=timeout)


class Server(ReadableHome):
    """A running server: a home to be read, and every verb as a function of its capability:
    ``server.model.retrain("late-arrival", reason="new labels")``.

    Parameters
    ----------
    client
        Of its control plane.
    health
        What it said of itself.
    token, timeout_s
        For its data plane.
    """

    def __init__(self, client: Client, health: _Health, *, token: str, timeout_s: float) -> None:
        source = RemoteSource(client)
        super().__init__(source)
        self._remote = source
        self._inference = Client(_beside(client.url, health.inference_port), timeout_s=timeout_s)

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
        """
        given = _frame(rows)
        parts = [
            _answers(self._inference, model, given.slice(first, MOST_AT_ONCE))
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
        for part in _in_parts(_plain(rows)):
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
    inference_port: int


class _Tensor(msgspec.Struct, frozen=True):
    """An output of the Open Inference Protocol."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class _Input(msgspec.Struct, frozen=True):
    """A column of a model's requests."""

    name: str
    datatype: str


class _Metadata(msgspec.Struct, frozen=True):
    """What a model says of itself."""

    inputs: list[_Input]


class _Captured(msgspec.Struct, frozen=True):
    captured: bool = True


class _Inferred(msgspec.Struct, frozen=True):
    """An answer of the Open Inference Protocol."""

    outputs: list[_Tensor]
    parameters: _Captured = _Captured()


def _told(client: Client) -> _Health:
    said = client.get("/health")
    try:
        return msgspec.convert(said, type=_Health)
    except msgspec.ValidationError as error:
        hint = "is it the control port of varv, of the same version?"
        problem = "does not answer as varv does"
        raise Corrupt("server", client.url, problem, why=str(error), hint=hint) from None


def _beside(url: str, port: int) -> str:
    """Return the address of another port of the same machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _answers(client: Client, model: str, rows: pl.DataFrame) -> pl.DataFrame:
    place = f"/v2/models/{quote(str(model), safe='')}"
    # Of a column without any value only the model knows what it holds.
    kinds = _datatypes(client, place) if pl.Null in rows.dtypes else dict[str, str]()
    inputs = [
        {
            "name": series.name,
            "shape": [rows.height],
            "datatype": kinds.get(series.name, "BYTES")
            if series.dtype == pl.Null
            else datatype_of(str(series.dtype)),
            "data": series.to_list(),
        }
        for series in map(_sendable, rows.get_columns())
    ]
    said = client.post(f"{place}/infer", {"inputs": inputs})
    try:
        found = msgspec.convert(said, type=_Inferred)
        columns = [_output(tensor, rows.height) for tensor in found.outputs]
        frame = pl.DataFrame(columns).with_columns(captured=pl.lit(value=found.parameters.captured))
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise _strange(client, str(error)) from None
    head = [name for name in ("key",) if name in frame.columns]
    return frame.select(*head, pl.exclude("key", "version", "arm", "captured"), *_about(frame))


def _datatypes(client: Client, place: str) -> dict[str, str]:
    """Return the datatype of each column of a model's requests."""
    try:
        found = msgspec.convert(client.get(place), type=_Metadata)
    except msgspec.ValidationError as error:
        raise _strange(client, str(error)) from None
    return {one.name: one.datatype for one in found.inputs}


def _strange(client: Client, why: str) -> Corrupt:
    hint = "is it the inference port of varv, of the same version?"
    return Corrupt("server", client.url, "does not answer as varv does", why=why[:200], hint=hint)


def _about(frame: pl.DataFrame) -> list[str]:
    return [name for name in ("version", "arm", "captured") if name in frame.columns]


def _output(tensor: _Tensor, n_rows: int) -> pl.Series:
    width = 1
    for size in tensor.shape[1:]:
        width *= size
    if tensor.shape[:1] != [n_rows] or width < 1 or len(tensor.data) != n_rows * width:
        raise ValueError(f"output {tensor.name[:80]!r} of another shape")
    values = pl.Series(tensor.name, tensor.data, strict=True)
    return values if len(tensor.shape) == 1 or width == 1 else values.reshape((n_rows, width))


def _sendable(series: pl.Series) -> pl.Series:
    """Return a column as a tensor holds it: times as ISO 8601, no NaN."""
    if isinstance(series.dtype, pl.Datetime):
        utc = series.dt.convert_time_zone("UTC") if series.dtype.time_zone else series
        return utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if series.dtype == pl.Date:
        return series.dt.strftime("%Y-%m-%dT00:00:00Z")
    return series.fill_nan(None) if series.dtype.is_float() else series


def _frame(rows: Rows) -> pl.DataFrame:
    """Return rows as a frame.

    Raises
    ------
    InvalidInput
        If there are none, or they are no rows.
    """
    if isinstance(rows, pl.DataFrame):
        found = rows
    else:
        try:
            found = pl.DataFrame(_dicts(rows), infer_schema_length=None)
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            hint = "give a frame, or a list of dicts whose values are of one type a column"
            raise InvalidInput("rows", "", "are no table", why=str(error)[:200], hint=hint) from None
    if found.is_empty():
        raise InvalidInput("rows", "", "are none", hint="give at least one")
    return found


def _plain(rows: Rows) -> list[dict[str, Any]]:
    """Return rows as JSON can hold them; what is missing is left out, as null."""
    if not isinstance(rows, pl.DataFrame):
        found = _dicts(rows)
    else:
        found = pl.DataFrame([_sendable(series) for series in rows.get_columns()]).to_dicts()
    if not found:
        raise InvalidInput("rows", "", "are none", hint="give at least one")
    return [{name: _value(value) for name, value in row.items()} for row in found]


def _dicts(rows: object) -> list[dict[str, Any]]:
    if isinstance(rows, PandasFrame) and not isinstance(rows, Mapping):
        return [{str(name): _value(value) for name, value in row.items()} for row in rows.to_dict("records")]
    if isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows):
        return [dict(row) for row in rows]
    hint = "give a polars or pandas frame, or a list of dicts"
    raise InvalidInput("rows", type(rows).__name__, "are no rows", hint=hint)


def _value(value: Any) -> Any:
    """Return a value of a row, NaN and its like as null, numbers of numpy as Python's."""
    value = value.item() if hasattr(value, "item") else value
    return None if value != value or type(value).__name__ in ("NaTType", "NAType") else value


def _in_parts(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return rows in parts that one request takes."""
    parts: list[list[dict[str, Any]]] = [[]]
    size = 0
    for row in rows:
        n_bytes = len(msgspec.json.encode(row, enc_hook=str)) + 1
        if parts[-1] and (size + n_bytes > _ROOM or len(parts[-1]) >= MOST_AT_ONCE):
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += n_bytes
    return parts
