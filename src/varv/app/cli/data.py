"""`varv data`: datasets and their versions on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl

from varv.app.cli.access import acted, acted_by, answer, reading_home
from varv.app.cli.impact_blocks import impact_blocks
from varv.app.cli.privacy import rotate_key, show_anonymity, show_pii, show_revealed
from varv.app.cli.profiles import moved_blocks, profile, watch
from varv.app.cli.pulling import pull_sources
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.cli.row_files import kind_of, read_rows, write_rows
from varv.app.cli.tiers import move_files, size_cells, tier_blocks
from varv.app.cli.training_sets import make_training_set
from varv.app.client.sources import LocalSource, whole_table
from varv.app.settings import Loaded, Settings
from varv.data.dataset import part_named
from varv.data.delta.exporting import export
from varv.data.delta.verbs import PublicationDone, PublishRequest, SqlRequest, publish, sql
from varv.data.difference_verbs import DiffRequest, diff
from varv.data.tiers.verbs import TierList
from varv.data.versioning.difference import Difference
from varv.data.versioning.references import parse_reference
from varv.data.versioning.staging import stage
from varv.data.versioning.verbs import (
    DatasetShown,
    RewriteDone,
    RewriteRequest,
    ShowDataset,
    TagGiven,
    TagRequest,
    Vacuumed,
    VacuumRequest,
    merge,
    overwrite,
    show_dataset,
    tag,
    untag,
    vacuum,
)
from varv.home.impact import ImpactRequest, impact
from varv.home.verbs import DatasetList
from varv.kernel.errors import VarvError
from varv.kernel.wording import count

_LONGEST_CELL = 40


def data(options: argparse.Namespace, loaded: Loaded) -> int:
    """Run one act of `varv data`; return the exit status."""
    acts: dict[str, Callable[[argparse.Namespace, Settings], None]] = {
        "ls": _ls,
        "show": _show,
        "diff": _diff,
        "profile": profile,
        "watch": watch,
        "tag": _tag,
        "read": _read,
        "impact": _impact,
        "overwrite": _rewrite,
        "merge": _rewrite,
        "pull": pull_sources,
        "vacuum": _vacuum,
        "training-set": make_training_set,
        "archive": move_files,
        "restore": move_files,
        "pii": show_pii,
        "anonymity": show_anonymity,
        "reveal": show_revealed,
        "rotate-key": rotate_key,
        "publish": _publish,
        "sql": _sql,
    }
    acts[options.act](options, loaded.settings)
    return 0


def _ls(options: argparse.Namespace, settings: Settings) -> None:
    source = LocalSource(settings.home)
    try:
        found: DatasetList = source.ask("dataset.list", {})
        tiers: TierList = source.ask("dataset.tiers", {})
    finally:
        source.close()
    sizes = {one.dataset: size_cells(one) for one in tiers.datasets}
    rows = [
        (
            str(one.dataset),
            str(one.version),
            count(sum(part.n_rows for part in one.parts if part.part == one.event_time)),
            ", ".join(one.key),
            ", ".join((one.event_time, *one.known_at)),
            *sizes[str(one.dataset)],
        )
        for one in found.datasets
    ]
    empty = [Line("there are no datasets")] if not rows else []
    columns = ("dataset", "version", "rows", "key", "parts", "in columns", "archived")
    answer(options, found, lambda: [Grid(columns, rows), *empty])


def _show(options: argparse.Namespace, settings: Settings) -> None:
    source = LocalSource(settings.home)
    try:
        found: DatasetShown = show_dataset(source.desk.require_versions(), ShowDataset(dataset=options.what))
        versions = whole_table(source, "dataset.versions", {"dataset": found.dataset}).tail(options.versions)
        tiers: TierList = source.ask("dataset.tiers", {"dataset": found.dataset})
    finally:
        source.close()
    answer(options, found, lambda: [*_shown_blocks(found, versions), *tier_blocks(tiers.datasets[0])])


def _shown_blocks(found: DatasetShown, versions: pl.DataFrame) -> list[Block]:
    parts = [
        (one.part, count(one.n_rows), one.first[:16], one.last[:16], count(one.n_files))
        for one in found.parts
    ]
    columns = ", ".join(f"{name} {dtype}" for name, dtype in found.columns.items())
    tags = [(one.tag, str(one.version), one.by, one.why) for one in found.tags]
    named = [(str(version), what) for version, what in sorted(found.named.items())]
    rows = [
        (
            str(one["version"]),
            str(one["at"])[:16],
            one["cause"],
            one["part"],
            count(one["n_rows"]),
            one["why"],
        )
        for one in versions.reverse().iter_rows(named=True)
    ]
    published = [(one.part, str(one.version), str(one.delta_version)) for one in found.published]
    in_delta = Grid(("part", "version", "in Delta"), published)
    checked = [(one.name, one.loaded_at[:16], one.status, one.checked_at[:16]) for one in found.upstreams]
    upstream = Grid(("source", "last row", "freshness", "looked at"), checked)
    last = "" if found.version == found.last else f"; the last is {found.last}"
    return [
        Heading(f"{found.dataset}, version {found.version}{last}"),
        Line(f"key {', '.join(found.key)}; columns {columns}"),
        Grid(("part", "rows", "from", "to", "files"), parts),
        *(
            [Line(f"made from {', '.join(f'{name}@{n}' for name, n in found.made_from.items())}")]
            if found.made_from
            else []
        ),
        *([Heading("tags"), Grid(("tag", "version", "by", "why"), tags)] if tags else []),
        *([Heading("named, so kept"), Grid(("version", "by"), named)] if named else []),
        *([Heading("published last"), in_delta] if published else []),
        *([Heading("what its source is made of"), upstream] if found.upstreams else []),
        Heading(f"the last versions; kept: {found.keeps}"),
        Grid(("version", "at", "by", "part", "rows put in", "why"), rows),
    ]


def _diff(options: argparse.Namespace, settings: Settings) -> None:
    asked = DiffRequest(
        before=options.before, after=options.after, rows=options.rows, profile=options.profile
    )
    with reading_home(settings) as home:
        found = diff(home.require_versions(), asked)
    answer(options, found, lambda: _diff_blocks(found))


def _diff_blocks(found: Difference) -> list[Block]:
    gained = ", ".join(f"{name} {dtype}" for name, dtype in found.columns_added.items())
    lost = ", ".join(f"{name} {dtype}" for name, dtype in found.columns_removed.items())
    parts = [
        (
            one.part,
            *map(count, (one.n_before, one.n_after, one.n_added, one.n_removed, one.n_changed)),
            ", ".join(f"{name} ({count(n)})" for name, n in one.columns.items()),
        )
        for one in found.parts
    ]
    rows = [
        (
            one.part,
            one.kind,
            ", ".join(str(value) for value in one.key.values()),
            ", ".join(f"{name}: {_change(one.kind, a, b)}" for name, (a, b) in one.columns.items()),
        )
        for one in found.rows
    ]
    names = ("part", "rows before", "after", "added", "removed", "changed", "in columns")
    return [
        Heading(f"{found.dataset}, version {found.before} -> {found.after}"),
        *([Line(f"columns added: {gained}")] if gained else []),
        *([Line(f"columns removed: {lost}")] if lost else []),
        Grid(names, parts),
        Grid(("part", "row", "key", "values"), rows),
        *(
            block
            for one in found.parts
            if one.profile is not None
            for block in moved_blocks(one.profile, f"version {found.before}, known at {one.part}")
        ),
    ]


def _change(kind: str, before: object, after: object) -> str:
    if kind == "changed":
        return f"{_cell(before)} -> {_cell(after)}"
    return _cell(after if kind == "added" else before)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)[:_LONGEST_CELL]


def _tag(options: argparse.Namespace, settings: Settings) -> None:
    asked = TagRequest(dataset=options.what, tag=options.tag, by=options.by, why=options.why)
    if options.delete:
        gone = acted(settings, "dataset.untag", asked, untag, TagGiven)
        answer(
            options, gone, lambda: [Line(f"{gone.dataset}@{gone.tag} is given up, version {gone.version}")]
        )
        return
    found = acted(settings, "dataset.tag", asked, tag, TagGiven)
    moved = found.before is not None and found.before != found.version
    more = f"; it was version {found.before}" if moved else ""
    answer(options, found, lambda: [Line(f"{found.dataset}@{found.tag} is version {found.version}{more}")])


def _read(options: argparse.Namespace, settings: Settings) -> None:
    to = Path(options.to) if options.to else None
    if to is not None:
        kind_of(to)
    asked = {
        "dataset": options.what,
        "known_at": options.known_at,
        "since": options.since,
        "until": options.until,
        "remaining": options.remaining,
    }
    if to is not None:
        _publish_first(options.what, settings)
    source = LocalSource(settings.home)
    try:
        # One more than is shown tells whether there are more.
        rows = whole_table(source, "dataset.rows", asked, most=None if to else options.limit + 1)
    finally:
        source.close()
    if to is not None:
        write_rows(to, rows)
        found = {"rows": rows.height, "file": str(to)}
        answer(options, found, lambda: [Line(f"wrote {count(rows.height)} rows to {to}")])
        return
    shown = rows.head(options.limit)
    cells = [tuple(_cell(value) for value in row) for row in shown.iter_rows()]
    more = [Line("there are more rows: --limit N shows N, --to FILE writes all")]
    blocks = [Grid(tuple(rows.columns), cells), *(more if rows.height > shown.height else [])]
    answer(options, shown.to_dicts(), lambda: blocks)


def _impact(options: argparse.Namespace, settings: Settings) -> None:
    with reading_home(settings) as home:
        found = impact(home.records, ImpactRequest(what=options.what))
    answer(options, found, lambda: impact_blocks(found))


def _rewrite(options: argparse.Namespace, settings: Settings) -> None:
    with reading_home(settings) as home:
        known = home.require_versions().datasets.registered(options.what.partition("/")[0])
        dataset, part = part_named({known.name: known}, options.what)
    rows = dataset.minimiser().frame(read_rows(Path(options.file), dataset.part_types(part)))
    asked = RewriteRequest(
        dataset=f"{dataset.name}/{part}",
        staged=stage(settings.home, rows),
        seen=options.seen,
        by=options.by,
        why=options.why,
    )
    act = overwrite if options.act == "overwrite" else merge
    found = acted(settings, f"dataset.{options.act}", asked, act, RewriteDone)
    answer(options, found, lambda: [Line(_rewritten_line(found))])


def _rewritten_line(found: RewriteDone) -> str:
    if not (found.n_new or found.n_changed or found.n_lost):
        return f"nothing changed: version {found.version} of {found.dataset} says the same"
    counts = {
        "new": found.n_new,
        "changed": found.n_changed,
        "gone": found.n_lost,
        "as before": found.n_unchanged,
    }
    what = ", ".join(f"{count(n)} {name}" for name, n in counts.items())
    later = "" if found.flows else "; features and labels follow when varv up runs next"
    return f"{found.dataset} is version {found.version}: {what}{later}"


def _vacuum(options: argparse.Namespace, settings: Settings) -> None:
    asked = VacuumRequest(dataset=options.what, keep=options.keep, dry_run=options.dry_run, by=options.by)
    if options.dry_run:
        with reading_home(settings) as home:
            found = vacuum(home.require_versions(), asked)
    else:
        found = acted(settings, "dataset.vacuum", asked, vacuum, Vacuumed)
    what = f"{count(found.n_files)} files with {count(found.n_rows)} rows"
    verb = "were removed" if found.removed else "would be removed"
    named = [(str(version), what) for version, what in sorted(found.named.items())]

    def blocks() -> list[Block]:
        kept = [Heading("kept, since something names them"), Grid(("version", "by"), named)] if named else []
        return [Line(f"{what} {verb}; kept: {found.keeps}"), *kept]

    answer(options, found, blocks)


def _publish(options: argparse.Namespace, settings: Settings) -> None:
    if options.to:
        _export(options, settings)
        return
    asked = PublishRequest(dataset=options.what)
    found = acted_by(settings, "dataset.publish", asked, publish, PublicationDone)
    rows = [
        (one.part, str(one.delta_version), count(one.n_files), count(one.n_removed), one.place)
        for one in found.parts
    ]
    head = f"version {found.version} of {found.dataset} is published"
    grid = Grid(("part", "version of the table", "new files", "files gone", "table, in the home"), rows)
    answer(options, found, lambda: [Line(head), grid])


def _export(options: argparse.Namespace, settings: Settings) -> None:
    """Write tables elsewhere from this process: a server that wrote where it is told would be a way into the
    network around it, and has not the caller's credentials.
    """
    reference = parse_reference(options.what)
    _publish_first(options.what, settings)
    with reading_home(settings) as home:
        desk = home.require_versions()
        dataset = desk.datasets.registered(reference.dataset)
        found = export(desk.datasets, dataset, desk.version(reference), options.to)
    rows = [
        (one.part, str(one.delta_version), count(one.n_rows) if one.is_new else "were there", one.place)
        for one in found
    ]
    answer(options, found, lambda: [Grid(("part", "version of the table", "rows", "table"), rows)])


def _publish_first(what: str, settings: Settings) -> None:
    """Publish a version that leaves, if its dataset is published, so that tables have it as it left. Whoever
    may not, or cannot, takes it along all the same.
    """
    asked = PublishRequest(dataset=what, if_published=True)
    with suppress(VarvError):
        acted_by(settings, "dataset.publish", asked, publish, PublicationDone)


def _sql(options: argparse.Namespace, settings: Settings) -> None:
    asked = SqlRequest(dataset=options.what, dialect=options.dialect, place=options.place)
    with reading_home(settings) as home:
        found = sql(home.require_publications(), asked)
    answer(options, found, lambda: [Line(found.sql)])
