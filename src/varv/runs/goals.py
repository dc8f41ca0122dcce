"""Whether less or more of a metric is better, by what its name says. Pure.

No protocol of tracking says it, so the words that names are made of are looked at; a name that says nothing
has no goal, and whoever asks for the best of it has to say which way.
"""

from __future__ import annotations

import re
from typing import Literal

Goal = Literal["min", "max"]

# fmt: off
_LESS = frozenset((
    "loss", "logloss", "error", "err", "mae", "mse", "rmse", "mape", "smape", "msle", "rmsle",
    "nll", "brier", "perplexity", "ppl", "ece", "wer", "cer", "fid", "latency", "regret", "cost",
    "hinge",
))
_MORE = frozenset((
    "acc", "accuracy", "auc", "auroc", "auprc", "ap", "map", "f1", "fbeta", "precision", "recall",
    "r2", "score", "ndcg", "mrr", "bleu", "rouge", "iou", "dice", "kappa", "mcc", "reward",
    "return", "throughput",
))
# fmt: on
_WORD = re.compile(r"[A-Z]?[a-z]+\d?|[A-Z]+(?![a-z])\d?")


def goal_of(metric: str) -> Goal | None:
    """Return which way a metric is better; None where its name does not say. The last word counts most.

    Examples
    --------
    >>> goal_of("val/log_loss"), goal_of("trainAUC"), goal_of("epoch"), goal_of("score_error")
    ('min', 'max', None, 'min')
    """
    for word in reversed(_WORD.findall(metric)):
        if word.lower() in _LESS:
            return "min"
        if word.lower() in _MORE:
            return "max"
    return None
