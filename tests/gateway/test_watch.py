"""What is known of the cluster outlives an outage of its API server; pods become replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from typing import Any

import pytest

from gateway.rig import Rig, eventually, manifest
from spillway.api.v1alpha1 import DataClass
from spillway.errors import Unreachable, WatchExpired
from spillway.gateway import watch
from spillway.gateway.routes import Replicas
from spillway.gateway.watch import follow, follow_namespace, replicas_of


class Script:
    """An API server that answers lists and watches as a test wrote them down, and then stays silent."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.versions: list[str] = []

    def _next(self, kind: str) -> Any:
        name, value = self.steps.pop(0)
        assert name == kind, f"{kind} came where {name} was expected"
        if isinstance(value, Exception):
            raise value
        return value

    async def get(self, _path: str, **_query: str) -> Any:
        return self._next("list")

    async def watch(self, _path: str, version: str, **_query: str) -> AsyncIterator[Any]:
        self.versions.append(version)
        if not self.steps:
            await asyncio.get_running_loop().create_future()
        for event in self._next("watch"):
            if isinstance(event, Exception):
                raise event
            yield event


class Sink:
    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lists = 0

    def replace(self, objects: Iterable[Any]) -> None:
        self.names = {obj["metadata"]["name"] for obj in objects}
        self.lists += 1

    def apply(self, obj: Any) -> None:
        self.names.add(obj["metadata"]["name"])

    def remove(self, name: str) -> None:
        self.names.discard(name)


def listed(version: str, *names: str) -> tuple[str, Any]:
    items = [{"metadata": {"name": name}} for name in names]
    return "list", {"kind": "ThingList", "metadata": {"resourceVersion": version}, "items": items}


def event(kind: str, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}}


@pytest.mark.parametrize(
    ("steps", "names", "lists", "last_version"),
    [
        ([listed("5", "a")], {"a"}, 1, "5"),
        ([listed("5", "a"), ("watch", [event("ADDED", "b", "6"), event("DELETED", "a", "7")])], {"b"}, 1, "7"),
        ([listed("5", "a"), ("watch", [event("BOOKMARK", "", "9")])], {"a"}, 1, "9"),
        ([listed("5", "a"), ("watch", [WatchExpired("410")]), listed("8", "b")], {"b"}, 2, "8"),
        (
            [listed("5", "a"), ("watch", [event("ADDED", "b", "6"), Unreachable("gone")]), listed("9", "a", "b")],
            {"a", "b"},
            2,
            "9",
        ),
        ([("list", Unreachable("gone")), ("list", Unreachable("gone")), listed("5", "a")], {"a"}, 1, "5"),
    ],
    ids=["list", "changes", "bookmark", "expired", "broken watch", "away at the start"],
)
async def test_lists_and_watches(
    steps: list[Any], names: set[str], lists: int, last_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BACKOFF_SECONDS", (0.01,))
    script, sink = Script(*steps), Sink()
    following = asyncio.create_task(follow(script, "/things", sink, lambda: None))  # type: ignore[arg-type]
    await eventually(lambda: not script.steps and script.versions[-1:] == [last_version], "it watches on")
    following.cancel()

    assert (sink.names, sink.lists) == (names, lists)


async def test_while_the_api_server_is_away_what_is_known_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BACKOFF_SECONDS", (0.1,))  # ten looks of ours between two tries
    script = Script(listed("5", "a"), ("watch", [Unreachable("x")]), *[("list", Unreachable("x"))] * 5, listed("9"))
    sink = Sink()
    following = asyncio.create_task(follow(script, "/things", sink, lambda: None))  # type: ignore[arg-type]
    await eventually(lambda: len(script.steps) <= 4, "it is tried again")
    assert sink.names == {"a"}
    await eventually(lambda: sink.lists == 2, "it is back")
    following.cancel()
    assert sink.names == set()


async def test_until_the_namespaces_labels_were_read_nothing_leaves(
    spilling: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "NAMESPACE_EVERY_SECONDS", 0.01)
    table = spilling.gateway.table
    script = Script(*[("list", Unreachable("gone"))] * 3, ("list", {"metadata": {"name": "team"}}))
    allowed: list[frozenset[DataClass]] = []

    class Client(Script):
        async def get(self, _path: str, **_query: str) -> Any:
            allowed.append(table.models()[0].may_leave)
            return script._next("list") if script.steps else await asyncio.get_running_loop().create_future()

    following = asyncio.create_task(follow_namespace(Client(), "team", table, lambda: None))  # type: ignore[arg-type]
    await eventually(lambda: len(allowed) == 5, "the labels are read")
    following.cancel()

    assert allowed == [frozenset()] * 4 + [frozenset({DataClass.INTERNAL, DataClass.PUBLIC})]


async def test_a_slow_answer_does_not_put_off_the_next_look_at_the_labels(
    spilling: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "NAMESPACE_EVERY_SECONDS", 0.4)
    clock = asyncio.get_running_loop().time
    begun: list[float] = []

    class Slow:
        async def get(self, _path: str, **_query: str) -> Any:
            begun.append(clock())
            await asyncio.sleep(0.3)
            return {"metadata": {"name": "team"}}

    table = spilling.gateway.table
    following = asyncio.create_task(follow_namespace(Slow(), "team", table, lambda: None))  # type: ignore[arg-type]
    await eventually(lambda: len(begun) == 6, "it looks again and again")
    following.cancel()

    assert min(later - earlier for earlier, later in pairwise(begun)) < 0.5


def pod(name: str = "p", **changes: Any) -> dict[str, Any]:
    status = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    return {
        "metadata": {"name": name, "labels": {"spillway.dev/deployment": "chat"}} | changes.get("metadata", {}),
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8000}]}]} | changes.get("spec", {}),
        "status": status | changes.get("status", {}),
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Replicas({"p": "10.0.0.1:8000"}, 0)),
        ({"status": {"podIP": "fd00::1"}}, Replicas({"p": "[fd00::1]:8000"}, 0)),
        ({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, Replicas({}, 1)),
        ({"status": {"conditions": None, "podIP": None, "phase": "Pending"}}, Replicas({}, 1)),
        ({"metadata": {"deletionTimestamp": "2026-11-21T13:00:00Z"}}, Replicas({}, 0)),
        ({"status": {"phase": "Failed"}}, Replicas({}, 0)),
        ({"status": {"phase": "Succeeded"}}, Replicas({}, 0)),
        ({"spec": {"containers": [{"ports": [{"name": "metrics", "containerPort": 1}]}]}}, Replicas({}, 1)),
    ],
    ids=["ready", "IPv6", "not ready", "pending", "deleting", "failed", "ended", "no port named http"],
)
def test_a_pod_as_a_replica(changes: dict[str, Any], expected: Replicas) -> None:
    assert replicas_of([pod(**changes)]) == {"chat": expected}


def test_pods_of_no_deployment_are_nobodys_replicas() -> None:
    assert replicas_of([pod(metadata={"labels": {}})]) == {}


async def test_a_list_serves_what_is_new_and_drops_what_is_gone(rig: Rig) -> None:
    table = rig.gateway.table
    table.replace([manifest(name="code"), manifest(name="draw")])

    assert [route.model_name for route in table.models()] == ["code", "draw"]


async def test_of_two_objects_with_one_model_name_the_first_by_name_has_it(rig: Rig) -> None:
    other = manifest(name="apple")
    other["spec"]["model"]["servedName"] = "chat"
    rig.apply(other)
    assert rig.gateway.table.find("chat").route.name == "apple"  # type: ignore[union-attr]

    rig.gateway.table.remove("apple")
    assert rig.gateway.table.find("chat").route.name == "chat"  # type: ignore[union-attr]


async def test_a_changed_object_keeps_what_was_learnt_and_a_new_one_of_its_name_does_not(rig: Rig) -> None:
    before = rig.pool
    rig.apply(manifest(slo={"timeToFirstTokenMilliseconds": 900}))
    assert rig.pool is before
    assert rig.pool.route.slo_ttft_seconds == 0.9

    again = manifest()
    again["metadata"]["uid"] = "another"
    rig.apply(again)
    assert rig.pool is not before
