"""Clients of the data plane as ``varv.toml`` declares them, a table each: ``[clients.NAME]``.

What a client is, and what a worker does with it, is in `fronts.access`. A digest is never shown, nor is what
stands in its place: it may be a token that was written there by mistake.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from varv.fronts.access.clients import KNOWN_ROLES, PRIORITIES, ROLES, USUAL_PRIORITY, Client, is_digest
from varv.fronts.access.limits import Rate, rate_of
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.ids import ModelName, checked_name

TABLE = "clients"
_KEYS = ("token", "certificate", "models", "roles", "rate", "burst", "quota", "priority")
_MOST_BURST = 1_000_000_000


def load_clients(file: Path) -> tuple[Client, ...]:
    """Return the clients that a file declares by now; none if it is not there.

    Raises
    ------
    InvalidInput
        If one is not declared soundly; the file and the key are named.
    NotFound
        If it cannot be read.
    """
    return clients_of(tables_in(file).get(TABLE, {}), str(file)) if file.is_file() else ()


def changed_clients(before: Sequence[Client], after: Sequence[Client]) -> tuple[str, ...]:
    """Return what differs between two tables, a line each."""
    old, new = {one.name: one for one in before}, {one.name: one for one in after}
    lines = [f"client {name} may ask from now on" for name in new if name not in old]
    lines += [f"client {name} may not ask any more" for name in old if name not in new]
    lines += [
        f"client {name} has other rights, or another token"
        for name in new
        if old.get(name, new[name]) != new[name]
    ]
    if new and not old:
        lines.append("requests need a token from now on")
    elif old and not new:
        lines.append("requests need no token any more")
    return tuple(lines)


def tables_in(file: Path) -> dict[str, Any]:
    """Return what a file holds.

    Raises
    ------
    InvalidInput
        If it is not TOML.
    NotFound
        If it cannot be read.
    """
    try:
        return tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "correct the line that is named"
        raise InvalidInput("settings", file.name, "is not TOML", why=str(error), hint=hint) from None
    except OSError as error:
        raise NotFound("settings", file.name, "cannot be read", why=str(error)) from None


def clients_of(table: object, source: str) -> tuple[Client, ...]:
    """Return the clients of a table, by their names.

    Parameters
    ----------
    source
        Where it stands, for errors.

    Raises
    ------
    InvalidInput
        If one is not declared soundly.

    Examples
    --------
    >>> [shop] = clients_of({"shop": {"token": "ab" * 32, "rate": "200/s", "models": ["late"]}}, "varv.toml")
    >>> shop.name, shop.models, str(shop.rate), shop.roles
    ('shop', ('late',), '200/s', ('predict', 'read'))
    """
    if not isinstance(table, dict):
        raise _wrong(TABLE, "is not a table", source, "write [clients.NAME], and the keys below it")
    found = tuple(_client(name, fields, source) for name, fields in sorted(table.items()))
    named: dict[tuple[str, str], str] = {}
    for one in found:
        for key, hint in (
            ("token", f"make another with varv token {one.name}"),
            ("certificate", "give each client a certificate of its own"),
        ):
            value = getattr(one, key)
            other = named.setdefault((key, value), one.name) if value else one.name
            if other != one.name:
                raise _wrong(_key(one.name, key), f"is that of {other} too", source, hint)
    return found


def _client(name: str, fields: object, source: str) -> Client:
    _checked("client", name, f"{TABLE}.{name[:40]}", source)
    if not isinstance(fields, dict):
        raise _wrong(
            f"{TABLE}.{name}", "is not a table", source, f"write [clients.{name}], and the keys below"
        )
    for key in fields:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(_KEYS)}"
            raise _wrong(_key(name, key), "does not exist", source, hint)
    token, certificate = fields.get("token", ""), fields.get("certificate", "")
    if not isinstance(certificate, str) or ("certificate" in fields and not certificate.strip()):
        hint = 'write a name in it: certificate = "shop.internal"'
        raise _wrong(_key(name, "certificate"), "is no name", source, hint)
    if not isinstance(token, str) or not (
        is_digest(token.lower()) or ("token" not in fields and certificate)
    ):
        hint = f"paste what varv token {name} prints; a token itself does not belong here"
        raise _wrong(_key(name, "token"), "is not the SHA-256 of a token", source, hint)
    return Client(
        name=name,
        token=token.lower(),
        certificate=certificate.strip(),
        models=_models(name, fields, source),
        roles=_roles(name, fields, source),
        rate=_rate(name, fields, source),
        quota=_quota(name, fields, source),
        priority=_whole(name, fields, source, "priority", USUAL_PRIORITY, PRIORITIES[0], PRIORITIES[-1]),
    )


def _models(name: str, fields: Mapping[str, Any], source: str) -> tuple[ModelName, ...] | None:
    if "models" not in fields:
        return None
    hint = 'write models = ["NAME"]; all models are allowed where it is left out'
    given = _texts(name, "models", fields["models"], source, hint)
    return tuple(ModelName(_checked("model", one, _key(name, "models"), source)) for one in given)


def _roles(name: str, fields: Mapping[str, Any], source: str) -> tuple[str, ...]:
    hint = f"write roles = {list(KNOWN_ROLES)}, or some of them".replace("'", '"')
    given = _texts(name, "roles", fields.get("roles", list(ROLES)), source, hint)
    for one in given:
        if one not in KNOWN_ROLES:
            raise _wrong(_key(name, "roles"), f"has {one[:40]!r}, which is no role", source, hint)
    return given


def _texts(name: str, key: str, value: object, source: str, hint: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise _wrong(_key(name, key), "is not a list of texts", source, hint)
    return tuple(value)


def _rate(name: str, fields: Mapping[str, Any], source: str) -> Rate | None:
    if "rate" not in fields:
        if "burst" in fields:
            raise _wrong(_key(name, "burst"), "is given without a rate", source, 'write rate = "200/s" too')
        return None
    rate = _rate_in(name, "rate", fields["rate"], source)
    burst = _whole(name, fields, source, "burst", rate.burst, 1, _MOST_BURST)
    return Rate(rate.n_rows, rate.window_s, burst)


def _quota(name: str, fields: Mapping[str, Any], source: str) -> Rate | None:
    return _rate_in(name, "quota", fields["quota"], source) if "quota" in fields else None


def _rate_in(name: str, key: str, given: object, source: str) -> Rate:
    try:
        return rate_of(given if isinstance(given, str) else repr(given))
    except InvalidInput as error:
        raise _wrong(_key(name, key), error.problem, source, error.hint, given=error.name) from None


def _whole(
    name: str, fields: Mapping[str, Any], source: str, key: str, default: int, low: int, high: int
) -> int:
    value = fields.get(key, default)
    if type(value) is not int or not low <= value <= high:
        hint = f"give a whole number from {low} to {high}"
        raise _wrong(_key(name, key), "is not valid", source, hint, given=str(value)[:40])
    return value


def _checked(kind: str, name: str, key: str, source: str) -> str:
    try:
        return checked_name(kind, name)
    except InvalidInput as error:
        raise _wrong(key, f"has {name[:40]!r}, which {error.problem}", source, error.hint) from None


def _key(name: str, key: str) -> str:
    return f"{TABLE}.{name}.{key[:40]}"


def _wrong(key: str, problem: str, source: str, hint: str, **facts: object) -> InvalidInput:
    return InvalidInput("setting", key, problem, source=source, hint=hint, **facts)
