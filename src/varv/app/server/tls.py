"""Certificates of both ports: looked at when a server starts, and read again when their files change.

New connections get the new certificate; those that are open go on with the one they began with. What is no
sound pair is not taken up: the one before stays, and the log says why.
"""

from __future__ import annotations

import datetime as dt
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from varv.app.settings import Settings
from varv.kernel.clock import Clock, as_datetime, iso
from varv.kernel.errors import FailedPrecondition, VarvError
from varv.kernel.observe import log

if TYPE_CHECKING:
    import grpc
    from cryptography.x509 import Certificate

LOOK_EVERY_S = 5.0
HANDSHAKE_S = 10.0
_LOG = logging.getLogger(__name__)


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts of an identity lie, as PEM."""

    certificate: str
    """With those between it and an authority that callers trust, its own first."""
    key: str
    client_authority: str = ""
    """The authorities that have to vouch for callers of the data plane; nothing if anybody may call."""


def tls_files_of(settings: Settings) -> TlsFiles | None:
    """Return where settings say that the parts are, None if they name none.

    Raises
    ------
    FailedPrecondition
        If they name some of what belongs together.
    """
    given = settings.tls_certificate, settings.tls_key
    if not any(given) and not settings.tls_client_authority:
        return None
    if not all(given):
        missing = "tls_key" if settings.tls_certificate else "tls_certificate"
        hint = "set tls_certificate and tls_key, or neither"
        raise FailedPrecondition("setting", missing, "is missing beside the other", hint=hint)
    return TlsFiles(
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        client_authority=settings.tls_client_authority,
    )


class Pem(NamedTuple):
    """The contents of such files."""

    certificate: bytes
    key: bytes
    client_authority: bytes


class Certificates:
    """What one server of this process shows its callers.

    Parameters
    ----------
    files
        Where it lies.
    clock
        Says whether it has expired; None if that is no reason not to go on.
    asks_callers
        Whether callers have to show a certificate too, if the files name an authority for them.

    Raises
    ------
    FailedPrecondition
        If a file cannot be read, or certificate and key are not of each other, or it has expired.
    """

    def __init__(self, files: TlsFiles, clock: Clock | None, *, asks_callers: bool) -> None:
        self._files = files
        self._clock = clock
        self._asks_callers = asks_callers and bool(files.client_authority)
        self._seen = _signature(files)
        self.pem = sound_pem(files, clock)
        self._n_read = 0
        self.context = self._made()

    def look(self) -> bool:
        """Read the files again if they have changed, and return whether there is something new; on the event
        loop that makes connections, so that no handshake sees half of it.
        """
        seen = _signature(self._files)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            pem = sound_pem(self._files, self._clock)
            # In a context of its own first: one that is in use must not get half of a pair.
            self._made()
            self._load(self.context)
        except (VarvError, ssl.SSLError, OSError) as error:
            log(_LOG, logging.ERROR, "certificate.not_renewed", why=str(error), next="the one before stays")
            return False
        self.pem = pem
        self._n_read += 1
        log(_LOG, logging.INFO, "certificate.renewed", file=self._files.certificate)
        return True

    def credentials(self) -> grpc.ServerCredentials:
        """Return what gRPC's servers take; each handshake asks for what is there by then."""
        import grpc

        given = [0]

        def newer() -> grpc.ServerCertificateConfiguration | None:
            # None says that nothing has changed.
            if self._n_read == given[0]:
                return None
            given[0] = self._n_read
            return self._for_grpc()

        fetch: Any = newer
        return grpc.dynamic_ssl_server_credentials(self._for_grpc(), fetch, self._asks_callers)

    def _for_grpc(self) -> grpc.ServerCertificateConfiguration:
        import grpc

        authority = self.pem.client_authority if self._asks_callers else None
        return grpc.ssl_server_certificate_configuration([(self.pem.key, self.pem.certificate)], authority)

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._files.certificate, self._files.key)
        if self._asks_callers:
            # Authorities are added to those before; one that is taken away stays until the next start.
            context.load_verify_locations(self._files.client_authority)
            context.verify_mode = ssl.CERT_REQUIRED


def sound_pem(files: TlsFiles, clock: Clock | None) -> Pem:
    """Return what is in files, once it will do.

    Parameters
    ----------
    clock
        Says whether it has expired; None if that does not matter.

    Raises
    ------
    FailedPrecondition
        If it will not; the setting is named.
    """
    pem = Pem(
        _read("tls_certificate", files.certificate),
        _read("tls_key", files.key),
        _read("tls_client_authority", files.client_authority) if files.client_authority else b"",
    )
    first = _certificates("tls_certificate", files.certificate, pem.certificate)[0]
    if clock is not None:
        _require_valid(files, first, as_datetime(clock.now()))
    _require_pair(files, pem, first)
    if pem.client_authority:
        _certificates("tls_client_authority", files.client_authority, pem.client_authority)
    return pem


def _require_valid(files: TlsFiles, first: Certificate, now: dt.datetime) -> None:
    if first.not_valid_after_utc <= now:
        at = first.not_valid_after_utc.isoformat()
        raise _unfit("tls_certificate", files.certificate, "has expired", "renew it", expired_at=at)
    if first.not_valid_before_utc > now:
        at = first.not_valid_before_utc.isoformat()
        hint = "look at this machine's clock"
        raise _unfit("tls_certificate", files.certificate, "is not valid yet", hint, valid_from=at)


def expires_at_s(pem: Pem) -> int:
    """Return until when a server's certificate is valid, in seconds since 1970."""
    return int(_certificates("tls_certificate", "", pem.certificate)[0].not_valid_after_utc.timestamp())


def names_of(certificate: object) -> tuple[str, ...]:
    """Return what a caller's certificate calls it, as `ssl` describes it: alternative names, or if it has
    none the common name.

    Examples
    --------
    >>> names_of({"subject": ((("commonName", "shop"),),), "subjectAltName": (("DNS", "shop.internal"),)})
    ('shop.internal',)
    """
    if not isinstance(certificate, dict):
        return ()
    alternative = tuple(
        value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "URI")
    )
    common = (value for part in certificate.get("subject", ()) for key, value in part if key == "commonName")
    return alternative or tuple(common)


def pinned(certificate: str) -> ssl.SSLContext:
    """Return what trusts a server of this machine by its own certificate, whatever it is called.

    Raises
    ------
    FailedPrecondition
        If the file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Its own certificate is enough, without the authority that it is from.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(certificate)
    except (OSError, ssl.SSLError) as error:
        raise _unfit(
            "tls_certificate", certificate, "cannot be read", "see varv doctor", why=str(error)
        ) from None
    return context


def _require_pair(files: TlsFiles, pem: Pem, certificate: Certificate) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(pem.key, None)
    except TypeError:
        hint = "store it without, readable by whom the server runs as alone"
        raise _unfit("tls_key", files.key, "has a password", hint) from None
    except ValueError:
        raise _unfit("tls_key", files.key, "is no private key", "write it as PEM") from None
    forms = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*forms) != certificate.public_key().public_bytes(*forms):
        hint = f"give the key of {files.certificate}, whose first certificate is the server's own"
        raise _unfit("tls_key", files.key, "is not the key of the certificate", hint)


def _certificates(setting: str, place: str, pem: bytes) -> Sequence[Certificate]:
    # Only here: it takes time to import, and only who has a certificate needs it.
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        raise _unfit(setting, place, "holds no certificate", "write it as PEM") from None


def _read(setting: str, place: str) -> bytes:
    try:
        return Path(place).read_bytes()
    except OSError as error:
        hint = "look at the path, and who may read it"
        raise _unfit(setting, place, "cannot be read", hint, why=error.strerror) from None


def _unfit(setting: str, place: str, problem: str, hint: str, **facts: object) -> FailedPrecondition:
    return FailedPrecondition("setting", setting, problem, file=place, hint=hint, **facts)


def _signature(files: TlsFiles) -> tuple[tuple[int, int, int] | None, ...]:
    """Return what changes with the files."""
    found: list[tuple[int, int, int] | None] = []
    for place in (files.certificate, files.key, files.client_authority):
        try:
            seen = Path(place).stat() if place else None
        except OSError:
            seen = None
        found.append(None if seen is None else (seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return tuple(found)


def said_of(pem: Pem) -> str:
    """Return until when a certificate is valid, for people."""
    return f"valid until {iso(1_000_000 * expires_at_s(pem))}"
