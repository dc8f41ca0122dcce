"""What a training set is made of, as the ledger holds it."""

from __future__ import annotations

import msgspec

from varv.features.bulk.history_rows import Mode
from varv.kernel.codec import Event, event
from varv.kernel.ids import DatasetName, Version
from varv.kernel.wording import count


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What a training set is made of: equal recipes give equal rows."""

    requests: str
    """A dataset's version, ``flights@12``, or the digest of rows or of files."""
    at: str
    features: dict[str, str]
    """By name, what tells each view, derived feature or column from every other."""
    datasets: dict[DatasetName, Version]
    """The version of each dataset that views read."""
    mode: Mode

    @property
    def reads(self) -> list[tuple[str, int]]:
        """The versions of datasets that it is made of."""
        dataset, mark, version = self.requests.partition("@")
        own = [(dataset, int(version))] if mark else []
        return [*own, *((name, int(one)) for name, one in self.datasets.items())]

    @property
    def requests_dataset(self) -> str:
        """The dataset whose rows are the requests; empty if they were no rows of one."""
        dataset, mark, _ = self.requests.partition("@")
        return dataset if mark else ""


@event("features.training_set_made")
class TrainingSetMade(Event, frozen=True, kw_only=True):
    """A dataset is the training set of a recipe; its one version is complete."""

    dataset: DatasetName
    recipe: Recipe
    n_rows: int
    columns: dict[DatasetName, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """What its views read of each dataset: values, entities and times. Older entries do not say it."""

    def line(self) -> str:
        """Return one line on what this event states."""
        made_of = f"{count(len(self.recipe.features))} features of {self.recipe.requests}"
        return f"{self.dataset}: {count(self.n_rows)} rows, {made_of}, by {self.recipe.mode} time"
