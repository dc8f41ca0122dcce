"""What the owner of a home and its workers say to each other: one JSON text a line, each answered by its
number.
"""

from __future__ import annotations

import msgspec

from varv.app.server.telemetry import Telemetry, TelemetryCounts
from varv.app.server.tls import TlsFiles
from varv.features.reads import Reads
from varv.fronts.access import Client
from varv.fronts.inference.counts import Counts
from varv.kernel.codec import Digest
from varv.kernel.ids import DatasetName, ModelName, Version
from varv.kernel.observe import Format
from varv.kernel.snapshots import Position
from varv.registry.ports import Device
from varv.serving.routing import RoutingTable


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may ask a worker, and what its answers say of that."""

    clients: tuple[Client, ...] = ()
    """Everybody if there are none."""
    n_workers: int = 1
    """That share the rates of clients."""
    allowed_origins: str = ""
    v1_deprecated_s: int = 0
    """Since when KServe's first protocol is not to be used, in seconds since 1970; 0 if it may be."""


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """Where models compute, and what those may take that run code of their own; `app.settings` says more."""

    device: Device = "cpu"

    time_s: float = 10.0
    memory_bytes: int = 2 << 30
    most_bytes: int | None = None
    """What all of a worker may take together."""


class Online(msgspec.Struct, frozen=True, kw_only=True):
    """Where features are online, and of which views requests read them from there."""

    store: str = "sqlite"
    views: frozenset[str] = frozenset()


class Start(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a worker is; always the first message."""

    home: str
    file: str
    model: str
    """The only model that is served; all of the project if it is empty."""
    capture: str
    """The folder of its capture log, which no other process writes."""
    grpc: str = ""
    """Address for calls over gRPC, which all workers bind; nothing if there are none."""
    hosts: frozenset[str] | None
    """The names by which requests may call it; None allows any."""
    access: Access = Access()
    max_rows: int
    capture_required: bool
    capture_window_ms: int = 50
    """How long what is captured may take to reach the disk; 0 for before its answer."""
    models: Models = Models()
    online: Online = Online()
    accepting: bool = True
    """Whether it accepts connections at once; else when it is told to."""
    declarations: dict[ModelName, Digest] = {}
    """What it has to find declared, where that matters: of each model the digest."""
    telemetry: Telemetry = Telemetry()
    """What it keeps of requests for others to look at."""
    log_format: Format = "text"
    tls: TlsFiles | None = None
    """Where the certificates are that it shows its callers; None for no TLS."""


class Restore(msgspec.Struct, frozen=True, tag=True):
    """Bring the features up to what the ledger holds by now."""


class Accept(msgspec.Struct, frozen=True, tag=True):
    """Accept connections from now on."""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Accept no more connections; answered once those that are open have ended."""


class Warm(msgspec.Struct, frozen=True, tag=True):
    """Load a version of a model."""

    model: ModelName
    version: Version
    package: Digest


class Table(msgspec.Struct, frozen=True, tag=True):
    """Put a routing table of a model in force; answered with the epoch."""

    model: ModelName
    table: RoutingTable


class Unload(msgspec.Struct, frozen=True, tag=True):
    """Let a version of a model go."""

    model: ModelName
    version: Version


class Reserve(msgspec.Struct, frozen=True, tag=True):
    """Let a version of a model answer where its champion cannot; None for none."""

    model: ModelName
    version: Version | None


class Observe(msgspec.Struct, frozen=True, tag=True):
    """Rows of a part became known; they are read from their segment."""

    dataset: str
    part: str
    segment: str


class Keep(msgspec.Struct, frozen=True, tag=True):
    """Write a snapshot of what was told so far: everything up to an entry of the ledger, and to a version of
    each dataset; answered before it is written.
    """

    position: Position
    versions: dict[DatasetName, Version]


class Count(msgspec.Struct, frozen=True, tag=True):
    """Say how many requests were answered so far."""


class Seal(msgspec.Struct, frozen=True, tag=True):
    """Start a new capture file; answered with the names of those that are complete."""


Order = Start | Restore | Accept | Drain | Warm | Table | Unload | Reserve | Observe | Keep | Seal | Count


class WorkerOrder(msgspec.Struct, frozen=True):
    """A numbered message to a worker."""

    number: int
    message: Order


class WorkerReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says to the message of that number."""

    number: int
    epoch: int = 0
    files: tuple[str, ...] = ()
    n_uncaptured: dict[ModelName, int] = {}
    """Answers of each model that were given without capture since the last sealing."""
    counts: dict[ModelName, Counts] = {}
    """Of the requests of each model, since the worker started; with some replies."""
    refusals: dict[str, int] = {}
    """What was refused at the door since then, by reason and client: ``rate/shop``."""
    reads: dict[str, Reads] = {}
    """Of the views that declare an age, since then."""
    telemetry: TelemetryCounts | None = None
    """What became of what was traced and logged; with these replies too."""
    code: str = ""
    """Code of the error, or nothing if there was none."""
    problem: str = ""
