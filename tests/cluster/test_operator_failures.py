"""What goes wrong with an engine, and what `kubectl get llmdep` says of it, on the simulated node; then the cure."""

from __future__ import annotations

import sys

import pytest

from llm_deployments import SERVED
from operator_process import until
from spillway.simulator.hub import Hub, Repository, made_up_model
from spillway.simulator.node import GpuNode
from spillway.simulator.node.images import Program, default_images

pytestmark = pytest.mark.cluster

REPOSITORY = "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"
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
    "token": (
        {"model": {"uri": REPOSITORY, "secretRef": {"name": "hub", "key": "token"}}},
        "SecretNotFound",
        "make the Secret in this namespace",
    ),
    "memory": ({"resources": {"memory": "16Mi"}}, "OOMKilled", "exit code 137"),
    "storage": (
        {"cache": {"mode": "PersistentVolume", "storageClassName": "fast"}},
        "StorageClassNotFound",
        "the cluster's are: standard (the default)",
    ),
    "claim": ({"cache": {"mode": "ExistingClaim", "claimName": "models"}}, "ClaimNotFound", "make the claim"),
}
# What cures them is not in their spec.
CURED_OUTSIDE = {
    "storage": {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "fast"},
        "provisioner": "kubernetes.io/host-path",
    },
    "claim": {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    },
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


@pytest.fixture
async def operator_environment():
    files = made_up_model(1 << 20, {"model_type": "qwen2"})
    async with Hub({REPOSITORY.removeprefix("hf://"): Repository(files)}) as hub:
        yield {"SPILLWAY_HUB_ENDPOINT": hub.url}


@pytest.fixture
async def outside(api, namespace):
    """Makes what an object names and is not there; what belongs to no namespace is taken away again."""
    made = []

    async def make(body):
        if body["kind"] == "StorageClass":
            made.append(await api.path(body))
            return await api.apply(body)
        return await api.apply({**body, "metadata": {**body["metadata"], "namespace": namespace}})

    yield make
    for path in made:
        await api.delete(path)


async def test_each_failure_is_named_with_its_cure_and_forgotten_when_cured(
    operator, node, deployments, outside, namespace, control_plane
):
    for name, (wrong, _, _) in FAILURES.items():
        await deployments.apply(name, {**SERVED, **wrong})
    for name, (_, reason, words) in FAILURES.items():

        async def told(name=name, reason=reason):
            return (await deployments.condition(name))["reason"] == reason

        try:
            await until(f"{name}: {reason}", told, seconds=90)
        finally:
            print(name, await deployments.condition(name))
        assert words in (await deployments.condition(name))["message"]
    shown = control_plane.kubectl("get", "llmdep", f"--namespace={namespace}", "-o", "wide").stdout
    print(shown)
    for name, (_, reason, _) in FAILURES.items():
        line = next(line for line in shown.splitlines() if line.startswith(f"{name} "))
        assert reason in line

    for name in FAILURES:
        if name in CURED_OUTSIDE:
            await outside(CURED_OUTSIDE[name])
        else:
            await deployments.apply(name, SERVED)
    for name in FAILURES:

        async def cured(name=name):
            status = await deployments.status(name)
            return (await deployments.condition(name))["status"] == "True" and "lastFailure" not in status

        await until(f"{name} is cured", cured, seconds=120)
