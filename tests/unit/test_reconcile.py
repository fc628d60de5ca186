from __future__ import annotations

import datetime as dt

import pytest

from memory_cluster import MemoryCluster
from spillway.controller.desire import Policy
from spillway.controller.objects import Key, Ref
from spillway.controller.observe import observe_all
from spillway.controller.reconcile import Reconciler
from spillway.controller.surroundings import Surroundings
from spillway.errors import Forbidden, Unreachable
from spillway.render import RenderSettings
from spillway.routing.facts import CompileSettings
from spillway.sizing.profiles import default_profiles

HOSTS = ("api.openai.com",)
POLICY = Policy(
    profiles=default_profiles(),
    render=RenderSettings(image="spillway:test", allowed_hosts=HOSTS),
    routes=CompileSettings(allowed_hosts=frozenset(HOSTS), unlabelled_may_leave="Internal"),
)
CHAT = Key("team", "chat")
OBJECT = Ref("LLMDeployment", "team", "chat")
ENGINE = Ref("Deployment", "team", "chat-engine")
GATEWAY = Ref("Deployment", "team", "spillway-gateway")
CHILDREN = {("Deployment", "chat-engine"), ("Service", "chat-engine"), ("Service", "chat"), ("LLMLedger", "chat")}


def deployment(name="chat", *, profile="l4-24gb", key="api-key", **spec):
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
            "accelerator": {"profile": profile},
            "cache": {"mode": "Ephemeral"},
            "access": {"mode": "None"},
            "budget": {"limit": "50.00"},
            "dataPolicy": {"mayLeave": ["Internal", "Public"]},
            "fallback": {
                "mode": "Enabled",
                "targets": [
                    {
                        "name": "openai",
                        "provider": "OpenAI",
                        "model": "gpt-4o",
                        "secretRef": {"name": "openai", "key": key},
                        "price": {"inputPerMillionTokens": "1", "outputPerMillionTokens": "2"},
                    }
                ],
            },
            **spec,
        },
    }


def namespace(**labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": labels}}


def reconciler(cluster):
    return Reconciler(cluster, POLICY, lambda: dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC), around(cluster))


def around(cluster):
    return Surroundings(cluster, lambda: 0.0)


async def settle(cluster):
    """Both recipes, as the queues would call them, until they ask for nothing more."""
    it = reconciler(cluster)
    await it.reconcile(CHAT)
    for key in await it.reconcile_namespace("team"):
        await it.reconcile(key)
    cluster.writes.clear()
    return it


def condition(cluster, kind, ref=OBJECT):
    found = next(it for it in cluster.objects[ref]["status"]["conditions"] if it["type"] == kind)
    return f"{found['status']} {found['reason']}"


async def test_an_object_gets_its_children_and_then_its_status():
    cluster = MemoryCluster(namespace(), deployment())
    await reconciler(cluster).reconcile(CHAT)
    assert {write[1:] for write in cluster.writes[:-1]} == CHILDREN
    assert cluster.writes[-1] == ("status", "LLMDeployment", "chat")
    owners = {
        cluster.objects[ref]["metadata"]["ownerReferences"][0]["uid"]
        for ref in cluster.objects
        if ref != OBJECT
        if ref.namespace
    }
    assert owners == {"uid-LLMDeployment-chat"}


async def test_a_second_pass_writes_nothing():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    await it.reconcile(CHAT)
    assert await it.reconcile_namespace("team") == ()
    assert cluster.writes == []


async def test_it_is_ready_once_engine_and_gateway_answer():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    answering = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
    cluster.report(ENGINE, **answering)
    await it.reconcile(CHAT)
    assert condition(cluster, "Ready") == "False GatewayNotReady"
    cluster.report(GATEWAY, **answering)
    it.forget_gateway("team")
    assert await it.reconcile_namespace("team") == (CHAT,)
    await it.reconcile(CHAT)
    assert condition(cluster, "Ready") == "True Ready"
    assert ("create", "Event", "") in cluster.writes


async def test_a_child_that_was_changed_is_restored():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    cluster.change(ENGINE, replicas=7)
    await it.reconcile(CHAT)
    assert cluster.writes == [("apply", "Deployment", "chat-engine")]
    assert cluster.objects[ENGINE]["spec"]["replicas"] == 1


async def test_a_child_that_was_deleted_is_made_again():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    del cluster.objects[Ref("Service", "team", "chat")]
    await it.reconcile(CHAT)
    assert cluster.writes == [("apply", "Service", "chat")]


async def test_a_child_that_is_no_longer_rendered_is_deleted():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    stray = await cluster.get(Ref("Service", "team", "chat"))
    cluster.put({**stray, "metadata": {**stray["metadata"], "name": "chat-old"}})
    await it.reconcile(CHAT)
    assert cluster.writes == [("delete", "Service", "chat-old")]


async def test_a_budget_change_touches_the_ledger_alone():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    cluster.change(OBJECT, budget={"limit": "75.00"})
    await it.reconcile(CHAT)
    assert cluster.writes == [("apply", "LLMLedger", "chat"), ("status", "LLMDeployment", "chat")]


async def test_an_object_that_is_gone_or_going_is_left_alone():
    cluster = MemoryCluster(namespace())
    await reconciler(cluster).reconcile(CHAT)
    going = deployment()
    going["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    cluster.put(going)
    await reconciler(cluster).reconcile(CHAT)
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("check", "told"), [("Warn", "True DoesNotFit"), ("Disabled", "True Valid")], ids=lambda it: it
)
async def test_a_model_that_does_not_fit_is_rendered_unless_that_is_refused(check, told):
    model = {"uri": "hf://meta-llama/Llama-3.1-70B-Instruct"}
    accelerator = {"profile": "l4-24gb", "count": 1}
    cluster = MemoryCluster(namespace(), deployment(model=model, memoryCheck=check, accelerator=accelerator))
    await reconciler(cluster).reconcile(CHAT)
    assert condition(cluster, "SpecValid") == told
    assert condition(cluster, "Stalled") == "False NotStalled"
    message = cluster.objects[OBJECT]["status"]["conditions"][1].get("message", "")
    assert ("spec.accelerator.count to 8" in message) == (check == "Warn")
    assert "kvCacheTokens" not in cluster.objects[OBJECT]["status"]["plan"]
    assert cluster.objects[OBJECT]["status"]["plan"]["maxSequences"] == 256
    assert ENGINE in cluster.objects


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        pytest.param({"profile": "h999"}, "UnknownProfile", ["h999", "l4-24gb"], id="a profile that is not there"),
        pytest.param(
            {
                "model": {"uri": "hf://meta-llama/Llama-3.1-70B-Instruct"},
                "accelerator": {"profile": "l4-24gb", "count": 1},
                "memoryCheck": "Enforce",
            },
            "DoesNotFit",
            ["GiB", "spec.accelerator.count"],
            id="a model that does not fit",
        ),
        pytest.param({"contextLength": 5}, "InvalidSpec", ["spec.contextLength"], id="a value the CRD would refuse"),
        pytest.param({"future": 1}, "InvalidSpec", ["spec.future"], id="a field of a newer version"),
    ],
)
async def test_an_invalid_spec_is_told_once_and_renders_nothing(spec, reason, words):
    cluster = MemoryCluster(namespace(), deployment(**spec))
    it = reconciler(cluster)
    await it.reconcile(CHAT)
    assert [write[:2] for write in cluster.writes] == [("status", "LLMDeployment"), ("create", "Event")]
    for kind, expected in (("SpecValid", "False"), ("Ready", "False"), ("Stalled", "True")):
        assert condition(cluster, kind) == f"{expected} {reason}"
    message = cluster.objects[OBJECT]["status"]["conditions"][1]["message"]
    assert all(word in message for word in words)
    cluster.writes.clear()
    await it.reconcile(CHAT)
    assert cluster.writes == []


async def test_a_spec_made_invalid_leaves_what_runs_as_it_is():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    cluster.change(OBJECT, accelerator={"profile": "h999"})
    await it.reconcile(CHAT)
    assert {write[0] for write in cluster.writes} == {"status", "create"}
    assert ENGINE in cluster.objects


async def test_a_refusal_by_the_cluster_is_told_and_tried_again():
    cluster = MemoryCluster(namespace(), deployment())
    cluster.refuse[ENGINE] = Forbidden("exceeded quota: team-gpus")
    with pytest.raises(Forbidden):
        await reconciler(cluster).reconcile(CHAT)
    assert condition(cluster, "Stalled") == "True RefusedByCluster"
    assert "exceeded quota" in cluster.objects[OBJECT]["status"]["conditions"][0]["message"]
    assert Ref("LLMLedger", "team", "chat") in cluster.objects  # the others are made meanwhile
    cluster.refuse.clear()
    await reconciler(cluster).reconcile(CHAT)
    assert condition(cluster, "Stalled") == "False NotStalled"


async def test_an_unreachable_cluster_is_not_told_as_the_objects_fault():
    cluster = MemoryCluster(namespace(), deployment())
    cluster.refuse[ENGINE] = Unreachable("no answer")
    with pytest.raises(Unreachable):
        await reconciler(cluster).reconcile(CHAT)
    assert "status" not in cluster.objects[OBJECT]


async def test_the_ledger_is_copied_into_status():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    cluster.report(
        Ref("LLMLedger", "team", "chat"),
        spent="12.500000",
        windowStart="2026-11-01T00:00:00Z",
        windowEnd="2026-12-01T00:00:00Z",
        gateways=[{"name": "gw", "state": "Overflowing", "reason": "Saturated", "sharePercent": 25}],
    )
    await it.reconcile(CHAT)
    status = cluster.objects[OBJECT]["status"]
    assert (status["budget"]["spent"], status["fallback"]["sharePercent"]) == ("12.500000", 25)


async def test_the_namespaces_label_is_a_ceiling():
    cluster = MemoryCluster(namespace(**{"spillway.dev/may-leave": "Public"}), deployment())
    it = await settle(cluster)
    assert cluster.objects[OBJECT]["status"]["policy"] == {"mayLeave": ["Public"]}
    cluster.put(namespace(**{"spillway.dev/may-leave": "None"}))
    it = reconciler(cluster)  # what it remembers of a namespace is forgotten when a watch tells of a change
    assert await it.reconcile_namespace("team") == (CHAT,)
    await it.reconcile(CHAT)
    assert cluster.objects[OBJECT]["status"]["policy"] == {"mayLeave": []}
    assert condition(cluster, "FallbackReady") == "False PolicyDenied"


async def test_a_namespaces_models_share_one_gateway_and_the_last_takes_it_along():
    cluster = MemoryCluster(namespace(), deployment(), deployment("second", key="other"))
    it = reconciler(cluster)
    await it.reconcile_namespace("team")
    assert cluster.of_kind("Deployment") == ["spillway-gateway"]
    mounted = str(cluster.objects[GATEWAY]["spec"])
    assert "openai/api-key" in mounted
    assert "openai/other" in mounted
    del cluster.objects[Ref("LLMDeployment", "team", "second")]
    await it.reconcile_namespace("team")
    assert "openai/other" not in str(cluster.objects[GATEWAY]["spec"])
    del cluster.objects[OBJECT]
    await it.reconcile_namespace("team")
    assert [ref for ref in cluster.objects if ref.namespace] == []


async def test_a_gateway_of_which_nothing_changed_is_not_read_again_until_it_is_to_be_forgotten():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    del cluster.objects[GATEWAY]
    cluster.put(deployment("second"))
    before = cluster.reads
    await it.reconcile_namespace("team")
    assert (cluster.writes, cluster.reads - before) == ([], 1)
    it.forget_gateway("team")
    await it.reconcile_namespace("team")
    assert GATEWAY in cluster.objects


async def test_what_a_gateways_pass_has_read_before_it_was_to_be_forgotten_is_read_again():
    cluster = MemoryCluster(namespace(), deployment())
    it = reconciler(cluster)
    applied, first = cluster.apply, []

    async def apply(obj):
        if not first:  # the others are read already
            first.append(obj)
            it.forget_gateway("team")
        return await applied(obj)

    cluster.apply = apply
    await it.reconcile_namespace("team")
    del cluster.objects[GATEWAY]
    await it.reconcile_namespace("team")
    assert GATEWAY in cluster.objects


async def test_a_gateways_pass_that_failed_half_way_is_begun_anew_for_what_was_there_before():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    cluster.put(deployment("second", key="other"))
    applied = cluster.apply

    async def refuse(obj):
        await applied(obj)
        raise Unreachable("cut")

    cluster.apply = refuse
    with pytest.raises(Unreachable):
        await it.reconcile_namespace("team")
    cluster.apply = applied
    del cluster.objects[Ref("LLMDeployment", "team", "second")]
    await it.reconcile_namespace("team")
    assert "openai/other" not in str(cluster.objects[GATEWAY]["spec"])


async def test_a_namespace_whose_models_cannot_be_read_keeps_its_gateway():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    cluster.change(OBJECT, future=1)
    await it.reconcile_namespace("team")
    assert cluster.writes == []


async def test_a_pass_over_all_reads_each_kind_once_and_writes_nothing():
    names = [f"chat-{number}" for number in range(5)]
    cluster = MemoryCluster(namespace(), *(deployment(name) for name in names))
    it = reconciler(cluster)
    await it.reconcile_namespace("team")
    for name in names:
        await it.reconcile(Key("team", name))
    cluster.writes.clear()
    cluster.reads = 0
    it.snapshot = await observe_all(cluster, around(cluster), ())
    reads = cluster.reads
    for key in it.snapshot.keys:
        await it.reconcile(key)
    assert cluster.reads == reads <= 8
    assert cluster.writes == []


async def test_what_a_snapshot_says_is_read_again_before_anything_is_written():
    cluster = MemoryCluster(namespace(), deployment())
    it = await settle(cluster)
    cluster.change(ENGINE, replicas=7)
    it.snapshot = await observe_all(cluster, around(cluster), ())
    cluster.change(OBJECT, replicas=3)
    applied = []
    apply = cluster.apply

    async def watched(obj):
        applied.append(obj["spec"].get("replicas"))
        return await apply(obj)

    cluster.apply = watched
    await it.reconcile(CHAT)
    assert applied == [3], "not the one replica that the snapshot still asks for"


async def test_a_snapshot_is_used_once_and_forgets_what_changed():
    cluster = MemoryCluster(namespace(), deployment())
    snapshot = await observe_all(cluster, around(cluster), ("team",))
    body = cluster.objects[OBJECT]
    assert snapshot.has(body)
    assert snapshot.namespaces == {"team"}
    cluster.change(OBJECT, replicas=3)
    assert not snapshot.has(cluster.objects[OBJECT])
    assert snapshot.take(CHAT) is not None
    assert snapshot.take(CHAT) is None
    again = await observe_all(cluster, around(cluster), ())
    again.forget(CHAT)
    assert again.take(CHAT) is None


async def test_a_gateway_without_models_is_found_after_a_restart():
    cluster = MemoryCluster(namespace(), deployment())
    await settle(cluster)
    del cluster.objects[OBJECT]
    assert (await observe_all(cluster, around(cluster), ())).namespaces == {"team"}
