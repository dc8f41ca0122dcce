"""`varv.replay`: policies lived through, from Python. `varv replay` runs here too."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from varv.app.client.replayed import ReplayResult
from varv.app.client.sources import When
from varv.app.progress import ReplayProgress
from varv.app.replaying import ALONE, Extra, run_replay
from varv.kernel.clock import DAY, Instant, instant, iso
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.project import STANDARD, Model, Policy, Project, Replay, load_project, project_of
from varv.project.price import Cost, price_of

FIRST_TRAINING = 30 * DAY
"""How far into the past the first version is trained, if nobody says when; later in a longer one."""
SHARE_BEFORE = 12
"""Of a long past, one part of so many comes before the first training; of a short one, a third at most."""


def replay(
    *what: Replay | Model | str | Path,
    home: str | Path | None = None,
    since: When | None = None,
    train_at: When | None = None,
    until: When | None = None,
    references: Sequence[str | Policy] | None = None,
    declared_only: bool = False,
    fresh: bool = False,
    progress: bool = True,
    regret: bool = False,
    search: bool = False,
    price: Cost | None = None,
) -> ReplayResult:
    """Live through the past under the declared policies, and compare them with simpler ones.

    Parameters
    ----------
    what
        A `varv.Replay`, one or more `varv.Model`, or the path of a project that declares a replay.
    home
        The folder to do it in. A replay that it holds of the same declaration and data goes on, or is shown
        again. By default a temporary folder, which goes with the result.
    since, train_at, until
        The past is fed from `since`, the first versions are trained at `train_at`, and the replay ends at
        `until`; as declared, if they are left out. Of models without a replay, the past begins with the day
        of the first request and ends with that of the last one, and the first training comes after 30 days,
        or a twelfth of it if that is more, but a third at most. The result says which were taken.
    references
        Policies to compare with; as declared, or ``("never", "monthly", "weekly")``.
    declared_only
        Leave the reference policies out.
    fresh
        Set what the home holds aside, and run anew.
    progress
        Show how far it is: a bar on a terminal and in a notebook, a line a month elsewhere, on standard
        error.
    regret, search
        Find the regret of every policy, and what the declared search says, as ``--regret`` and ``--search``.
    price
        What a training costs, for both; as declared, if it is left out.

    Raises
    ------
    InvalidInput
        If `what` is nothing that can be replayed.
    InvalidDeclaration
        If the declaration cannot work with its data.
    FailedPrecondition
        If the home holds the history of a live model.
    """
    times = {"since": since, "train_at": train_at, "until": until}
    given = {name: _text(name, at) for name, at in times.items() if at is not None}
    declared = _declared(what, given, references)
    folder = Path(tempfile.mkdtemp(prefix="varv-")) if home is None else Path(home)
    return run(
        declared,
        folder,
        declared_only=declared_only,
        fresh=fresh,
        progress=progress,
        temporary=home is None,
        extra=Extra(regret=regret, search=search, price=None if price is None else price_of(price)),
    )


def run(
    declared: Replay,
    folder: Path,
    *,
    declared_only: bool = False,
    fresh: bool = False,
    fault: str = "",
    progress: bool = True,
    temporary: bool = False,
    extra: Extra = ALONE,
) -> ReplayResult:
    """Run a validated replay in a folder and return what it showed; as `replay` does."""
    models = [model.name for model in declared.models]
    shown = ReplayProgress(Instant(declared.since), Instant(declared.until), models) if progress else None
    try:
        found = run_replay(
            declared,
            folder,
            (lambda policy, now, entries: None) if shown is None else shown.tick,
            declared_only=declared_only,
            fresh=fresh,
            fault=fault,
            extra=extra,
        )
    finally:
        if shown is not None:
            shown.close()
    return ReplayResult(folder, found, declared, temporary=temporary)


def _declared(
    what: Sequence[object], times: dict[str, str], references: Sequence[str | Policy] | None
) -> Replay:
    """Return the replay to run, validated."""
    project = _project(what)
    project.validate()
    if project.replays:
        chosen = project.replay()
        if not times and references is None:
            return chosen
        made = Replay(
            *chosen.models,
            since=times.get("since", iso(chosen.since)),
            train_at=times.get("train_at", iso(chosen.train_at)),
            until=times.get("until", iso(chosen.until)),
            plants=chosen.plants,
            references=chosen.compared if references is None else references,
            seed=chosen.seed,
            price=chosen.price,
            search=chosen.search,
        )
    else:
        since, train_at, until = _times(project.models, times)
        known = STANDARD if references is None else references
        made = Replay(*project.models, since=since, train_at=train_at, until=until, references=known)
    project_of(project.name, [made]).validate()
    return made


def _project(what: Sequence[object]) -> Project:
    if len(what) == 1 and isinstance(what[0], str | Path):
        found = load_project(str(what[0]))
        found.replay()  # a project that is to be replayed says what of it
        return found
    for one in what:
        if not isinstance(one, Model | Replay):
            hint = "give a varv.Replay, a varv.Model or several, or the path of a project"
            raise InvalidInput("replay", repr(one)[:60], "is nothing that can be replayed", hint=hint)
    return project_of("replay", [one for one in what if isinstance(one, Model | Replay)])


def _times(models: Sequence[Model], given: dict[str, str]) -> tuple[str, str, str]:
    """Return since when, trained when and until when to replay all requests that there are."""
    # Times alone, which nobody treats: no home is open yet, so there are no keys for personal columns.
    seen = [model.requests.source.load()[model.requests.event_time].drop_nulls() for model in models]
    at = pl.concat([times.cast(pl.Datetime("us", "UTC")).to_physical() for times in seen])
    first, last = at.min(), at.max()
    if not isinstance(first, int) or not isinstance(last, int):
        names = ", ".join(model.name for model in models)
        hint = "its dataset holds no row with an event time"
        raise InvalidDeclaration("replay", names, "has no requests to replay", hint=hint)
    since = instant(given["since"]) if "since" in given else Instant(first // DAY * DAY)
    until = instant(given["until"]) if "until" in given else Instant(last // DAY * DAY + DAY)
    span = until - since
    before = min(max(FIRST_TRAINING, span // SHARE_BEFORE), span // 3) // DAY * DAY
    return iso(since), given.get("train_at", iso(since + max(before, DAY))), iso(until)


def _text(name: str, at: object) -> str:
    found = at if isinstance(at, str) else getattr(at, "isoformat", lambda: None)()
    if not isinstance(found, str):
        raise InvalidInput("argument", name, "is no time", given=repr(at)[:40], hint='write "2025-02-01"')
    return found
