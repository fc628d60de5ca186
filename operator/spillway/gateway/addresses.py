"""Cloud hosts become addresses here, at connect time: what was checked is what is connected to (no rebinding)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from spillway.errors import AddressRefused

NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""An IPv4 address that a gateway of the network translates: https://www.rfc-editor.org/rfc/rfc6052"""
NOT_PUBLIC: Final = (
    # Azure's virtual public address answers a machine's own questions, metadata and keys among them:
    # https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
    ipaddress.ip_network("168.63.129.16/32"),
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments; Oracle's clouds keep their metadata at one of them
    ipaddress.ip_network("::/96"),  # IPv4-compatible, given up: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.1
    ipaddress.ip_network("::ffff:0:0:0/96"),  # IPv4-translated: https://www.rfc-editor.org/rfc/rfc2765#section-2.1
    ipaddress.ip_network("64:ff9b:1::/48"),  # NAT64 of a network of one's own: https://www.rfc-editor.org/rfc/rfc8215
    ipaddress.ip_network("2001::/32"),  # Teredo: an IPv4 address in disguise
    ipaddress.ip_network("fec0::/10"),  # site-local, given up: https://www.rfc-editor.org/rfc/rfc3879
)
"""What Python's own table (of IANA's registries) takes for global, and no target of ours is at."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class GuardedResolver(AbstractResolver):
    """Resolves by the system, and refuses what the administrator did not mean.

    `networks` are where the administrator says that targets are; without any they are at public addresses. A host in
    `named_hosts` that is an address itself may be called wherever it is; a name may not, for whoever runs its DNS zone
    chooses what it resolves to.
    """

    def __init__(self, named_hosts: Iterable[str], networks: Iterable[Network] = ()) -> None:
        self._named = frozenset(host.lower() for host in named_hosts)
        self._networks = tuple(networks)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`; raises AddressRefused when any of them may not be called."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
        results = [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, address in found
        ]
        for result in results:
            self._check(host, result["host"])
        return results

    def check_literal(self, host: str) -> None:
        """Raise AddressRefused when `host` is an address, however it is written, that may not be called.

        Nobody is asked to resolve one, so it is checked before it is called.
        """
        if host.lower() not in self._named and (address := _literal(host)) is not None:
            self._check(host, address)

    async def close(self) -> None:
        """Nothing is held open."""

    def _check(self, host: str, address: str) -> None:
        if self._networks:
            parsed = ipaddress.ip_address(address.partition("%")[0])
            if not any(parsed in network for network in self._networks):
                raise AddressRefused(f"{host} is at {address}, which is in none of egress.cidrs")
        elif not is_public(address):
            raise AddressRefused(
                f"{host} is at {address}, which is not a public address; egress.cidrs says where targets are inside"
            )


def is_public(address: str) -> bool:
    """Whether an address is one of the public Internet (IPv4 inside IPv6 is judged as IPv4)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(parsed.packed[-4:]) if parsed in NAT64 else parsed.ipv4_mapped or parsed.sixtofour
        if inner is not None:
            parsed = inner
    return parsed.is_global and not parsed.is_multicast and not any(parsed in network for network in NOT_PUBLIC)


def _literal(host: str) -> str | None:
    """The address that `host` is, or None for a name; `127.1` and `2130706433` are addresses to a C library."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
