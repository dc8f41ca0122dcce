"""What can happen to registered models, and to versions that were made elsewhere and logged here.

A version that a loop trained is `VersionRegistered` (`registry.model`); both kinds share one sequence of
numbers a name, and one set of aliases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from varv.kernel.codec import Event, event
from varv.kernel.texts import Text

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
    """A registered model has another name, and its versions and aliases with it."""

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


def model_stream(model: str) -> str:
    """Return the stream of a registered model."""
    return f"model/{model}"
