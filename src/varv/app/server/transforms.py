"""What declared transformations of requests and answers are done by in a worker: a process for a function, a
server for an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from varv.adapters.apart import Apart, FunctionSource
from varv.adapters.endpoints import ColumnTensor, EndpointColumns
from varv.registry.endpoint import Endpoint
from varv.serving.transforms import DATATYPES, ColumnFunction, Field, Function, Remote, Transform


class WorkerTransforms:
    """Loads them.

    Parameters
    ----------
    apart
        Gives functions processes.
    variables
        The environment, of which endpoints may name what holds their tokens.
    """

    def __init__(self, apart: Apart, variables: Mapping[str, str]) -> None:
        self._apart = apart
        self._variables = variables

    def load(self, transform: Transform, reads: Sequence[Field]) -> ColumnFunction:
        """Return what is called for one; where it cannot be, the call says why."""
        how = transform.how
        if isinstance(how, Function):
            source = FunctionSource(how.module, how.name, how.files)
            return self._apart.load_function(source, time_s=transform.timeout_s)
        assert isinstance(how, Remote), "expressions are evaluated where they are"
        endpoint = Endpoint(
            endpoint=how.endpoint, timeout_s=transform.timeout_s, token_variable=how.token_variable
        )
        return EndpointColumns(endpoint, self._variables, _tensors(reads), _tensors(transform.makes))


def _tensors(fields: Sequence[Field]) -> list[ColumnTensor]:
    return [ColumnTensor(one.name, DATATYPES[one.kind]) for one in fields]
