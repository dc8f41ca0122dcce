"""Traces of a tracking server, asked over its REST protocol.

Source: the REST API of MLflow 3.18; servers before 3.0 tell none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from urllib.parse import quote, urlsplit

from varv.adapters.moving.artifact_folders import SERVED
from varv.adapters.moving.cursor import by_start
from varv.adapters.moving.http_asking import Asking
from varv.adapters.moving.mlflow_traces import SPANS_FILE, span_told, spans_in, trace_told
from varv.kernel.errors import NotFound
from varv.runs.imports import SourceTrace
from varv.runs.traces.model import ARTIFACTS_AT, HERE, SPANS_AT, Span

API = "/api/3.0/mlflow/traces"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
SPANS_FILE_OF = "/ajax-api/2.0/mlflow/get-trace-artifact"
TRACES_A_PAGE = 100
AT_A_TIME = 4
"""Traces whose spans are asked for, and held, at the same time."""


class ServedTraces:
    """The traces of a server.

    Parameters
    ----------
    asking
        Asks it.
    pool
        Asks for spans in its threads.
    """

    def __init__(self, asking: Asking, pool: Executor) -> None:
        self._asking, self._pool = asking, pool

    def of(self, experiment: str) -> Iterator[Sequence[SourceTrace]]:
        """Yield the traces of an experiment without their spans."""
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}

        def page(since: int, token: str) -> tuple[list[SourceTrace], str]:
            asked = {
                "locations": [place],
                "filter": f"timestamp_ms >= {since}",
                "max_results": TRACES_A_PAGE,
                "order_by": ["timestamp_ms ASC"],
            } | ({"page_token": token} if token else {})
            try:
                answer = self._asking.json("POST", f"{API}/search", asked)
            except NotFound:
                return [], ""
            return [trace_told(one) for one in answer.get("traces", ())], answer.get("next_page_token", "")

        yield from by_start(page, TRACES_A_PAGE, lambda one: (one.info.id, one.info.at_ms))

    def spans(self, traces: Sequence[SourceTrace]) -> Iterator[tuple[SourceTrace, list[Span]]]:
        """Yield traces with all their spans."""
        for start in range(0, len(traces), AT_A_TIME):
            some = traces[start : start + AT_A_TIME]
            yield from zip(some, self._pool.map(self._spans, some), strict=True)

    def _spans(self, one: SourceTrace) -> list[Span]:
        try:
            if one.info.tags.get(SPANS_AT) == HERE:
                asked = {"trace_id": one.info.id, "allow_partial": "true"}
                told = self._asking.json("GET", f"{API}/get", asked)
                return [span_told(span) for span in told["trace"].get("spans", ())]
            return spans_in(b"".join(self._file(one)))
        except NotFound:
            return []

    def _file(self, one: SourceTrace) -> Iterator[bytes]:
        place = urlsplit(one.info.tags.get(ARTIFACTS_AT, ""))
        if place.scheme == SERVED:
            return self._asking.chunks(f"{FILES}{quote(f'{place.path}/{SPANS_FILE}')}", {})
        return self._asking.chunks(SPANS_FILE_OF, {"request_id": one.info.id})
