"""Packed features in Redis: a hash an entity of a view, a field a generation, and the pointer in a key of its
own that is read in the same round trip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from varv.features.online.ports import Found, Pointer, Table
from varv.kernel.errors import FailedPrecondition, Unavailable

if TYPE_CHECKING:
    import redis

_AT_ONCE = 2000
_PREFIX = b"varv:"


class RedisKeyValue:
    """Tables in a database of Redis.

    Parameters
    ----------
    url
        ``redis://host:port/0``, or ``rediss:`` for TLS.
    space
        Comes before every key, so that several homes can share a database.

    Raises
    ------
    FailedPrecondition
        If the package is not installed.
    """

    def __init__(self, url: str, *, space: str = "") -> None:
        try:
            import redis
        except ModuleNotFoundError:
            hint = "pip install 'varv[redis]'"
            raise FailedPrecondition("package", "redis", "is not installed", hint=hint) from None
        self._problems: tuple[type[Exception], ...] = (redis.ConnectionError, redis.TimeoutError)
        self._url = url
        self._redis: redis.Redis = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        self._prefix = _PREFIX + (space.encode() + b":" if space else b"")
        self._pointers: dict[bytes, Pointer] = {}

    def get_many(self, asked: Mapping[str, Sequence[bytes]]) -> dict[str, Found]:
        """See `KeyValue`."""
        # One transaction: pointer and values are of one moment, so a swap and a drop never come between.
        together = self._redis.pipeline(transaction=True)
        for name, keys in asked.items():
            together.get(self._pointer_key(name))
            for key in keys:
                together.hgetall(self._key(name, key))
        replies = iter(self._done(together))
        found = {}
        for name, keys in asked.items():
            pointer = self._pointer(next(replies))
            hashes = [next(replies) for _ in keys]
            field = b"" if pointer is None else b"%d" % pointer.generation
            found[name] = Found(pointer, [fields.get(field) for fields in hashes])
        return found

    def current(self, name: str) -> Pointer | None:
        """See `KeyValue`."""
        return self._pointer(self._asked(lambda: self._redis.get(self._pointer_key(name))))

    def get_from(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `KeyValue`."""
        found: list[bytes | None] = []
        field = b"%d" % table.generation
        for start in range(0, len(keys), _AT_ONCE):
            together = self._redis.pipeline(transaction=False)
            for key in keys[start : start + _AT_ONCE]:
                together.hget(self._key(table.name, key), field)
            found += self._done(together)
        return found

    def note(self, table: Table) -> bytes | None:
        """See `KeyValue`."""
        return self._asked(lambda: self._redis.hget(self._notes_key(table.name), str(table.generation)))

    def put_many(self, table: Table, values: Sequence[tuple[bytes, bytes]], note: bytes) -> None:
        """See `KeyValue`; of many values some are there before the note is, which says that they are."""
        field = b"%d" % table.generation
        for start in range(0, len(values), _AT_ONCE):
            together = self._redis.pipeline(transaction=True)
            for key, value in values[start : start + _AT_ONCE]:
                together.hset(self._key(table.name, key), field, value)
            self._done(together)
        self._asked(lambda: self._redis.hset(self._notes_key(table.name), field, note))

    def swap(self, table: Table, note: bytes) -> None:
        """See `KeyValue`."""
        said = b"%d %s" % (table.generation, note)
        self._asked(lambda: self._redis.set(self._pointer_key(table.name), said))

    def drop(self, table: Table) -> None:
        """See `KeyValue`."""
        current = self.current(table.name)
        if current is not None and current.generation == table.generation:
            self._asked(lambda: self._redis.delete(self._pointer_key(table.name)))
        field = b"%d" % table.generation
        keys: list[bytes] = []
        for key in self._redis.scan_iter(match=_literal(self._key(table.name, b"")) + b"*", count=_AT_ONCE):
            keys.append(key)
            if len(keys) >= _AT_ONCE:
                self._forget(keys, field)
                keys.clear()
        self._forget(keys, field)
        self._asked(lambda: self._redis.hdel(self._notes_key(table.name), field))

    def generations(self, name: str) -> list[int]:
        """See `KeyValue`."""
        return sorted(int(field) for field in self._asked(lambda: self._redis.hkeys(self._notes_key(name))))

    def size_bytes(self, table: Table) -> int:
        """See `KeyValue`; Redis does not say it without a look at every value, so it is 0."""
        return 0

    def close(self) -> None:
        """See `KeyValue`."""
        self._redis.close()

    def _forget(self, keys: Sequence[bytes], field: bytes) -> None:
        together = self._redis.pipeline(transaction=False)
        for key in keys:
            together.hdel(key, field)
        self._done(together)

    def _key(self, name: str, key: bytes) -> bytes:
        return b"%se:%s:%s" % (self._prefix, name.encode(), key)

    def _pointer_key(self, name: str) -> bytes:
        return b"%sp:%s" % (self._prefix, name.encode())

    def _notes_key(self, name: str) -> bytes:
        return b"%sn:%s" % (self._prefix, name.encode())

    def _pointer(self, said: bytes | None) -> Pointer | None:
        if said is None:
            return None
        known = self._pointers.get(said)
        if known is None:
            generation, _, note = said.partition(b" ")
            if len(self._pointers) > _AT_ONCE:
                self._pointers.clear()
            known = self._pointers[said] = Pointer(int(generation), note)
        return known

    def _done(self, together: Any) -> list[Any]:
        return self._asked(together.execute)

    def _asked(self, ask: Any) -> Any:
        try:
            return ask()
        except self._problems as error:
            hint = "look whether it runs, and at the setting online_store"
            raise Unavailable(
                "online store", "", "does not answer", why=str(error)[:200], hint=hint
            ) from None


def _literal(pattern: bytes) -> bytes:
    """Return a text as a pattern of Redis that stands for itself."""
    return b"".join(b"\\" + bytes((one,)) if one in b"*?[]\\^-" else bytes((one,)) for one in pattern)
