"""The operator with a node that runs what it rendered: the engine (simulated) and the namespace's gateway (ours)."""

from __future__ import annotations

import json

import aiohttp
import pytest

from llm_deployments import ENGINE, SERVED
from operator_process import until

pytestmark = pytest.mark.cluster


async def test_ready_means_that_the_model_answers_through_the_gateway(operator, node, deployments, namespace):
    await deployments.apply("chat", SERVED | {"replicas": 2})

    async def no_failure():
        return (await deployments.condition("chat"))["status"] == "False"

    await until("a reason that is no failure", no_failure)
    await deployments.ready("chat")
    assert (await deployments.status("chat"))["readyReplicas"] >= 1
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    async with aiohttp.ClientSession(await deployments.gateway_url()) as client:
        async with client.get("/v1/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["chat"]
        async with client.post("/v1/chat/completions", json=body) as response:
            assert response.status == 200, await response.text()
            assert json.loads(await response.text())["choices"]

    async def both():
        return (await deployments.status("chat")).get("readyReplicas") == 2

    await until("both replicas", both, seconds=60)
    name = (await deployments.pods(ENGINE))[0]["metadata"]["name"]
    node.kill(namespace, name)

    async def failure():
        return (await deployments.status("chat")).get("lastFailure", {}).get("podName") == name

    await until("the failure is told", failure)
    assert (await deployments.condition("chat"))["status"] == "True", "the other replica answers"
    await until("it has recovered", both, seconds=60)
    assert not await failure()
