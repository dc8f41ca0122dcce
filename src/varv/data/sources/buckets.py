"""A place in an object store: what lies there, and each object brought to this machine, by obstore.

What is read there, and when it is read anew, is for `sources.objects` and `sources.landing` to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from varv.data.sources.folders import Landed
from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidDeclaration, Unavailable
from varv.kernel.object_stores import reaching
from varv.kernel.plugins import required
from varv.kernel.scratch import Scratch
from varv.kernel.storage import storing
from varv.kernel.variables import filled_in, names_in, scrubbed

_SECRETS = ("secret", "key", "token", "password")


def require_no_secret(kind: str, options: Mapping[str, str]) -> None:
    """Refuse options that hold a secret instead of naming a variable.

    Raises
    ------
    InvalidDeclaration
        If one does.
    """
    for name, value in options.items():
        if any(word in name.lower() for word in _SECRETS) and not names_in(value):
            hint = "name a variable of the environment: ${SECRET}"
            raise InvalidDeclaration("source", kind, f"holds a secret in {name!r}", hint=hint)


class Bucket:
    """A place in an object store.

    Parameters
    ----------
    url
        Such as ``s3://bucket/prefix``.
    options
        Of obstore.
    identity
        The source for which it is read, as errors name it.
    listed
        What is listed of it, if not everything.
    """

    def __init__(self, url: str, options: Mapping[str, str], identity: str, listed: str = "") -> None:
        self._scheme, _, rest = url.partition("://")
        self._root, _, self._prefix = rest.partition("/")
        if self._scheme == "file":
            self._root, self._prefix = "/", rest
        self._prefix, self._listed = self._prefix.strip("/"), listed
        self._options, self._identity = options, identity
        self._opened: tuple[Any, Any] | None = None

    def files(self, now: Instant | None = None) -> list[Landed]:
        """Return all objects below the place, with their names from there, in the order of these; an object
        appears whole, so none has to be waited for.
        """
        module, store = self._store()
        with reaching(module, self._refused):
            listed = [one for several in module.list(store, self._inside(self._listed)) for one in several]
        start = len(self._inside("x")) - 1
        return sorted(Landed(str(one["path"])[start:], _mark(one)) for one in listed)

    def here(self, name: str, scratch: Scratch) -> Path:
        """Return an object as a file in a scratch folder, in the place of the one that was there."""
        module, store = self._store()
        place = scratch.path / f"object{''.join(Path(name).suffixes[-2:])}"
        with reaching(module, self._refused):
            pieces = module.get(store, self._inside(name)).stream()
        # A disk that is full here is not the store's fault.
        with storing("file", place), place.open("wb") as file:
            while True:
                with reaching(module, self._refused):
                    piece = next(pieces, None)
                if piece is None:
                    return place
                file.write(bytes(piece))

    def _inside(self, name: str) -> str:
        return "/".join(filter(None, (self._prefix, name)))

    def _store(self) -> tuple[Any, Any]:
        """Return the library and the store."""
        if self._opened is not None:
            return self._opened
        module = required("obstore", kind="source", name=self._identity, extra="objects")
        options = {
            name: filled_in(value, kind="source", name=self._identity)
            for name, value in self._options.items()
        }
        # Plain HTTP goes only where an endpoint says so itself.
        client = {"allow_http": True} if options.get("endpoint", "").startswith("http://") else {}
        place = "file:///" if self._scheme == "file" else f"{self._scheme}://{self._root}"
        with reaching(module, self._refused):
            store = module.store.from_url(place, config=options or None, client_options=client or None)
        self._opened = module, store
        return self._opened

    def _refused(self, why: str) -> Unavailable:
        why = scrubbed(why, self._options.values())
        return Unavailable("source", self._identity, "cannot be read", why=why)


def _mark(one: Mapping[str, Any]) -> str:
    mark = one.get("e_tag") or f"{one['size']}-{one['last_modified'].isoformat()}"
    return str(mark).replace("+", "%2B")
