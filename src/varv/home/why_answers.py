"""The first sentence of `varv why`: what is the case and what decided it, before the chain that led there.

Read from the views; `home.why` adds the chain, `app.cli` shows both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from varv.kernel.clock import iso
from varv.kernel.codec import Event
from varv.kernel.ledger import Ledger
from varv.kernel.sagas import CommandFailed
from varv.kernel.views import Views
from varv.kernel.wording import brief
from varv.loop.failing import WAITING
from varv.loop.model import CandidateRejected
from varv.loop.views import Attempt, LoopRecord, LoopView
from varv.registry import RegistryView
from varv.serving.transforming import AFTER, BEFORE

_STAGES = {BEFORE: "request", AFTER: "answer"}


class Answer(msgspec.Struct, frozen=True):
    """A sentence, and the whole message of what failed if it says that something did."""

    text: str
    detail: str = ""
    leaks: tuple[str, ...] = ()


class Predicted(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction as it was captured."""

    model: str
    key: str
    requested_at: str
    score: float | None
    """The number that was answered, of a task that answers one."""
    scores: tuple[float, ...] = ()
    """All numbers that were answered; none if nothing served yet."""
    said: str = ""
    """The answer in words, as the task has it."""
    version: int | None
    arm: str | None
    share: float | None
    epoch: int | None
    segment: str
    served_in: int
    """Seq of the entry that took the prediction in."""
    routed_by: int | None = None
    """Seq of the entry that put the routing table in force."""
    features: dict[str, Any]
    others: tuple[str, ...] = ()
    """Other models that answered a request of this key."""
    answered_by: str = ""
    """How it was answered, if not by the version whose turn it was: ``fallback:3``."""
    flagged: tuple[str, ...] = ()
    """Columns whose value broke a check of the declaration."""


def of_event(event: Event) -> Answer:
    """Return what one entry states."""
    stated = brief(event.line())
    if isinstance(event, CandidateRejected):
        return Answer(stated, event.detail)
    if isinstance(event, CommandFailed):
        return Answer(stated, event.reason)
    return Answer(stated)


def of_model(views: Views, ledger: Ledger, model: str) -> Answer:
    """Return which version of a model serves and why, what became of its last candidate, and what it waits
    for.
    """
    with views.reading(RegistryView) as registry, views.reading(LoopView) as loops:
        record = loops.loops.get(model)
        champion = registry.models[model].aliases.get("champion") if model in registry.models else None
        if record is None or not record.attempts:
            return Answer(_before_training(ledger, model))
        last = record.attempts[max(record.attempts)]
        told = [_serving(record, champion)]
        if last.version != champion:
            told.append(_fate(last))
        if record.suspended is not None:
            told.append(f"Training is {WAITING}: {record.suspended.n_failures} failures in a row were alike.")
        weighed = record.weighed.last
        if weighed is not None and record.policy.benefit is not None:
            told.append(f"A training was last weighed at {iso(weighed.through)}: {weighed.said()}.")
        return Answer(" ".join(told), last.detail, tuple(leak.line() for leak in record.leaks))


def of_version(views: Views, model: str, version: int) -> Answer:
    """Return what became of one version."""
    with views.reading(LoopView) as loops:
        record = loops.loops.get(model)
        attempt = record.attempts.get(version) if record else None
        if attempt is None:
            return Answer(f"v{version} is registered; no loop tried it.")
        return Answer(_fate(attempt), attempt.detail)


def _flags_in_words(flagged: Sequence[str]) -> str:
    columns = [name for name in flagged if name not in _STAGES]
    stages = [_STAGES[name] for name in flagged if name in _STAGES]
    found = f" Its {', '.join(columns)} broke a check." if columns else ""
    return found + "".join(f" The transformation of its {stage} failed." for stage in stages)


def of_prediction(one: Predicted) -> Answer:
    """Return what was answered, and by which version."""
    of_model = f" of {one.model}" if one.others else ""
    after = _flags_in_words(one.flagged)
    after += f" {', '.join(one.others)} answered it too: varv why MODEL {one.key}." if one.others else ""
    mark, _, version = one.answered_by.partition(":")
    if mark == "abstained":
        return Answer(f"It was not answered: v{one.version}{of_model} was not sure enough.{after}")
    if not one.said:
        return Answer("It was not answered: nothing served yet.")
    if mark:
        how = f"v{version}, the champion before" if version else _INSTEAD.get(mark, mark)
        failed = f"v{one.version}{of_model}, whose turn it was as {one.arm}, could not answer"
        return Answer(f"It was answered {one.said} by {how}: {failed}.{after}")
    return Answer(f"It was answered {one.said} by v{one.version}{of_model}, as {one.arm}.{after}")


_INSTEAD = {"cached": "what had been said of the same before", "default": "the declared default"}


def _before_training(ledger: Ledger, model: str) -> str:
    due = ledger.upcoming().timer
    when = f"; the first training is due at {iso(due.due)}" if due and due.key == "train" else ""
    return f"There is no version yet: nothing has been trained{when}."


def _serving(record: LoopRecord, champion: int | None) -> str:
    if champion is None:
        return "No version serves yet."
    attempt = record.attempts.get(champion)
    if attempt is None:
        return f"v{champion} serves."
    since = "" if attempt.ended_at is None else f" since {iso(attempt.ended_at)}"
    return f"v{champion} serves{since}; it was {_made(attempt)}."


def _fate(attempt: Attempt) -> str:
    ended = "" if attempt.ended_at is None else f" at {iso(attempt.ended_at)}"
    because = f": {attempt.reason}" if attempt.reason else ""
    state = {"training": "is being trained", "rolling": "is being rolled out"}.get(
        attempt.outcome, f"was {attempt.outcome}"
    )
    return f"v{attempt.version}, {_made(attempt)}, {state}{ended}{because}."


def _made(attempt: Attempt) -> str:
    if attempt.imported:
        return f"trained elsewhere ({attempt.triggers[0].subject})"
    return f"trained for {'; '.join(trigger.line() for trigger in attempt.triggers) or 'no stated reason'}"
