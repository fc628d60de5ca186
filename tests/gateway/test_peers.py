"""Gateways that share engines, over real sockets: what they tell each other, and what happens when one does not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.rig import MemoryStore, Rig, chat, engine, eventually, manifest, running, silence
from spillway.gateway.peers import PATH, PeerSink
from spillway.gateway.start import listen_to_peers
from spillway.routing.replica import Load

SENSITIVE = {"x-spillway-data-class": "Sensitive"}


@contextlib.asynccontextmanager
async def together(directory: Path, count: int, *engines: str) -> AsyncIterator[list[tuple[Rig, web.AppRunner]]]:
    """So many gateways in front of the same engines, which know each other."""
    async with contextlib.AsyncExitStack() as stack:
        store = MemoryStore()
        gateways = []
        for place in range(count):
            rig = await stack.enter_async_context(running(directory / str(place), None, store, f"gateway-{place}"))
            rig.apply(manifest())
            rig.replicas(*engines)
            runner = await listen_to_peers(rig.gateway)
            stack.push_async_callback(runner.cleanup)
            rig.gateway.keep(rig.gateway.peers.run())
            gateways.append((rig, runner))
        addresses = {f"gateway-{place}": address_of(runner) for place, (_, runner) in enumerate(gateways)}
        for rig, _ in gateways:
            rig.gateway.peers.set_peers(addresses)
        yield gateways


def address_of(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"{host}:{port}"


def elsewhere(rig: Rig) -> Load:
    load: Load = rig.pool.fleet.elsewhere()["chat-0"]
    return load


async def let_go(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("count", [2, 4])
async def test_each_gateway_knows_what_the_others_dispatched(tmp_path: Path, count: int) -> None:
    async with engine(silence) as fake, together(tmp_path, count, fake.address) as gateways:
        (first, _), *rest = gateways
        stuck = asyncio.create_task(first.post(chat("fill " * 2000), **SENSITIVE))
        await eventually(lambda: all(elsewhere(rig).requests == 1 for rig, _ in rest), "the others know")
        own = first.pool.fleet.own()["chat-0"]
        assert all(elsewhere(rig) == own for rig, _ in rest)
        assert elsewhere(first).requests == 0
        assert own.pending_tokens > 1000
        await let_go(stuck)
        await eventually(lambda: all(elsewhere(rig).requests == 0 for rig, _ in rest), "the others know that it ended")


async def test_a_replica_that_a_peer_filled_is_passed_over(tmp_path: Path) -> None:
    async with (
        engine(silence) as full,
        engine(silence) as free,
        together(tmp_path, 2, full.address, free.address) as ((first, _), (second, _)),
    ):
        filling = asyncio.create_task(first.post(chat("fill " * 20_000), **SENSITIVE))
        await eventually(lambda: len(full.requests) + len(free.requests) == 1, "it is dispatched")
        taken, other = (full, free) if full.requests else (free, full)
        await eventually(
            lambda: any(load.requests for load in second.pool.fleet.elsewhere().values()), "the other gateway knows"
        )
        more = [asyncio.create_task(second.post(chat("more"), **SENSITIVE)) for _ in range(3)]
        await eventually(lambda: len(other.requests) == 3, "all go to the replica that is free")
        assert len(taken.requests) == 1
        await let_go(filling, *more)


async def test_a_peer_that_falls_silent_keeps_its_share_for_a_second_and_then_loses_it(tmp_path: Path) -> None:
    async with engine(silence) as fake, together(tmp_path, 2, fake.address) as ((first, runner), (second, _)):
        second.gateway.keep(second.gateway.scraper.run())
        stuck = asyncio.create_task(first.post(chat("fill " * 2000), **SENSITIVE))
        await eventually(lambda: elsewhere(second).requests == 1, "the other gateway knows")
        before = asyncio.get_running_loop().time()
        await runner.cleanup()  # its process lives and serves, but answers no peer
        await eventually(lambda: elsewhere(second).requests == 0, "its share is dropped")
        assert asyncio.get_running_loop().time() - before > 0.7
        await let_go(stuck)


async def test_a_peer_that_left_is_forgotten_at_once_and_one_that_restarted_begins_anew(tmp_path: Path) -> None:
    async with engine(silence) as fake, together(tmp_path, 2, fake.address) as ((first, runner), (second, _)):
        stuck = asyncio.create_task(first.post(chat("fill " * 2000), **SENSITIVE))
        await eventually(lambda: elsewhere(second).requests == 1, "the other gateway knows")
        second.gateway.peers.set_peers({})
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert elsewhere(second).requests == 0
        second.gateway.peers.set_peers({"gateway-0": address_of(runner)})
        await eventually(lambda: elsewhere(second).requests == 1, "it is asked again")
        await let_go(stuck)
        await eventually(lambda: elsewhere(second).requests == 0, "it has nothing any more")


@pytest.mark.parametrize(
    "told",
    [
        b"{",
        b"[]",
        orjson.dumps({"version": 2, "instance": "x", "models": {"chat": {"chat-0": [9, 9, 9]}}}),
        orjson.dumps({"version": 1, "instance": "x", "models": {"chat": {"chat-0": [9, -9, 9]}}}),
        b" " * (2**20 + 1),
    ],
    ids=["no JSON", "no object", "another version", "a negative number", "too long"],
)
async def test_what_a_peer_tells_in_another_form_is_ignored_and_counted(tmp_path: Path, told: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=told)

    app = web.Application()
    app.router.add_get(PATH, answer)
    async with engine(silence) as fake, together(tmp_path, 1, fake.address) as ((rig, _),), TestServer(app) as strange:
        rig.gateway.peers.set_peers({"strange": f"127.0.0.1:{strange.port}"})
        counted = b'spillway_peer_exchanges_total{outcome="malformed"}'
        await eventually(lambda: counted in rig.gateway.metrics.render([]), "it is counted")
        assert elsewhere(rig).requests == 0


async def test_peers_are_asked_on_a_port_of_their_own_and_on_no_other(tmp_path: Path) -> None:
    async with together(tmp_path, 1) as ((rig, runner),):
        async with rig.http.get(f"{rig.url}{PATH}") as on_the_clients_port:
            assert on_the_clients_port.status == 404
        async with rig.http.get(f"http://{address_of(runner)}/v1/models") as on_the_peers_port:
            assert on_the_peers_port.status == 404


def pod(name: str, phase: str = "Running", ip: str = "10.0.0.1", **metadata: object) -> dict[str, object]:
    ports = [{"name": "http", "containerPort": 8080}, {"name": "peers", "containerPort": 8082}]
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [{"ports": ports}]},
        "status": {"phase": phase, "podIP": ip},
    }


class Seen:
    peers: dict[str, str]

    def set_peers(self, addresses: dict[str, str]) -> None:
        self.peers = dict(addresses)


def test_peers_are_the_gateway_pods_that_have_an_address_and_have_not_ended() -> None:
    seen = Seen()
    sink = PeerSink(seen)  # type: ignore[arg-type]  # all that is asked of it
    draining = pod("draining", ip="10.0.0.2", deletionTimestamp="2026-11-21T12:00:00Z")
    sink.replace([pod("a"), draining, pod("done", "Succeeded"), pod("new", "Pending", "")])
    assert seen.peers == {"a": "10.0.0.1:8082", "draining": "10.0.0.2:8082"}
    sink.apply(pod("new", ip="10.0.0.3"))
    sink.remove("draining")
    assert seen.peers == {"a": "10.0.0.1:8082", "new": "10.0.0.3:8082"}
