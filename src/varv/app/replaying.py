"""Running a replay in a home folder: the declared policy in the home itself, each reference in a folder of
its own.

A home holds one history. A replay that was cut short goes on; one that is finished is not run again; one of
another declaration or other data is set aside whole under ``replays/`` first. The history of a live model is
never touched.
"""

from __future__ import annotations

import copy
import gc
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from varv.app.compose import open_ledger, open_views, open_world
from varv.data import Datasets, DatasetsView
from varv.fronts.web.report import write_report
from varv.kernel.blobs import write_atomically
from varv.kernel.clock import Instant, VirtualClock, cpu_seconds
from varv.kernel.codec import Digest, Event, canonical, digest_of
from varv.kernel.columns import FolderColumns
from varv.kernel.errors import FailedPrecondition
from varv.kernel.faults import Faults
from varv.kernel.ledger import Entry
from varv.kernel.sagas import Fact
from varv.kernel.secret import SECRET_FILE, Secret
from varv.loop.accounts import PartRows, rows_of, text_notices, warnings_of
from varv.loop.comparison import (
    COMPARISON_FILE,
    DECLARED,
    Comparison,
    PoliciesCompared,
    PolicyRun,
    compare,
    policy_run,
    without_cpu,
)
from varv.loop.declaration import REFERENCES, Model, Replay, policy_of
from varv.loop.feed import Feed
from varv.loop.leak_report import new_notices
from varv.loop.leaks import changed_rows
from varv.loop.model import LeakFinding, LoopStarted
from varv.loop.replay import Driver, Progress
from varv.loop.world import World
from varv.rollout import Rollout
from varv.training import code_closure

OnTick = Callable[[str, Progress, list[Entry]], None]
"""Told, after each step of a policy's replay: the policy's name, how far it has come, and what its ledger
gained.
"""

REPORT_FILE = "report.html"
ASIDE = "replays"
"""Replays that were set aside, a folder each."""
_PARTS = (
    *(
        "blobs",
        "cache",
        "columns",
        COMPARISON_FILE,
        REPORT_FILE,
        "checkpoints.jsonl",
        "signing.key",
        SECRET_FILE,
    ),
    *("ledger.db-shm", "ledger.db-wal", "ledger.db"),
)
"""What a replay keeps in its folder; the ledger comes last, since a folder with a ledger is not yet moved."""
_COMPARISON = "comparison"
"""A stream of its own: the last fact of the stream ``replay`` says how far the replay has come."""


def run_replay(
    replay: Replay,
    home: Path,
    on_tick: OnTick,
    *,
    declared_only: bool = False,
    fresh: bool = False,
    fault: str = "",
) -> Comparison:
    """Replay the declared policy and its references, compare them, and return the comparison.

    Parameters
    ----------
    fresh
        Set a finished or started replay of the same declaration aside too, and run it anew.
    fault
        A crash point, for tests; see `kernel.faults`.

    Raises
    ------
    InvalidDeclaration
        If the declaration cannot work with its data.
    FailedPrecondition
        If the home holds the history of a live model.
    """
    replay.validate()
    feed = Feed(replay.model.datasets)
    replay.model.require_binary(feed.values(replay.model.requests, replay.model.outcome.column))
    declaration = digest_of([declaration_digest(replay), feed.digest()])
    make_room(home, declaration, fresh=fresh)
    names = [DECLARED] if declared_only else [DECLARED, *replay.references]
    runs: dict[str, PolicyRun] = {}
    accounts: dict[str, tuple[PartRows, ...]] = {}
    for name in names:
        folder = home if name == DECLARED else home / "policies" / name
        if name != DECLARED:
            make_room(folder, declaration, fresh=fresh)
        runs[name], accounts[name] = _run_policy(
            replay, name, folder, feed, declaration, on_tick, fault if name == DECLARED else ""
        )
        # A world is hundreds of megabytes in reference cycles, and the collector counts objects, not bytes:
        # without this the next policy's world would stand beside the last one's.
        gc.collect()
    mature = Instant(max(replay.train_at, replay.until - replay.model.outcome.mature))
    try:
        compared = compare(runs, since=replay.train_at, until=mature, seed=replay.seed)
    except FailedPrecondition as error:
        raise _with_losses(error, warnings_of(accounts[DECLARED])) from None
    return _record(home, replay, compared, accounts[DECLARED])


def _with_losses(error: FailedPrecondition, losses: Sequence[str]) -> FailedPrecondition:
    """Return `error`, which says that there is nothing to compare, with the rows that were not used."""
    facts = {**error.facts, "rows": "; ".join(losses)} if losses else error.facts
    return FailedPrecondition(error.kind, error.name, error.problem, hint=error.hint, **facts)


def declaration_digest(declared: Model | Replay) -> Digest:
    """Return what identifies a declaration: its policy, outcome, features, gates, monitors and training code;
    of a replay its times, plants and seed too.
    """
    if isinstance(declared, Model):
        return _model_digest(declared, Instant(0), 0)
    plants = [[plant.name, plant.at, plant.column, plant.breaks] for plant in declared.plants]
    times = [declared.since, declared.train_at, declared.until]
    return digest_of([_model_digest(declared.model, declared.train_at, declared.seed), times, plants])


def _model_digest(model: Model, first_training: Instant, seed: int) -> Digest:
    return digest_of(
        [
            policy_of(model, first_training, seed),
            model.definition(),
            model.unit,
            list(model.gates),
            list(model.monitors),
            [
                code_closure(model.train.fit).digest,
                model.train.params,
                model.train.window,
                model.train.validate,
                model.train.origins,
                model.train.refit,
                model.train.min_rows,
            ],
        ]
    )


def make_room(folder: Path, declaration: Digest, *, fresh: bool = False) -> None:
    """Set the replay that `folder` holds aside, unless it is of this declaration or there is none.

    Raises
    ------
    FailedPrecondition
        If the folder holds the history of a live model, which no replay may replace.
    """
    held = _held(folder)
    if held is None or (held == declaration and not fresh):
        return
    aside = folder / ASIDE / held[:12]
    number = 1
    while aside.exists():
        number += 1
        aside = folder / ASIDE / f"{held[:12]}-{number}"
    aside.mkdir(parents=True)
    for path in (folder / name for name in _PARTS):
        if path.exists():
            shutil.move(path, aside / path.name)


def _held(folder: Path) -> str | None:
    """Return the declaration of the replay in a folder, or None if it is empty."""
    if not (folder / "ledger.db").exists():
        return None
    ledger = open_ledger(folder, read_only=True)
    try:
        started = [entry.event for entry in ledger.read(limit=50) if entry.name == LoopStarted.event_name]
        live = ledger.head("live").version > 0
    finally:
        ledger.close()
    if live:
        hint = "replay into another home: varv --home .varv-replay replay FILE"
        raise FailedPrecondition("home", folder.name, "holds the history of a live model", hint=hint)
    first = started[0] if started else None
    return first.declaration if isinstance(first, LoopStarted) else "unfinished"


def _run_policy(
    replay: Replay, name: str, folder: Path, feed: Feed, declaration: Digest, on_tick: OnTick, fault: str
) -> tuple[PolicyRun, tuple[PartRows, ...]]:
    """Replay one policy; of the declared one return the accounts of all rows as well."""
    model = replay.model if name == DECLARED else _reference(replay.model, name)
    clock = VirtualClock(replay.since)
    began = cpu_seconds()
    # Whoever has the data may know the digests of its values; the same replay must give the same bytes.
    Secret(folder / SECRET_FILE).settle(feed.digest().encode())
    world = open_world(folder, model, clock, durability="process", faults=Faults.parse(fault))
    try:
        seen = world.ledger.head().version
        resumed = seen > 0

        def tick(progress: Progress) -> None:
            nonlocal seen
            entries = world.ledger.read(seen)
            seen = entries[-1].seq if entries else seen
            on_tick(name, progress, entries)

        driver = Driver(world, clock, replay, feed, plants=name == DECLARED)
        driver.run(policy_of(model, replay.train_at, replay.seed), declaration, tick)
        accounts: tuple[PartRows, ...] = ()
        if name == DECLARED:
            # Now, while the keys of all rows are in memory.
            accounts = rows_of(world, feed, replay.since, replay.until)
            facts = [Fact(world.loop_id, event) for event in _changed_since(folder, world)]
            world.engine.tell(facts=facts)
        # What an earlier start of this replay has spent is not known any more, and a part would mislead.
        spent = None if resumed else round(cpu_seconds() - began, 1)
        return policy_run(world, replay.train_at, replay.until, spent), accounts
    finally:
        world.close()


def _changed_since(folder: Path, world: World) -> tuple[Event, ...]:
    """Return notices of columns whose past rows read otherwise than in the replay that was set aside last."""
    asides = [path for path in (folder / ASIDE).glob("*") if (path / "ledger.db").exists()]
    if not asides:
        return ()
    last = max(asides, key=lambda path: ((path / "ledger.db").stat().st_mtime_ns, path.name))
    ledger = open_ledger(last, read_only=True)
    try:
        views = open_views(ledger)
        before = Datasets(
            ledger, FolderColumns(last / "columns"), world.clock, views, Secret(last / SECRET_FILE)
        )
        with views.reading(DatasetsView) as old, world.views.reading(DatasetsView) as new:
            kept = [
                one for one in world.model.datasets if old.registered(one.name) == new.registered(one.name)
            ]
        found: list[LeakFinding] = []
        for dataset in kept:
            stored, now = (each.read_part(dataset, dataset.event_time) for each in (before, world.datasets))
            found += changed_rows(dataset.name, dataset.key, stored, now)
    finally:
        ledger.close()
    return new_notices(world, found)


def _reference(model: Model, name: str) -> Model:
    """Return the model under a reference policy: by the calendar, replaced at once, with nothing to pass.

    Without gates and a shadow a refit would put into service what nobody has judged, so what was scored on
    the one held-out stretch is what serves.
    """
    chosen = copy.copy(model)
    chosen.train = copy.copy(model.train)
    chosen.train.origins, chosen.train.refit = 1, False
    chosen.retrain = REFERENCES[name]
    chosen.rollout = Rollout.immediate()
    chosen.gates = ()
    return chosen


def _record(home: Path, replay: Replay, compared: Comparison, rows: tuple[PartRows, ...]) -> Comparison:
    """Keep the comparison with the accounts of all rows, and return both."""
    clock = VirtualClock(replay.until)
    world: World = open_world(home, replay.model, clock, durability="process")
    try:
        compared = _with_accounts(world, replay, compared, rows)
        event = PoliciesCompared(comparison=without_cpu(compared))
        last = world.ledger.read(max(0, world.ledger.head(_COMPARISON).version - 1), stream=_COMPARISON)
        if not last or last[-1].event != event:
            world.engine.tell(facts=(Fact(_COMPARISON, event),))
        write_report(compared, world.views, home / REPORT_FILE)
    finally:
        world.close()
    write_atomically(home / COMPARISON_FILE, canonical(compared), Faults())
    return compared


def _with_accounts(
    world: World, replay: Replay, compared: Comparison, rows: tuple[PartRows, ...]
) -> Comparison:
    with world.views.reading(DatasetsView) as view:
        notices = text_notices(view, replay.model.requests.name, replay.model.definition()[1:])
    return msgspec.structs.replace(compared, warnings=warnings_of(rows), notices=notices, rows=rows)


def read_comparison(home: Path) -> Comparison | None:
    """Return the comparison of the replay that a home holds, if it is finished."""
    try:
        return msgspec.json.decode((home / COMPARISON_FILE).read_bytes(), type=Comparison)
    except FileNotFoundError:
        return None
