"""What goes wrong with an engine, and what `kubectl get llmdep` says of it, on the simulated node; then the cure."""

from __future__ import annotations

import sys

import pytest

from operator_process import KINDS, until
from spillway.simulator.node import GpuNode
from spillway.simulator.node.images import Program, default_images

pytestmark = pytest.mark.cluster

CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 130.00 MiB."
FAULT = {"name": "SPILLWAY_SIMULATED_FAULT", "value": "crash-at-start"}
# name -> what is wrong in its spec, the reason that is told, and what its message must say
FAILURES = {
    "image": ({"engine": {"image": "example.com/none:1"}}, "ImagePullBackOff", "example.com/none:1"),
    "crash": ({"engine": {"image": "example.com/crash:1"}}, "CrashLoopBackOff", "ImportError: libcuda.so.1"),
    "cuda": ({"engine": {"image": "example.com/cuda:1"}}, "CUDAOutOfMemory", "spec.accelerator.count"),
    "cache": ({"engine": {"env": [FAULT]}}, "KVCacheTooSmall", "spec.contextLength"),
    "secret": (
        {"engine": {"env": [{"name": "LICENCE", "secretRef": {"name": "hub", "key": "token"}}]}},
        "SecretNotFound",
        'secret "hub" not found',
    ),
    "nodes": ({"accelerator": {"profile": "h100-80gb"}}, "Unschedulable", "0/1 nodes are available"),
    "profile": ({"accelerator": {"profile": "h999"}}, "UnknownProfile", "l4-24gb"),
}
GOOD = {
    "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
    "accelerator": {"profile": "l4-24gb"},
    "cache": {"mode": "Ephemeral"},
}


def _ends(message):
    return lambda _invocation: Program((sys.executable, "-c", f"import sys; sys.exit({message!r})"))


@pytest.fixture
async def node(api):
    images = {
        **default_images("NVIDIA-L4", {"SPILLWAY_SIMULATED_LOAD_SECONDS": "1"}),
        "example.com/crash": _ends("ImportError: libcuda.so.1: cannot open shared object file"),
        "example.com/cuda": _ends(CUDA),
    }
    async with GpuNode(api, name="failing-node", gpus=16, images=images, back_off_seconds=(1.0, 2.0)) as node:
        yield node


async def test_each_failure_is_named_with_its_cure_and_forgotten_when_cured(
    operator, node, api, namespace, control_plane
):
    async def apply(name, spec):
        await api.apply(
            {
                "apiVersion": "spillway.dev/v1alpha1",
                "kind": "LLMDeployment",
                "metadata": {"name": name, "namespace": namespace},
                "spec": spec,
            }
        )

    async def status_of(name):
        return (await api.get(f"{KINDS}/namespaces/{namespace}/llmdeployments/{name}")).get("status", {})

    async def ready(name):
        conditions = (await status_of(name)).get("conditions", ())
        return next((it for it in conditions if it["type"] == "Ready"), {"status": "", "reason": "", "message": ""})

    for name, (wrong, _, _) in FAILURES.items():
        await apply(name, {**GOOD, **wrong})
    for name, (_, reason, words) in FAILURES.items():

        async def told(name=name, reason=reason):
            return (await ready(name))["reason"] == reason

        try:
            await until(f"{name}: {reason}", told, seconds=90)
        finally:
            print(name, await ready(name))
        assert words in (await ready(name))["message"]
    shown = control_plane.kubectl("get", "llmdep", f"--namespace={namespace}", "-o", "wide").stdout
    print(shown)
    for name, (_, reason, _) in FAILURES.items():
        line = next(line for line in shown.splitlines() if line.startswith(f"{name} "))
        assert reason in line

    for name in FAILURES:
        await apply(name, GOOD)
    for name in FAILURES:

        async def cured(name=name):
            return (await ready(name))["status"] == "True" and "lastFailure" not in await status_of(name)

        await until(f"{name} is cured", cured, seconds=120)
