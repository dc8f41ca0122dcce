"""Serving: an immutable routing table, versions held in memory, and one path that answers requests.

`schema` says what a request of a model is; `answering` types, answers and captures live ones, `past` answers
those of the past, `questions` those about a version; `routing` says which version answers a key, and with
what probability; `dataplane` holds warm versions and answers from memory alone; `policy` says what is checked
of a request and what is answered where its version cannot; `capture` keeps what was answered, `predictions`
what is asked of it later; `fleet` is whoever answers, here or in worker processes (`ports`).
"""

from varv.serving.answering import Answering
from varv.serving.answers import Answers
from varv.serving.capture import Capture, CaptureLog
from varv.serving.dataplane import DataPlane
from varv.serving.fleet import DataPlanes, LocalFleet
from varv.serving.past import predicted
from varv.serving.ports import Fleet
from varv.serving.predictions import Predictions
from varv.serving.routing import RoutingShare, RoutingTable, assign, coins
from varv.serving.schema import RequestSchema
from varv.serving.stored import Stored

__all__ = [
    "Answering",
    "Answers",
    "Capture",
    "CaptureLog",
    "DataPlane",
    "DataPlanes",
    "Fleet",
    "LocalFleet",
    "Predictions",
    "RequestSchema",
    "RoutingShare",
    "RoutingTable",
    "Stored",
    "assign",
    "coins",
    "predicted",
]
