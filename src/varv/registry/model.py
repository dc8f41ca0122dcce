"""Nouns of the registry: what is known of a version when it is registered, and how aliases move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NewType

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event, digest_of, event
from varv.kernel.texts import Text
from varv.kernel.wording import count, version_named


class DatasetUse(msgspec.Struct, frozen=True):
    """The version of a dataset that a model was trained from, and the digest of all batches up to it."""

    dataset: str
    version: int
    digest: Digest


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A fit that was judged, and what it showed on the held-out requests made in [``since``, ``until``).

    It saw none of them: ``n_rows`` earlier rows are what it was fitted on. ``work`` counts its rows times
    boosting rounds.
    """

    package: Digest
    since: Instant
    until: Instant
    n_rows: int
    n_held_out: int
    metrics: dict[str, float | None]
    work: int


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One trial of a search over parameters: fitted on ``n_rows`` rows, scored on the ``n_held_out`` after
    them.

    ``loss`` is what the trials were compared by, less being better; None where it could not be determined.
    ``work`` counts rows times boosting rounds.
    """

    params: dict[str, Any]
    loss: float | None
    n_rows: int
    n_held_out: int
    work: int


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was trained elsewhere: the file, who brought it, and why."""

    file: str
    content: Digest
    """Of the blob that holds it as it was read."""
    by: str
    reason: str = ""
    source: str = ""
    """What was logged here that it was brought from, ``models:/churn/3`` or its like; nothing for a file."""
    root: str = ""
    """The digest of the files there."""

    def line(self) -> str:
        """Return where it is from."""
        brought = f"{self.file}, from {self.by}"
        return f"{brought}: {self.reason}" if self.reason else brought


def training_run(model: str, version: int) -> str:
    """Return the id of the run that a training of a loop is, which follows from what came of it.

    Examples
    --------
    >>> training_run("late-arrival", 7) == training_run("late-arrival", 7) != training_run("late-arrival", 8)
    True
    """
    return digest_of(["training", model, version])[:32]


@event("registry.version_registered")
class VersionRegistered(Event, frozen=True, kw_only=True):
    """A version exists from now on and never changes.

    It was fitted on requests from ``trained_from`` up to ``fitted_until``; ``cutoff`` is the instant up to
    which outcomes were known. ``judged`` are the fits that the gates look at, the last stretch first. After a
    refit they are siblings of the version: same function and parameters, but fitted before the held-out
    stretch that each was scored on. ``metrics`` and ``n_validation`` are of all stretches together, which
    begin at ``held_out_from``. ``work`` counts rows times boosting rounds (or rows, where there are none)
    over all fits: a measure of compute that is the same on every machine.

    ``strategy`` is ``"full"``, or ``"incremental"`` where the fits were given only rows that the champion
    before, ``parent``, had not seen; a parent without that strategy was started from. ``trials`` are those of
    a search whose best parameters ``params`` holds; their work is in ``work``.

    A version that is ``imported`` was fitted elsewhere, on rows that nobody here knows: ``n_rows`` and
    ``work`` are 0, ``code`` is the digest of what was brought, and ``trained_from`` is ``fitted_until``, all
    that is said of its rows.

    Versions from before refits have no ``fitted_until`` and no ``judged``; see `data_end` and `judged_fits`.
    """

    model: str
    version: int
    package: Digest
    reference: Digest
    signature: tuple[str, ...]
    estimator: str
    trained_from: Instant
    held_out_from: Instant
    fitted_until: Instant | None = None
    cutoff: Instant
    n_rows: int
    n_validation: int
    metrics: dict[str, float | None]
    params: dict[str, Any]
    seed: int
    code: Digest
    environment: Digest
    datasets: tuple[DatasetUse, ...]
    pipeline_key: Digest
    work: int
    planted: str = ""
    judged: tuple[Judged, ...] = ()
    strategy: Literal["full", "incremental"] = "full"
    parent: int | None = None
    trials: tuple[Trial, ...] = ()
    imported: Imported | None = None
    effective_n: float | None = None
    """How many rows of equal weight say as much as those that it was fitted on, where these are weighed by
    the probabilities with which their outcomes were seen.
    """

    @property
    def data_end(self) -> Instant:
        """Where the requests that it was fitted on end; what it says of later ones is no memory."""
        return self.held_out_from if self.fitted_until is None else self.fitted_until

    @property
    def is_refit(self) -> bool:
        """Whether the version saw the held-out rows, so that its metrics are those of its siblings."""
        return self.package not in {fit.package for fit in self.judged_fits}

    @property
    def judged_fits(self) -> tuple[Judged, ...]:
        """The fits that were judged, the last stretch first."""
        if self.judged:
            return self.judged
        return (
            Judged(
                package=self.package,
                since=self.held_out_from,
                until=self.cutoff,
                n_rows=self.n_rows,
                n_held_out=self.n_validation,
                metrics=self.metrics,
                work=self.work,
            ),
        )

    def line(self) -> str:
        """Return one line on what this event states."""
        if self.imported is not None:
            return f"{self.model} v{self.version}, trained elsewhere: {self.imported.line()}"
        planted = f", PLANTED {self.planted}" if self.planted else ""
        after = "" if self.parent is None else f", from v{self.parent} on"
        tried = f", the best of {count(len(self.trials))} trials" if self.trials else ""
        return f"{self.model} v{self.version}, {count(self.n_rows)} rows{after}{tried}{planted}"


@event("registry.alias_moved")
class AliasMoved(Event, frozen=True, kw_only=True):
    """An alias such as ``champion`` names another version, or none, from now on."""

    model: str
    alias: str
    version: int | None
    previous: int | None

    def line(self) -> str:
        """Return one line on what this event states."""
        moved = f"{version_named(self.previous)} → {version_named(self.version)}"
        return f"{self.alias} of {self.model}: {moved}"


# Names, and versions that were made elsewhere and logged here. Both kinds of versions share one sequence of
# numbers a name, and one set of aliases.

Stage = Literal["None", "Staging", "Production", "Archived"]
STAGES: tuple[Stage, ...] = ("None", "Staging", "Production", "Archived")
"""Labels of versions from before aliases, which clients still read; nothing here acts on them."""


@event("registry.model_created")
class ModelCreated(Event, frozen=True, kw_only=True):
    """A name can be given versions from now on."""

    model: str
    description: Text = ""
    tags: Mapping[str, Text] = {}

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} is registered"


@event("registry.model_changed")
class ModelChanged(Event, frozen=True, kw_only=True):
    """A registered model has another description, further tags, or a tag less."""

    model: str
    description: Text | None = None
    """None if it keeps its own."""
    tags: Mapping[str, Text] = {}
    without: str = ""
    """The tag that is gone."""


@event("registry.model_renamed")
class ModelRenamed(Event, frozen=True, kw_only=True):
    """A registered model has another name, and its versions and aliases with it. The streams of both names
    state it.
    """

    model: str
    to: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} is now {self.to}"


@event("registry.model_deleted")
class ModelDeleted(Event, frozen=True, kw_only=True):
    """A registered model is gone with all its versions; the name is free, and its numbers begin anew."""

    model: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} is deleted with all its versions"


@event("registry.version_logged")
class VersionLogged(Event, frozen=True, kw_only=True):
    """A model that was made elsewhere is a version from now on.

    ``source`` is where its files are in the words of whoever logged it, ``storage`` the place that this
    resolved to when it was logged. ``run`` and ``logged_model`` are what it came from, nothing if that is not
    known.
    """

    model: str
    version: int
    source: str
    storage: str
    run: str = ""
    run_link: str = ""
    logged_model: str = ""
    description: Text = ""
    tags: Mapping[str, Text] = {}

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} v{self.version} from {self.source[:80]}"


@event("registry.version_changed")
class VersionChanged(Event, frozen=True, kw_only=True):
    """A version has another description, further tags, or a tag less."""

    model: str
    version: int
    description: Text | None = None
    """None if it keeps its own."""
    tags: Mapping[str, Text] = {}
    without: str = ""
    """The tag that is gone."""


@event("registry.version_scanned")
class VersionScanned(Event, frozen=True, kw_only=True):
    """The files of a logged version were looked at, without loading any: what can answer for it, and which
    file would run code.

    ``root`` is the digest of the files, relative to what the version is stored as; ``report`` the blob with
    all that was found, a `home.tracking.scanning.Report` in JSON.
    """

    model: str
    version: int
    root: Digest
    flavors: str
    runtime: str
    scan: str
    report: Digest

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} v{self.version}: runtime {self.runtime}; {self.scan}"


@event("registry.version_deleted")
class VersionDeleted(Event, frozen=True, kw_only=True):
    """A logged version is gone with its aliases; its number is not given again."""

    model: str
    version: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} v{self.version} is deleted"


@event("registry.stage_moved")
class StageMoved(Event, frozen=True, kw_only=True):
    """A version has another stage; ``archived`` are those that had it before and were archived for it."""

    model: str
    version: int
    stage: Stage
    archived: tuple[int, ...] = ()

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} v{self.version} is in {self.stage}"


@event("registry.imported")
class RegistryImported(Event, frozen=True, kw_only=True):
    """A registered model was taken over from elsewhere, or one of its versions if ``version`` is given.

    ``content`` is the digest of what the source said. ``created_ms`` and ``updated_ms`` are when it was made
    and last changed there; ``last`` is the highest number that was given there, to a version that is gone
    perhaps.
    """

    model: str
    version: int | None = None
    source: str
    content: Digest
    created_ms: int
    updated_ms: int
    last: int = 0

    def line(self) -> str:
        """Return one line on what this event states."""
        of = "" if self.version is None else f" v{self.version}"
        return f"{self.model}{of} taken over from {self.source}"


def model_stream(model: str) -> str:
    """Return the stream of a registered model."""
    return f"model/{model}"


WebhookId = NewType("WebhookId", str)
WebhookStatus = Literal["ACTIVE", "DISABLED"]


@event("registry.webhook_set")
class WebhookSet(Event, frozen=True, kw_only=True):
    """A webhook is this from now on: new, or changed."""

    webhook: WebhookId
    name: str
    url: str
    events: tuple[str, ...]
    description: Text = ""
    status: WebhookStatus = "ACTIVE"
    signed: bool = False
    """Whether it has a secret that what it is told is signed by."""

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"webhook {self.name} is told {', '.join(self.events)}"


@event("registry.webhook_deleted")
class WebhookDeleted(Event, frozen=True, kw_only=True):
    """A webhook is told nothing any more."""

    webhook: WebhookId
