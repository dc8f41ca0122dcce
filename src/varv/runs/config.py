"""Configuration of a script: a tree of typed fields, filled from layers, of which the later one wins.

A class is declared with `config`; `resolved` fills it and says where each value came from. Which layers there
are, and the command line, is in `app.client.configuring`; values that are tried in turn are in `runs.sweeps`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

import msgspec

from varv.kernel.errors import InvalidDeclaration, InvalidInput, VarvError
from varv.runs.sweeps import parts_of

C = TypeVar("C")
DEFAULT = "default"
HIDDEN = "(hidden)"
_MISSING: Any = dataclasses.MISSING
_NOTHING = frozenset({"null", "none"})
_SECRET = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|secret_key|token|api_?key|credentials?)$", re.IGNORECASE
)


class Layer(msgspec.Struct, frozen=True):
    """Values for a tree of fields, and where they are from."""

    origin: str
    values: Mapping[str, Any]
    """By name, nested or with dots."""
    texts: bool = False
    """Whether values are texts that still have to be read, as variables and arguments are."""


class Setting(msgspec.Struct, frozen=True):
    """A field's value, and where it came from."""

    value: Any
    origin: str


class Resolved(msgspec.Struct, frozen=True):
    """A configuration, with all that it was made of."""

    config: Any
    settings: dict[str, Setting]
    """By name with dots."""

    def plain(self) -> dict[str, str]:
        """Return each value as a text; secrets are hidden.

        Notes
        -----
        A field is secret if its name ends in a word such as ``password`` or ``token``.
        """
        return {
            name: HIDDEN if is_secret(name) else _written(one.value) for name, one in self.settings.items()
        }


class _Leaf(typing.NamedTuple):
    kind: Any
    default: Any


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[C]) -> type[C]:
    """Declare a class as a configuration: a frozen dataclass whose fields are given by name.

    Fields are what msgspec reads: numbers, texts, truth values, choices (`Literal`, enums), lists, bounds
    (``Annotated[int, msgspec.Meta(ge=1)]``), paths, and other configurations.

    Raises
    ------
    InvalidDeclaration
        If a field has a type that cannot be read, or a default that is not of its type.

    Examples
    --------
    >>> @config
    ... class Forest:
    ...     n_trees: int = 100
    ...     rate: float = 0.1
    >>> found = resolved(Forest, [Layer("command line", {"n_trees": "200"}, texts=True)])
    >>> found.config, found.settings["n_trees"].origin, found.settings["rate"].origin
    (Forest(n_trees=200, rate=0.1), 'command line', 'default')
    """
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    for name, leaf in leaves(made).items():
        if leaf.default is _MISSING:
            continue
        try:
            msgspec.convert(msgspec.to_builtins(leaf.default, enc_hook=str), leaf.kind, dec_hook=_hook)
        except (msgspec.MsgspecError, TypeError, NotImplementedError) as error:
            where = f"{cls.__name__}.{name}"
            problem = "has a type or a default that does not fit"
            raise InvalidDeclaration("field", where, problem, why=str(error)[:200]) from None
    return made


def is_config(kind: object) -> bool:
    """Return whether a type is a tree of fields."""
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct))


def resolved(cls: type[Any], layers: Sequence[Layer]) -> Resolved:
    """Return a configuration filled from layers, of which the later one wins.

    Raises
    ------
    InvalidInput
        If a layer names a field that does not exist, a value is not of its type, or a field that has no
        default is given by no layer.
    """
    if not is_config(cls):
        hint = "declare it with @varv.config"
        raise InvalidDeclaration(
            "config", getattr(cls, "__name__", repr(cls)), "is no class of fields", hint=hint
        )
    fields = leaves(cls)
    found = {
        name: Setting(leaf.default, DEFAULT) for name, leaf in fields.items() if leaf.default is not _MISSING
    }
    for layer in layers:
        for name, given in _flat(cls, layer.values, layer.origin):
            value = _converted(name, given, fields[name].kind, layer)
            found[name] = Setting(value, layer.origin)
    for name in fields:
        if name not in found:
            raise InvalidInput("setting", name, "has no value", hint=f"give {name}=VALUE")
    in_order = {name: found[name] for name in fields}
    return Resolved(_built(cls, "", in_order), in_order)


def leaves(cls: type[Any], *, above: Any = _MISSING, prefix: str = "") -> dict[str, _Leaf]:
    """Return the fields of a tree that hold values, by name with dots, in order.

    Parameters
    ----------
    above
        The default of the whole, of which the fields' own are the parts.
    """
    found: dict[str, _Leaf] = {}
    for name, kind, own in _fields(cls):
        default = own if above is _MISSING else getattr(above, name)
        if is_config(kind):
            found |= leaves(kind, above=default, prefix=f"{prefix}{name}.")
        else:
            found[prefix + name] = _Leaf(kind, default)
    return found


def is_secret(name: str) -> bool:
    """Return whether a field's or an option's name says that its value is shown to nobody.

    Examples
    --------
    >>> is_secret("database.password"), is_secret("hf_token"), is_secret("max_tokens")
    (True, True, False)
    """
    return bool(_SECRET.search(name.rpartition(".")[2].lstrip("-").replace("-", "_")))


def without_secrets(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of a script, without the values of secrets."""
    shown = []
    for argument in arguments:
        name, given, _ = argument.partition("=")
        shown.append(f"{name}={HIDDEN}" if given and is_secret(name) else argument)
    return tuple(shown)


def branches(cls: type[Any], prefix: str = "") -> Iterator[str]:
    """Yield the names of the fields that are trees themselves."""
    for name, kind, _ in _fields(cls):
        if is_config(kind):
            yield prefix + name
            yield from branches(kind, f"{prefix}{name}.")


def _fields(cls: type[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, type and default of the fields of a class."""
    hints = typing.get_type_hints(cls, include_extras=True)
    if issubclass(cls, msgspec.Struct):
        for field in msgspec.structs.fields(cls):
            factory = field.default_factory
            default = field.default if factory is msgspec.NODEFAULT else factory()
            yield field.name, hints[field.name], _MISSING if default is msgspec.NODEFAULT else default
        return
    for field in dataclasses.fields(cls):
        make: Any = field.default_factory
        default = field.default if make is _MISSING else make()
        yield field.name, hints[field.name], default


def _flat(cls: type[Any], values: Mapping[str, Any], origin: str) -> Iterator[tuple[str, Any]]:
    known, inner = leaves(cls), set(branches(cls))

    def walk(prefix: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for key, value in tree.items():
            name = f"{prefix}{key}"
            if name in known:
                yield name, value
            elif name in inner and isinstance(value, Mapping):
                yield from walk(f"{name}.", value)
            elif name in inner:
                hint = f"give {name}.FIELD=VALUE, or the name of a file in conf/{name.replace('.', '/')}"
                raise InvalidInput("setting", name, "has fields of its own", where=origin, hint=hint)
            else:
                raise _unknown(name, [*known, *inner], origin)

    return walk("", values)


def _unknown(name: str, known: Sequence[str], origin: str) -> InvalidInput:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
    return InvalidInput("setting", name[:80], "does not exist", where=origin, hint=hint)


def _converted(name: str, given: Any, kind: Any, layer: Layer) -> Any:
    try:
        if not layer.texts:
            return msgspec.convert(given, kind, dec_hook=_hook)
        return _from_text(given, kind)
    except (msgspec.ValidationError, ValueError) as error:
        shown = HIDDEN if is_secret(name) else str(given)[:60]
        problem = f"is not valid: {str(error)[:1].lower()}{str(error)[1:]}"
        raise InvalidInput("setting", name, problem, given=shown, where=layer.origin) from None


def _from_text(text: str, kind: Any) -> Any:
    kinds = _alternatives(kind)
    if type(None) in kinds and text.lower() in _NOTHING:
        return None
    if str in kinds or Path in kinds:
        return msgspec.convert(text, kind, strict=False, dec_hook=_hook)
    value: Any = text
    for number in (int, float):
        if number in kinds and isinstance(value, str):
            with suppress(ValueError):  # "0.1" for what may be either
                value = number(text)
    if text[:1] in ("[", "{"):
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            value = parts_of(text[1:-1]) if text.startswith("[") and text.endswith("]") else text
    return msgspec.convert(value, kind, strict=False, dec_hook=_hook)


def _alternatives(kind: Any) -> frozenset[Any]:
    """Return the plain types that a type allows."""
    if typing.get_origin(kind) is typing.Annotated:
        return _alternatives(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return frozenset().union(*(_alternatives(one) for one in typing.get_args(kind)))
    return frozenset({kind})


def _hook(kind: type[Any], value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"{kind.__name__} cannot be read")


def _built(cls: type[Any], prefix: str, found: Mapping[str, Setting]) -> Any:
    values = {}
    for name, kind, _ in _fields(cls):
        whole = prefix + name
        values[name] = _built(kind, f"{whole}.", found) if is_config(kind) else found[whole].value
    try:
        return cls(**values)
    except VarvError:
        raise
    except (ValueError, TypeError) as error:
        raise InvalidInput("config", cls.__name__, f"is not valid: {error}") from None


def _written(value: Any) -> str:
    """Return a value as a command line would give it."""
    if isinstance(value, str | Path):
        return str(value)
    return msgspec.json.encode(value, enc_hook=str).decode()
