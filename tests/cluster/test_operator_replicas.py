"""Replicas up and down on the simulated node: pods and status follow, and nothing else is touched."""

from __future__ import annotations

import pytest

from llm_deployments import ENGINE, SERVED
from operator_process import KINDS, until

pytestmark = pytest.mark.cluster

# What is made for one object and for its namespace; a Deployment's status and an object's version are not looked at.
MADE = {
    "/apis/apps/v1": ("deployments",),
    "/api/v1": ("services", "serviceaccounts", "persistentvolumeclaims"),
    "/apis/batch/v1": ("jobs",),
    "/apis/networking.k8s.io/v1": ("networkpolicies",),
    "/apis/rbac.authorization.k8s.io/v1": ("rolebindings",),
    KINDS: ("llmledgers", "llmdeployments"),
}


async def test_replicas_go_up_and_down_and_nothing_else_is_touched(operator, node, deployments, api, namespace):
    async def made():
        """Each object's identity and what is wanted of it, but for the replicas."""
        found = {}
        for prefix, kinds in MADE.items():
            for kind in kinds:
                for item in await api.list(f"{prefix}/namespaces/{namespace}/{kind}"):
                    meta = item["metadata"]
                    found[kind, meta["name"]] = (meta["uid"], {**item.get("spec", {}), "replicas": None})
        return found

    async def answering(name="chat"):
        """Uids of the engine's pods that answer and are to stay."""
        pods = await deployments.pods(f"{ENGINE},spillway.dev/deployment={name}")
        answers = {"type": "Ready", "status": "True"}
        return {
            pod["metadata"]["uid"]
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and any(answers.items() <= it.items() for it in pod["status"].get("conditions", ()))
        }

    async def settled(replicas):
        status = await deployments.status("chat")
        counts = (status.get("replicas"), status.get("readyReplicas"))
        ready = await deployments.condition("chat")
        says = (ready["status"], ready["reason"], ready["message"])
        told = ("True", "Ready", f"{replicas} of {replicas} replicas answer")
        return counts == (replicas, replicas) and says == told and len(await answering()) == replicas

    await deployments.apply("other", SERVED)
    await deployments.apply("chat", SERVED | {"replicas": 3})
    await until("three answer", lambda: settled(3), seconds=90)
    await deployments.ready("other")
    before, three, other = await made(), await answering(), await answering("other")

    await deployments.apply("chat", SERVED | {"replicas": 1})
    await until("one answers", lambda: settled(1), seconds=60)
    one = await answering()
    assert one < three, "the one that stays is one of those that were there"
    assert await made() == before

    await deployments.apply("chat", SERVED | {"replicas": 2})
    await until("two answer", lambda: settled(2), seconds=90)
    assert one < await answering()
    assert await made() == before
    assert await answering("other") == other
    engine = await api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/chat-engine")
    assert engine["spec"]["replicas"] == 2
