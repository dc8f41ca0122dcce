"""The door of a worker: every way in asks it whether a request is taken, and tells it when it is answered.

It decides in the order of what a caller may know: who it is, what it may do, whether there is room, and
whether its rate allows it. It is used on the event loop; only what counts rows and refusals is also called
from threads.
"""

from __future__ import annotations

import hmac
import threading
from collections import Counter
from collections.abc import Sequence

from varv.fronts.access.clients import ROLES, USUAL_PRIORITY, Client, digest_of
from varv.fronts.access.concurrency import GradientLimit
from varv.fronts.access.cors import Headers, Origins
from varv.fronts.access.deprecation import deprecation_headers, is_deprecated
from varv.fronts.access.limits import MICROSECONDS, RateLimit, SeveralLimits
from varv.kernel.errors import PermissionDenied, RateLimited, Unauthenticated, Unavailable, VarvError
from varv.kernel.ids import new_secret

LONGEST_TOKEN = 512
MOST_SPELLINGS = 1000
"""Of valid headers that are remembered; a scheme may be written in several ways."""


class Caller:
    """A client as a worker knows it.

    Parameters
    ----------
    name
        Of the client; nothing if nobody in particular.
    roles, models, priority
        What it may do, of which models, None for all, and who goes before it.
    limit
        Of the rows that it asks for; None if there is none.
    """

    __slots__ = ("limit", "models", "name", "predicts", "priority", "rate", "reads", "tracks")

    def __init__(
        self,
        name: str = "",
        roles: Sequence[str] = ROLES,
        models: frozenset[str] | None = None,
        priority: int = USUAL_PRIORITY,
        limit: RateLimit | SeveralLimits | None = None,
        rate: str = "",
    ) -> None:
        self.name = name
        self.predicts, self.reads = "predict" in roles, "read" in roles
        self.tracks = "track" in roles
        self.models = models
        self.priority = priority
        self.limit = limit
        self.rate = rate


NOBODY = Caller(roles=(), models=frozenset())
"""Whoever brings no valid token where one is needed."""
ANYBODY = Caller()
"""Whoever asks where no client is declared."""


class Callers(dict[bytes | None, Caller]):
    """Who sends an ``Authorization`` header, by its bytes.

    A header that was valid once is found by its bytes alone: the hash of the lookup is keyed anew in each
    process, so how long it takes tells nobody anything of a token. All others are digested and compared with
    every client's digest, in the same time whichever it is.

    Parameters
    ----------
    clients
        Those that are declared; with none, everybody may do everything.
    n_workers
        That share the rates.
    """

    def __init__(self, clients: Sequence[Client], n_workers: int) -> None:
        super().__init__()
        if not clients:
            self[None] = ANYBODY
        callers = [(one, _caller(one, n_workers)) for one in clients]
        self._of_digest = [(one.token, caller) for one, caller in callers if one.token]
        self.is_open = not clients
        """Whether none is declared, so that everybody may do everything."""
        # Nobody can send what stands for a certificate: it is made of chance in each process.
        proof = new_secret(32).hex()
        self._header_of: dict[str, bytes] = {}
        for one, caller in callers:
            if one.certificate:
                self._header_of[one.certificate] = header = f"Certificate {proof} {one.name}".encode()
                self[header] = caller

    @property
    def knows_certificates(self) -> bool:
        """Whether any client is known by a certificate."""
        return bool(self._header_of)

    def header_of(self, names: Sequence[str]) -> bytes | None:
        """Return the header that stands for a certificate, by the names in it; None if it is no client's."""
        return next((found for name in names if (found := self._header_of.get(name)) is not None), None)

    def __missing__(self, header: bytes | None) -> Caller:
        if self.is_open:
            return ANYBODY
        token = _token(header)
        if token is None:
            return NOBODY
        digest, found = digest_of(token), NOBODY
        for known, caller in self._of_digest:
            if hmac.compare_digest(known, digest):
                found = caller
        if found is not NOBODY and len(self) < MOST_SPELLINGS:
            self[header] = found
        return found


class Door:
    """Takes requests of a worker, or refuses them.

    Parameters
    ----------
    clients
        Those that are declared; with none, everybody may do everything.
    n_workers
        That share the rates.
    origins
        The sites whose pages may ask.
    v1_deprecated_s
        Since when KServe's first protocol is not to be used, in seconds since 1970; 0 if it may be.
    limit
        Of the requests under way.
    """

    def __init__(
        self,
        clients: Sequence[Client] = (),
        *,
        n_workers: int = 1,
        origins: Origins | None = None,
        v1_deprecated_s: int = 0,
        limit: GradientLimit | None = None,
    ) -> None:
        self.callers = Callers(clients, n_workers)
        self.origins = origins or Origins()
        self.limit = limit or GradientLimit()
        self.n_under_way = 0
        """Requests that were taken and are not answered yet."""
        self.refusals: Counter[tuple[str, str]] = Counter()
        """How many requests were refused, by reason and client: "unauthenticated", "role", "model",
        "overload", "rate" and "deadline".
        """
        self.costs: dict[str, int] = {}
        """How many rows of a client's rate a row of a model takes, of those that take more than one."""
        self._v1_deprecated_s = v1_deprecated_s
        self._counting = threading.Lock()

    def admit(self, caller: Caller, model: str, now_s: float) -> None:
        """Take a request for predictions; `done` is owed for it from then on.

        Raises
        ------
        Unauthenticated, PermissionDenied
            If nobody knows the caller, or it may not ask this model.
        Unavailable
            If too much is under way for one of its priority.
        RateLimited
            If it asks for more than its rate.
        """
        if not caller.predicts or (caller.models is not None and model not in caller.models):
            self.require(caller, "predict", model)
        if self.n_under_way >= self.limit.most_of[caller.priority]:
            raise self._overloaded(caller)
        if caller.limit is not None:
            wait_us = caller.limit.take(int(now_s * MICROSECONDS), self.costs.get(model, 1))
            if wait_us:
                raise self._rate_limited(caller, model, wait_us)
        self.n_under_way += 1

    def admit_rows(self, caller: Caller, model: str, n_rows: int, now_s: float) -> None:
        """Take all rows of a request that was taken, now that they are counted.

        Raises
        ------
        RateLimited
            If they are more than the caller's rate allows; the request then counts as no row.
        """
        if caller.limit is None or n_rows <= 1:
            return
        cost = self.costs.get(model, 1)
        wait_us = caller.limit.take(int(now_s * MICROSECONDS), (n_rows - 1) * cost, cost)
        if wait_us:
            caller.limit.give_back(cost)
            raise self._rate_limited(caller, model, wait_us)

    def done(self, n: int = 1, took_s: float | None = None) -> None:
        """Let requests go that were answered, or refused after they were taken.

        Parameters
        ----------
        took_s
            How long each took on average, from when it came; None if that says nothing about the others.
        """
        if took_s is not None:
            self.limit.sample(took_s, self.n_under_way)
        self.n_under_way -= n

    def require(self, caller: Caller, role: str, model: str | None = None) -> None:
        """Refuse what a caller may not do.

        Raises
        ------
        Unauthenticated, PermissionDenied
            If nobody knows it, or it may not.
        """
        if caller is NOBODY:
            self.refused("unauthenticated", caller)
            hint = "send authorization: Bearer TOKEN; whoever runs the server makes one with varv token"
            raise Unauthenticated("request", "", "brings no token that is known here", hint=hint)
        hint = "ask whoever runs the server; rights are declared in varv.toml"
        if not (caller.predicts if role == "predict" else caller.reads):
            self.refused("role", caller)
            raise PermissionDenied("client", caller.name, f"has not the role {role!r}", hint=hint)
        if model is not None and caller.models is not None and model not in caller.models:
            self.refused("model", caller)
            raise PermissionDenied("client", caller.name, f"may not ask model {model[:80]!r}", hint=hint)

    def refused(self, reason: str, caller: Caller) -> None:
        """Count a refusal."""
        with self._counting:
            self.refusals[reason, caller.name] += 1

    def headers(self, path: str, origin: bytes | None) -> Headers:
        """Return what every answer to a path says, also a refusal, to a page of an origin."""
        found = self.origins.headers(origin)
        if self._v1_deprecated_s and is_deprecated(path):
            found += deprecation_headers(path, self._v1_deprecated_s)
        return found

    def _overloaded(self, caller: Caller) -> VarvError:
        self.refused("overload", caller)
        return Unavailable("server", "", "has too much under way", hint="try again in a moment")

    def _rate_limited(self, caller: Caller, model: str, wait_us: int) -> VarvError:
        self.refused("rate", caller)
        wait_s, cost = -(-wait_us // MICROSECONDS), self.costs.get(model, 1)
        facts = {} if cost == 1 else {"rows_a_row": cost}
        return RateLimited(
            "client",
            caller.name,
            "asks for more than its rate",
            rate=f"{caller.rate} rows",
            **facts,
            retry_after_s=wait_s,
            hint=f"try again in {wait_s} s",
        )


def _caller(client: Client, n_workers: int) -> Caller:
    models = None if client.models is None else frozenset(map(str, client.models))
    limits = [] if client.rate is None else [RateLimit(client.rate, n_workers)]
    limits += [] if client.quota is None else [RateLimit(client.quota, n_workers, "quota")]
    limit = SeveralLimits(limits) if len(limits) > 1 else limits[0] if limits else None
    rate = " and ".join(str(one) for one in (client.rate, client.quota) if one is not None)
    return Caller(client.name, client.roles, models, client.priority, limit, rate)


def _token(header: bytes | None) -> bytes | None:
    """Return the token of a header, None if it is of another kind."""
    scheme, _, token = (header or b"").partition(b" ")
    token = token.strip()
    return token if scheme.lower() == b"bearer" and 0 < len(token) <= LONGEST_TOKEN else None
