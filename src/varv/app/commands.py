"""What each command does: read or tell, and show the result as text or as one JSON document."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from varv.app.access import answer, call, owned_ledger, reading_home
from varv.app.comparison_blocks import comparison_blocks
from varv.app.compose import open_engine, open_views
from varv.app.explaining import Explanation, explain
from varv.app.inspecting import ModelStatus, QualityStatus, StatusReport, status_report
from varv.app.rendering import Block, Grid, Heading, Line
from varv.app.server_file import running_server
from varv.app.settings import Loaded, Settings, load_settings, return_memory, share_processors
from varv.app.use_cases import (
    ActRequest,
    CandidateOrdered,
    Desk,
    LogsRequest,
    RegisterRequest,
    RolledBack,
    TrainingCancelled,
    cancel,
    logs,
    register,
    retrain,
    rollback,
)
from varv.app.verifying import VerifyReport, sign_anew, verify_report
from varv.home.model import Comparisons
from varv.home.wording import validation_columns
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import Instant, SystemClock
from varv.kernel.errors import InvalidInput, VarvError
from varv.kernel.wording import number
from varv.loop.offers import content_bytes
from varv.project import Project
from varv.tasks import task_of

Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R")

FLAGS = ("home", "host", "port", "inference_port", "workers")


def run(options: argparse.Namespace) -> int:
    """Run the command that was chosen; return the exit status."""
    share_processors()
    return_memory()
    loaded = load_settings({name: getattr(options, name, None) for name in FLAGS})
    return _COMMANDS[options.command](options, loaded)


def error_document(error: VarvError) -> str:
    """Return an error as the JSON document that `--json` promises."""
    said = {
        "code": error.code,
        "kind": error.kind,
        "name": error.name,
        "problem": error.problem,
        "hint": error.hint,
        "facts": error.facts,
    }
    return msgspec.json.encode({"error": said}, enc_hook=str).decode() + "\n"


# init, replay, up


def _init(options: argparse.Namespace, loaded: Loaded) -> int:
    from varv.app.starting import write_project

    written = write_project(Path(options.folder), SystemClock().now())
    told = {"folder": options.folder, "written": written}

    def blocks() -> list[Block]:
        there = Line("everything is there already; nothing was changed")
        lines: list[Block] = [Line(f"wrote {Path(options.folder) / name}") for name in written] or [there]
        go = "" if options.folder == "." else f"cd {options.folder} && "
        return [*lines, Line(f"next: {go}varv replay deliveries.py")]

    answer(options, told, blocks)
    return 0


def _replay(options: argparse.Namespace, loaded: Loaded) -> int:
    from varv.app.progress import ReplayProgress
    from varv.app.replaying import report_name, run_replay
    from varv.project import REFERENCES

    settings = loaded.settings
    project = _project(options, settings)
    declared = project.replay()
    project.validate()
    if options.policies is not None:
        names = [name.strip() for name in options.policies.split(",") if name.strip()]
        for name in names:
            if name not in REFERENCES:
                hint = f"the policies are {', '.join(REFERENCES)}"
                raise InvalidInput("policy", name[:40], "does not exist", hint=hint)
        declared.references = tuple(names)
    models = [model.name for model in declared.models]
    progress = ReplayProgress(Instant(declared.since), Instant(declared.until), models)
    try:
        found = run_replay(
            declared,
            settings.home,
            progress.tick,
            declared_only=options.declared_only,
            fresh=options.fresh,
            fault=settings.fault,
        )
    finally:
        progress.close()
    reports = [settings.home / report_name(one.model, len(found.models)) for one in found.models]
    answer(options, found, lambda: [*_comparisons(found), *(Line(f"report {path}") for path in reports)])
    return 0


def _project(options: argparse.Namespace, settings: Settings) -> Project:
    """Return the project that a command names, or the settings, with one model alone if it names one."""
    from varv.project import load_project

    project = load_project(_place(options, settings))
    return project.only(options.model) if options.model else project


def _place(options: argparse.Namespace, settings: Settings) -> str:
    place: str = options.file or settings.project
    if not place:
        hint = 'give FILE.py or a folder, or write project = "FILE.py" in varv.toml'
        raise InvalidInput("command", options.command, "names no project", hint=hint)
    return place


def _comparisons(found: Comparisons) -> list[Block]:
    blocks: list[Block] = []
    for one in found.models:
        title = [Heading(f"\n{one.model}")] if len(found.models) > 1 else []
        blocks += [*title, *comparison_blocks(one)]
    return [*blocks, Line("next: varv status, varv why MODEL, varv up FILE")]


def _up(options: argparse.Namespace, loaded: Loaded) -> int:
    from varv.app.server import serve

    return serve(_place(options, loaded.settings), loaded.settings, model=options.model)


# reading


def _status(options: argparse.Namespace, loaded: Loaded) -> int:
    server = running_server(loaded.settings)
    state = "not running" if server is None else f"running, pid {server.pid}, {server.url}"
    with reading_home(loaded.settings) as desk:
        found = status_report(desk.views, desk.ledger, desk.clock.now(), model=options.model, state=state)
    answer(options, found, lambda: _status_blocks(found))
    return 0


def _status_blocks(found: StatusReport) -> list[Block]:
    blocks: list[Block] = [Line(f"server   {found.state}"), Line(f"ledger   {found.n_entries:,} entries")]
    if found.replayed_through is not None:
        ended = "finished" if found.replay_finished else "unfinished"
        blocks.append(Line(f"replay   through {found.replayed_through}, {ended}"))
    if found.next_timer is not None:
        blocks.append(
            Line(f"next     {found.next_timer.key} of {found.next_timer.saga} at {found.next_timer.due}")
        )
    if len(found.models) > 1:
        blocks += _models_blocks(found.models)
    for model in found.models if len(found.models) == 1 else ():
        blocks += _model_blocks(model)
    blocks += _data_blocks(found)
    return (
        blocks
        if found.models
        else [*blocks, Line("no model yet; the first is trained by varv up or varv replay")]
    )


def _data_blocks(found: StatusReport) -> list[Block]:
    if not found.data:
        return []
    columns = ("part", "rows", "repeat, equal", "other", "no row yet", "too early", "quarantined", "given up")
    cells = [
        (
            f"{one.dataset}/{one.part}",
            *(f"{n:,}" for n in (one.n_rows, one.n_equal, one.n_different, one.n_waiting, one.n_early)),
            *(f"{n:,}" for n in (one.n_quarantined, one.n_discarded)),
        )
        for one in found.data
    ]
    held = sum(one.n_quarantined for one in found.data)
    reasons = ", ".join(f"{reason} ({n:,})" for reason, n in found.quarantined.items())
    more = [Line(f"  {held:,} rows in quarantine: {reasons}; see varv quarantine list")] if held else []
    return [Heading("\ndata"), Grid(columns, cells), *more]


def _models_blocks(models: Sequence[ModelStatus]) -> list[Block]:
    """Return a line for each of several models."""
    columns = ("model", "task", "loop", "champion", "traffic", "rollout", "alarms", "requests", "outcomes")
    cells = [
        (
            one.model,
            one.task.name,
            f"{one.phase}, suspended" if one.suspended else one.phase,
            "none" if one.champion is None else f"v{one.champion}",
            _shares(one),
            "none" if one.rollout is None else f"v{one.rollout.version} {one.rollout.phase}",
            str(len(one.alarms)) if one.alarms else "none",
            f"{one.n_requests:,}",
            f"{one.n_labelled:,}" if task_of(one.task).has_outcome else "–",
        )
        for one in models
    ]
    more = Line("everything about one of them: varv status MODEL")
    return [Heading("\nmodels"), Grid(columns, cells), more]


def _shares(model: ModelStatus) -> str:
    return ", ".join(f"v{one.version} {one.share:.0%}" for one in model.shares) or "none"


def _model_blocks(model: ModelStatus) -> list[Block]:
    champion = "none" if model.champion is None else f"v{model.champion}"
    shares = _shares(model)
    shadows = ", ".join(f"v{number}" for number in model.shadows)
    outcomes = f"{model.n_labelled:,} outcomes" if task_of(model.task).has_outcome else "no outcome"
    counts = f"{model.n_requests:,} requests, {outcomes}, {model.n_retrains} retrains"
    blocks: list[Block] = [
        Heading(f"\n{model.model}"),
        Line(f"  champion {champion}, loop {model.phase}, epoch {model.epoch}, {counts}"),
        Line(f"  traffic  {shares}" + (f", shadows {shadows}" if shadows else "")),
    ]
    if model.rollout is not None:
        one = model.rollout
        held = f", held: {one.held}" if one.held else ""
        blocks.append(
            Line(f"  rollout  v{one.version} {one.phase} at {one.share:.0%} since {one.since}{held}")
        )
    if model.n_uncaptured:
        blocks.append(Line(f"  missing  {model.n_uncaptured:,} answers not captured: the disk was full"))
    if model.waiting:
        blocks.append(Line(f"  waiting  {', '.join(model.waiting)}"))
    if model.suspended:
        blocks.append(Line(f"  training {model.suspended}"))
    blocks += [Line(f"  leak?    {one}") for one in model.leaks]
    if model.failure:
        blocks += [Line(f"  failed   {model.failure}".replace("\n", "\n           "))]
    if model.quality is not None:
        blocks.append(Line(_quality_line(model.quality)))
    alarms = [
        f"  alarm    {one.severity} {one.kind} {one.subject} since {one.since}, entry {one.seq}"
        for one in model.alarms
    ]
    blocks += [Line(text) for text in alarms] or [Line("  alarms   none open")]
    return [*blocks, _version_grid(model)]


def _version_grid(model: ModelStatus) -> Grid:
    measured = validation_columns(task_of(model.task))
    rows = [
        (
            f"v{one.version}",
            ", ".join(one.aliases),
            one.registered_at[:16],
            f"{one.n_rows:,}",
            *(number(one.metrics.get(name), digits) for name, (_, digits) in measured.items()),
            one.outcome + (f", planted {one.planted}" if one.planted else ""),
        )
        for one in model.versions
    ]
    labels = (label for label, _ in measured.values())
    return Grid(("version", "aliases", "registered", "rows", *labels, "ended"), rows)


def _quality_line(one: QualityStatus) -> str:
    numbers = ", ".join(shown.text() for shown in one.numbers)
    return f"  quality  {one.since[:10]} to {one.until[:10]}: {numbers}, n {one.n:,}"


def _why(options: argparse.Namespace, loaded: Loaded) -> int:
    with reading_home(loaded.settings) as desk:
        found = explain(desk.home, desk.ledger, desk.views, " ".join(options.subject))
    answer(options, found, lambda: _why_blocks(found))
    return 0


def _logs(options: argparse.Namespace, loaded: Loaded) -> int:
    from varv.app.following import follow

    version = _version(options.version)
    with reading_home(loaded.settings) as desk:
        found = logs(desk, LogsRequest(model=options.model, version=version))
        if options.follow and not options.json:
            follow(desk, found, sys.stdout)
            return 0
    nothing = "nothing so far" if found.running else "nothing"
    text = found.text.rstrip("\n") or f"{found.model} v{found.version} printed {nothing}"
    answer(options, found, lambda: [Line(text)])
    return 0


def _version(given: str | None) -> int | None:
    if given is None:
        return None
    number = given.removeprefix("v")
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise InvalidInput("version", given[:40], "is not a number", hint="write 7 or v7")
    return int(number)


def _why_blocks(found: Explanation) -> list[Block]:
    blocks: list[Block] = [Heading(f"{found.kind} {found.subject}"), Line(f"  {found.answer}")]
    if found.detail:
        blocks.append(Line("  " + found.detail.replace("\n", "\n  ")))
    if found.prediction is not None:
        one = found.prediction
        answer = one.said or "was not answered: nothing served yet"
        by = (
            ""
            if one.version is None
            else f" by v{one.version} ({one.arm}, share {one.share}, epoch {one.epoch})"
        )
        blocks.append(
            Line(f"  answer   {answer}{by} at {one.requested_at}, taken in by entry {one.served_in}")
        )
        blocks.append(
            Line("  features " + ", ".join(f"{name}={value}" for name, value in one.features.items()))
        )
    for source in found.sources:
        row = ", ".join(f"{name}={value}" for name, value in source.row.items())
        blocks.append(Line(f"  source   {source.dataset} {source.part} (entry {source.seq}): {row}"))
    if found.lineage is not None:
        made = found.lineage
        settings = ", ".join(f"{name} {value}" for name, value in made.params.items())
        digests = (("code", made.code), ("environment", made.environment), ("package", made.package))
        blocks.append(Line(f"  made by  entry {made.registered_in}: {made.origin()}, {settings}"))
        blocks.append(Line("  from     " + ", ".join(f"{name} {digest[:12]}" for name, digest in digests)))
        data = (f"{used.dataset} version {used.version} ({used.digest[:12]})" for used in made.datasets)
        blocks.append(Line(f"  data     {', '.join(data)}"))
    if found.output:
        blocks.append(Line(f"  output   {found.output}"))
    blocks += [Line(f"  leak?    {one}") for one in found.leaks]
    blocks.append(Heading("because"))
    for link in found.chain:
        blocks.append(Line(f"  {link.seq:>7}  {link.at[:19]}  {link.event:<26} {link.text}"))
        if link.evidence:
            numbers = ", ".join(f"{name} {value:.6g}" for name, value in link.evidence.items())
            blocks.append(Line(f"           {numbers}"))
    if found.timers:
        blocks.append(Heading("timers on the way"))
        blocks += [Line(f"  {link.seq:>7}  {link.at[:19]}  {link.text}") for link in found.timers]
    return blocks


def _verify(options: argparse.Namespace, loaded: Loaded) -> int:
    if options.sign_anew:
        sign_anew(loaded.settings.home, SystemClock().now())
    against = None if options.against is None else Path(options.against)
    found = verify_report(loaded.settings.home, quick=options.quick, against=against)
    answer(options, found, lambda: _verify_blocks(found))
    return 0 if found.ok else 1


def _verify_blocks(found: VerifyReport) -> list[Block]:
    signed = f"{found.n_checkpoints} checkpoints, signed up to entry {found.signed_up_to}"
    files = f"; {found.n_segments:,} segments and {found.n_blobs} blobs" if found.n_segments else ""
    said = "ok" if found.ok else "not as it was written"
    blocks: list[Block] = [Line(f"{said}: {found.n_entries:,} entries, {signed}{files}")]
    for one in found.findings:
        blocks.append(Line(f"  {one.place} {one.problem}"))
        blocks.append(Line(f"           expected {one.expected}; found {one.found}"))
        blocks.append(Line(f"           next: {one.cure}"))
    if found.unchecked:
        first, more = found.unchecked[0], len(found.unchecked) - 1
        blocks.append(Line(f"not checked, since an earlier version wrote no digest: {first} and {more} more"))
    if found.unread:
        first, more = found.unread[0], len(found.unread) - 1
        blocks.append(Line(f"not named by the ledger, so nobody reads it: {first} and {more} more"))
    return blocks


def _doctor(options: argparse.Namespace, loaded: Loaded) -> int:
    from varv.app.doctor import examine

    found = examine(loaded)

    def blocks() -> list[Block]:
        checks = [(one.verdict, one.name, one.found, one.hint) for one in found.checks]
        settings = [(one.name, str(one.value), one.source) for one in found.settings]
        return [
            Heading("checks"),
            Grid(("", "", "", ""), checks),
            Heading("settings"),
            Grid(("name", "value", "from"), settings),
        ]

    answer(options, found, blocks)
    return 0 if found.ok else 1


# telling


def _rollback(options: argparse.Namespace, loaded: Loaded) -> int:
    found = _ask(loaded.settings, "model.rollback", _act(options), RolledBack, rollback)

    def blocks() -> list[Block]:
        if found.gave_up is not None:
            act, done = f"give up version {found.gave_up}", f"gave up version {found.gave_up}"
            after = f"the champion of {found.model} stays v{found.champion}"
        else:
            act, done = f"return to version {found.returned_to}", f"returned to version {found.returned_to}"
            after = f"it replaces v{found.replaced} as the champion of {found.model}"
        if not found.settled:
            return [Line(f"asked to {act} (entry {found.seq}); carried out when varv up runs next")]
        return [Line(f"{done}; {after} (entry {found.seq})")]

    answer(options, found, blocks)
    return 0


def _retrain(options: argparse.Namespace, loaded: Loaded) -> int:
    found = _ask(loaded.settings, "model.retrain", _act(options), CandidateOrdered, retrain)

    def blocks() -> list[Block]:
        what = "waits for the loop or its cool-down" if found.waits else f"v{found.version} is to be trained"
        return [Line(f"asked for in entry {found.seq}: {what}{_when(found)}")]

    answer(options, found, blocks)
    return 0


def _register(options: argparse.Namespace, loaded: Loaded) -> int:
    from varv.training import read_foreign

    settings = loaded.settings
    categories = dict(_categories(one) for one in options.categories)
    foreign = read_foreign(Path(options.file))
    with reading_home(settings) as desk:
        # Before anything is kept: a name that is wrong leaves nothing behind.
        model = desk.model(options.model)
    asked = RegisterRequest(
        model=model,
        content=FolderBlobs(settings.home / "blobs").put(content_bytes(foreign)),
        fitted_until=options.fitted_until,
        categories=categories,
        trust=options.trust,
        reason=options.reason,
    )
    found = _ask(settings, "model.register", asked, CandidateOrdered, register)

    def blocks() -> list[Block]:
        what = "waits for the loop" if found.waits else f"becomes v{found.version} once it is checked"
        return [Line(f"{foreign.name}, in entry {found.seq}: {what}{_when(found)}")]

    answer(options, found, blocks)
    return 0


def _categories(text: str) -> tuple[str, tuple[str, ...]]:
    """Return column and texts of ``COLUMN=A,B,C``; a text that holds a comma is written in quotes."""
    column, given, texts = text.partition("=")
    if not given or not column:
        raise InvalidInput(
            "option", "--categories", "names no column", hint="write --categories COLUMN=A,B,C"
        )
    return column, tuple(next(csv.reader([texts])))


def _when(found: CandidateOrdered) -> str:
    return "" if found.settled else "; carried out when varv up runs next"


def _cancel(options: argparse.Namespace, loaded: Loaded) -> int:
    found = _ask(loaded.settings, "model.cancel", _act(options), TrainingCancelled, cancel)

    def blocks() -> list[Block]:
        when = "is being ended" if found.settled else "fails as soon as varv up goes on with it"
        return [Line(f"the training of {found.model} v{found.version} {when} (entry {found.seq})")]

    answer(options, found, blocks)
    return 0


def _act(options: argparse.Namespace) -> ActRequest:
    return ActRequest(model=options.model, reason=options.reason)


def _ask(settings: Settings, verb: str, asked: Q, result: type[R], act: Callable[[Desk, Q], R]) -> R:
    """Ask the running server, or tell the loop in the ledger where none runs."""
    server = running_server(settings)
    if server is not None:
        return msgspec.convert(call(server, settings, verb, asked), type=result)
    clock = SystemClock()
    with owned_ledger(settings) as ledger:
        engine = open_engine(ledger, clock)
        return act(Desk(settings.home, ledger, open_views(ledger), clock, engine, running=False), asked)


def _quarantine(options: argparse.Namespace, loaded: Loaded) -> int:
    from varv.app.quarantine_commands import quarantine

    return quarantine(options, loaded)


_COMMANDS: dict[str, Callable[[argparse.Namespace, Loaded], int]] = {
    "init": _init,
    "replay": _replay,
    "up": _up,
    "status": _status,
    "why": _why,
    "verify": _verify,
    "doctor": _doctor,
    "quarantine": _quarantine,
    "rollback": _rollback,
    "retrain": _retrain,
    "register": _register,
    "cancel": _cancel,
    "logs": _logs,
}
