"""One control plane for the whole session (4 s), a namespace of its own for each test; what runs in it.

What tests install for the whole cluster goes onto `own_plane`, a control plane of their module's own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from llm_deployments import LLMDeployments
from operator_process import OperatorProcess, install
from spillway.simulator.controlplane import ControlPlane, binaries, running
from spillway.simulator.kubeapi import KubeAPI
from spillway.simulator.node import GpuNode


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    """What a control plane is made of; from nothing its build takes minutes, which no test's own time allows for."""
    asyncio.run(binaries.find(_print))


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


@pytest.fixture
async def node(api: KubeAPI) -> AsyncIterator[GpuNode]:
    """A node as `gpu_node`, whose containers are tried again soon after they failed."""
    engine = {"SPILLWAY_SIMULATED_LOAD_SECONDS": "1"}
    name = f"gpu-{secrets.token_hex(3)}"
    async with GpuNode(api, name=name, gpus=16, engine_env=engine, back_off_seconds=(1.0, 4.0)) as node:
        yield node


@pytest.fixture
def operator_environment() -> Mapping[str, str]:
    """The settings of `operator`, for modules to override."""
    return {}


@pytest.fixture
async def operator(
    control_plane: ControlPlane,
    api: KubeAPI,
    namespace: str,
    tmp_path: Path,
    operator_environment: Mapping[str, str],
) -> AsyncIterator[OperatorProcess]:
    """A running operator of the test's namespace, with the rights of an installed one alone."""
    await install(api, namespace)
    process = OperatorProcess(control_plane, tmp_path, f"--namespaces={namespace}", environment=operator_environment)
    await process.start()
    yield process
    code = await process.stop()
    print(process.log)
    assert code == 0, "SIGTERM ends it without an error"
    assert "Traceback" not in process.log
    assert "Forbidden" not in process.log, "its role allows all that it does"


@pytest.fixture
def deployments(api: KubeAPI, namespace: str) -> LLMDeployments:
    """The LLMDeployments of the test's namespace."""
    return LLMDeployments(api, namespace)


@pytest.fixture(scope="module")
def own_plane() -> Iterator[ControlPlane]:
    """A control plane for what is installed for the whole cluster."""
    with running(progress=_print) as plane:
        yield plane


@pytest.fixture
async def own_api(own_plane: ControlPlane) -> AsyncIterator[KubeAPI]:
    async with own_plane.api() as api:
        yield api


def _print(what: str, seconds: float) -> None:
    print(f"control plane: {what}, {seconds:.0f} s", flush=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # A client that is cancelled within its TLS handshake, as polls and watches are, leaves the transport to the
    # collector, which finds it in whatever test comes later: asyncio of Python 3.11 closes it no sooner.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for left in ("<function _SelectorTransport.__del__", "<socket.socket fd="):
                rule = f"ignore:Exception ignored in. {left}:pytest.PytestUnraisableExceptionWarning"
                item.add_marker(pytest.mark.filterwarnings(rule))
