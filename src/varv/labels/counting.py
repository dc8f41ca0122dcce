"""What each known outcome counts for beside others: what a training weighs by, read from the ledger.

Outcomes of a model are no fair draw of its requests. Who was labelled, and which version answered, was
decided by coins with probabilities that are on record, and feedback came with a weight; so each row says of
how many requests it is.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import polars as pl

from varv.kernel.clock import Instant
from varv.kernel.ledger import Ledger, entries_of
from varv.labels.model import Cause, FeedbackGiven, LabelGiven, RequestsChosen, stream_of


class Counted(NamedTuple):
    """What single outcomes count for, by key."""

    chances: dict[str, float]
    """Of those that were labelled, the probability with which they were to be."""
    feedback: dict[str, float]
    """The weight of those that users told."""


def counted(ledger: Ledger, model: str, known_by: Instant) -> Counted:
    """Return what the outcomes of a model count for, by what was on record at an instant.

    Of the requests of a window that were chosen for one cause, those that were labelled are any of them.
    """
    chosen: dict[str, tuple[float, tuple[Instant, Cause]]] = {}
    settled: set[str] = set()
    feedback: dict[str, float] = {}
    for entry in entries_of(ledger, stream_of(model)):
        if entry.at > known_by:
            break
        match entry.event:
            case RequestsChosen() as event:
                for one in event.chosen:
                    chosen.setdefault(one.key, (one.probability, (event.until, one.cause)))
            case LabelGiven() as event if event.settles:
                settled.add(event.key)
            case FeedbackGiven() as event:
                # Where revisions are not declared, the first remark on a key stands, as its outcome does.
                given = {one.key: one.weight for one in event.remarks}
                feedback = {**feedback, **given} if event.revised else {**given, **feedback}
            case _:
                pass
    n_chosen = Counter(stratum for _, stratum in chosen.values())
    n_settled = Counter(stratum for key, (_, stratum) in chosen.items() if key in settled)
    chances = {
        key: probability * n_settled[stratum] / n_chosen[stratum]
        for key, (probability, stratum) in chosen.items()
        if key in settled
    }
    return Counted(chances, feedback)


def inverse_propensity(rows: pl.DataFrame, known: Counted) -> pl.Series:
    """Return what each row counts for, above 0: the inverse of the probability that it was labelled, times
    that of the arm that answered, times the weight of feedback.

    Parameters
    ----------
    rows
        With ``key``, and ``arm`` and ``share`` as they were logged.

    Notes
    -----
    Arms are weighed by P(arm) / P(arm | request), the stabilised weights of Robins, Hernán and Brumback
    (2000): requests of a rollout, which two versions answer, count no more than others.
    """
    arms = rows["arm"].fill_null("champion")
    candidate = (arms == "candidate").to_numpy()
    share = rows["share"].fill_null(0.0).to_numpy()
    chance = np.where(candidate, share, 1.0 - share)
    marginal = np.where(candidate, candidate.mean(), 1.0 - candidate.mean()) if len(rows) else chance
    # A version whose turn it was not, as where another stood in, was decided by no coin.
    weights = np.where(chance > 0, marginal / np.where(chance > 0, chance, 1.0), 1.0)
    keys = rows["key"].to_list()
    labelled = np.array([known.chances.get(key, 1.0) for key in keys])
    told = np.array([known.feedback.get(key, 1.0) for key in keys])
    return pl.Series(weights * told / labelled)
