"""What the recipes keep of a namespace's gateway and take away: policies, and the binding of its role."""

from __future__ import annotations

import dataclasses
import datetime as dt

from memory_cluster import MemoryCluster
from spillway.controller.desire import Policy
from spillway.controller.objects import Ref
from spillway.controller.reconcile import Reconciler
from spillway.controller.surroundings import Surroundings
from spillway.errors import Forbidden
from spillway.render import ApiServer, RenderSettings
from spillway.routing.facts import CompileSettings
from spillway.sizing.profiles import default_profiles

POLICY = Policy(
    profiles=default_profiles(),
    render=RenderSettings(image="spillway:test"),
    routes=CompileSettings(allowed_hosts=frozenset(), unlabelled_may_leave="Internal"),
)
SLICE = Ref("EndpointSlice", "default", "kubernetes")
GATEWAY = Ref("NetworkPolicy", "team", "spillway-gateway")


def deployment(uri="hf://Qwen/Qwen2.5-7B-Instruct-AWQ"):
    kept = {} if uri.startswith("pvc://") else {"cache": {"mode": "Ephemeral"}}
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": "chat", "namespace": "team"},
        "spec": {"model": {"uri": uri}, "accelerator": {"profile": "l4-24gb"}, **kept},
    }


def endpoints(*addresses, port=6443):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def reconciler(cluster, policy=POLICY):
    return Reconciler(cluster, policy, lambda: dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC), around(cluster))


def around(cluster):
    return Surroundings(cluster, lambda: 0.0)


def blocks(cluster):
    rules = cluster.objects[GATEWAY]["spec"]["egress"]
    return [peer["ipBlock"]["cidr"] for rule in rules for peer in rule.get("to", ()) if "ipBlock" in peer]


async def test_the_gateways_policy_follows_the_api_servers():
    cluster = MemoryCluster(deployment(), endpoints("10.0.0.1"))
    await reconciler(cluster).reconcile_namespace("team")
    assert "10.0.0.1/32" in blocks(cluster)
    cluster.put(endpoints("10.0.0.2", "10.0.0.3"))
    cluster.writes.clear()
    await reconciler(cluster).reconcile_namespace("team")
    assert cluster.writes == [("apply", "NetworkPolicy", "spillway-gateway")]
    assert {"10.0.0.2/32", "10.0.0.3/32"} <= set(blocks(cluster))
    cluster.writes.clear()
    await reconciler(cluster).reconcile_namespace("team")
    assert cluster.writes == []


async def test_engines_that_no_longer_fetch_take_the_way_out_along_and_the_last_object_all_policies():
    cluster = MemoryCluster(deployment())
    await reconciler(cluster).reconcile_namespace("team")
    assert cluster.of_kind("NetworkPolicy") == ["spillway-engine", "spillway-engine-egress", "spillway-gateway"]
    cluster.put(deployment("pvc://models/qwen2.5-7b"))
    await reconciler(cluster).reconcile_namespace("team")
    assert cluster.of_kind("NetworkPolicy") == ["spillway-engine", "spillway-gateway"]
    await cluster.delete(Ref("LLMDeployment", "team", "chat"))
    await reconciler(cluster).reconcile_namespace("team")
    assert cluster.of_kind("NetworkPolicy") == []


async def test_told_to_serve_listed_namespaces_it_binds_their_role_and_unbinds_the_clusters_and_back():
    namespaced = dataclasses.replace(POLICY, render=RenderSettings(image="spillway:test", namespaced=True))
    cluster = MemoryCluster(deployment())
    await reconciler(cluster).reconcile_namespace("team")
    assert cluster.of_kind("RoleBinding") == ["spillway-gateway"]
    for policy, new, old in (
        (namespaced, "spillway-gateway-namespaced", "spillway-gateway"),
        (POLICY, "spillway-gateway", "spillway-gateway-namespaced"),
    ):
        cluster.writes.clear()
        await reconciler(cluster, policy).reconcile_namespace("team")
        assert cluster.writes == [("apply", "RoleBinding", new), ("delete", "RoleBinding", old)]


async def test_a_drain_is_held_to_one_gateway_at_a_time_while_there_are_several():
    one = dataclasses.replace(POLICY, render=RenderSettings(image="spillway:test", gateway_replicas=1))
    cluster = MemoryCluster(deployment())
    await reconciler(cluster).reconcile_namespace("team")
    budget = await cluster.get(Ref("PodDisruptionBudget", "team", "spillway-gateway"))
    gateway = await cluster.get(Ref("Deployment", "team", "spillway-gateway"))
    assert (gateway["spec"]["replicas"], budget["spec"]["maxUnavailable"]) == (2, 1)
    assert budget["spec"]["selector"] == gateway["spec"]["selector"]
    await reconciler(cluster, one).reconcile_namespace("team")
    assert cluster.of_kind("PodDisruptionBudget") == []
    cluster.writes.clear()
    await reconciler(cluster, one).reconcile_namespace("team")
    assert cluster.writes == []


async def test_addresses_are_none_without_the_right_to_read_them_or_anything_to_read():
    class Closed(MemoryCluster):
        async def get(self, ref):
            raise Forbidden(f"{ref} is not ours to read")

    assert await around(Closed()).api_servers() == ()
    assert await around(MemoryCluster()).api_servers() == ()
    cluster = MemoryCluster(endpoints("fd00::1", "10.0.0.1", port=8443))
    assert await around(cluster).api_servers() == (ApiServer("10.0.0.1", 8443), ApiServer("fd00::1", 8443))
