"""`varv why` and `logs`: how something came to be, and what a training printed."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from varv.app.cli.access import answer, reading_home
from varv.app.cli.rendering import Block, Heading, Line
from varv.app.client.opening import reading
from varv.app.settings import Loaded
from varv.home.why import Explanation
from varv.kernel.errors import InvalidInput
from varv.loop import verbs
from varv.loop.verbs import LogsRequest


def why(options: argparse.Namespace, loaded: Loaded) -> int:
    """Explain a decision, a version or a prediction."""
    with reading(loaded.settings.home) as home:
        found = home.why(*options.subject).value
    answer(options, found, lambda: _why_blocks(found))
    return 0


def logs(options: argparse.Namespace, loaded: Loaded) -> int:
    """Show what a training printed."""
    from varv.app.cli.following import follow

    version = version_of(options.version)
    with reading_home(loaded.settings) as desk:
        found = verbs.logs(desk.loops, LogsRequest(model=options.model, version=version))
        if options.follow and not options.json:
            follow(desk.loops, found, sys.stdout)
            return 0
    nothing = "nothing so far" if found.running else "nothing"
    text = found.text.rstrip("\n") or f"{found.model} v{found.version} printed {nothing}"
    answer(options, found, lambda: [Line(text)])
    return 0


def version_of(given: str | None) -> int | None:
    """Return the number of a version as it is typed, 7 or v7; None if none is.

    Raises
    ------
    InvalidInput
        If it is no number.
    """
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
        params = made.params if made.imported is None else dict[str, Any]()
        settings = "".join(f", {name} {value}" for name, value in params.items())
        digests = (("code", made.code), ("environment", made.environment), ("package", made.package))
        blocks.append(Line(f"  made by  entry {made.registered_in}: {made.origin()}{settings}"))
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
