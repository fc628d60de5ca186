"""Cloud hosts become addresses here, at connect time: what was checked is what is connected to (no rebinding)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from spillway.errors import AddressRefused


class GuardedResolver(AbstractResolver):
    """Resolves by the system, and refuses addresses of this machine or network unless the administrator named the host.

    A pattern such as `*.example.com` names no host: whoever owns a name under it chooses what it resolves to.
    """

    def __init__(self, named_hosts: frozenset[str]) -> None:
        self._named = frozenset(host.lower() for host in named_hosts)

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
            self.check(host, result["host"])
        return results

    def check(self, host: str, address: str) -> None:
        """Raise AddressRefused when `host`, which is at `address`, may not be called."""
        if host.lower() not in self._named and not is_public(address):
            raise AddressRefused(
                f"{host} resolves to {address}, which is not a public address, and egress.allowedHosts does not name it"
            )

    async def close(self) -> None:
        """Nothing is held open."""


def is_public(address: str) -> bool:
    """Whether an address is one of the public Internet (IPv4 inside IPv6 is judged as IPv4)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is not None:
            parsed = inner
    return parsed.is_global and not parsed.is_multicast
