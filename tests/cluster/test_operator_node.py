"""The operator with a node that runs what it rendered: the engine (simulated) and the namespace's gateway (ours)."""

from __future__ import annotations

import json

import aiohttp
import pytest

from operator_process import KINDS, OperatorProcess, install, until
from spillway.simulator.node import GpuNode

pytestmark = pytest.mark.cluster

ENGINE = "app.kubernetes.io/component=engine"
GATEWAY = "app.kubernetes.io/component=gateway"


@pytest.fixture
async def node(api):
    engine = {"SPILLWAY_SIMULATED_LOAD_SECONDS": "1"}
    async with GpuNode(api, name="operator-node", engine_env=engine, back_off_seconds=(1.0, 4.0)) as node:
        yield node


@pytest.fixture
async def operator(control_plane, api, namespace, tmp_path):
    await install(api)
    process = OperatorProcess(control_plane, tmp_path, f"--namespaces={namespace}")
    await process.start()
    yield process
    assert await process.stop() == 0
    print(process.log)
    assert "Traceback" not in process.log


async def test_ready_means_that_the_model_answers_through_the_gateway(operator, node, api, namespace):
    path = f"{KINDS}/namespaces/{namespace}/llmdeployments/chat"
    pods = f"/api/v1/namespaces/{namespace}/pods"

    async def ready(expected="True"):
        status = (await api.get(path)).get("status", {})
        condition = next((it for it in status.get("conditions", ()) if it["type"] == "Ready"), None)
        return condition is not None and condition["status"] == expected and status

    await api.apply(
        {
            "apiVersion": "spillway.dev/v1alpha1",
            "kind": "LLMDeployment",
            "metadata": {"name": "chat", "namespace": namespace},
            "spec": {
                "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
                "accelerator": {"profile": "l4-24gb"},
                "replicas": 2,
            },
        }
    )
    await until("a reason that is no failure", lambda: ready("False"))
    status = await until("ready", ready, seconds=60)
    assert status["readyReplicas"] >= 1
    gateway = (await api.list(pods, labels=GATEWAY))[0]["status"]["podIP"]
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    async with aiohttp.ClientSession(f"http://{gateway}:8080") as client:
        async with client.get("/v1/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["chat"]
        async with client.post("/v1/chat/completions", json=body) as response:
            assert response.status == 200, await response.text()
            assert json.loads(await response.text())["choices"]

    async def both():
        return (await ready() or {}).get("readyReplicas") == 2

    await until("both replicas", both, seconds=60)
    name = (await api.list(pods, labels=ENGINE))[0]["metadata"]["name"]
    node.kill(namespace, name)

    async def failure():
        return (await api.get(path))["status"].get("lastFailure", {}).get("podName") == name

    await until("the failure is told", failure)
    assert await ready(), "the other replica answers"
    await until("it has recovered", both, seconds=60)
    assert not await failure()
