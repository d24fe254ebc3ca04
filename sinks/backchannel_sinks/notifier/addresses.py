"""Where a webhook may go: the guard against requests to what only this machine can reach.

A name is resolved once, every address that came back is judged, and the connection goes to one of
those that passed: there is no second look-up in which the answer could be another one.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["GuardedResolver", "RefusedAddressError", "is_allowed"]

_METADATA = ip_address("fd00:ec2::254")
_NAT64 = ip_network("64:ff9b::/96")

Network = IPv4Network | IPv6Network


class RefusedAddressError(OSError):
    """A name leads to addresses that are not public and not allowed."""


def is_allowed(address: str, allowed: Sequence[Network] = ()) -> bool:
    """Says whether a webhook may connect to an address: it is public, or in an allowed network.

    Loopback, private, link-local, shared, multicast, unspecified and metadata addresses are not
    public, nor are IPv6 addresses that hold such an IPv4 address.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    judged = _inner(found)
    if any(
        network.version == each.version and each in network
        for network in allowed
        for each in (found, judged)
    ):
        return True
    return judged.is_global and not judged.is_multicast and judged != _METADATA


class GuardedResolver(AbstractResolver):
    """Resolves names to the addresses that are allowed; refuses a name that has none."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        results = [
            ResolveResult(
                hostname=host,
                host=str(where[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, where in found
            if is_allowed(str(where[0]), self._allowed)
        ]
        if not results:
            raise RefusedAddressError("its address is not public and not allowed")
        return results

    async def close(self) -> None:
        """Has nothing to close."""


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Returns the IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
