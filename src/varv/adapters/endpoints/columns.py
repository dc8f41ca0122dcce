"""Columns that another server makes of columns, over the Open Inference Protocol: each is a tensor of one
dimension, in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from varv.adapters.endpoints.calls import Calls
from varv.adapters.endpoints.connections import Reply
from varv.adapters.endpoints.forms import Garbage
from varv.registry.endpoint import Endpoint

_MOST_BYTES = 1 << 20
_BYTES_A_VALUE = 1024
_HEADERS = {"content-type": "application/json"}


class ColumnTensor(NamedTuple):
    """A column as the protocol has it."""

    name: str
    datatype: str


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[Any]


class _Answer(msgspec.Struct):
    outputs: list[_Output]


class EndpointColumns:
    """Asks one model for columns.

    Parameters
    ----------
    endpoint
        The model.
    variables
        The environment, of which the endpoint may name what holds its token.
    inputs, outputs
        The columns that are sent, and those that are asked for.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        variables: Mapping[str, str],
        inputs: Sequence[ColumnTensor],
        outputs: Sequence[ColumnTensor],
    ) -> None:
        self._calls = Calls(endpoint, variables)
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)

    def call(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return the columns that are asked for; it raises as `Calls.predict`."""
        n = len(next(iter(columns.values()), ()))
        tensors = [
            {"name": one.name, "datatype": one.datatype, "shape": [n], "data": list(columns[one.name])}
            for one in self._inputs
        ]
        body = msgspec.json.encode(
            {"inputs": tensors, "outputs": [{"name": one.name} for one in self._outputs]}
        )

        def read(reply: Reply) -> dict[str, list[Any]]:
            return self._made(reply.body, n)

        most_bytes = _MOST_BYTES + _BYTES_A_VALUE * n * len(self._outputs)
        return self._calls.infer(body, _HEADERS, most_bytes, read)

    def _made(self, body: bytes, n: int) -> dict[str, list[Any]]:
        try:
            outputs = {one.name: one for one in msgspec.json.decode(body, type=_Answer).outputs}
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Garbage(str(error)[:200]) from None
        found: dict[str, list[Any]] = {}
        for one in self._outputs:
            output = outputs.get(one.name)
            if output is None or output.shape not in ([n], [n, 1]) or len(output.data) != n:
                raise Garbage(f"it has no output {one.name!r} of {n} values")
            found[one.name] = output.data
        return found
