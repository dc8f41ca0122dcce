"""What a replay showed, of all its models, and the home to go on with."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from varv.app.client.comparisons import REPLAYED, ReplayedModel, summary
from varv.app.client.homes import ReadableHome
from varv.app.client.sources import LocalSource
from varv.app.replaying import report_name
from varv.home.comparison import DECLARED
from varv.home.model import Comparisons
from varv.kernel.blobs import write_atomically
from varv.kernel.clock import as_datetime
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.faults import Faults
from varv.kernel.ids import ModelName
from varv.project import Replay


class ReplayResult(Mapping[str, ReplayedModel]):
    """What a replay showed, a `ReplayedModel` by the name of each model.

    Where one model was replayed, what there is of it is here as well: ``result.policies``,
    ``result.predictions("never")``.

    Parameters
    ----------
    home
        The folder that the replay is in.
    comparisons
        What it showed.
    replay
        What was replayed.
    temporary
        Whether the folder goes with this result.
    """

    def __init__(
        self, home: Path, comparisons: Comparisons, replay: Replay, *, temporary: bool = False
    ) -> None:
        self.folder = home
        self.comparisons = comparisons
        self.since, self.train_at, self.until = (
            as_datetime(at) for at in (replay.since, replay.train_at, replay.until)
        )
        self._policies = _Policies(home, temporary=temporary)
        self._models = {one.model: ReplayedModel(one, self._policies) for one in comparisons.models}

    def __getitem__(self, model: str) -> ReplayedModel:
        return self._models[ModelName(model)]

    def __iter__(self) -> Iterator[str]:
        return iter(map(str, self._models))

    def __len__(self) -> int:
        return len(self._models)

    def __enter__(self) -> ReplayResult:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(ReplayedModel, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self._only(), name)

    def __dir__(self) -> list[str]:
        shared = [name for name in dir(ReplayedModel) if not name.startswith("_")]
        return sorted({*super().__dir__(), *(shared if len(self) == 1 else ())})

    def __repr__(self) -> str:
        span = f"{self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}, first trained at {self.train_at:%Y-%m-%d}"
        told = "; ".join(f"{one.name}: {summary(one.comparison)}" for one in self.values())
        return f"<replay of {span}; {told}>"

    def _repr_html_(self) -> str:
        from varv.fronts.web.fragments import replay_fragment

        views = self._policies(DECLARED).desk.views
        return replay_fragment([(one, views) for one in self.comparisons.models])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What has to be known before anything else, of all models."""
        return self.comparisons.warnings

    @property
    def home(self) -> ReadableHome:
        """The home as the declared policies left it, to be read."""
        return ReadableHome(self._policies(DECLARED))

    @property
    def reports(self) -> dict[str, Path]:
        """The report of each model: an HTML file that stands alone."""
        return {name: self.folder / report_name(name, len(self)) for name in self._models}

    def save(self, path: str | Path, model: str = "") -> Path:
        """Write the report on a model, the only one if none is named, to a file; return its place.

        Raises
        ------
        InvalidInput
            If there are several models, and none is named.
        NotFound
            If there is no such model, or no folder for the file.
        """
        chosen = model or self._only().name
        if chosen not in self:
            hint = f"the models are {', '.join(self)}"
            raise NotFound("model", chosen[:80], "was not replayed", hint=hint)
        target = Path(path)
        if not target.parent.is_dir():
            raise NotFound("folder", str(target.parent), hint="make it first")
        write_atomically(target, self.reports[chosen].read_bytes(), Faults())
        return target

    def close(self) -> None:
        """Give back what is held; a temporary folder is removed. Again does nothing."""
        self._policies.close()

    def _only(self) -> ReplayedModel:
        if len(self._models) != 1:
            hint = (
                f"name the model: result[{next(iter(self._models), '')!r}]; the models are {', '.join(self)}"
            )
            raise InvalidInput("replay", ", ".join(self), "is of several models", hint=hint)
        return next(iter(self._models.values()))


class _Policies:
    """The homes of a replay's policies, each opened when it is first asked for.

    Parameters
    ----------
    home
        The folder of the declared policies.
    temporary
        Whether it goes when nobody holds this, or what was opened here, any more.
    """

    def __init__(self, home: Path, *, temporary: bool) -> None:
        self._home = home
        self._open: dict[str, LocalSource] = {}
        self._finalize = weakref.finalize(self, _give_back, home if temporary else None)

    def __call__(self, policy: str) -> LocalSource:
        if policy not in self._open:
            folder = self._home if policy == DECLARED else self._home / "policies" / policy
            source = LocalSource(folder, state=REPLAYED)
            # Whoever reads there keeps the folder.
            source.keeps = self
            self._open[policy] = source
        return self._open[policy]

    def close(self) -> None:
        """Close those that are open, and remove a temporary folder."""
        for source in self._open.values():
            source.close()
        self._finalize()


def _give_back(temporary: Path | None) -> None:
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
