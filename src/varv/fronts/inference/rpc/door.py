"""The door of calls over gRPC: who a call is from, until when its answer is waited for, and how it ends if it
is refused.

The metadata of a call are to the door what headers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from varv.fronts.access import Caller, Door
from varv.fronts.access.deadlines import HEADER, NEVER, deadline_of
from varv.fronts.inference.pauses import Pauses
from varv.fronts.inference.rpc.messages import SERVICE
from varv.fronts.inference.served import Inference
from varv.fronts.inference.timing import Visit
from varv.fronts.inference.watch import Watch
from varv.fronts.inference.watching import each_once, request_id_of
from varv.fronts.problems import TooMuchUnderWay, error_headers
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import InvalidInput, VarvError

Context = grpc.aio.ServicerContext[Any, Any]
_STATUS = {
    "invalid_input": grpc.StatusCode.INVALID_ARGUMENT,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "permission_denied": grpc.StatusCode.PERMISSION_DENIED,
    "not_found": grpc.StatusCode.NOT_FOUND,
    "expired": grpc.StatusCode.NOT_FOUND,
    "erased": grpc.StatusCode.NOT_FOUND,
    "already_exists": grpc.StatusCode.ALREADY_EXISTS,
    "conflict": grpc.StatusCode.ABORTED,
    "failed_precondition": grpc.StatusCode.FAILED_PRECONDITION,
    "rate_limited": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "interrupted": grpc.StatusCode.UNAVAILABLE,
    "storage_full": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's status of each error code; of all others it is internal."""
_OPEN = frozenset({"ServerLive", "ServerReady", "Check"})
"""What probes ask, who have no token."""
_PREDICTS = frozenset({"ModelInfer", "ModelStreamInfer"})


class Unreadable:
    """In place of a message whose bytes are none."""


def reading(message: Any) -> Callable[[bytes], Any]:
    """Return what reads messages of a class, and gives an `Unreadable` for bytes that are none: what raises
    there passes for a fault of the server, with a traceback in its log.
    """

    def read(data: bytes) -> Any:
        try:
            return message.FromString(data)
        except DecodeError:
            return Unreadable()

    return read


def require_readable(request: Any) -> None:
    """Refuse what is no message.

    Raises
    ------
    InvalidInput
        If it is none.
    """
    if isinstance(request, Unreadable):
        hint = "send it as the service is described; ask for that by reflection"
        raise InvalidInput("request", "message", "is not of this call", hint=hint)


class Bytes:
    """Of all requests under way, so many at most.

    Parameters
    ----------
    most
        Together.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, n_bytes: int) -> None:
        """Count a request; `give` is owed for it from then on.

        Raises
        ------
        TooMuchUnderWay
            If it is too large beside the others.
        """
        if n_bytes > self._left:
            hint = "try again in a moment, or send it in parts"
            problem = "comes while too many bytes are under way"
            raise TooMuchUnderWay("request", "", problem, n_bytes=n_bytes, hint=hint)
        self._left -= n_bytes

    def give(self, n_bytes: int) -> None:
        """Let a request go."""
        self._left += n_bytes


def behind(inference: Inference, name: str, act: Callable[..., Any], pauses: Pauses) -> Callable[..., Any]:
    """Return an act for those who may do it, with our errors as statuses, whose calls are counted."""
    door = inference.door

    async def answer(request: Any, context: Context) -> Any:
        watch = watch_of(inference, name, context, wall_seconds())
        pauses.begin()
        try:
            visit = visit_of(door, name, context)._replace(watch=watch)
            require_readable(request)
            response = await act(request, visit)
        except VarvError as error:
            end(watch, status_of(error))
            # This frame lives on with the call's end; see `abort`.
            request = None
            await abort(door, context, error, () if watch is None else watch.headers().items())
        except Exception:
            end(watch, grpc.StatusCode.UNKNOWN)
            raise
        finally:
            pauses.end()
        tell(context, visit)
        end(watch, grpc.StatusCode.OK)
        return response

    return answer


def visit_of(door: Door, name: str, context: Context) -> Visit:
    """Return from whom a call is, and until when its answer is waited for.

    Raises
    ------
    Unauthenticated, PermissionDenied
        If its caller may not make it.
    InvalidInput
        If its metadata say the time in another form.
    """
    began, left_s = wall_seconds(), context.time_remaining()
    token = waits = None
    request_id = b""
    for known_as, value in context.invocation_metadata() or ():
        if known_as == "authorization":
            token = _in_bytes(value)
        elif known_as == HEADER:
            waits = _in_bytes(value)
        elif known_as == "x-request-id":
            request_id = _in_bytes(value)
    caller = door.callers[_certified(door, context) if token is None else token]
    if name not in _OPEN:
        door.require(caller, "predict" if name in _PREDICTS else "read")
    deadline = NEVER if left_s is None else began + left_s
    if waits is not None:
        deadline = min(deadline, deadline_of(waits, began))
    return Visit(caller, began, deadline, request_id=request_id_of(request_id) if request_id else "")


def watch_of(inference: Inference, name: str, context: Context, began: float) -> Watch | None:
    """Return a watch on a call, None if there is nothing to be kept of it."""
    watcher = inference.watcher
    if watcher is None or name in _OPEN:
        return None
    metadata = context.invocation_metadata() or ()
    said = [(key.encode(), _in_bytes(value)) for key, value in metadata]
    watch = watcher.begin(each_once(said), "grpc", f"{SERVICE}/{name}", began)
    if watch is not None:
        watch.client = _caller(inference.door, context).name
    return watch


def end(watch: Watch | None, status: grpc.StatusCode) -> None:
    """Take note of the end of a call that is watched."""
    if watch is not None:
        watch.end(status.name, is_refused=status is not grpc.StatusCode.OK)


async def abort(
    door: Door, context: Context, error: VarvError, more: Iterable[tuple[str, str]] = ()
) -> NoReturn:
    """End a call with an error, and with what HTTP says of it in headers."""
    # gRPC keeps what it raises in the context that is a variable here: a cycle, which lives with all that its
    # frames hold until the garbage is collected. So they hold little.
    error.__traceback__ = error.__context__ = None
    limit = _caller(door, context).limit
    metadata = (*error_headers(error).items(), *(() if limit is None else limit.headers), *more)
    await context.abort(status_of(error), str(error), metadata)
    raise error


def tell(context: Context, visit: Visit) -> None:
    """Say with the end of a call what HTTP says in headers."""
    limit = () if visit.caller.limit is None else visit.caller.limit.headers
    more = () if visit.watch is None else visit.watch.headers().items()
    if limit or more:
        context.set_trailing_metadata((*limit, *more))


def status_of(error: VarvError) -> grpc.StatusCode:
    """Return the status of gRPC for an error."""
    if isinstance(error, TooMuchUnderWay):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    return _STATUS.get(error.code, grpc.StatusCode.INTERNAL)


def _caller(door: Door, context: Context) -> Caller:
    found = (value for name, value in context.invocation_metadata() or () if name == "authorization")
    token = next(found, None)
    return door.callers[_certified(door, context) if token is None else _in_bytes(token)]


def _certified(door: Door, context: Context) -> bytes | None:
    """Return the header that stands for the certificate of whoever calls, None if it is no client's."""
    if not door.callers.knows_certificates:
        return None
    about = context.auth_context()
    names = about.get("x509_subject_alternative_name") or about.get("x509_common_name") or ()
    return door.callers.header_of([name.decode(errors="replace") for name in names])


def _in_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
