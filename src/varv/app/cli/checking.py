"""`varv verify` and `doctor`: is what is stored what was written, and will this machine do."""

from __future__ import annotations

import argparse
from pathlib import Path

from varv.app.cli.access import answer
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.settings import Loaded
from varv.app.verifying import VerifyReport, sign_anew, verify_report
from varv.kernel.clock import SystemClock


def verify(options: argparse.Namespace, loaded: Loaded) -> int:
    """Compare what is stored with what was written."""
    if options.sign_anew:
        sign_anew(loaded.settings.home, SystemClock().now())
    against = None if options.against is None else Path(options.against)
    found = verify_report(loaded.settings.home, quick=options.quick, points=options.points, against=against)
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


def doctor(options: argparse.Namespace, loaded: Loaded) -> int:
    """Check this machine and its settings."""
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
