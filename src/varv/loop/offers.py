"""Candidates that were trained elsewhere: what judges them, and the step that makes a package of one.

Nobody here knows the rows that such a model was fitted on, only where they end: who brings it says so. What
it is judged on, and what its monitors compare with, are later rows; everything after that is as with a fit of
the loop's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import polars as pl

from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.loop.fits import Held, Recipe, Rows
from varv.loop.model import Offer
from varv.loop.plan import LoopPlan
from varv.pipelines import Input, PipelineStep
from varv.training import FitOf, Foreign, ImportInput
from varv.training.fit import MOST_PROBED


def content_of(blobs: Blobs, digest: Digest, name: str) -> Foreign:
    """Return what was brought.

    Raises
    ------
    NotFound
        If the store has nothing of that digest.
    Corrupt
        If it is no model that was read with `read_foreign`.
    """
    try:
        return msgspec.msgpack.decode(blobs.get(digest), type=Foreign)
    except msgspec.MsgspecError as error:
        hint = "bring it again with varv register"
        raise Corrupt(
            "file", name, "is not held as varv register reads it", why=str(error), hint=hint
        ) from None


def content_bytes(foreign: Foreign) -> bytes:
    """Return a model that was read as `content_of` finds it again."""
    return msgspec.msgpack.encode(foreign)


def offered_rows(frame: pl.DataFrame, plan: LoopPlan, offer: Offer, least: int) -> Rows:
    """Return the rows of `frame`, with one stretch held out: as long as all that a fit is judged on, and none
    of it before the end of what the model was fitted on.

    Raises
    ------
    FailedPrecondition
        If fewer than `least` rows can judge it.
    """
    rows = Rows(frame, plan.features.names, (), has_outcome=plan.outcome.task.has_outcome)
    until = rows.end
    since = Instant(max(offer.fitted_until, until - plan.train.validate * plan.train.origins))
    rows = msgspec.structs.replace(rows, held=(Held(Instant(0), since, until),))
    n_held_out = rows.n_between(since, until)
    if n_held_out < least:
        raise FailedPrecondition(
            "file",
            offer.source.file,
            "has too few rows to be judged on: requests after those that it was fitted on, with outcomes",
            n_held_out=n_held_out,
            least=least,
            hint="wait for more outcomes, or bring a model that was fitted on earlier rows",
        )
    return rows


def take_in_step(rows: Rows, offer: Offer, both: Mapping[str, Input]) -> PipelineStep:
    """Return the step that takes the place of a fit."""
    # Neither the seed nor the parameters of the declared training have a part in it.
    offered = Input(digest_of(offer), lambda: offer)
    return PipelineStep(name="fit-1", run=take_in, needs={**both, "offer": offered})


def take_in(rows: Rows, recipe: Recipe, offer: Offer) -> bytes:
    """Make a package of it."""
    held = rows.held[0]
    which = FitOf(model=recipe.plan.model, version=recipe.version, step="import", cancelled=recipe.cancelled)
    given = ImportInput.of(
        content_of(recipe.blobs, offer.source.content, offer.source.file),
        rows.between(held.since, held.until).head(MOST_PROBED).select(rows.names),
        rows.names,
        categories=offer.categories,
        trust=offer.trust,
    )
    return recipe.fitter.take_in(which, recipe.plan.outcome.task, given)
