"""Serving: an immutable routing table, versions held in memory, and one path that answers requests.

`routing` says which version answers a key, and with what probability; `dataplane` holds warm versions and
answers from memory alone; `capture` keeps what was answered. The same data plane serves a live request and a
replayed day.
"""

from varv.serving.capture import Capture, CaptureLog
from varv.serving.dataplane import DataPlane
from varv.serving.routing import RoutingShare, RoutingTable, assign, coins

__all__ = [
    "Capture",
    "CaptureLog",
    "DataPlane",
    "RoutingShare",
    "RoutingTable",
    "assign",
    "coins",
]
