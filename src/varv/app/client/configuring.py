"""`varv.load_config`: the configuration of the script that runs.

It is filled from defaults, files, variables and arguments; the later one wins, in this order. A script that
runs under `varv run` leaves what it was configured with in a file that is named to it, so that it is put on
record with the run.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from varv.app.settings import variables
from varv.kernel.blobs import write_atomically
from varv.kernel.errors import InvalidInput
from varv.kernel.faults import Faults
from varv.runs.config import Layer, Resolved, branches, resolved

C = TypeVar("C")
HANDOVER = "_VARV_RUN_CONFIG"
"""The variable that names the file for what a script was configured with."""
COMMAND_LINE = "command line"
CONF = "conf"
"""The folder beside a script, of files for its branches."""
_SUFFIXES = (".toml", ".yaml", ".yml")
_ASSIGNED = re.compile(r"([A-Za-z_][\w.]*)=(.*)", re.DOTALL | re.ASCII)
_OPTIONS = "--config FILE, --show-config and NAME=VALUE"


class Handover(msgspec.Struct, frozen=True):
    """What a script was configured with: values as texts, secrets hidden, and where each came from."""

    plain: dict[str, str]
    origins: dict[str, str]


class _Arguments(msgspec.Struct):
    files: list[Path]
    values: dict[str, str]
    shows: bool = False


def load_config(
    cls: type[C],
    *,
    file: str | Path | None = None,
    prefix: str = "",
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> C:
    """Return the configuration of the script that runs.

    Values come from the defaults of the class, then from files, then from variables such as
    ``TRAINING__MODEL__DEPTH``, then from arguments such as ``model.depth=6``; the later one wins. An argument
    ``--config FILE`` names a further file, ``model=boosting`` takes the values of a branch from
    ``conf/model/boosting.toml`` beside the script, and ``--show-config`` prints every value with where it
    came from, and ends the script.

    Parameters
    ----------
    cls
        Declared with `varv.config`.
    file
        A TOML or YAML file that is read first; it must be there.
    prefix
        What variables begin with; the name of the class in capitals by default.
    arguments, environ
        Those of the process by default.

    Raises
    ------
    InvalidInput
        If a name does not exist, a value is not of its type, or one that has no default is missing; where
        the arguments are those of the process, it ends with this message instead.
    SystemExit
        After ``--show-config``.
    """
    environ = variables() if environ is None else environ
    try:
        given = _arguments(sys.argv[1:] if arguments is None else arguments)
        found = resolved(cls, _layers(cls, given, file, prefix, environ))
    except InvalidInput as error:
        if arguments is not None:
            raise
        # For whoever starts a script, a trace through ours would hide what is wrong.
        raise SystemExit(f"{sys.argv[0]}: {error}") from None
    if given.shows:
        sys.stdout.write(shown(found))
        raise SystemExit(0)
    if place := environ.get(HANDOVER):
        told = Handover(found.plain(), {name: one.origin for name, one in found.settings.items()})
        write_atomically(Path(place), msgspec.json.encode(told), Faults())
    return found.config


def _layers(
    cls: type[Any], given: _Arguments, file: str | Path | None, prefix: str, environ: Mapping[str, str]
) -> list[Layer]:
    files = [*([Path(file)] if file is not None else []), *given.files]
    prefix = prefix or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).upper()
    groups, values = _groups(cls, given.values)
    return [
        *(Layer(str(place), _read(place)) for place in files),
        *groups,
        *_variables(prefix, environ),
        Layer(COMMAND_LINE, values, texts=True),
    ]


def shown(found: Resolved) -> str:
    """Return every value with where it came from, a line each."""
    plain = found.plain()
    widest = max((len(f"{name} = {value}") for name, value in plain.items()), default=0)
    lines = (
        f"{f'{name} = {value}'.ljust(widest)}  ({found.settings[name].origin})\n"
        for name, value in plain.items()
    )
    return "".join(lines)


def _arguments(arguments: Sequence[str]) -> _Arguments:
    found = _Arguments([], {})
    rest = iter(arguments)
    for argument in rest:
        if argument == "--show-config":
            found.shows = True
        elif argument == "--config" or argument.startswith("--config="):
            place = argument.partition("=")[2] or next(rest, "")
            found.files.append(Path(place))
        elif assigned := _ASSIGNED.fullmatch(argument):
            found.values[assigned[1]] = assigned[2]
        else:
            hint = f"write {_OPTIONS}"
            raise InvalidInput("argument", argument[:80], "is not understood", hint=hint)
    return found


def _groups(cls: type[Any], values: Mapping[str, str]) -> tuple[list[Layer], dict[str, str]]:
    """Return the layers of files that arguments choose for branches, and the other arguments."""
    inner = set(branches(cls))
    layers: list[Layer] = []
    rest: dict[str, str] = {}
    for name, value in values.items():
        if name not in inner:
            rest[name] = value
            continue
        folder = Path(sys.argv[0]).parent / CONF / name.replace(".", "/")
        names = sorted(place.stem for place in folder.glob("*") if place.suffix in _SUFFIXES)
        place = next(
            (folder / f"{value}{end}" for end in _SUFFIXES if (folder / f"{value}{end}").is_file()), None
        )
        if place is None or value not in names:
            hint = f"choose {', '.join(names)}" if names else f"put {value[:40]}.toml into {folder}"
            raise InvalidInput("setting", name, "has no such file", given=value[:60], hint=hint)
        layers.append(Layer(str(place), _below(name, _read(place))))
    return layers, rest


def _variables(prefix: str, environ: Mapping[str, str]) -> list[Layer]:
    begin = f"{prefix}__"
    return [
        Layer(name, {name.removeprefix(begin).lower().replace("__", "."): value}, texts=True)
        for name, value in sorted(environ.items())
        if name.startswith(begin)
    ]


def _below(name: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    for part in reversed(name.split(".")):
        values = {part: values}
    return values


def _read(place: Path) -> Mapping[str, Any]:
    """Return the values in a file of TOML or YAML."""
    try:
        data = place.read_bytes()
    except OSError as error:
        raise InvalidInput("file", str(place), "cannot be read", why=error.strerror) from None
    try:
        found = tomllib.loads(data.decode()) if place.suffix == ".toml" else _yaml(data, place)
    except ValueError as error:
        raise InvalidInput("file", str(place), "cannot be parsed", why=str(error)[:300]) from None
    if not isinstance(found, dict):
        raise InvalidInput("file", str(place), "holds no names with values")
    return found


def _yaml(data: bytes, place: Path) -> Any:
    if place.suffix not in _SUFFIXES:
        raise InvalidInput("file", str(place), "is neither TOML nor YAML", hint="name it .toml or .yaml")
    import yaml

    try:
        found = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    return dict[str, Any]() if found is None else found
