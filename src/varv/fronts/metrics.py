"""Metrics in the text form that Prometheus scrapes.

Source: Prometheus' exposition formats, text format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One number of a family."""

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""
    """After the family's name: ``_bucket``, ``_sum``, ``_count``."""


class Family(NamedTuple):
    """Numbers of one name."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: Sequence[Sample]


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
        for value, labels, suffix in family.samples:
            told = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            braces = f"{{{told}}}" if told else ""
            lines.append(f"{family.name}{suffix}{braces} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def histogram(buckets: Sequence[tuple[float, int]], total: float, labels: Mapping[str, str]) -> list[Sample]:
    """Return the samples of one histogram.

    Parameters
    ----------
    buckets
        Upper bounds in order, and how many lie in each; the last bound is infinite.
    total
        The sum of all that were observed.
    """
    samples: list[Sample] = []
    below = 0
    for bound, n in buckets:
        below += n
        samples.append(Sample(below, {**labels, "le": _number(bound)}, "_bucket"))
    return [*samples, Sample(total, labels, "_sum"), Sample(below, labels, "_count")]


def metrics_route(families: Callable[[], Iterable[Family]]) -> Route:
    """Return the route of ``/metrics``."""

    async def scraped(request: Request) -> Response:
        text = await run_in_threadpool(lambda: exposition(families()))
        return Response(text, headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", scraped)


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
