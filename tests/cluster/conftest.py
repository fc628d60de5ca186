"""One control plane for the whole session (4 s), a namespace of its own for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from spillway.simulator.controlplane import ControlPlane, running
from spillway.simulator.kubeapi import KubeAPI


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


def _print(what: str, seconds: float) -> None:
    print(f"control plane: {what}, {seconds:.0f} s", flush=True)
