"""Configuration from objects: what is compiled when, and what is served while something is wrong with it."""

from __future__ import annotations

import asyncio
import time
from copy import deepcopy
from typing import Any

import pytest

from gateway.rig import COMPLETION, MemoryStore, Rig, chat, engine, eventually, manifest, unary
from spillway.gateway import routes
from spillway.gateway.desk import Desk
from spillway.gateway.ledger import Ledger
from spillway.gateway.observed import Observer
from spillway.gateway.purse import Purse
from spillway.gateway.routes import RouteTable, Served
from spillway.gateway.start import _now
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings, Route

SETTINGS = CompileSettings(allowed_hosts=frozenset({"api.openai.com"}), unlabelled_may_leave="Internal")


def serve(route: Route) -> Served:
    ledger = Ledger(route.name, MemoryStore(), Purse("pod-a:1"), _now, time.monotonic)
    return Served(Desk(route, time.monotonic), Observer("pod-a", time.monotonic, _now), ledger)


def spilling(name: str) -> dict[str, Any]:
    return manifest(name=name) | {
        "spec": manifest(name=name)["spec"]
        | {
            "dataPolicy": {"mayLeave": ["Internal"]},
            "access": {"mode": "None"},
            "budget": {"limit": "5.00"},
            "fallback": {
                "mode": "Enabled",
                "targets": [
                    {
                        "name": "openai",
                        "provider": "OpenAI",
                        "model": "gpt-4o",
                        "secretRef": {"name": "openai", "key": "key"},
                        "price": {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.00"},
                    }
                ],
            },
        }
    }


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the objects that were compiled."""
    names: list[str] = []

    def counted(deployment: Any, *rest: Any) -> Route:
        names.append(deployment.metadata.name)
        return compile_route(deployment, *rest)

    monkeypatch.setattr(routes, "compile_route", counted)
    return names


@pytest.fixture
def table() -> RouteTable:
    return RouteTable(SETTINGS, serve, lambda _: None)


def test_a_thousand_objects_compile_in_a_moment_and_a_change_costs_one(table: RouteTable, compiled: list[str]) -> None:
    objects = [spilling(f"model-{number}") for number in range(1000)]
    before = time.process_time()

    table.replace(objects)

    seconds = time.process_time() - before
    print(f"1,000 objects compiled in {seconds:.2f} s of processor time")
    assert len(table.models()) == len(compiled) == 1000
    assert seconds < 4, "a generous bound: the figure itself is printed"
    compiled.clear()
    changed = deepcopy(objects)
    changed[7]["spec"]["budget"]["limit"] = "6.00"
    table.replace(changed)
    assert compiled == ["model-7"]


def test_what_is_observed_compiles_nothing_but_the_plan_does(table: RouteTable, compiled: list[str]) -> None:
    table.apply(spilling("chat"))
    compiled.clear()
    seen = spilling("chat") | {"status": {"replicas": 1, "budget": {"spent": "1", "reserved": "0", "limit": "5"}}}
    table.apply(seen)
    assert not compiled

    plan = {"accelerators": 1, "tensorParallel": 1, "contextLength": 4096}
    table.apply(spilling("chat") | {"status": {"plan": plan}})

    assert compiled == ["chat"]
    assert table.models()[0].context_length == 4096


def test_a_namespaces_ceiling_compiles_all_of_it_and_reads_none_again(table: RouteTable, compiled: list[str]) -> None:
    table.replace(spilling(name) for name in ("a", "b"))
    compiled.clear()

    table.set_namespace_labels({"spillway.dev/may-leave": "None"})

    assert compiled == ["a", "b"]
    assert not any(route.may_leave for route in table.models())


def test_an_object_that_does_not_compile_is_held_to_its_namespaces_ceiling_all_the_same(table: RouteTable) -> None:
    table.apply(spilling("chat"))
    assert table.models()[0].may_leave
    broken = spilling("chat")
    broken["spec"]["queue"] = {"maxRequests": "many"}
    table.apply(broken)

    table.set_namespace_labels({"spillway.dev/may-leave": "None"})

    assert not table.models()[0].may_leave


async def test_an_object_that_does_not_compile_is_served_as_it_last_did_and_says_so(rig: Rig) -> None:
    rig.store.create("chat", 0)
    async with engine(unary(COMPLETION)) as fake:
        rig.replicas(fake.address)
        broken = manifest()
        broken["spec"]["queue"]["maxRequests"] = "many"
        rig.apply(broken)

        reply = await rig.post(chat())

        def told() -> list[str | None]:
            return [gateway.route_problem for gateway in rig.store.account().gateways]

        await eventually(lambda: any(told()), "the ledger's status says so")
        assert "maxRequests" in str(told()[0])
        rig.apply(manifest())
        await eventually(lambda: told() == [None], "and is told when it is cured")
    assert reply.status == 200


async def test_a_deleted_object_drains_what_is_in_flight_ends_and_new_requests_find_nothing(rig: Rig) -> None:
    gate = asyncio.Event()

    async def slow(request: Any) -> Any:
        await gate.wait()
        return await unary(COMPLETION)(request)

    async with engine(slow) as fake:
        rig.replicas(fake.address)
        in_flight = asyncio.create_task(rig.post(chat()))
        await eventually(lambda: fake.active == 1, "the request is at the engine")

        rig.gateway.table.remove("chat")
        late = await rig.post(chat())
        gate.set()
        ended = await in_flight

    assert (late.status, late.error["code"]) == (404, "model_not_found")
    assert (ended.status, ended.json) == (200, COMPLETION)
