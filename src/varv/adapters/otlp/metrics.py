"""Metrics in OTLP's form: sums, gauges, and histograms with explicit bounds.

Source: opentelemetry-proto, metrics/v1/metrics.proto and collector/metrics/v1/metrics_service.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from varv.adapters.otlp.protobuf import (
    attributes,
    double,
    fixed64,
    number,
    packed,
    signed_fixed64,
    sized,
    text,
)
from varv.kernel.metrics import Distribution, Family, Sample

PATH = "/v1/metrics"
_DELTA, _CUMULATIVE = 1, 2
_UNITS = (("_seconds", "s"), ("_bytes", "By"))

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A name, and labels."""


class Interval(NamedTuple):
    """Between which instants numbers were counted, in nanoseconds since 1970."""

    start_ns: int
    end_ns: int


def metrics_request(
    resource: bytes, scope: bytes, families: Iterable[Family], between: Interval, *, is_delta: bool
) -> bytes:
    """Return the request that exports families; one without samples is left out.

    Parameters
    ----------
    between
        When what only grows began to be counted, and the present.
    is_delta
        Whether that is since they were exported last.
    """
    metrics = [sized(2, _metric(one, between, is_delta=is_delta)) for one in families if one.samples]
    return sized(1, sized(1, resource) + sized(2, sized(1, scope) + b"".join(metrics)))


def otlp_name(name: str) -> tuple[str, str]:
    """Return the name and the unit of a family, from which Prometheus' own rules make its name again.

    Examples
    --------
    >>> otlp_name("varv_request_duration_seconds"), otlp_name("varv_requests_total")
    (('varv.request_duration', 's'), ('varv.requests', ''))
    """
    plain, unit = name.removesuffix("_total"), ""
    for suffix, of_suffix in _UNITS:
        if plain.endswith(suffix):
            plain, unit = plain.removesuffix(suffix), of_suffix
    return plain.replace("varv_", "varv.", 1), unit


def since(families: Iterable[Family], before: Mapping[Series, Sample | Distribution]) -> list[Family]:
    """Return families with what came since earlier samples; gauges as they are.

    A number that is smaller than before is of a process that has begun anew, and came since.
    """
    return [
        one
        if one.kind == "gauge"
        else one._replace(samples=[_minus(sample, before.get(series(one, sample))) for sample in one.samples])
        for one in families
    ]


def samples_in(families: Iterable[Family]) -> dict[Series, Sample | Distribution]:
    """Return all samples by their series."""
    return {series(one, sample): sample for one in families for sample in one.samples}


def series(family: Family, sample: Sample | Distribution) -> Series:
    """Return what a sample is one of."""
    return family.name, tuple(sample.labels.items())


def _minus(sample: Sample | Distribution, before: Sample | Distribution | None) -> Sample | Distribution:
    if isinstance(sample, Sample):
        less = before.value if isinstance(before, Sample) else 0
        return sample._replace(value=sample.value - less) if less <= sample.value else sample
    if not isinstance(before, Distribution) or any(
        now[1] < then[1] for now, then in zip(sample.buckets, before.buckets, strict=True)
    ):
        return sample
    buckets = [
        (bound, n - then) for (bound, n), (_, then) in zip(sample.buckets, before.buckets, strict=True)
    ]
    return sample._replace(buckets=buckets, total=sample.total - before.total)


def _metric(family: Family, between: Interval, *, is_delta: bool) -> bytes:
    name, unit = otlp_name(family.name)
    temporality = number(2, _DELTA if is_delta else _CUMULATIVE)
    start = b"" if family.kind == "gauge" else fixed64(2, between.start_ns)
    times = start + fixed64(3, between.end_ns)
    points = b"".join([sized(1, _point(one, times)) for one in family.samples])
    if family.kind == "gauge":
        data = sized(5, points)
    elif family.kind == "counter":
        data = sized(7, points + temporality + number(3, True))
    else:
        data = sized(9, points + temporality)
    return text(1, name) + text(2, family.help) + text(3, unit) + data


def _point(sample: Sample | Distribution, times: bytes) -> bytes:
    if isinstance(sample, Sample):
        whole = float(sample.value).is_integer()
        value = signed_fixed64(6, int(sample.value)) if whole else double(4, sample.value)
        return attributes(7, sample.labels) + times + value
    counts = [n for _, n in sample.buckets]
    bounds = [bound for bound, _ in sample.buckets if not math.isinf(bound)]
    return b"".join(
        (
            attributes(9, sample.labels),
            times,
            fixed64(4, sum(counts)),
            double(5, sample.total),
            packed(6, "Q", counts),
            packed(7, "d", bounds),
        )
    )
