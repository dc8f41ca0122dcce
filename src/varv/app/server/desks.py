"""What the verbs of a server act on, once its home is in the present."""

from __future__ import annotations

from collections.abc import Sequence

from varv.app.desk import Desk
from varv.app.server.captured import Captured
from varv.app.server.present import Present
from varv.data import Quarantine
from varv.data.delta.verbs import PublicationDesk
from varv.data.inbox import Inbox
from varv.data.ingestion.pulling import Puller
from varv.data.ingestion.verbs import PullDesk
from varv.data.tiers.verbs import tier_desk
from varv.data.verbs import QuarantineDesk
from varv.data.versioning.keeping import Versions
from varv.data.versioning.verbs import VersionsDesk
from varv.features import FeatureView
from varv.features.online.materialising import Materialiser
from varv.features.online.ports import KeyValue
from varv.features.online.verbs import OnlineDesk
from varv.features.reads import ReadCounts
from varv.home.named_versions import named_versions
from varv.home.reached import reached
from varv.kernel.clock import Clock
from varv.kernel.faults import Faults
from varv.kernel.sagas import Fact


def let_act(
    desk: Desk,
    present: Present,
    captured: Captured,
    features: KeyValue,
    clock: Clock,
    faults: Faults,
    *,
    max_rows: int,
    archive: str,
) -> None:
    """Let verbs act on a home in the present.

    Parameters
    ----------
    captured
        Keeps the rows that are sent.
    features
        The online store.
    max_rows
        At most so many are sent at once.
    archive
        Where files of old rows go.
    """
    home = present.home
    desk.engine = home.engine
    quarantine = Quarantine(home.datasets, home.views, clock)
    desk.quarantine = QuarantineDesk(home.views, quarantine, present.live.settle, flows=True)
    desk.versions = _versions(present, clock)
    desk.publications = PublicationDesk(desk.versions, home.publications)
    desk.tiers = tier_desk(
        desk.versions,
        clock,
        lambda dataset: reached(home.views, home.ledger, dataset),
        place=archive,
        commit=lambda facts: home.engine.tell(facts=facts),
        faults=faults,
    )
    desk.online = _online(present, features, clock, faults, desk.reads)
    outcomes = {name: parts.plan.outcome for name, parts in home.models.items()}
    desk.inbox = Inbox(
        home.datasets, home.declared, outcomes, clock, captured.log.keep_rows, max_rows=max_rows
    )
    requests = frozenset(one.requests.name for one in outcomes.values())
    puller = Puller(home.datasets, home.views, clock, present.live, requests=requests, faults=faults)
    declared = {str(dataset.name): dataset for dataset in home.declared}
    desk.pulls = PullDesk(puller, home.views, declared, flows=True)


def _versions(present: Present, clock: Clock) -> VersionsDesk:
    home = present.home
    views, datasets = home.views, home.datasets
    versions = Versions(datasets, views, home.ledger, clock, lambda dataset: named_versions(views, dataset))
    rewrite = present.live.rewrite
    return VersionsDesk(home.folder, datasets, views, home.ledger, versions, rewrite, home.lock, flows=True)


def _online(
    present: Present, features: KeyValue, clock: Clock, faults: Faults, reads: ReadCounts
) -> OnlineDesk:
    home = present.home

    def declared() -> list[FeatureView]:
        return [view for parts in list(home.models.values()) for view in parts.features.features.views]

    def commit(facts: Sequence[Fact]) -> None:
        home.engine.tell(facts=facts)

    materialiser = Materialiser(home.datasets, home.views, features, clock, commit, faults)
    return OnlineDesk(
        home.views, home.datasets, clock, features, declared, materialiser, reads, home.features.progress
    )
