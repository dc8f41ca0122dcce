"""Small models for serving: packages that hold a constant or a column, and a runtime that runs them."""

from __future__ import annotations

import msgspec
import numpy as np

from varv.kernel.environment import environment
from varv.kernel.ids import Version
from varv.registry import Column, Package, Rows, Signature
from varv.serving import RoutingShare, RoutingTable
from varv.tasks import TaskSpec

SIGNATURE = Signature((Column("x", "number"),))


def package(score: float, *, column: str = "x", probe_score: float | None = None) -> Package:
    """Return a package whose model says `score` of every row; its file holds the number."""
    return Package(
        estimator="constant",
        signature=Signature((Column(column, "number"),)),
        environment=environment(),
        params={},
        seed=0,
        n_rows=1,
        task=TaskSpec("binary"),
        runtime="constant",
        files={"score": msgspec.json.encode(score)},
        probe=((1.0,), (None,)),
        probe_scores=((score if probe_score is None else probe_score,),) * 2,
    )


class Constant:
    """A model that says one number."""

    def __init__(self, score: float) -> None:
        self.score = score

    def predict(self, rows: Rows) -> np.ndarray:
        """Return the number for every row; below zero it breaks."""
        if self.score < 0 and not np.isnan(rows).any():
            raise RuntimeError("the model broke")
        return np.full((len(rows), 1), self.score, dtype=np.float32)


class Constants:
    """A runtime of constants."""

    def load(self, package: Package) -> Constant:
        """Return the model of a package."""
        return Constant(msgspec.json.decode(package.file("score"), type=float))


def table(
    epoch: int, champion: int = 1, candidate: int | None = None, share: float = 0.0, *, shadow: bool = False
) -> RoutingTable:
    """Return a routing table."""
    shares = (RoutingShare(Version(champion), 1.0 - share),)
    if candidate is not None and share:
        shares = (RoutingShare(Version(candidate), share), *shares)
    shadows = (Version(candidate),) if shadow and candidate is not None else ()
    return RoutingTable(epoch=epoch, shares=shares, shadows=shadows, salt="r")
