"""What a search keeps of each policy that was replayed: its losses by day, so that memory does not grow with
the combinations.
"""

from __future__ import annotations

from varv.home.comparison import PolicyRun
from varv.home.searching import Daily, Searched, daily, searched
from varv.kernel.errors import FailedPrecondition
from varv.loop.weighing.model import Price
from varv.project import DECLARED, Model, Policy, PolicySearch, Replay

SEARCH = "search"
"""In the home: a folder for each combination."""


def require_search(replay: Replay) -> PolicySearch:
    """Return the search that a replay declares.

    Raises
    ------
    FailedPrecondition
        If it declares none, or a model has no outcome to choose by.
    """
    name = replay.models[0].name
    if replay.search is None:
        hint = "write varv.Replay(..., search=varv.PolicySearch(retrain=[...]))"
        raise FailedPrecondition("replay", name, "declares no search", hint=hint)
    for model in replay.models:
        if not model.task.has_outcome:
            hint = "replay it without --search: without an outcome there is no loss to choose by"
            raise FailedPrecondition("model", model.name, "has no outcome to search by", hint=hint)
    return replay.search


class SearchDays:
    """The losses by day of the policies of one model, as they are replayed one after the other.

    Parameters
    ----------
    declared
        The finished run of the declared policy.
    """

    def __init__(self, replay: Replay, model: Model, declared: PolicyRun) -> None:
        self.model = model.name
        self._replay = replay
        self._model = model
        self._declared = declared
        text = f"retrain={model.retrain.text},\ntrain={model.train.text},\nrollout={model.rollout.text}"
        first, self._n = daily(DECLARED, text, declared, declared, replay.train_at)
        self._days: list[Daily] = [first]

    def add(self, policy: Policy, run: PolicyRun) -> None:
        """Take in a policy that was replayed."""
        found, _ = daily(policy.name, policy.text, run, self._declared, self._replay.train_at)
        self._days.append(found)

    def found(self, price: Price | None) -> Searched:
        """Return what the search found; a budget is no price, so trainings are then not paid for."""
        declared = price or self._replay.price or self._model.retrain.price
        paid = None if declared is None else declared.loss
        since, seed = self._replay.train_at, self._replay.seed
        return searched(self._days, self._n, since=since, price=paid, seed=seed)
