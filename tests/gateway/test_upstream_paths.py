"""The way to a cloud: the address that was checked, the administrator's proxy, and no other way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gateway.rig import API_KEY, COMPLETION, cloud_of, engine, settings_in, unary
from spillway.errors import AddressRefused, CertificateNotTrusted, NothingSent
from spillway.gateway.credentials import Credentials
from spillway.gateway.upstream import Upstreams
from spillway.routing.facts import Endpoint, KeyRef, Price, Target
from spillway.simulator.cloud.server import Pace, RecordingCloud

QUICK = Pace(first_token_seconds=0.01, jitter_seconds=0.0, tokens_per_second=2000.0)
LOOPBACK = [ip_network("127.0.0.0/8")]
NAME = "llm.corp.example"
BODY = b'{"model":"big","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'


def target(base_url: str) -> Target:
    return Target(
        "t",
        base_url,
        "big",
        Price(1, 1, 1),
        10.0,
        credential=KeyRef("openai", "api-key"),
        ca_bundle=KeyRef("ca", "ca.crt"),
    )


def credentials(directory: Path, cloud: RecordingCloud) -> Credentials:
    settings = settings_in(directory, cloud)
    return Credentials(settings.credentials_dir, settings.ca_dir)


async def test_neither_a_prompt_nor_a_credential_is_in_a_calls_repr(tmp_path: Path) -> None:
    async with cloud_of() as cloud, Upstreams(credentials(tmp_path, cloud), frozenset({"127.0.0.1"})) as upstreams:
        made = upstreams.cloud_call(target(cloud.base_url), Endpoint.CHAT, BODY, "r", stream=False)
    assert API_KEY in str(made.headers)
    assert API_KEY not in repr(made)
    assert "messages" not in repr(made)


async def call(upstreams: Upstreams, base_url: str) -> int:
    request = upstreams.cloud_call(target(base_url), Endpoint.CHAT, BODY, "r", stream=False)
    response = await upstreams.post(request)
    await response.read()
    response.close()  # so that the next call has to connect, and to resolve
    return response.status


@dataclass
class Names:
    """A resolver that answers `NAME` as a test says: the next of `answers` each time, the last for ever."""

    answers: list[str]
    asked: int = 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        async def getaddrinfo(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
            assert host == NAME
            address = self.answers[min(self.asked, len(self.answers) - 1)]
            self.asked += 1
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        patch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_the_address_that_was_checked_is_the_one_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cloud_of(pace=QUICK, names=[NAME]) as cloud:
        port = cloud.base_url.rpartition(":")[2].removesuffix("/v1")
        names = Names(["127.0.0.1", "10.0.0.1", "169.254.169.254"])
        names.install(monkeypatch)
        async with Upstreams(credentials(tmp_path, cloud), frozenset({NAME}), LOOPBACK) as upstreams:
            assert await call(upstreams, f"https://{NAME}:{port}/v1") == 200
            assert names.asked == 1, "asked once: nobody could answer otherwise between the check and the connection"


async def test_a_name_that_moves_inside_is_refused_and_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cloud_of(pace=QUICK, names=[NAME]) as cloud:
        port = cloud.base_url.rpartition(":")[2].removesuffix("/v1")
        Names(["127.0.0.1"]).install(monkeypatch)
        async with Upstreams(credentials(tmp_path, cloud), frozenset({NAME})) as upstreams:
            with pytest.raises(AddressRefused, match=r"llm\.corp\.example is at 127\.0\.0\.1, which is not a public"):
                await call(upstreams, f"https://{NAME}:{port}/v1")
        assert cloud.received == ()


@dataclass
class Proxy:
    """An HTTP proxy that knows CONNECT alone, and keeps what it was asked in the clear."""

    address: str
    url: str = ""
    status: int = 200
    asked: list[bytes] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            if self.status != 200:
                writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % self.status)
                writer.close()
                return
            host, _, port = self.asked[-1].split()[1].decode().partition(":")
            there, out = await asyncio.open_connection("127.0.0.1" if host == NAME else host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(copy(reader, out), copy(there, writer))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def proxying(status: int = 200) -> AsyncIterator[Proxy]:
    proxy = Proxy("127.0.0.1", status=status)
    server = await asyncio.start_server(proxy.handle, proxy.address, 0)
    proxy.url = f"http://{proxy.address}:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()


async def test_clouds_are_reached_through_the_proxy_which_sees_a_host_and_a_port(tmp_path: Path) -> None:
    async with cloud_of(pace=QUICK, names=[NAME]) as cloud, proxying() as proxy:
        port = cloud.base_url.rpartition(":")[2].removesuffix("/v1")
        through = Upstreams(credentials(tmp_path, cloud), frozenset({NAME}), (), proxy.url)
        async with through as upstreams:
            assert await call(upstreams, f"https://{NAME}:{port}/v1") == 200
    (asked,) = proxy.asked
    assert asked.startswith(f"CONNECT {NAME}:{port} HTTP/1.1\r\n".encode())
    assert API_KEY.encode() not in asked
    assert len(cloud.requests) == 1


async def test_engines_are_not_reached_through_the_proxy(tmp_path: Path) -> None:
    async with (
        cloud_of() as cloud,
        proxying() as proxy,
        engine(unary(COMPLETION)) as local,
        Upstreams(credentials(tmp_path, cloud), frozenset(), (), proxy.url) as upstreams,
    ):
        request = upstreams.engine_call(local.address, Endpoint.CHAT, BODY, "r", stream=False)
        response = await upstreams.post(request)
        response.close()
    assert response.status == 200
    assert proxy.asked == []


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_proxy_that_refuses_means_that_nothing_was_sent(tmp_path: Path, status: int) -> None:
    async with cloud_of(pace=QUICK) as cloud, proxying(status) as proxy:
        async with Upstreams(credentials(tmp_path, cloud), frozenset({"127.0.0.1"}), (), proxy.url) as upstreams:
            with pytest.raises(NothingSent):
                await call(upstreams, cloud.base_url)
        assert cloud.received == ()


async def test_a_proxy_of_the_environment_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cloud_of(pace=QUICK) as cloud, proxying() as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with Upstreams(credentials(tmp_path, cloud), frozenset({"127.0.0.1"})) as upstreams:
            assert await call(upstreams, cloud.base_url) == 200
    assert proxy.asked == []


async def test_a_proxy_by_name_is_only_where_the_administrator_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cloud_of(pace=QUICK) as cloud, proxying() as proxy:
        Names(["127.0.0.1"]).install(monkeypatch)
        named = proxy.url.replace("127.0.0.1", NAME)
        keys, hosts = credentials(tmp_path, cloud), frozenset({"127.0.0.1"})
        async with Upstreams(keys, hosts, [ip_network("10.0.0.0/8")], named) as upstreams:
            with pytest.raises(AddressRefused, match=r"none of egress\.cidrs"):
                await call(upstreams, cloud.base_url)
        async with Upstreams(keys, hosts, LOOPBACK, named) as upstreams:
            assert await call(upstreams, cloud.base_url) == 200
    assert len(proxy.asked) == 1


async def test_a_certificate_of_another_authority_means_that_nothing_was_sent(tmp_path: Path) -> None:
    async with cloud_of(pace=QUICK) as cloud, cloud_of(pace=QUICK) as other:
        async with Upstreams(credentials(tmp_path, other), frozenset({"127.0.0.1"})) as upstreams:
            with pytest.raises(CertificateNotTrusted, match="certificate verify failed"):
                await call(upstreams, cloud.base_url)
        assert cloud.requests == ()
