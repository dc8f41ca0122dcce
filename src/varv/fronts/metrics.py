"""Metrics in the text form that Prometheus scrapes.

Source: Prometheus' exposition formats, text format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from varv.kernel.metrics import Distribution, Family, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(families: Iterable[Family]) -> str:
    r"""Return families as a scrape gets them; one without samples is left out.

    Examples
    --------
    >>> print(exposition([Family("up", "gauge", "Whether it is.", [Sample(1, {"of": 'a "b"'})])]), end="")
    # HELP up Whether it is.
    # TYPE up gauge
    up{of="a \"b\""} 1
    """
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
        for sample in family.samples:
            lines += _lines(family.name, sample)
    return "".join(f"{line}\n" for line in lines)


def metrics_route(families: Callable[[], Iterable[Family]]) -> Route:
    """Return the route of ``/metrics``."""

    async def scraped(request: Request) -> Response:
        text = await run_in_threadpool(lambda: exposition(families()))
        return Response(text, headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", scraped)


def _lines(name: str, sample: Sample | Distribution) -> Iterator[str]:
    if isinstance(sample, Sample):
        yield _line(name, sample.labels, sample.value)
        return
    below = 0
    for bound, n in sample.buckets:
        below += n
        yield _line(f"{name}_bucket", {**sample.labels, "le": _number(bound)}, below)
    yield _line(f"{name}_sum", sample.labels, sample.total)
    yield _line(f"{name}_count", sample.labels, below)


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{told}}} {_number(value)}" if told else f"{name} {_number(value)}"


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
