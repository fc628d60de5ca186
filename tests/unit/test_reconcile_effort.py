"""What a pass costs: reads that are shared, decisions that are remembered, looks that are left out."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from memory_cluster import MemoryCluster
from spillway.controller.desire import Desires
from spillway.controller.objects import Key, Ref
from spillway.controller.observe import Observer
from spillway.controller.reconcile import Reconciler
from spillway.controller.start import make_policy
from spillway.controller.surroundings import REMEMBERED_SECONDS, Surroundings
from spillway.errors import Forbidden, Unreachable
from spillway.settings import OperatorSettings

POLICY = make_policy(OperatorSettings())
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {}}}
READS_OF_ONE = 7


def deployment(name="chat", **spec):
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
            "accelerator": {"profile": "l4-24gb"},
            "cache": {"mode": "Ephemeral"},
            **spec,
        },
    }


def cluster_of(*names):
    return MemoryCluster(NAMESPACE, *(deployment(name) for name in names))


def reconciler(cluster):
    return Reconciler(cluster, POLICY, lambda: dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC), around(cluster))


def around(cluster):
    return Surroundings(cluster, lambda: 0.0)


async def test_many_passes_over_a_namespace_share_their_reads():
    names = [f"chat-{number}" for number in range(30)]
    cluster = cluster_of(*names)
    observer = Observer(cluster, around(cluster))
    found = await asyncio.gather(*(observer.observe(Key("team", name)) for name in names))
    assert [it.body["metadata"]["name"] for it in found] == names
    assert cluster.reads <= 3 * READS_OF_ONE


async def test_what_is_believed_is_not_older_than_the_question():
    cluster = cluster_of("a", "b", "c", "d")
    observer = Observer(cluster, around(cluster))
    early = asyncio.create_task(observer.observe(Key("team", "a")))
    await asyncio.sleep(0)
    for name in "bcd":
        cluster.change(Ref("LLMDeployment", "team", name), replicas=7)
    late = await asyncio.gather(*(observer.observe(Key("team", name)) for name in "bcd"))
    assert [it.body["spec"]["replicas"] for it in late] == [7, 7, 7]
    assert (await early).body is not None


async def test_an_object_that_is_gone_is_seen_to_be_gone_among_many():
    cluster = cluster_of("a", "b")
    observer = Observer(cluster, around(cluster))
    found = await asyncio.gather(*(observer.observe(Key("team", name)) for name in ("a", "gone", "b", "too")))
    assert [it.body is None for it in found] == [False, True, False, True]


async def test_who_is_cancelled_takes_no_answer_from_the_others():
    cluster = cluster_of("a", "b", "c")
    observer = Observer(cluster, around(cluster))
    tasks = [asyncio.create_task(observer.observe(Key("team", name))) for name in "abc"]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert [it.body["metadata"]["name"] for it in await asyncio.gather(*tasks[1:])] == ["b", "c"]
    assert (await observer.observe(Key("team", "a"))).body is not None


async def test_a_read_that_fails_fails_only_the_passes_that_asked():
    cluster = cluster_of("a", "b", "c", "d")
    working, broken = cluster.list, [True]

    async def unreachable(*args):
        if broken[0]:
            raise Unreachable("429")
        return await working(*args)

    cluster.list = unreachable
    observer = Observer(cluster, around(cluster))
    names = "abcd"
    found = await asyncio.gather(*(observer.observe(Key("team", name)) for name in names), return_exceptions=True)
    assert [type(it) for it in found] == [Unreachable] * 4
    broken[0] = False
    assert (await observer.observe(Key("team", "a"))).body is not None


def is_same(one, other):
    """Whether nothing was rendered anew."""
    return all(a is b for a, b in zip(one.children, other.children, strict=True))


def test_what_was_rendered_of_a_model_that_is_kept_is_remembered_until_more_is_known_of_it():
    desires = Desires(POLICY)
    body = deployment(cache={"mode": "PersistentVolume"})
    body["metadata"]["uid"] = "1"
    first = desires.of(body, None)
    assert [child["kind"] for child in first.children].count("Deployment") == 0, "its engine waits for its model"
    assert is_same(desires.of(body, None), first)
    job = next(child for child in first.children if child["kind"] == "Job")
    done = {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    after = desires.of(body, None, (done,))
    assert [child["kind"] for child in after.children].count("Deployment") == 1


def test_a_decision_is_remembered_until_spec_or_ceiling_change():
    desires = Desires(POLICY)
    body = deployment()
    body["metadata"]["uid"] = "1"
    first = desires.of(body, None)
    assert is_same(desires.of({**body, "status": {"replicas": 1}}, None), first)
    assert not is_same(desires.of(body, "None"), first)
    assert not is_same(desires.of({**body, "spec": {**body["spec"], "replicas": 3}}, None), first)
    other = deployment("other")
    other["metadata"]["uid"] = "2"
    assert desires.of(other, None).children != desires.of(body, None).children


def test_no_more_decisions_are_remembered_than_asked_for():
    desires = Desires(POLICY, at_most=2)
    bodies = [deployment(f"chat-{number}") for number in range(3)]
    for number, body in enumerate(bodies):
        body["metadata"]["uid"] = str(number)
    first = desires.of(bodies[0], None)
    for body in bodies[1:]:
        desires.of(body, None)
    assert not is_same(desires.of(bodies[0], None), first)


async def test_what_is_slow_of_a_new_object_is_started_without_a_look_and_the_rest_follows():
    cluster = cluster_of("chat")
    it, key = reconciler(cluster), Key("team", "chat")
    it.announce(key, await cluster.get(Ref("LLMDeployment", "team", "chat")))
    cluster.reads = 0
    assert not await it.reconcile(key), "the status is still to come"
    assert cluster.reads == 0
    assert cluster.writes == [("apply", "Deployment", "chat-engine")]
    assert await it.reconcile(key)
    assert cluster.of_kind("Service") == ["chat", "chat-engine"]
    assert cluster.writes[-1] == ("status", "LLMDeployment", "chat")
    assert [write for write in cluster.writes if write[0] == "apply"] == cluster.writes[:-1], "nothing is written twice"
    assert len(set(cluster.writes)) == len(cluster.writes)


async def test_what_was_announced_is_forgotten_when_it_changes():
    cluster = cluster_of("chat")
    it, key = reconciler(cluster), Key("team", "chat")
    it.announce(key, deployment(replicas=5))
    it.announce(key, None)
    assert await it.reconcile(key)
    assert cluster.objects[Ref("Deployment", "team", "chat-engine")]["spec"]["replicas"] == 1


async def test_a_new_object_that_is_refused_says_so_at_once():
    cluster = cluster_of("chat")
    cluster.refuse[Ref("Deployment", "team", "chat-engine")] = Forbidden("exceeded quota")
    it, key = reconciler(cluster), Key("team", "chat")
    it.announce(key, await cluster.get(Ref("LLMDeployment", "team", "chat")))
    with pytest.raises(Forbidden):
        await it.reconcile(key)
    assert ("status", "LLMDeployment", "chat") in cluster.writes


async def test_what_we_wrote_ourselves_is_no_news_until_somebody_changes_it():
    cluster = cluster_of("chat")
    it, key, engine = reconciler(cluster), Key("team", "chat"), Ref("Deployment", "team", "chat-engine")
    await it.reconcile(key)
    assert it.has_seen(cluster.objects[engine])
    cluster.change(engine, replicas=9)
    assert not it.has_seen(cluster.objects[engine])
    it.forget(cluster.objects[engine])
    assert not it.has_seen({"metadata": {"uid": "x"}}), "an object without a version is always news"


async def test_a_ceiling_is_remembered_for_moments_and_forgotten_when_its_namespace_changes():
    now = [0.0]
    cluster = cluster_of()
    surroundings = Surroundings(cluster, lambda: now[0])
    assert await surroundings.ceiling("team") is None
    namespace = Ref("Namespace", "", "team")
    cluster.objects[namespace] = {
        **NAMESPACE,
        "metadata": {"name": "team", "labels": {"spillway.dev/may-leave": "None"}},
    }
    assert await surroundings.ceiling("team") is None
    surroundings.forget("team")
    assert await surroundings.ceiling("team") == "None"
    cluster.objects[namespace] = NAMESPACE
    now[0] += 2 * REMEMBERED_SECONDS
    assert await surroundings.ceiling("team") is None
