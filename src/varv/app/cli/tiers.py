"""`varv data archive` and `restore`, and how the tiers of a dataset are shown."""

from __future__ import annotations

import argparse

from varv.app.cli.access import answer, moved_by, reading_home
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.settings import Settings
from varv.data.tiers.verbs import (
    ArchiveRequest,
    DatasetTiers,
    RestoreRequest,
    TierMoved,
    archive,
    restore,
)
from varv.kernel.job_ends import spoken_bytes
from varv.kernel.wording import count


def move_files(options: argparse.Namespace, settings: Settings) -> None:
    """Archive files, or bring them back."""
    found = _archived(options, settings) if options.act == "archive" else _restored(options, settings)
    verb = {"archive": "archived", "restore": "restored"}[options.act]
    how = f"were {verb}" if found.moved else f"would be {verb}"
    what = (
        f"{count(found.n_files)} files with {count(found.n_rows)} rows, {spoken_bytes(found.n_bytes)}, {how}"
    )
    kept = [(count(n), by) for by, n in sorted(found.kept.items())]

    def blocks() -> list[Block]:
        why = [Heading("old enough, and kept"), Grid(("files", "for"), kept)] if kept else []
        if options.act == "archive" and not (found.n_files or kept):
            why = [Line("no file is old enough: one goes once all of its rows are")]
        return [Line(what), *why]

    answer(options, found, blocks)


def _archived(options: argparse.Namespace, settings: Settings) -> TierMoved:
    asked = ArchiveRequest(
        dataset=options.what,
        before=options.before,
        older=options.older,
        dry_run=options.dry_run,
        by=options.by,
    )
    if not options.dry_run:
        return moved_by(settings, "dataset.archive", asked, archive, TierMoved)
    with reading_home(settings) as home:
        return archive(home.require_tiers(), asked)


def _restored(options: argparse.Namespace, settings: Settings) -> TierMoved:
    asked = RestoreRequest(
        dataset=options.what,
        since=options.since,
        until=options.until,
        stays=options.stays,
        by=options.by,
        why=options.why,
    )
    return moved_by(settings, "dataset.restore", asked, restore, TierMoved)


def size_cells(found: DatasetTiers) -> tuple[str, str]:
    """Return how much of a dataset lies in the columns, and how much in the archive."""
    n_cold = sum(part.n_cold_bytes for part in found.parts)
    return spoken_bytes(sum(part.n_warm_bytes for part in found.parts)), spoken_bytes(
        n_cold
    ) if n_cold else ""


def tier_blocks(found: DatasetTiers) -> list[Block]:
    """Return what shows where the rows of a dataset are."""
    rows = [
        (
            part.part,
            count(part.n_warm_files),
            spoken_bytes(part.n_warm_bytes),
            count(part.n_cold_files),
            spoken_bytes(part.n_cold_bytes),
            part.cold_from[:10],
            part.cold_to[:10],
        )
        for part in found.parts
    ]
    after = f"once {found.archive_after} old" if found.archive_after else "by command only"
    columns = ("part", "files", "in columns", "files archived", "in the archive", "from", "to")
    return [
        Heading(f"all versions; archived: {after}"),
        Grid(columns, rows),
        *(Line(f"kept warm: {one}") for one in found.reached),
    ]
