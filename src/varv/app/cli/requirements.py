"""`varv requirements`: what is required of a model, and what is proved of a version."""

from __future__ import annotations

import argparse
import sys

from varv.app.cli.access import answer, reading_home
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.cli.why import version_of
from varv.app.settings import Loaded
from varv.home.requirements import RequirementMatrix
from varv.home.verbs import OfVersionRequest
from varv.home.verbs import requirements as requirements_verb


def requirements(options: argparse.Namespace, loaded: Loaded) -> int:
    """Show the requirements of a version."""
    asked = OfVersionRequest(model=options.model, version=version_of(options.version))
    with reading_home(loaded.settings) as desk:
        found = requirements_verb(desk.records, asked)
    if options.markdown and not options.json:
        sys.stdout.write(found.markdown())
        return 0
    answer(options, found, lambda: _blocks(found))
    return 0


def _blocks(found: RequirementMatrix) -> list[Block]:
    blocks: list[Block] = [Heading(f"requirements of {found.model} v{found.version}")]
    for one in found.requirements:
        held = ", required" if one.required else ""
        blocks.append(Line(f"{one.id} ({one.kind}{held}): {one.state}"))
        blocks.append(Line(f"  {one.text}"))
        rows = [
            (proof.state, proof.reference, proof.why, "" if proof.seq is None else f"entry {proof.seq}")
            for proof in one.proofs
        ]
        blocks.append(Grid(("", "", "", ""), rows) if rows else Line("  nothing is declared to prove it"))
    blocks.append(Line(f"{found.n_proved} of {len(found.requirements)} are proved"))
    return blocks
