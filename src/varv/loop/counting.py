"""What volume and age are counted from: the training of the version that serves.

A candidate that was refused, or rolled back, leaves the champion as old as it was and the rows that it has
not seen as many, so it resets neither; only the cool-down counts from the last training. While a candidate is
under way, both count from the candidate's training instead, since what asks for a fresher one is not
answered by it.
"""

from __future__ import annotations

from msgspec.structs import replace

from varv.kernel.clock import DAY, Instant
from varv.kernel.sagas import CancelTimer, SetTimer
from varv.loop.model import LoopPolicy, LoopState, Trained, Trigger


def counted_from(state: LoopState) -> Trained | None:
    """Return the training that volume and age count from at present; None before the first."""
    last = None if state.trained_at is None else Trained(state.trained_at, state.trained_rows)
    under_way = state.phase in ("training", "judging", "rolling")
    if under_way and state.is_own and not _is_returning(state):
        return last
    return state.champion_trained or last


def promoted(state: LoopState) -> LoopState:
    """Return the state with the trainings of the new champion and of the one before it."""
    if _is_returning(state):
        return replace(state, champion_trained=state.former_trained, former_trained=state.champion_trained)
    own = state.offer_taken
    if state.is_own and state.trained_at is not None:
        own = Trained(state.trained_at, state.trained_rows)
    return replace(
        state, champion_trained=own or state.champion_trained, former_trained=state.champion_trained
    )


def _is_returning(state: LoopState) -> bool:
    """Return whether the candidate is the champion before, on its way back."""
    return state.candidate is not None and state.candidate == state.returning_to


def growth(state: LoopState, policy: LoopPolicy) -> Trigger | None:
    """Return the trigger of the declared growth of mature rows, if it is reached."""
    since = counted_from(state)
    # During a training the rows of the one that is under way are not counted yet.
    if policy.volume is None or state.champion is None or state.phase == "training":
        return None
    if since is None or not since.n_rows:
        return None
    share = state.n_rows / since.n_rows - 1.0
    if share < policy.volume:
        return None
    evidence: dict[str, float | None] = {
        "n_rows": float(state.n_rows),
        "trained_rows": float(since.n_rows),
        "growth": share,
        "threshold": policy.volume,
    }
    return Trigger("volume", "", evidence)


def age(state: LoopState, now: Instant) -> dict[str, float | None]:
    """Return how old the training is that age counts from, as the evidence of a trigger."""
    since = counted_from(state)
    return {"days_since_training": None if since is None else (now - since.at) / DAY}


def schedule(state: LoopState, policy: LoopPolicy, now: Instant) -> tuple[SetTimer | CancelTimer, ...]:
    """Return the timer that the declared schedule sets; what is overdue is due now."""
    if policy.schedule is None:
        return (CancelTimer("schedule"),)
    since = counted_from(state)
    return (SetTimer("schedule", Instant(max(now, (since.at if since else now) + policy.schedule))),)
