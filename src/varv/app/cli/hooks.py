"""`varv hooks`: what a commit belongs to, noted beside it."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import msgspec

from varv import __version__
from varv.adapters.git import NOTES, install, note, noted, uninstall
from varv.app.cli.access import answer, reading_home
from varv.app.cli.rendering import Block, Line
from varv.app.settings import Loaded, Settings
from varv.kernel.codec import Digest, digest
from varv.kernel.errors import Corrupt, NotFound
from varv.registry import RegistryView

LOCKS = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "requirements.txt", "dvc.lock", "varv.toml")
"""Files that say what a commit is run with."""


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What is noted of a commit: as it was made, these were the champions, and this the last entry."""

    varv: str
    home: str
    seq: int
    entry: str
    """The hash of the ledger's last entry."""
    champions: dict[str, int]
    files: dict[str, Digest]


def hooks(options: argparse.Namespace, loaded: Loaded) -> int:
    """Install, remove, note or show."""
    here = Path.cwd()
    match options.act:
        case "install":
            home = shlex.quote(str(loaded.settings.home.absolute()))
            python = shlex.quote(sys.executable)
            stamping = f"{python} -m varv.app.cli --home {home} hooks stamp"
            # Behind the commit: to start takes a second, which nobody waits for.
            changed = install(here, f'({stamping} "$(git rev-parse HEAD)" </dev/null &)')
            _tell(options, [f"{place} notes each commit in {NOTES}" for place in changed])
        case "uninstall":
            _tell(options, [f"{place} notes no commit any more" for place in uninstall(here)])
        case "stamp":
            stamp = _stamp(here, loaded.settings)
            commit = note(here, msgspec.json.format(msgspec.json.encode(stamp)).decode(), options.commit)
            answer(options, stamp, lambda: [Line(f"{commit[:12]} is noted in {NOTES}")])
        case _:
            found = _read(noted(here, options.commit))
            answer(options, found, lambda: _blocks(found))
    return 0


def _stamp(here: Path, settings: Settings) -> Stamp:
    with reading_home(settings) as desk:
        head = desk.ledger.head()
        with desk.views.reading(RegistryView) as registry:
            champions = {name: one.aliases.get("champion") for name, one in registry.models.items()}
    files = {name: digest((here / name).read_bytes()) for name in LOCKS if (here / name).is_file()}
    return Stamp(
        varv=__version__,
        home=settings.home.name,
        seq=head.version,
        entry=head.hash.hex(),
        champions={name: number for name, number in champions.items() if number is not None},
        files=files,
    )


def _read(text: str) -> Stamp:
    try:
        return msgspec.json.decode(text, type=Stamp)
    except msgspec.MsgspecError as error:
        raise Corrupt("note", NOTES, "was not written by varv", why=str(error)[:100]) from None


def _tell(options: argparse.Namespace, lines: list[str]) -> None:
    if not lines:
        raise NotFound("hook", "", "was not installed here", hint="run varv hooks install")
    answer(options, lines, lambda: [Line(line) for line in lines])


def _blocks(found: Stamp) -> list[Block]:
    named = [f"{name} v{number}" for name, number in sorted(found.champions.items())]
    return [
        Line(f"home     {found.home}, entry {found.seq} {found.entry[:12]}, varv {found.varv}"),
        Line(f"leads    {', '.join(named) or 'none'}"),
        *(Line(f"file     {name} {found_digest[:12]}") for name, found_digest in sorted(found.files.items())),
    ]
