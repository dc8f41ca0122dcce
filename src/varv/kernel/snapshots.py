"""Snapshots: state that follows from the ledger and the rows it names, as of one entry, so that a restart
need not fold all of it anew.

A snapshot can always be thrown away. One that was edited or cut, that another version made, or whose entry
the ledger does not hold, is passed over, and everything is read again. Decisions are made from what one
holds, so a whole file is authenticated with the secret of the home before anything in it is looked at;
nothing in it is ever run. Its arrays are mapped from the file, not copied.
"""

from __future__ import annotations

import errno
import fcntl
import hmac
import logging
import os
import shutil
import struct
import sys
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.blobs import sync_folder
from varv.kernel.codec import digest_of
from varv.kernel.faults import Faults
from varv.kernel.ids import new_secret
from varv.kernel.ledger import Ledger
from varv.kernel.mapped import MappedFile
from varv.kernel.observe import log
from varv.kernel.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.poly1305 import Poly1305

SNAPSHOTS = "snapshots"
"""The folder of a home that they lie in."""
SUFFIX = ".snapshot"
LEFT_FREE = 64 << 20
"""Bytes of the disk that no snapshot takes: records need them more."""
_BEGIN = b"varv.snapshot.1\n"
_NONCE_BYTES = 32
_END = struct.Struct(f"<{_NONCE_BYTES}sQ")
"""The nonce of the key, and the size of the index before it; the tag is last."""
_TAG_BYTES = 16
_ALIGNED = 64
_CHUNK = 1 << 18
_MUCH = 1 << 20
_TEXTS_AT_ONCE = 4096
_ARRAY, _TEXTS, _FRAME = 1, 2, 3
_LOG = logging.getLogger(__name__)
_OTHER = "was made by another version"

State = TypeVar("State", bound=msgspec.Struct)


class Position(msgspec.Struct, frozen=True):
    """The entry of the ledger up to which a state holds everything."""

    seq: int
    hash: bytes


class Kept(NamedTuple, Generic[State]):
    """A state that was read: the longer of its arrays lie in the file, which is to be let go of now and
    then.
    """

    position: Position
    state: State
    lies_in: MappedFile


class _Header(msgspec.Struct, array_like=True, frozen=True):
    """What the index of a file says before the state itself."""

    name: str
    fingerprint: str
    position: Position
    state: msgspec.Raw


class _Section(msgspec.Struct, array_like=True, frozen=True):
    """Where an array or encoded rows lie in the file."""

    start: int
    size: int
    dtype: str = ""
    shape: tuple[int, ...] = ()


def fingerprint(form: str) -> str:
    """Return what must be the same wherever a snapshot is read: the form of states, and the versions of the
    libraries that have a say in what their numbers mean.
    """
    return f"{form}, polars {pl.__version__}, numpy {np.__version__}, {sys.byteorder}"


@cache
def code_in(folder: Path) -> str:
    """Return what changes with any file of Python below a folder: another code may fold to other states. A
    process goes by what it found first, as by the code that it has imported.
    """
    found = sorted((path.relative_to(folder).as_posix(), path.stat()) for path in folder.rglob("*.py"))
    return digest_of([[name, of.st_size, of.st_mtime_ns] for name, of in found])


class Snapshots:
    """The snapshots of one home, by name.

    States are structs of plain values, numpy arrays and polars frames; arrays of objects hold texts or None.

    Parameters
    ----------
    folder
        Made when the first one is written.
    secret
        Of the home; it authenticates them.
    fingerprint
        Those of another are passed over; see `fingerprint`.
    durable
        Whether one survives a power cut once it is written.

    Notes
    -----
    The tag is Poly1305 (Bernstein 2005) under a key of its own for each file, the HMAC-SHA-256 of a nonce
    under the home's secret. It checks 2.8 GB a second where HMAC-SHA-256 over all bytes checks 1.0.
    """

    def __init__(
        self,
        folder: Path,
        secret: Secret,
        fingerprint: str,
        *,
        durable: bool = True,
        faults: Faults | None = None,
    ) -> None:
        self._folder = folder
        self._secret = secret
        self._fingerprint = fingerprint
        self._durable = durable
        self._faults = faults or Faults()
        self._given: weakref.WeakSet[MappedFile] = weakref.WeakSet()

    def write(
        self,
        name: str,
        position: Position,
        state: msgspec.Struct,
        *,
        let_go: Callable[[], None] = lambda: None,
    ) -> bool:
        """Write a state; those of before with its name are removed once it is there. Return whether it is: a
        disk that takes no more is logged and is no failure.

        Parameters
        ----------
        let_go
            Called after each long array: lets go of the memory of what was looked into.
        """
        before = self._files(name)
        place = self._folder / f"{name}~{position.seq:015d}{SUFFIX}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_abandoned()
            self._write(place, name, position, state, let_go)
        except OSError as error:
            log(_LOG, logging.WARNING, "snapshot.skipped", name=name, why=error.strerror or str(error))
            return False
        for path in before:
            if path != place:
                path.unlink(missing_ok=True)
        return True

    def newest(self, name: str, kind: type[State], ledger: Ledger) -> Kept[State] | None:
        """Return the newest state of a name that is whole, of this version, and of this ledger; None if there
        is none. Others are passed over, which is logged.
        """
        for path in reversed(self._files(name)):
            try:
                with path.open("rb") as file:
                    found = self._read(file, name, kind)
            except FileNotFoundError:
                # It was removed, so a newer one is there by now.
                return self.newest(name, kind, ledger)
            if not isinstance(found, str) and not _holds(ledger, found.position):
                found = "is not of this ledger"
            if not isinstance(found, str):
                self._given.add(found.lies_in)
                return found
            # After an upgrade there is one of before of everything.
            level = logging.INFO if found.startswith(_OTHER) else logging.WARNING
            log(_LOG, level, "snapshot.passed_over", file=path.name, why=found)
        return None

    @property
    def are_unchanged(self) -> bool:
        """Whether nobody has written to a file that arrays in use lie in."""
        return all(file.is_unchanged for file in list(self._given))

    def _files(self, name: str) -> list[Path]:
        return sorted(self._folder.glob(f"{name}~{'[0-9]' * 15}{SUFFIX}"))

    def _write(
        self, place: Path, name: str, position: Position, state: msgspec.Struct, let_go: Callable[[], None]
    ) -> None:
        handle, made = tempfile.mkstemp(prefix=".", suffix=f".{place.name}", dir=self._folder)
        draft, written = Path(made), False
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                # Whoever finds the draft without its lock removes it.
                fcntl.flock(file, fcntl.LOCK_EX)
                nonce = new_secret(_NONCE_BYTES)
                writer = _Writer(file, self._folder, _mac(self._key(nonce)), let_go)
                body = msgspec.msgpack.encode(state, enc_hook=writer.encoded)
                header = _Header(name, self._fingerprint, position, msgspec.Raw(body))
                writer.finish(msgspec.msgpack.encode(header), nonce)
                if self._durable:
                    os.fsync(handle)
                self._faults.reach("snapshots.before_rename")
                draft.replace(place)
                written = True
        finally:
            if not written:
                with suppress(OSError):
                    draft.unlink()
        if self._durable:
            sync_folder(self._folder)

    def _read(self, file: BinaryIO, name: str, kind: type[State]) -> Kept[State] | str:
        """Return what a file holds, or why it is not used."""
        size = os.fstat(file.fileno()).st_size
        if size < len(_BEGIN) + _END.size + _TAG_BYTES:
            return "is cut"
        lies_in = MappedFile(file)
        tail = lies_in.bytes(size - _END.size - _TAG_BYTES, _END.size)
        nonce, index_size = _END.unpack(tail)
        if not self._is_authentic(file, size, self._key(nonce)) or not lies_in.is_unchanged:
            return "is not what was written, or has lost its key"
        start = size - _TAG_BYTES - _END.size - index_size
        if start < len(_BEGIN):
            return "is of another form"
        try:
            header = msgspec.msgpack.decode(lies_in.bytes(start, index_size), type=_Header)
            if header.name != name:
                return f"is of something else: {header.name}"
            if header.fingerprint != self._fingerprint:
                return f"{_OTHER}: {header.fingerprint}"
            state = msgspec.msgpack.decode(header.state, type=kind, ext_hook=_Reader(lies_in).decoded)
        except (msgspec.MsgspecError, ValueError, pl.exceptions.PolarsError) as error:
            return f"does not read: {error}"
        lies_in.let_go()
        return Kept(header.position, state, lies_in)

    def _is_authentic(self, file: BinaryIO, size: int, key: bytes) -> bool:
        mac, left, chunk = _mac(key), size - _TAG_BYTES, bytearray(_CHUNK)
        while left:
            n_read = file.readinto(memoryview(chunk)[: min(left, _CHUNK)])  # type: ignore[attr-defined]
            if not n_read:
                return False
            mac.update(memoryview(chunk)[:n_read])
            left -= n_read
        return hmac.compare_digest(mac.finalize(), file.read(_TAG_BYTES))

    def _key(self, nonce: bytes) -> bytes:
        return bytes.fromhex(self._secret.digest(b"snapshot\x00" + nonce))

    def _remove_abandoned(self) -> None:
        for draft in self._folder.glob(f".*{SUFFIX}"):
            with suppress(OSError), draft.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()


class _Writer:
    """Appends to a draft, and authenticates on the way."""

    def __init__(self, file: BinaryIO, folder: Path, mac: Poly1305, let_go: Callable[[], None]) -> None:
        self._file = file
        self._folder = folder
        self._mac = mac
        self._let_go = let_go
        self._end = 0
        self._write(_BEGIN)

    def encoded(self, value: object) -> msgspec.msgpack.Ext:
        """Put what has no place in the index into a section, and return its stead."""
        if isinstance(value, pl.DataFrame):
            return self._section(_FRAME, _stream(value))
        if not isinstance(value, np.ndarray):
            raise NotImplementedError(f"a snapshot holds no {type(value).__name__}")
        if value.dtype == object:
            return self._section(_TEXTS, _stream(pl.DataFrame([_texts(value)])))
        data = np.ascontiguousarray(value).data.cast("B") if value.size else b""
        return self._section(_ARRAY, data, value.dtype.str, value.shape)

    def finish(self, index: bytes, nonce: bytes) -> None:
        """Write the index, and what authenticates the whole."""
        self._write(index)
        self._write(_END.pack(nonce, len(index)))
        self._file.write(self._mac.finalize())

    def _section(
        self, code: int, data: bytes | memoryview, dtype: str = "", shape: tuple[int, ...] = ()
    ) -> msgspec.msgpack.Ext:
        if shutil.disk_usage(self._folder).free < len(data) + LEFT_FREE:
            raise OSError(errno.ENOSPC, "too little space is left on the disk")
        self._write(bytes(-self._end % _ALIGNED))
        section = _Section(self._end, len(data), dtype, shape)
        self._write(data)
        if len(data) > _MUCH:
            self._let_go()
        return msgspec.msgpack.Ext(code, msgspec.msgpack.encode(section))

    def _write(self, data: bytes | memoryview) -> None:
        # In pieces: the interpreter is others' between them.
        for start in range(0, len(data), _CHUNK):
            piece = memoryview(data)[start : start + _CHUNK]
            self._mac.update(piece)
            while piece:
                piece = piece[self._file.write(piece) :]
        self._end += len(data)


class _Reader:
    """Gives back what lies in sections."""

    def __init__(self, lies_in: MappedFile) -> None:
        self._lies_in = lies_in

    def decoded(self, code: int, data: memoryview) -> npt.NDArray[Any] | pl.DataFrame:
        """Return what an index has in a section.

        Raises
        ------
        ValueError
            If there is no such section.
        """
        section = msgspec.msgpack.decode(data, type=_Section)
        if code == _ARRAY:
            return self._lies_in.array(np.dtype(section.dtype), section.shape, section.start)
        frame = pl.read_ipc_stream(BytesIO(self._lies_in.bytes(section.start, section.size)))
        if code == _FRAME:
            return frame
        texts = np.empty(frame.height, object)
        texts[:] = frame.to_series().to_list()
        return texts


def _mac(key: bytes) -> Poly1305:
    from cryptography.hazmat.primitives.poly1305 import Poly1305  # takes a while to import

    return Poly1305(key)


def _texts(values: npt.NDArray[Any]) -> pl.Series:
    # A few at a time: the interpreter is others' between them.
    starts = range(0, max(len(values), 1), _TEXTS_AT_ONCE)
    several = [
        pl.Series(values[start : start + _TEXTS_AT_ONCE].tolist(), dtype=pl.String) for start in starts
    ]
    return pl.concat(several)


def _stream(frame: pl.DataFrame) -> memoryview:
    encoded = BytesIO()
    frame.write_ipc_stream(encoded)
    return encoded.getbuffer()


def _holds(ledger: Ledger, position: Position) -> bool:
    """Return whether a ledger has the entry of a position."""
    found = ledger.read(position.seq - 1, limit=1)
    return bool(found) and (found[0].seq, found[0].hash) == (position.seq, position.hash)
