"""Carrying a changed declaration out: compared with what is on record, put on record in one commit, and gone
on with until it is done.

`Live` asks; the saga in `home.change.rules` decides, and its commands run with all others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from varv.home.archived import require_in_reach
from varv.home.change.model import ChangePlanned, ChangeSuperseded, ChangeSwitched, change_id
from varv.home.change.recorded import recorded_in
from varv.home.change.views import ChangesView
from varv.home.home import Home, ModelParts
from varv.kernel.codec import Digest
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName
from varv.kernel.observe import log
from varv.kernel.sagas import Fact, Message
from varv.kernel.views import Views
from varv.loop.declaring.model import FeaturesReleased, ModelRestored, ModelRetired
from varv.loop.model import PolicyChanged
from varv.loop.plan import loop_id
from varv.loop.views import LoopView
from varv.project.changes import plan_changes
from varv.project.declared import declared_fact
from varv.project.planned import ModelChange, Plan, Retirement

_LOG = logging.getLogger(__name__)


class Changes:
    """The changes of one home.

    Parameters
    ----------
    home
        Opened with what is declared now.
    declarations
        The digest of each model's declaration.
    retire
        Which models may go.
    whole
        Whether what is declared is all of the project; else models that are not among it stay.
    """

    def __init__(
        self,
        home: Home,
        declarations: Mapping[ModelName, Digest],
        retire: Retirement | None = None,
        *,
        whole: bool = True,
    ) -> None:
        self._home = home
        self._declarations = declarations
        self._retire = retire or Retirement()
        self._whole = whole

    def plan(self) -> Plan:
        """Return what the declaration will do."""
        home = self._home
        plans = [parts.plan for parts in home.models.values()]
        recorded = recorded_in(home.views, home.ledger, home.clock.now(), plans)
        return plan_changes(plans, recorded, retire=self._retire, whole=self._whole)

    def begin(self) -> None:
        """Put on record what is declared now, and what that will do.

        Raises
        ------
        FailedPrecondition
            If any of it is refused, or looks at rows that are archived; nothing is changed then.
        """
        home, plan = self._home, self.plan()
        require_accepted(plan)
        require_in_reach(home.datasets, [parts.plan for parts in home.models.values()], home.clock.now())
        facts = home.registered()
        messages: list[Message] = []
        if not plan.is_empty:
            messages += self._planned(plan)
            for line in plan.lines():
                log(_LOG, logging.INFO, "change.planned", what=line)
        of_model = {change.model: change for change in plan.models}
        for name, parts in home.models.items():
            facts += self._facts(parts, of_model.get(name))
            messages += self._messages(parts, of_model.get(name))
        for change in plan.models:
            if change.act == "retire":
                retired = ModelRetired(model=change.model, n_requests=change.n_requests_day)
                messages.append(Message(loop_id(change.model), retired))
        home.engine.tell(*messages, facts=facts)

    def go_on(self) -> None:
        """Say that requests are answered by what is declared, and that all that was captured before is
        ingested; what open changes have left to do is done from then on.
        """
        home = self._home
        with home.views.reading(ChangesView) as view:
            left = [(change.number, change.seq) for change in view.open]
        for number, planned in left:
            home.engine.tell(Message(change_id(number), ChangeSwitched(number=number)), cause=planned)

    def _planned(self, plan: Plan) -> list[Message]:
        with self._home.views.reading(ChangesView) as view:
            number = len(view.changes) + 1
            left = [change.number for change in view.open]
        prepared = tuple(
            change.model
            for change in plan.models
            if change.act == "start" or (change.act != "retire" and change.changes_features)
        )
        superseded = [
            Message(change_id(before), ChangeSuperseded(number=before, by=number)) for before in left
        ]
        planned = ChangePlanned(number=number, plan=plan, prepared=prepared)
        return [*superseded, Message(change_id(number), planned)]

    def _facts(self, parts: ModelParts, change: ModelChange | None) -> list[Fact]:
        with self._home.views.reading(LoopView) as view:
            on_record = view.declared.get(parts.name)
        declaration = self._declarations[parts.name]
        facts: list[Fact] = []
        if change is not None and change.released:
            released = FeaturesReleased(model=parts.name, features=change.released)
            facts.append(Fact(loop_id(parts.name), released))
        if change is not None or on_record is None or on_record.declaration != declaration:
            kept = on_record.kept if change is None and on_record is not None else ()
            facts.append(
                declared_fact(
                    parts.plan,
                    declaration,
                    added=() if change is None or change.act == "start" else change.backfill,
                    kept=kept if change is None else change.kept,
                )
            )
        return facts

    def _messages(self, parts: ModelParts, change: ModelChange | None) -> list[Message]:
        """Return what the loop of a model is told of its declaration."""
        home, declaration = self._home, self._declarations[parts.name]
        before = home.loop_state(parts.name).policy
        if before is None:
            return []
        messages: list[Message] = []
        if change is not None and change.act == "restore":
            messages.append(Message(parts.loop.loop_id, ModelRestored(model=parts.name)))
        with home.views.reading(LoopView) as view:
            declared = view.loops[parts.name].declaration
        policy = parts.loop.policy(before.first_training, before.seed)
        if policy != before or declared != declaration:
            changed = PolicyChanged(policy=policy, declaration=declaration)
            messages.append(Message(parts.loop.loop_id, changed))
        return messages


def last_change(views: Views) -> int | None:
    """Return the number of the last change; None before the first."""
    with views.reading(ChangesView) as view:
        return max(view.changes, default=None)


def require_settled(views: Views) -> bool:
    """Return whether a change is open that did not come to its end, so that it may be taken over.

    Raises
    ------
    FailedPrecondition
        If a change is being carried out.
    """
    with views.reading(ChangesView) as view:
        for change in view.open:
            if change.phase == "preparing" and not change.failures:
                problem = f"is under way: {change.progress()}"
                hint = "wait until it is done, see varv status"
                raise FailedPrecondition("change", change.number, problem, hint=hint)
        return bool(view.open)


def require_accepted(plan: Plan) -> None:
    """Raise `FailedPrecondition` if anything in a plan is refused, with the first of it as its subject."""
    if not plan.refused:
        return
    first, *others = plan.refused
    more = {"also": "; ".join(one.line() for one in others)} if others else {}
    raise FailedPrecondition(first.kind, first.name, first.problem, hint=first.hint, **more)
