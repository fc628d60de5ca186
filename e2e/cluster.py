"""One kind cluster: made, asked, and removed. Its kubeconfig is a file of its own; ~/.kube is left alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from subprocess import CompletedProcess
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlencode

import yaml
from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config

from e2e import docker, programs
from e2e.offline import node_image
from e2e.offline.versions import KIND, STOCK_NODE
from e2e.shell import CACHE, ROOT, CommandFailed, attempt, run, say

NAME = "spillway"
KUBECONFIG = CACHE / "kubeconfig"
GPU_PRODUCT = "NVIDIA-L4"

_CONFIG = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "nodes": [{"role": "control-plane", "labels": {"nvidia.com/gpu.product": GPU_PRODUCT}}],
    "kubeadmConfigPatches": [
        # Kubernetes 1.35 and newer refuse to start on cgroup v1 unless told otherwise; on v2 it changes nothing.
        "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\nfailCgroupV1: false\n"
    ],
}
_KINDS = {
    "namespace": ("api/v1", "namespaces"),
    "pods": ("api/v1", "pods"),
    "service": ("api/v1", "services"),
    "deployments": ("apis/apps/v1", "deployments"),
    "llmdep": ("apis/spillway.dev/v1alpha1", "llmdeployments"),
    "llmledger": ("apis/spillway.dev/v1alpha1", "llmledgers"),
}
Object: TypeAlias = dict[str, Any]
T = TypeVar("T")


@cache
def node() -> str:
    """The image of the node: SPILLWAY_NODE_IMAGE, else kind's own where a registry answers, else one made here.

    Raises:
        SetupError: it has to be made here, and cannot.
    """
    if named := os.environ.get("SPILLWAY_NODE_IMAGE"):
        say(f"node image: {named}, as SPILLWAY_NODE_IMAGE says")
        return named
    if docker.registry_answers():
        say(f"node image: {STOCK_NODE}")
        return STOCK_NODE
    say("no image registry answers: the node is made of Debian packages and Go modules")
    return node_image.build()


def exists() -> bool:
    """Whether the cluster is there."""
    return NAME in attempt(programs.kind(), "get", "clusters").stdout.split()


def create() -> None:
    """Make the cluster.

    Raises:
        SetupError, CommandFailed: it could not be made.
    """
    image = node()
    say(f"kind {KIND} creates the cluster")
    config = json.dumps(_CONFIG)
    where = ["--name", NAME, "--kubeconfig", str(KUBECONFIG)]
    run(programs.kind(), "create", "cluster", *where, "--image", image, "--config", "-", stdin=config)


def until_up() -> None:
    """Wait until it schedules pods and resolves names.

    Raises:
        CommandFailed: it does not in time.
    """
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=300s")
    # Ready is said before pods can be made: a pod needs its namespace's account, and everything here needs names.
    kubectl("wait", "-n", "default", "--for=create", "serviceaccount/default", "--timeout=120s")
    kubectl("rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=300s")
    say("cluster is up")


def delete() -> None:
    """Remove the cluster, if it is there."""
    run(programs.kind(), "delete", "cluster", "--name", NAME, "--kubeconfig", KUBECONFIG)


def load(*images: str) -> None:
    """Put images of Docker's into the node, those that it has not."""
    run(programs.kind(), "load", "docker-image", *images, "--name", NAME)


def kubectl_words() -> list[str]:
    """How a command line of kubectl begins."""
    return [str(programs.kubectl()), "--kubeconfig", str(KUBECONFIG)]


def kubectl(*arguments: str | os.PathLike[str], stdin: str | None = None, timeout_seconds: float = 330.0) -> str:
    """What kubectl prints.

    Raises:
        CommandFailed: it failed.
    """
    words = [str(argument) for argument in arguments]
    return run(*kubectl_words(), *words, stdin=stdin, timeout_seconds=timeout_seconds)


def try_kubectl(*arguments: str) -> CompletedProcess[str]:
    """Like `kubectl`, for who looks at the exit code."""
    return attempt(*kubectl_words(), *arguments, timeout_seconds=120.0)


def apply(*objects: Object, namespace: str = "default") -> None:
    """Apply objects as `kubectl apply` does."""
    kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(objects, sort_keys=False))


def get(kind: str, name: str, namespace: str = "default") -> Object | None:
    """One object, None where there is none."""
    return _read(f"{_path(kind, namespace)}/{name}")


def kill_9(container: str, pod: str) -> None:
    """End a container of a pod as the kernel does: it hears nothing of it before. The kubelet starts it again."""
    found = f"crictl ps -q --name {container} --label io.kubernetes.pod.name={pod}"
    pid = f"crictl inspect -o go-template --template '{{{{.info.pid}}}}' $({found})"
    docker.docker("exec", f"{NAME}-control-plane", "sh", "-c", f"kill -9 $({pid})")


def items(kind: str, namespace: str = "default", selector: str = "") -> list[Object]:
    """Objects of a namespace."""
    listed = _read(f"{_path(kind, namespace)}?{urlencode({'labelSelector': selector})}") or {}
    found: list[Object] = listed["items"]
    return found


def _path(kind: str, namespace: str) -> str:
    prefix, plural = _KINDS[kind]
    return f"{prefix}/{plural}" if kind == "namespace" else f"{prefix}/namespaces/{namespace}/{plural}"


def _read(path: str) -> Object | None:
    """What the API server has, over a connection that stays: a kubectl of its own for each poll takes its time."""
    api = _api()
    answer = api.call_api("GET", f"{api.configuration.host}/{path}", {"Accept": "application/json"})
    text: bytes = answer.read()  # type: ignore[no-untyped-call]
    if answer.status == HTTPStatus.NOT_FOUND:
        return None
    if answer.status != HTTPStatus.OK:
        raise CommandFailed(f"GET {path}: {text.decode(errors='replace')}")
    found: Object = json.loads(text)
    return found


@cache
def _api() -> ApiClient:
    made: ApiClient = new_client_from_config(str(KUBECONFIG))  # type: ignore[no-untyped-call]
    return made


def helm(*arguments: str, major: int = 4) -> str:
    """What Helm prints; what it keeps is kept in the cache, that of Helm 3 apart.

    Raises:
        CommandFailed: it failed.
    """
    kept = CACHE / f"helm{major}"
    own = {f"HELM_{name}_HOME": str(kept / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    return run(programs.helm(major), *arguments, "--kubeconfig", str(KUBECONFIG), env=own, cwd=ROOT)


def until(what: str, found: Callable[[], T], seconds: float = 60.0) -> T:
    """Poll until `found` gives something true, and return that.

    Raises:
        AssertionError: time is up; with the last thing that it gave.
    """
    deadline = time.monotonic() + seconds
    while True:
        last = found()
        if last:
            return last
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s until {what}; the last answer was {last!r}"
        time.sleep(0.1)
