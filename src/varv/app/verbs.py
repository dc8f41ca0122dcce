"""All verbs of a server: those that rooms declare, and those that other packages bring.

A package brings verbs by an entry point of the group ``varv.verbs`` that names a module of functions declared
with `kernel.verbs.verb`. They work on one of `PARTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

import varv.app.traffic
import varv.app.verifying
import varv.data.contract_verbs
import varv.data.delta.verbs
import varv.data.difference_verbs
import varv.data.ingestion.verbs
import varv.data.privacy_verbs
import varv.data.profiling.verbs
import varv.data.revealing
import varv.data.tiers.verbs
import varv.data.verbs
import varv.data.versioning.deriving
import varv.data.versioning.verbs
import varv.features.online.verbs
import varv.home.change.verbs
import varv.home.erasure.verbs
import varv.home.impact
import varv.home.labelling.estimating
import varv.home.labelling.feedback
import varv.home.labelling.looking
import varv.home.labelling.verbs
import varv.home.moving.verbs
import varv.home.review.verbs
import varv.home.skew.health
import varv.home.skew.verbs
import varv.home.tracking.purging
import varv.home.tracking.verbs
import varv.home.trained_profile
import varv.home.training_sets
import varv.home.verbs
import varv.loop.verbs
import varv.runs.verbs
from varv.app.desk import Desk
from varv.app.traffic import Traffic
from varv.data.delta.verbs import PublicationDesk
from varv.data.inbox import Inbox
from varv.data.ingestion.verbs import PullDesk
from varv.data.tiers.verbs import TierDesk
from varv.data.verbs import QuarantineDesk
from varv.data.versioning.verbs import VersionsDesk
from varv.features.online.verbs import OnlineDesk
from varv.home.change.verbs import Declarations
from varv.home.erasure.verbs import ErasureDesk
from varv.home.labelling.desk import Labelling
from varv.home.records import Records
from varv.home.review.verbs import Reviews
from varv.home.skew.desk import FeatureDesk
from varv.home.tracking.desk import TrackingDesk
from varv.home.tracking.looking import RunDesk
from varv.home.tracking.purging import Purging
from varv.kernel.ledger import Ledger
from varv.kernel.verbs import VerbTable, declared_in
from varv.kernel.views import Views
from varv.loop.verbs import Loops
from varv.runs import Tracking

PARTS: Mapping[type[Any], Callable[[Desk], Any]] = {
    Loops: lambda desk: desk.loops,
    Records: lambda desk: desk.records,
    Reviews: lambda desk: desk.reviews,
    Labelling: lambda desk: desk.labelling,
    FeatureDesk: lambda desk: desk.features,
    Inbox: lambda desk: desk.require_inbox(),
    QuarantineDesk: lambda desk: desk.require_quarantine(),
    VersionsDesk: lambda desk: desk.require_versions(),
    TierDesk: lambda desk: desk.require_tiers(),
    PullDesk: lambda desk: desk.require_pulls(),
    OnlineDesk: lambda desk: desk.require_online(),
    PublicationDesk: lambda desk: desk.require_publications(),
    ErasureDesk: lambda desk: desk.require_erasing(),
    Declarations: lambda desk: desk.require_declarations(),
    Tracking: lambda desk: desk.require_tracking().runs,
    Purging: lambda desk: Purging(desk.require_tracking(), desk.ledger),
    RunDesk: lambda desk: desk.require_runs(),
    TrackingDesk: lambda desk: desk.require_tracking(),
    Traffic: lambda desk: desk.require_traffic(),
    Ledger: lambda desk: desk.ledger,
    Views: lambda desk: desk.views,
}
"""What a verb can work on, by the type of its first parameter."""


ROOMS = (
    varv.loop.verbs,
    varv.data.verbs,
    varv.data.contract_verbs,
    varv.data.versioning.verbs,
    varv.data.difference_verbs,
    varv.data.versioning.deriving,
    varv.data.ingestion.verbs,
    varv.data.privacy_verbs,
    varv.data.revealing,
    varv.data.profiling.verbs,
    varv.features.online.verbs,
    varv.data.delta.verbs,
    varv.data.tiers.verbs,
    varv.home.verbs,
    varv.home.change.verbs,
    varv.home.erasure.verbs,
    varv.home.impact,
    varv.home.review.verbs,
    varv.home.labelling.verbs,
    varv.home.labelling.looking,
    varv.home.labelling.estimating,
    varv.home.labelling.feedback,
    varv.home.skew.health,
    varv.home.skew.verbs,
    varv.home.tracking.verbs,
    varv.home.tracking.purging,
    varv.home.moving.verbs,
    varv.home.training_sets,
    varv.home.trained_profile,
    varv.runs.verbs,
    varv.app.verifying,
    varv.app.traffic,
)
"""Where verbs are declared."""


def build_verbs(desk: Desk | None) -> VerbTable:
    """Return every use case of a desk; what they take and give alone, if there is none."""
    others = [point.load() for point in entry_points(group="varv.verbs")]
    table = VerbTable()
    for module in (*ROOMS, *others):
        for declared in declared_in(module, lambda kind: PARTS[kind](_there(desk))):
            table.register(declared)
    return table


def _there(desk: Desk | None) -> Desk:
    assert desk is not None, "verbs of no desk are not run"
    return desk
