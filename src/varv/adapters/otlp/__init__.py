"""OpenTelemetry's protocol over HTTP: traces and metrics in protobuf, sent by threads that
nobody waits for.
"""

from varv.adapters.otlp.exporting import MetricExport, SpanCounts, SpanExport
from varv.adapters.otlp.sending import Collector

__all__ = ["Collector", "MetricExport", "SpanCounts", "SpanExport"]
