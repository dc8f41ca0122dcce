"""What the verbs of a home work on, put together from the parts that it has at present."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from varv.app.traffic import Traffic
from varv.data.delta.verbs import PublicationDesk
from varv.data.inbox import Inbox
from varv.data.ingestion.verbs import PullDesk
from varv.data.tiers.verbs import TierDesk
from varv.data.verbs import QuarantineDesk
from varv.data.versioning.verbs import VersionsDesk
from varv.features.online.verbs import OnlineDesk
from varv.features.reads import ReadCounts
from varv.home.change.verbs import Declarations
from varv.home.erasure.verbs import ErasureDesk
from varv.home.labelling.desk import Labelling
from varv.home.records import Records
from varv.home.review.verbs import Reviews
from varv.home.skew.desk import FeatureDesk
from varv.home.skew.measuring import Measuring
from varv.home.tables import MOST_ROWS, Tables
from varv.home.tracking.desk import TrackingDesk
from varv.home.tracking.looking import RunDesk
from varv.kernel.clock import Clock
from varv.kernel.engine import Engine
from varv.kernel.errors import Unavailable
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views
from varv.loop.verbs import Loops

T = TypeVar("T")


class Desk:
    """What the use cases work on.

    Parameters
    ----------
    home, ledger, views
        Of the home.
    engine
        With the sagas, to tell them what a person wants; None where the ledger is only read.
    running
        Whether somebody carries out what sagas decide.
    """

    def __init__(
        self, home: Path, ledger: Ledger, views: Views, clock: Clock, engine: Engine | None, *, running: bool
    ) -> None:
        self.home = home
        self.ledger = ledger
        self.views = views
        self.clock = clock
        self.engine = engine
        self.running = running
        self.inbox: Inbox | None = None
        self.quarantine: QuarantineDesk | None = None
        """None while the server starts, and where only loops are told something."""
        self.versions: VersionsDesk | None = None
        """As the one before."""
        self.online: OnlineDesk | None = None
        """As the one before."""
        self.publications: PublicationDesk | None = None
        """As the one before."""
        self.erasing: ErasureDesk | None = None
        """As the one before."""
        self.reads = ReadCounts()
        """Counts reads of features here, whichever home is in the present."""
        self.tiers: TierDesk | None = None
        """As the one before."""
        self.pulls: PullDesk | None = None
        """None while the server starts, and where the declaration is not read."""
        self.declarations: Declarations | None = None
        """None where no server runs."""
        self.traffic: Traffic | None = None
        """None where no server runs."""
        self.tracking: TrackingDesk | None = None
        """None where no server runs."""
        self.runs: RunDesk | None = None
        """None where nobody reads runs."""
        self.most_rows: int | None = MOST_ROWS
        """Of one answer; None where the caller is in this process, and has the memory that it takes."""
        self.state: Callable[[], str] = lambda: "not running"

    @property
    def loops(self) -> Loops:
        """What acts on the loops."""
        return Loops(
            home=self.home,
            ledger=self.ledger,
            views=self.views,
            clock=self.clock,
            engine=self.engine,
            running=self.running,
        )

    @property
    def records(self) -> Records:
        """What is on record."""
        return Records(
            home=self.home,
            ledger=self.ledger,
            views=self.views,
            clock=self.clock,
            state=self.state(),
            tables=self.tables,
            that_read=(lambda _: []) if self.runs is None else self.runs.that_read,
        )

    @property
    def reviews(self) -> Reviews:
        """What acts on answers that wait for a person."""
        return Reviews(tables=self.tables, views=self.views, clock=self.clock, engine=self.engine)

    @property
    def labelling(self) -> Labelling:
        """What acts on requests that people label."""
        return Labelling(
            tables=self.tables,
            views=self.views,
            ledger=self.ledger,
            clock=self.clock,
            reviews=self.reviews,
            engine=self.engine,
            inbox=self.inbox,
            versions=self.versions,
        )

    @cached_property
    def tables(self) -> Tables:
        """What reads rows: one for all, since it keeps what it knows of files."""
        return Tables(self.home, self.ledger, self.views, self.clock, most_rows=self.most_rows)

    @property
    def measuring(self) -> Measuring:
        """What compares served features with stored rows."""
        return Measuring(self.tables, self.tables.datasets, self.views)

    @property
    def features(self) -> FeatureDesk:
        """What looks at served features."""
        return FeatureDesk(records=self.records, measuring=self.measuring)

    def require_inbox(self) -> Inbox:
        """Return what takes rows in.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        return _ready(self.inbox)

    def require_declarations(self) -> Declarations:
        """Return what carries a changed declaration out.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        return _ready(self.declarations)

    def require_traffic(self) -> Traffic:
        """Return what counts requests.

        Raises
        ------
        Unavailable
            If no server runs here.
        """
        return _ready(self.traffic)

    def require_tracking(self) -> TrackingDesk:
        """Return what writes runs and the registry.

        Raises
        ------
        Unavailable
            If no server runs here.
        """
        return _ready(self.tracking)

    def require_runs(self) -> RunDesk:
        """Return what reads runs.

        Raises
        ------
        Unavailable
            If nobody reads them here.
        """
        return _ready(self.runs)

    def require_versions(self) -> VersionsDesk:
        """Return what acts on versions of datasets.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        return _ready(self.versions)

    def require_tiers(self) -> TierDesk:
        """Return what moves files of datasets between tiers.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        return _ready(self.tiers)

    def require_pulls(self) -> PullDesk:
        """Return what pulls sources.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        return _ready(self.pulls)

    def require_online(self) -> OnlineDesk:
        """Return what acts on the online store.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        return _ready(self.online)

    def require_erasing(self) -> ErasureDesk:
        """Return what erases subjects.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        return _ready(self.erasing)

    def require_publications(self) -> PublicationDesk:
        """Return what publishes datasets.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        return _ready(self.publications)

    def require_quarantine(self) -> QuarantineDesk:
        """Return what acts on rows in quarantine.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        return _ready(self.quarantine)


def _ready(part: T | None) -> T:
    if part is None:
        raise Unavailable("server", "", "is still starting", hint="try again in a moment; see varv status")
    return part
