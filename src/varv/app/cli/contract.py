"""`varv contract`: what is expected of a dataset, and contracts from and for other tools."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from varv.app.cli.access import answer, reading_home, written
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.settings import Loaded, Settings
from varv.data.contract_verbs import (
    ContractRequest,
    ExportRequest,
    TranslateRequest,
    Translation,
    export_contract,
    show_contract,
    translate_contract,
    translation,
)
from varv.data.moving.translation import LeftOut
from varv.fronts.yaml import documents_in_yaml
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.wording import count
from varv.kernel.yaml_reading import LARGEST_BYTES


def contract(options: argparse.Namespace, loaded: Loaded) -> int:
    """Run one act of `varv contract`; return the exit status."""
    acts: dict[str, Callable[[argparse.Namespace, Settings], None]] = {
        "show": _show,
        "import": _import,
        "export": _export,
    }
    acts[options.act](options, loaded.settings)
    return 0


def _show(options: argparse.Namespace, settings: Settings) -> None:
    with reading_home(settings) as home:
        found = show_contract(home.views, ContractRequest(dataset=options.dataset))

    def blocks() -> list[Block]:
        rules = [
            (one.part, one.rule, one.expected, one.severity, count(one.n_warned) if one.n_warned else "")
            for one in found.rules
        ]
        fresh = [(one.part, one.latest, one.arrived) for one in found.parts]
        nothing = Line("nothing is declared with varv.Dataset(..., expect=[...])")
        return [
            Heading(f"expected of {found.dataset}"),
            Grid(("part", "rule", "expected", "severity", "rows warned of"), rules) if rules else nothing,
            Grid(("part", "latest time", "last batch came"), fresh),
        ]

    answer(options, found, blocks)


def _import(options: argparse.Namespace, settings: Settings) -> None:
    asked = TranslateRequest(
        text=_text(Path(options.file)),
        name=Path(options.file).name,
        dataset=options.dataset,
        parameters=dict(map(_parameter, options.parameter)),
    )
    if options.dataset:
        with reading_home(settings) as home:
            found = translate_contract(home.views, asked)
    else:
        found = translation(asked, None)
    text = "".join(("expect=[\n", *(f"    {rule},\n" for rule in found.rules), "],\n"))
    if options.to:
        written(options.to, text)
    answer(options, found, lambda: _imported(found, text, options.to))


def _imported(found: Translation, text: str, to: str) -> list[Block]:
    held = [Line(f"  {one}") for one in found.held]
    return [
        *([Line(f"wrote {count(len(found.rules))} rules to {to}")] if to else map(Line, text.splitlines())),
        *([Heading("held by the dataset itself"), *held] if held else []),
        *_left_out(found.left_out),
    ]


def _left_out(left_out: tuple[LeftOut, ...]) -> list[Block]:
    if not left_out:
        return []
    lines = [Line(f"  {one.what}: {one.why}") for one in left_out]
    return [Heading(f"not translated: {count(len(left_out))}"), *lines]


def _export(options: argparse.Namespace, settings: Settings) -> None:
    dataset, _, part = options.what.partition("/")
    with reading_home(settings) as home:
        found = export_contract(home.views, ExportRequest(dataset=dataset, part=part, to=options.to))
    is_yaml = Path(options.file).suffix in (".yaml", ".yml") if options.file else found.tool == "pandera"
    text = documents_in_yaml([found.document]) if is_yaml else _json(found.document)
    if options.file:
        written(options.file, text)
    shown = [Line(f"wrote {options.file}")] if options.file else [Line(line) for line in text.splitlines()]
    answer(options, found, lambda: [*shown, *_left_out(found.left_out)])


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _parameter(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise InvalidInput("parameter", text[:80], "is not understood", hint="write NAME=VALUE")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.MsgspecError:
        return name, value


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InvalidInput("file", str(path), "is too large", limit=LARGEST_BYTES)
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFound("file", str(path), "cannot be read", why=error.strerror) from None
    except UnicodeDecodeError:
        raise InvalidInput("file", str(path), "is no text in UTF-8") from None
