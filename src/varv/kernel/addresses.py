"""Addresses of the network that somebody else chose, and connections to them that reach only what anybody
may.

A name is resolved once, every address that it has must be public, and one of those is connected to.
"""

from __future__ import annotations

import ipaddress
import socket

from varv.kernel.clock import wall_seconds

_EMBEDDING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
"""Blocks whose last 32 bits are an IPv4 address that a gateway may send them on to."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def dialled(address: tuple[str, int], timeout_s: float, *, inside: bool = False) -> socket.socket:
    """Return a connection to a host and a port.

    Parameters
    ----------
    inside
        Whether addresses that are not public may be reached.

    Raises
    ------
    PermissionError
        If the host has an address that is not public.
    OSError
        If none of its addresses answers in time.
    """
    host, port = address
    until = wall_seconds() + timeout_s
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(info[4][:2] for info in found))
    if not inside and not all(is_public(ipaddress.ip_address(one)) for one, _ in addresses):
        raise PermissionError(0, "the host has an address that is not public")
    why: OSError = ConnectionRefusedError(0, "the host has no address")
    for one, its_port in addresses:
        try:
            # The very address that was looked at: resolved again, the name might give another one.
            return socket.create_connection((str(one), int(its_port)), max(until - wall_seconds(), 0.001))
        except OSError as error:
            why = error
    raise why


def is_public(address: Address) -> bool:
    """Return whether an address is one of the public internet, and not another one in disguise.

    Examples
    --------
    >>> [is_public(ipaddress.ip_address(one)) for one in ("8.8.8.8", "169.254.169.254", "::ffff:127.0.0.1")]
    [True, False, False]
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _embedded(address)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.scope_id is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if any(address in block for block in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def literal(host: str) -> Address | None:
    """Return the address that a host is written as, in any of the forms that a resolver reads; None for a
    name.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
