"""A model that answers elsewhere: where, over which protocol, and what it reads and says.

A version whose model is an endpoint holds this and no weights. `training.imported` makes a package of one,
the runtime ``remote`` asks it. It holds no secret, only where one is found.
"""

from __future__ import annotations

import math
import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from varv.kernel.errors import InvalidInput

FILE = "endpoint.json"
"""Its name in a package."""
Protocol = Literal["oip", "instances"]
"""``oip`` is the Open Inference Protocol v2 over HTTP; ``instances`` sends rows as JSON below that name and
reads their ``predictions``, as KServe's first protocol and TensorFlow Serving have it."""
DATATYPES = {
    "BOOL": "?",
    **{f"{sign}INT{8 * n}": f"<{'u' if sign else 'i'}{n}" for sign in ("", "U") for n in (1, 2, 4, 8)},
    "FP32": "<f4",
    "FP64": "<f8",
}
"""numpy's name of each type of number."""
TEXT = "BYTES"
_MODEL = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Tensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input or output of a model, of a shape whose first dimension is rows, with -1 for what is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    required: bool = True

    @property
    def is_matrix(self) -> bool:
        """Whether a row of it has several values, or may have."""
        return len(self.shape) == 2 and self.shape[1] != 1

    @property
    def width(self) -> int:
        """How many values a row has; -1 if it is free."""
        return -1 if -1 in self.shape[1:] else math.prod(self.shape[1:])


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A model that answers elsewhere."""

    endpoint: str
    """The address of the model; over the Open Inference Protocol it ends in ``/v2/models/NAME``, with or
    without ``/versions/VERSION``."""
    protocol: Protocol = "oip"
    inputs: tuple[Tensor, ...] = ()
    """Those that it is fed, as it has described them; without a description none."""
    outputs: tuple[Tensor, ...] = ()
    output: str = ""
    """The one that is the prediction."""
    binary: bool = False
    """Whether it takes and gives tensors as bytes."""
    timeout_s: float = 2.0
    """How long one call may take, with all that is tried again."""
    token_variable: str = ""
    """The variable of the environment that holds a bearer token."""
    token_file: str = ""
    """The file that holds one."""

    @property
    def name(self) -> str:
        """What it is called: host and path, without what may be a secret."""
        parts = urlsplit(self.endpoint)
        return f"{parts.hostname}{parts.path}"

    def to_bytes(self) -> bytes:
        """Return it as a file."""
        return msgspec.json.encode(self)


def checked_endpoint(url: str, protocol: Protocol, *, has_token: bool) -> str:
    """Return the address of a model, without a slash at its end.

    Raises
    ------
    InvalidInput
        If it is none, holds a password, or would be sent a token that others can read on the way.
    """
    problem = ""
    try:
        parts = urlsplit(url)
        _ = parts.port
        if parts.scheme not in ("http", "https") or not parts.hostname:
            problem = "is not the address of a model"
        elif parts.username is not None or parts.password is not None:
            problem = "holds a password; name a variable or a file that holds a token"
        elif parts.query or parts.fragment:
            problem = "has a query; a model is named by its path"
        elif protocol == "oip" and not re.search(_MODEL.pattern + "$", parts.path.rstrip("/")):
            problem = "does not end in /v2/models/NAME"
        elif has_token and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            problem = "is not https, so that others could read the token"
        elif any(sign <= " " or sign == "\x7f" for sign in url):
            problem = "is not an address"
    except ValueError:
        problem = "is not an address"
    if problem:
        # A password is not repeated into a message.
        shown = url.rpartition("@")[2].partition("?")[0][:80]
        raise InvalidInput("endpoint", shown, problem, hint="write https://host/v2/models/NAME")
    return url.rstrip("/")


def is_endpoint(data: bytes) -> bool:
    """Return whether bytes are what `Endpoint.to_bytes` writes."""
    return data.startswith(b'{"endpoint":')


def endpoint_of(data: bytes) -> Endpoint:
    """Return the endpoint that bytes describe.

    Raises
    ------
    InvalidInput
        If they describe none, or one whose address is none.
    """
    try:
        found = msgspec.json.decode(data, type=Endpoint)
    except msgspec.MsgspecError as error:
        raise InvalidInput("endpoint", "", "is not described", why=str(error)[:200]) from None
    has_token = bool(found.token_variable or found.token_file)
    checked_endpoint(found.endpoint, found.protocol, has_token=has_token)
    return found
