"""A deployment is compiled anew while a request of it waits, or its money is being reserved: what leaves is what may
leave now, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.rig import (
    COMPLETION,
    FaultyStore,
    Reply,
    Rig,
    chat,
    cloud_of,
    engine,
    eventually,
    manifest,
    running,
    silence,
    unary,
)
from spillway.simulator.cloud.server import RecordingCloud

QUEUE = {"maxRequests": 100, "maxWaitSeconds": 1}
Change = Callable[[Rig, RecordingCloud], object]


def changed(cloud: RecordingCloud, *parts: str, to: Any = None, drop: bool = False) -> dict[str, Any]:
    made = manifest(cloud, queue=QUEUE)
    at = made["spec"]
    for part in parts[:-1]:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if drop:
        del at[parts[-1]]
    else:
        at[parts[-1]] = to
    return made


def ceiling_lowered(rig: Rig, _: RecordingCloud) -> None:
    rig.gateway.table.set_namespace_labels({"spillway.dev/may-leave": "None"})


def class_taken_out(rig: Rig, cloud: RecordingCloud) -> None:
    rig.apply(changed(cloud, "dataPolicy", "mayLeave", to=["Public"]))


def default_class_raised(rig: Rig, cloud: RecordingCloud) -> None:
    rig.apply(changed(cloud, "dataPolicy", "defaultClass", to="Sensitive"))


def detector_added(rig: Rig, cloud: RecordingCloud) -> None:
    rig.apply(changed(cloud, "dataPolicy", "detectors", to=["PII", "Secrets"]))


def fallback_disabled(rig: Rig, cloud: RecordingCloud) -> None:
    rig.apply(changed(cloud, "fallback", to={"mode": "Disabled"}))


def shadowed(rig: Rig, cloud: RecordingCloud) -> None:
    rig.apply(changed(cloud, "fallback", "mode", to="Shadow"))


def budget_removed(rig: Rig, cloud: RecordingCloud) -> None:
    made = changed(cloud, "budget", drop=True)
    made["spec"]["fallback"] = {"mode": "Disabled"}
    rig.apply(made)


def target_renamed(rig: Rig, cloud: RecordingCloud) -> None:
    rig.apply(changed(cloud, "fallback", "targets", "0", "baseURL", to="https://not-on-the-list.example/v1"))


def deleted(rig: Rig, _: RecordingCloud) -> None:
    rig.gateway.table.remove("chat")


CHANGES = [
    ceiling_lowered,
    class_taken_out,
    default_class_raised,
    detector_added,
    fallback_disabled,
    shadowed,
    budget_removed,
    target_renamed,
    deleted,
]


async def busy_with_fill(request: web.Request) -> web.StreamResponse:
    """An engine that never ends with what fills it, and answers all else."""
    return await (silence if b"fill" in await request.read() else unary(COMPLETION))(request)


async def fill(rig: Rig, address: str) -> asyncio.Task[Reply]:
    """Give the only replica what it reads for a while: what comes next is held."""
    rig.replicas(address)
    stuck = asyncio.create_task(rig.post(chat("fill " * 20_000), **{"x-spillway-data-class": "Sensitive"}))
    await eventually(lambda: rig.pool.in_flight == 1, "the replica is busy")
    return stuck


@pytest.mark.parametrize("change", CHANGES)
async def test_what_may_leave_no_more_while_it_is_held_stays(
    change: Change, tmp_path: Path, cloud: RecordingCloud
) -> None:
    async with running(tmp_path, cloud) as rig, engine(busy_with_fill) as fake:
        rig.apply(manifest(cloud, queue=QUEUE, slo={"timeToFirstTokenMilliseconds": 3000}))
        stuck = await fill(rig, fake.address)
        pool = rig.pool
        asked = asyncio.create_task(rig.post(chat("pigeon", max_tokens=5)))
        await eventually(lambda: pool.held == 1, "it is held")
        change(rig, cloud)
        reply = await asked
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
    assert reply.headers.get("x-spillway-backend", "local/").startswith("local/")
    assert not cloud.requests
    assert not cloud.contains(b"pigeon")


@pytest.mark.parametrize("change", CHANGES)
async def test_what_may_leave_no_more_while_its_money_is_reserved_stays_and_the_money_is_given_back(
    change: Change, tmp_path: Path, cloud: RecordingCloud
) -> None:
    store = FaultyStore(gate=asyncio.Event())
    assert store.gate is not None
    async with running(tmp_path, cloud, store) as rig:
        rig.apply(manifest(cloud, queue=QUEUE))
        served = rig.gateway.table.find("chat")
        assert served is not None
        asked = asyncio.create_task(rig.post(chat("pigeon", max_tokens=5)))
        await eventually(lambda: bool(served.ledger._waiters), "its money is being reserved")
        change(rig, cloud)
        store.gate.set()
        reply = await asked
        assert served.ledger.open_reservations == 0
    assert reply.status == 503
    assert not cloud.requests
    assert store.account().spent_micros == 0


async def test_a_target_that_moved_while_money_was_reserved_is_asked_where_it_is_now(
    tmp_path: Path, cloud: RecordingCloud
) -> None:
    store = FaultyStore(gate=asyncio.Event())
    assert store.gate is not None
    async with cloud_of() as other, running(tmp_path, cloud, store) as rig:
        (tmp_path / "ca/ca/ca.crt").write_bytes(cloud.ca_pem + other.ca_pem)
        rig.apply(manifest(cloud, queue=QUEUE))
        served = rig.gateway.table.find("chat")
        assert served is not None
        asked = asyncio.create_task(rig.post(chat("pigeon", max_tokens=5)))
        await eventually(lambda: bool(served.ledger._waiters), "its money is being reserved")
        rig.apply(manifest(other, queue=QUEUE))
        store.gate.set()
        reply = await asked
        assert reply.headers["x-spillway-backend"] == "cloud/cloud"
        assert other.contains(b"pigeon")
    assert not cloud.requests


async def test_a_held_request_for_which_more_is_opened_is_not_sent_unread(
    tmp_path: Path, cloud: RecordingCloud
) -> None:
    async with running(tmp_path, cloud) as rig:
        rig.gateway.table.set_namespace_labels({"spillway.dev/may-leave": "None"})
        rig.apply(manifest(cloud, queue=QUEUE))
        asked = asyncio.create_task(rig.post(chat("mail jane.doe@example.com", max_tokens=5)))
        await eventually(lambda: rig.pool.held == 1, "it waits")
        rig.gateway.table.set_namespace_labels({"spillway.dev/may-leave": "Internal"})
        reply = await asked
        after = await rig.post(chat("pigeon", max_tokens=5))
    assert (reply.status, reply.headers["x-spillway-reason"]) == (503, "NoEndpoints")
    assert after.headers["x-spillway-backend"] == "cloud/cloud"
    assert not cloud.contains(b"jane.doe")


async def test_a_request_whose_route_changed_while_it_waited_is_served_here_as_soon_as_a_replica_can(
    tmp_path: Path, cloud: RecordingCloud
) -> None:
    store = FaultyStore(gate=asyncio.Event())
    assert store.gate is not None
    async with running(tmp_path, cloud, store) as rig, engine(unary(COMPLETION)) as fake:
        rig.apply(manifest(cloud))
        served = rig.gateway.table.find("chat")
        assert served is not None
        asked = asyncio.create_task(rig.post(chat("pigeon", max_tokens=5)))
        await eventually(lambda: bool(served.ledger._waiters), "its money is being reserved")
        ceiling_lowered(rig, cloud)
        store.gate.set()
        await eventually(lambda: rig.pool.held == 1, "it waits")
        rig.replicas(fake.address)
        reply = await asked
        line = await rig.line()
    assert (reply.status, reply.headers["x-spillway-backend"]) == (200, "local/chat-0")
    assert (line["cost_usd"], line["place"]) == ("0.000000", "local")
    assert not cloud.requests
