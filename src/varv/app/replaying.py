"""Running a replay in a home folder: the declared policies in the home itself, each reference in a folder of
its own.

A home holds one history. A replay that was cut short goes on; one that is finished is not run again; one of
another declaration or other data is set aside whole under ``replays/`` first. The history of a live model is
never touched.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from varv.app.compose import open_home, open_ledger, open_views
from varv.app.regrets import FOLDER, with_regret
from varv.app.searching import SEARCH, SearchDays, require_search
from varv.data import Dataset, Datasets, DatasetsView
from varv.fronts.web.report import write_report
from varv.home.accounts import rows_of, text_notices, warnings_of
from varv.home.comparison import (
    COMPARISON_FILE,
    DECLARED,
    PolicyRun,
    compare,
    comparisons,
    policy_run,
    read_comparisons,
    without_cpu,
)
from varv.home.feed import Feed
from varv.home.home import Home
from varv.home.model import Comparison, Comparisons, PartRows, PoliciesCompared
from varv.home.replay import Driver, Progress
from varv.kernel.blobs import write_atomically
from varv.kernel.clock import Instant, VirtualClock, cpu_seconds
from varv.kernel.codec import Digest, canonical, digest_of
from varv.kernel.errors import FailedPrecondition
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Entry
from varv.kernel.sagas import Fact
from varv.kernel.secret import SECRET_FILE, Secret
from varv.loop.leak_report import new_notices
from varv.loop.leaking.findings import changed_rows
from varv.loop.leaking.model import LeakFinding
from varv.loop.model import LoopStarted
from varv.loop.plan import loop_id
from varv.loop.weighing.model import Price
from varv.project import ModelPlan, Policy, Replay, datasets_of, plan_of, replay_digest

OnTick = Callable[[str, Progress, list[Entry]], None]
"""Told, after each step of a policy's replay: the policy's name, how far it has come, and what its ledger
gained.
"""

REPORT = "report"
ASIDE = "replays"
"""Replays that were set aside, a folder each."""
_PARTS = (
    *(
        "blobs",
        "cache",
        "columns",
        FOLDER,
        COMPARISON_FILE,
        "checkpoints.jsonl",
        "signing.key",
        SECRET_FILE,
    ),
    *("ledger.db-shm", "ledger.db-wal", "ledger.db"),
)
"""What a replay keeps in its folder; the ledger comes last, since a folder with a ledger is not yet moved."""
_COMPARISON = "comparison"
"""A stream of its own: the last fact of the stream ``replay`` says how far the replay has come."""


class Extra(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay finds beside its comparison: the regret of policies, and what a declared search says. The
    price of a training is the declared one where None is given.
    """

    regret: bool = False
    search: bool = False
    price: Price | None = None


ALONE = Extra()


def run_replay(
    replay: Replay,
    home: Path,
    on_tick: OnTick,
    *,
    declared_only: bool = False,
    fresh: bool = False,
    fault: str = "",
    extra: Extra = ALONE,
) -> Comparisons:
    """Replay the declared policies and their references, compare them, and return what each model showed.

    Parameters
    ----------
    replay
        Of a validated project.
    fresh
        Set a finished or started replay of the same declaration aside too, and run it anew.
    fault
        A crash point, for tests; see `kernel.faults`.
    extra
        What else is to be found.

    Raises
    ------
    InvalidDeclaration
        If the declaration cannot work with its data.
    FailedPrecondition
        If the home holds the history of a live model.
    """
    if extra.search:
        require_search(replay)
    plans = tuple(map(plan_of, replay.models))
    for dataset in datasets_of(plans):
        dataset.bind(Secret(home / SECRET_FILE).purposes)
    feed = Feed(datasets_of(plans))
    for plan in plans:
        if plan.outcome.column:
            plan.require_history(feed.values(plan.schema.requests, plan.outcome.column))
    declaration = digest_of([replay_digest(replay, plans), feed.digest()])
    make_room(home, declaration, fresh=fresh)
    runs: dict[str, dict[ModelName, PolicyRun]] = {}
    accounts: dict[ModelName, tuple[PartRows, ...]] = {}
    for name in [DECLARED] if declared_only else [DECLARED, *replay.references]:
        variation = None if name == DECLARED else replay.policies[name]
        folder = home if variation is None else home / "policies" / name
        policy = PolicyReplay(replay, variation, folder, feed, declaration)
        if variation is not None:
            make_room(folder, policy.declaration, fresh=fresh)
        runs[name], found = policy.run(on_tick, fault if name == DECLARED else "")
        accounts = found or accounts
        # A home is hundreds of megabytes in reference cycles, and the collector counts objects, not bytes:
        # without this the next policy's home would stand beside the last one's.
        gc.collect()
    of_models = [{policy: of[plan.name] for policy, of in runs.items()} for plan in plans]
    compared = [
        _compared(replay, plan, found, accounts[plan.name])
        for plan, found in zip(plans, of_models, strict=True)
    ]
    if extra.regret:
        compared = with_regret(home, replay, plans, compared, of_models, extra.price)
    if extra.search:
        declared = [one[DECLARED] for one in of_models]
        lived = _searched(replay, declared, home, feed, declaration, on_tick, fresh=fresh)
        compared = [
            msgspec.structs.replace(one, search=days.found(extra.price))
            for one, days in zip(compared, lived, strict=True)
        ]
    return _record(home, replay, plans, compared, accounts)


def _compared(
    replay: Replay, plan: ModelPlan, runs: dict[str, PolicyRun], rows: Sequence[PartRows]
) -> Comparison:
    mature = Instant(max(replay.train_at, replay.until - plan.outcome.mature))
    try:
        return compare(runs, since=replay.train_at, until=mature, seed=replay.seed)
    except FailedPrecondition as error:
        raise _with_losses(error, warnings_of(rows)) from None


def _searched(
    replay: Replay,
    declared: Sequence[PolicyRun],
    home: Path,
    feed: Feed,
    declaration: Digest,
    on_tick: OnTick,
    *,
    fresh: bool,
) -> list[SearchDays]:
    """Replay every combination of the declared search, and return what each model lost under them."""
    days = [SearchDays(replay, model, run) for model, run in zip(replay.models, declared, strict=True)]
    for variation in require_search(replay).policies:
        policy = PolicyReplay(replay, variation, home / SEARCH / variation.name, feed, declaration)
        make_room(policy.folder, policy.declaration, fresh=fresh)
        runs, _ = policy.run(on_tick, "")
        for one in days:
            one.add(variation, runs[one.model])
        # As of references: the next home would stand beside the last one.
        gc.collect()
    return days


def _with_losses(error: FailedPrecondition, losses: Sequence[str]) -> FailedPrecondition:
    """Return `error`, which says that there is nothing to compare, with the rows that were not used."""
    facts = {**error.facts, "rows": "; ".join(losses)} if losses else error.facts
    return FailedPrecondition(error.kind, error.name, error.problem, hint=error.hint, **facts)


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
    reports = sorted(folder.glob(f"{REPORT}*.html"))
    for path in [*reports, *(folder / name for name in _PARTS)]:
        if path.exists():
            shutil.move(path, aside / path.name)


def report_name(model: ModelName, n_models: int) -> str:
    """Return the file name of the report on a model; it names the model where there are several."""
    return f"{REPORT}.html" if n_models == 1 else f"{REPORT}-{model}.html"


def report_of(home: Path, model: str) -> Path | None:
    """Return the report on a model that a home holds, if there is one."""
    found = read_comparison(home)
    names = () if found is None else tuple(one.model for one in found.models)
    path = home / report_name(ModelName(model), len(names))
    return path if model in names and path.exists() else None


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


class PolicyReplay:
    """One policy of a replay, in a folder of its own.

    Parameters
    ----------
    variation
        Of the declared policy; None for that itself.
    declaration
        What identifies the declared policy and its data.
    """

    def __init__(
        self, replay: Replay, variation: Policy | None, folder: Path, feed: Feed, declaration: Digest
    ) -> None:
        self._is_declared = variation is None
        self._replay = replay
        self._name = DECLARED if variation is None else variation.name
        self._feed = feed
        self.folder = folder
        models = replay.models if variation is None else [variation.of(one) for one in replay.models]
        self._plans = tuple(map(plan_of, models))
        self.declaration = declaration
        if variation is not None and not variation.is_standard:
            # The name of a policy that is declared says nothing of its parts.
            plans = [plan.digest(replay.train_at, replay.seed) for plan in self._plans]
            self.declaration = digest_of([declaration, plans])

    def run(
        self, on_tick: OnTick, fault: str
    ) -> tuple[dict[ModelName, PolicyRun], dict[ModelName, tuple[PartRows, ...]]]:
        """Replay the policy; of the declared one return the accounts of all rows as well."""
        replay, clock = self._replay, VirtualClock(self._replay.since)
        began = cpu_seconds()
        # Whoever has the data may know the digests of its values; the same replay must give the same bytes.
        Secret(self.folder / SECRET_FILE).settle(self._feed.digest().encode())
        home = open_home(self.folder, self._plans, clock, durability="process", faults=Faults.parse(fault))
        try:
            seen = home.ledger.head().version
            resumed = seen > 0

            def tick(progress: Progress) -> None:
                nonlocal seen
                entries = home.ledger.read(seen)
                seen = entries[-1].seq if entries else seen
                on_tick(self._name, progress, entries)

            driver = Driver(home, clock, replay, self._feed, plants=self._is_declared)
            driver.run(self.declaration, tick)
            accounts = self._accounts(home) if self._is_declared else {}
            # What an earlier start of this replay has spent is not known any more, and a part would mislead.
            spent = None if resumed else round(cpu_seconds() - began, 1)
            runs = {
                name: policy_run(home, name, replay.train_at, replay.until, spent) for name in home.models
            }
            return runs, accounts
        finally:
            home.close()

    def _accounts(self, home: Home) -> dict[ModelName, tuple[PartRows, ...]]:
        """Return what became of all rows, now, while their keys are in memory; and put on record which of the
        past read otherwise before.
        """
        span = self._replay.since, self._replay.until
        accounts = {plan.name: rows_of(home, plan.datasets, self._feed, *span) for plan in self._plans}
        changed = _changed_since(self.folder, home)
        for plan in self._plans:
            found = [one for dataset in plan.datasets for one in changed.get(dataset.name, ())]
            notices = new_notices(home.views, plan.name, found)
            home.engine.tell(facts=[Fact(loop_id(plan.name), event) for event in notices])
        return accounts


def _changed_since(folder: Path, home: Home) -> dict[str, list[LeakFinding]]:
    """Return by dataset the columns whose past rows read otherwise than in the replay that was set aside
    last.
    """
    asides = [path for path in (folder / ASIDE).glob("*") if (path / "ledger.db").exists()]
    if not asides:
        return {}
    last = max(asides, key=lambda path: ((path / "ledger.db").stat().st_mtime_ns, path.name))
    ledger = open_ledger(last, read_only=True)
    try:
        views = open_views(ledger)
        before = Datasets(
            ledger, FolderColumns(last / "columns"), home.clock, views, Secret(last / SECRET_FILE)
        )
        with views.reading(DatasetsView) as old, home.views.reading(DatasetsView) as new:
            kept = [one for one in home.declared if old.registered(one.name) == new.registered(one.name)]
        return {dataset.name: _changed(dataset, before, home.datasets) for dataset in kept}
    finally:
        ledger.close()


def _changed(dataset: Dataset, before: Datasets, now: Datasets) -> list[LeakFinding]:
    stored, read = (each.read_part(dataset, dataset.event_time) for each in (before, now))
    return changed_rows(dataset.name, dataset.key, stored, read, keyed=dataset.keyed)


def _record(
    folder: Path,
    replay: Replay,
    plans: Sequence[ModelPlan],
    compared: Sequence[Comparison],
    rows: dict[ModelName, tuple[PartRows, ...]],
) -> Comparisons:
    """Keep the comparisons with the accounts of all rows, and return both."""
    home = open_home(folder, plans, VirtualClock(replay.until), durability="process")
    try:
        found = comparisons(
            [_accounted(home, plan, one, rows[plan.name]) for plan, one in zip(plans, compared, strict=True)]
        )
        events = [PoliciesCompared(comparison=without_cpu(one)) for one in found.models]
        head = home.ledger.head(_COMPARISON).version
        last = home.ledger.read(max(0, head - len(events)), stream=_COMPARISON)
        if [entry.event for entry in last] != events:
            home.engine.tell(facts=[Fact(_COMPARISON, event) for event in events])
        for one in found.models:
            write_report(one, home.views, folder / report_name(one.model, len(found.models)))
    finally:
        home.close()
    write_atomically(folder / COMPARISON_FILE, canonical(found), Faults())
    return found


def _accounted(home: Home, plan: ModelPlan, compared: Comparison, rows: tuple[PartRows, ...]) -> Comparison:
    with home.views.reading(DatasetsView) as view:
        notices = text_notices(view, plan.schema.requests.name, plan.loop.definition()[1:])
    return msgspec.structs.replace(compared, warnings=warnings_of(rows), notices=notices, rows=rows)


def read_comparison(home: Path) -> Comparisons | None:
    """Return the comparisons of the replay that a home holds, if it is finished."""
    try:
        return read_comparisons((home / COMPARISON_FILE).read_bytes())
    except FileNotFoundError:
        return None
