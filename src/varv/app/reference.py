"""The reference pages, written from the code: command line, Python, verbs, events, settings and errors.

    python -m varv.app.reference docs/reference

The same code gives the same pages, so a test can tell when they are out of date.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

import varv
from varv.app.cli.parser import parser
from varv.app.client.answers import Answer
from varv.app.client.comparisons import ReplayedModel
from varv.app.client.configuring import load_config
from varv.app.client.connecting import Server, connect
from varv.app.client.datasets import ReadableDataset
from varv.app.client.homes import ReadableHome
from varv.app.client.models import ReadableModel
from varv.app.client.opening import open_home
from varv.app.client.replayed import ReplayResult
from varv.app.client.replaying import replay
from varv.app.client.training_sets import training_set
from varv.app.otel_variables import VARIABLES
from varv.app.settings import Settings
from varv.app.verbs import build_verbs
from varv.fronts.problems import status_of
from varv.kernel.codec import registered_events
from varv.kernel.errors import tree
from varv.runs.config import config

_NOTE = "Written by `make docs` from the code.\n"


def pages() -> dict[str, str]:
    """Return every reference page by its file name."""
    makers: dict[str, Callable[[], Iterable[str]]] = {
        "command-line.md": _command_line,
        "errors.md": _errors,
        "events.md": _events,
        "python.md": _python,
        "settings.md": _settings,
        "verbs.md": _verbs,
    }
    titles = {name: name.removesuffix(".md").replace("-", " ").capitalize() for name in makers}
    found = {
        name: f"# {titles[name]}\n\n{_NOTE}\n" + "\n".join(make()) + "\n" for name, make in makers.items()
    }
    links = "\n".join(f"- [{titles[name]}]({name})" for name in makers)
    return {**found, "README.md": f"# Reference\n\n{_NOTE}\n{links}\n"}


def _command_line() -> Iterable[str]:
    main = parser()
    yield _help(main)
    for action in main._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield f"## varv {name}\n\n{_help(command)}"


def _help(command: argparse.ArgumentParser) -> str:
    # As wide as ever, whatever terminal this runs in.
    formatter: Any = command.formatter_class
    command.formatter_class = functools.partial(formatter, width=100)
    return f"```\n{command.format_help().rstrip()}\n```\n"


def _errors() -> Iterable[str]:
    yield "Every error names its subject, the facts, and the next step. Codes are stable.\n"
    yield "| code | class | HTTP | meaning |\n|---|---|---|---|"
    for module in pkgutil.walk_packages(varv.__path__, "varv."):
        if module.name.endswith(".errors"):
            importlib.import_module(module.name)
    # Names that begin with an underscore are those of one module, and there only once it is imported.
    for error in (error for error in tree() if not error.__name__.startswith("_")):
        yield f"| `{error.code}` | `{error.__name__}` | {status_of(error)} | {_first_line(error)} |"


def _events() -> Iterable[str]:
    for module in pkgutil.walk_packages(varv.__path__, "varv."):
        if module.name.endswith((".model", ".live", ".replay", ".comparison", ".sagas")):
            importlib.import_module(module.name)
    for name, event in registered_events().items():
        if not event.__module__.startswith("varv."):
            continue
        yield f"## {name}\n\n{_whole(event)} Version {event.event_version}.\n"
        yield from _fields(event)


def _python() -> Iterable[str]:
    yield "How to use it: [From Python and notebooks](../how-to/python.md).\n"
    for name, function in (*_WAYS_IN, *_CONFIGURING):
        yield f"## varv.{name}\n\n{_described(f'varv.{name}', function)}"
    for cls in _CLASSES:
        yield f"## {cls.__name__}\n\n{_first_paragraph(cls)}\n"
        for name, member in vars(cls).items():
            made = member.fget if isinstance(member, property) else member
            if name.startswith("_") or not inspect.isfunction(made):
                continue
            if isinstance(member, property):
                yield f"### {cls.__name__}.{name}\n\n{_first_paragraph(made)}\n"
            else:
                yield f"### {cls.__name__}.{name}\n\n{_described(name, made)}"


_WAYS_IN = (
    ("replay", replay),
    ("open", open_home),
    ("connect", connect),
    ("training_set", training_set),
)
_CONFIGURING = (("config", config), ("load_config", load_config))
_CLASSES = (
    *(ReplayResult, ReplayedModel, ReadableHome, ReadableModel, ReadableDataset),
    *(Server, Answer),
)


def _described(name: str, function: Callable[..., Any]) -> str:
    """Return signature and docstring of a function as the code has them."""
    parameters = inspect.signature(function).parameters.values()
    shown = [one.replace(annotation=inspect.Parameter.empty) for one in parameters if one.name != "self"]
    signature = inspect.Signature(shown)
    return f"```\n{name}{signature}\n```\n\n```text\n{inspect.getdoc(function)}\n```\n"


def _first_paragraph(thing: object) -> str:
    return _one_line((inspect.getdoc(thing) or "").split("\n\n")[0])


def _settings() -> Iterable[str]:
    yield "Defaults, then `varv.toml`, then `OTEL_*` variables, then `VARV_*` variables, then flags; the"
    yield "later one wins. `OTEL_SDK_DISABLED=true` leaves all `OTEL_*` variables out.\n"
    yield "| name | variable | type | default | meaning |\n|---|---|---|---|---|"
    told = _attribute_docs(Settings)
    hints = typing.get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        default = str(field.default) or "empty"
        default = default.lower() if isinstance(field.default, bool) else default
        standard = [name for name, (setting, _) in VARIABLES.items() if setting == field.name]
        variables = ", ".join(f"`{name}`" for name in (f"VARV_{field.name.upper()}", *standard))
        kind = hints[field.name].__name__
        yield f"| `{field.name}` | {variables} | {kind} | {default} | {told[field.name]} |"


def _verbs() -> Iterable[str]:
    yield "Each is `POST /api/v1/<capability>/<act>` with a JSON object.\n"
    for verb in build_verbs(None):
        yield f"## {verb.name}\n\n{verb.summary} Needs `{verb.permission}`.\n"
        yield f"Request: {_whole(verb.request)}\n"
        yield from _fields(verb.request)
        yield f"Result: {_whole(verb.result)}\n"
        yield from _fields(verb.result)


def _fields(struct: type[msgspec.Struct]) -> Iterable[str]:
    fields = msgspec.structs.fields(struct)
    if not fields:
        return
    told = _attribute_docs(struct)
    yield "| field | type | |\n|---|---|---|"
    annotations = inspect.get_annotations(struct)
    for field in fields:
        kind = str(annotations.get(field.name, field.type)).replace("|", "or")
        yield f"| `{field.encode_name}` | {kind} | {told.get(field.name, '')} |"
    yield ""


def _attribute_docs(cls: type) -> dict[str, str]:
    """Return the texts that stand below the fields of a class."""
    body = ast.parse(inspect.getsource(cls).lstrip()).body[0]
    assert isinstance(body, ast.ClassDef), "a class is defined by a class statement"
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(told))):
                found[name] = _one_line(told)
            case _:
                pass
    return found


def _whole(thing: object) -> str:
    return _one_line(inspect.getdoc(thing) or "")


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0]


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "or")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages into the folder that is named, by default on the command line."""
    command = argparse.ArgumentParser(prog="python -m varv.app.reference", description=_first_line(main))
    command.add_argument("folder", type=Path, help="made if it is not there")
    folder: Path = command.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
