"""`helm test`: its pod's program, with the account and options that the chart gives it, chats with a served model."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from helm_program import hooks_of_test, rendered
from installed import kubectl
from llm_deployments import SERVED, LLMDeployments
from operator_process import OperatorProcess
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.node import GpuNode

pytestmark = pytest.mark.cluster


async def chat(plane: ControlPlane, folder: Path, namespace: str, gateway: str = "") -> tuple[int, str]:
    """Run the pod's container here, its account mounted in `folder`; `gateway` stands for the cluster's DNS."""
    made = rendered(folder, f"--set=watchNamespaces={{{namespace}}}")
    hooks = hooks_of_test(made)
    (pod,) = [one for one in hooks if one["kind"] == "Pod"]
    await kubectl(plane, "apply", "-f", "-", stdin=yaml.safe_dump_all([one for one in hooks if one != pod]))
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["/opt/spillway/bin/python", "-c"]
    script, mounted, *namespaces = container["args"]
    assert (mounted, namespaces) == ("/var/run/secrets/kubernetes.io/serviceaccount", [namespace])
    account = yaml.safe_load(
        plane.kubeconfig_for_service_account("spillway-system", pod["spec"]["serviceAccountName"]).read_text()
    )
    (folder / "token").write_text(account["users"][0]["user"]["token"])
    (folder / "ca.crt").write_bytes(plane.ca_file.read_bytes())
    server = urlsplit(plane.server)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(folder), *namespaces),
        env={
            "PATH": os.environ["PATH"],
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(server.port),
            "http_proxy": gateway,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_helm_test_chats_with_a_model_that_is_ready_and_says_when_none_is(
    control_plane: ControlPlane,
    operator: OperatorProcess,
    node: GpuNode,
    deployments: LLMDeployments,
    namespace: str,
    tmp_path: Path,
):
    code, said = await chat(control_plane, tmp_path, namespace)
    assert (code, "no LLMDeployment is Ready (there is none)" in said) == (1, True), said
    await deployments.apply("chat", SERVED)
    await deployments.ready("chat")
    code, said = await chat(control_plane, tmp_path, namespace, await deployments.gateway_url())
    assert code == 0, said
    assert said.startswith("chat, by local/chat-engine-"), said
