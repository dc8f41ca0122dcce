"""The state of an estimator of scikit-learn, kept so that a later training can go on with ``partial_fit``.

It is written by skops, which names the type of everything in it and makes nothing that is not on a list:
types of NumPy and scikit-learn that hold numbers and settings, and two of ours to trust. It is read for
training only, never to serve. A crafted file can still make the reader crash, so only packages of the home
are read.
"""

from __future__ import annotations

import io
import re
import zipfile
from itertools import count
from typing import Any

from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.plugins import required
from varv.training.skops_file import OPTIMIZERS, opened

STATE_FILE = "state.skops"
_ADDRESS = re.compile(rb'(?<="__id__": )\d+|\d+(?=\.np[yz]")')


def saved_state(estimator: Any) -> bytes | None:
    """Return the state of an estimator; None if it holds a type that is not on the list.

    Raises
    ------
    FailedPrecondition
        If skops is not installed.
    """
    skops = required("skops.io", kind="estimator", name=type(estimator).__name__, extra="state")
    from skops.io.exceptions import UnsupportedTypeException

    try:
        data = skops.dumps(estimator)
    except UnsupportedTypeException:
        return None
    if set(skops.get_untrusted_types(data=data)) - set(OPTIMIZERS):
        return None
    return _without_addresses(data)


def restored_state(data: bytes) -> Any:
    """Return the estimator that `saved_state` kept.

    Raises
    ------
    Corrupt
        If the bytes are something else, or hold a type that is not on the list.
    FailedPrecondition
        If skops is not installed.
    """
    try:
        return opened(data, STATE_FILE, OPTIMIZERS)
    except InvalidInput as error:
        raise Corrupt("file", STATE_FILE, error.problem, type=error.facts.get("type")) from None


def _without_addresses(data: bytes) -> bytes:
    """Return an archive in which objects are named by number, not by where they were in memory."""
    numbers: dict[bytes, bytes] = {}
    fresh = count(1)

    def renamed(address: re.Match[bytes]) -> bytes:
        return numbers.setdefault(address.group(), str(next(fresh)).encode())

    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as kept:
        schema = _ADDRESS.sub(renamed, given.read("schema.json"))
        entries = {b"schema.json": schema}
        for name in given.namelist():
            address, _, kind = name.encode().partition(b".")
            if name != "schema.json":
                entries[numbers.get(address, address) + b"." + kind] = given.read(name)
        for entry in sorted(entries):
            kept.writestr(zipfile.ZipInfo(entry.decode()), entries[entry], zipfile.ZIP_DEFLATED)
    return made.getvalue()
