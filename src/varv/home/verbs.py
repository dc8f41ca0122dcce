"""The use cases that read a home: its state, and why things are as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from varv.home.status import StatusReport, status_report
from varv.home.why import Explanation, explain
from varv.kernel.clock import Clock
from varv.kernel.ledger import Ledger
from varv.kernel.verbs import READ, verb
from varv.kernel.views import Views


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model; the only one of the home if it is left out."""

    model: str = ""


class WhyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to explain: a model, ``model/7``, a seq, a rollout, or the key of a prediction."""

    subject: str


@dataclass(frozen=True, kw_only=True)
class Records:
    """What a home has on record.

    Parameters
    ----------
    home, ledger, views
        Of the home.
    state
        Of its server, in words.
    """

    home: Path
    ledger: Ledger
    views: Views
    clock: Clock
    state: str


@verb("model.status", needs=READ)
def status(records: Records, asked: ModelRequest) -> StatusReport:
    """Show models, versions, shares, rollouts and alarms."""
    now, state = records.clock.now(), records.state
    return status_report(records.views, records.ledger, now, model=asked.model, state=state)


@verb("ledger.why", needs=READ)
def why(records: Records, asked: WhyRequest) -> Explanation:
    """Explain a decision, a version or a prediction to its root."""
    return explain(records.home, records.ledger, records.views, asked.subject)
