"""One control plane for the whole session (4 s), a namespace of its own for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from spillway.simulator.controlplane import ControlPlane, running
from spillway.simulator.kubeapi import KubeAPI
from spillway.simulator.node import GpuNode


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    with running(progress=_print) as plane:
        yield plane


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[KubeAPI]:
    async with control_plane.api() as api:
        yield api


@pytest.fixture
async def namespace(api: KubeAPI) -> AsyncIterator[str]:
    """A fresh namespace that pods can be made in; its deletion is begun at the end and not waited for."""
    name = f"test-{secrets.token_hex(4)}"
    path = f"/api/v1/namespaces/{name}"
    await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    async for _ in api.watch(f"{path}/serviceaccounts", fields="metadata.name=default"):
        break
    yield name
    await api.delete(path)


@pytest.fixture
async def gpu_node(api: KubeAPI) -> AsyncIterator[GpuNode]:
    """Eight simulated NVIDIA L4, and programs for Spillway's image and its engines'; engines load in a second."""
    name = f"gpu-{secrets.token_hex(3)}"
    async with GpuNode(api, name=name, engine_env={"SPILLWAY_SIMULATED_LOAD_SECONDS": "1"}) as node:
        yield node


def _print(what: str, seconds: float) -> None:
    print(f"control plane: {what}, {seconds:.0f} s", flush=True)
