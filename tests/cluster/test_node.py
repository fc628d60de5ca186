from __future__ import annotations

import asyncio
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI
from spillway.simulator.node import GpuNode, Invocation, Program

pytestmark = pytest.mark.cluster

Object = dict[str, Any]

# Serves the files of the directory FILES on port 8000 of its pod: 404 for one that is not there.
SERVER = """
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        file = pathlib.Path(os.environ.get('FILES', '.')) / self.path[1:]
        self.send_response(200 if file.exists() else 404)
        self.end_headers()
    def log_message(self, *args): pass
print('serving', sys.argv[1:], flush=True)
http.server.ThreadingHTTPServer((os.environ['ADDRESS'], 8000), Handler).serve_forever()
"""


def server(invocation: Invocation) -> Program:
    return Program((sys.executable, "-c", SERVER, *invocation.args), {"ADDRESS": invocation.pod_ip})


def shell(invocation: Invocation) -> Program:
    return Program((*(invocation.command or ("sh", "-c")), *invocation.args))


@pytest.fixture
async def node(api: KubeAPI) -> AsyncIterator[GpuNode]:
    name = f"node-{secrets.token_hex(3)}"
    async with GpuNode(api, name=name, images={"server": server, "shell": shell}, back_off_seconds=(1.5, 6.0)) as node:
        yield node


async def eventually(
    read: Callable[[], Awaitable[Object | None]], done: Callable[[Object | None], object], seconds: float = 15
) -> None:
    deadline = time.monotonic() + seconds
    while not done(seen := await read()):
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.05)


class Pods:
    """Makes pods on one node and waits for what becomes of them."""

    def __init__(self, api: KubeAPI, namespace: str, node: GpuNode) -> None:
        self.api, self.namespace, self.node = api, namespace, node
        self.path = f"/api/v1/namespaces/{namespace}/pods"

    async def create(self, name: str, *containers: Object, **spec: object) -> Object:
        selector = {"kubernetes.io/hostname": self.node.name}
        body = {"containers": list(containers), "nodeSelector": selector, "terminationGracePeriodSeconds": 5, **spec}
        meta = {"name": name, "namespace": self.namespace, "labels": {"tier": "test"}}
        return await self.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body})

    async def until(self, name: str, done: Callable[[Object], object], seconds: float = 15) -> Object:
        seen: Object = {}
        try:
            async with asyncio.timeout(seconds):
                async for event in self.api.watch(self.path, fields=f"metadata.name={name}"):
                    seen = event.object
                    if event.type != "DELETED" and done(seen):
                        return seen
        except TimeoutError:
            pytest.fail(f"after {seconds} s: {seen.get('status')}")
        raise AssertionError

    async def gone(self, name: str, seconds: float = 15) -> None:
        await eventually(lambda: self.api.find(f"{self.path}/{name}"), lambda pod: pod is None, seconds)

    async def log(self, name: str, text: str, seconds: float = 10) -> str:
        deadline = time.monotonic() + seconds
        log = ""
        while text not in log:
            assert time.monotonic() < deadline, log
            await asyncio.sleep(0.05)
            try:
                log = self.node.logs(self.namespace, name)
            except LookupError:
                continue
        return log


@pytest.fixture
def pods(api: KubeAPI, namespace: str, node: GpuNode) -> Pods:
    return Pods(api, namespace, node)


def ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def condition(pod: Object, kind: str) -> Object:
    return next((entry for entry in pod["status"].get("conditions", []) if entry["type"] == kind), {})


def container(pod: Object, index: int = 0) -> Object:
    return (pod["status"].get("containerStatuses") or [{"state": {}, "lastState": {}, "restartCount": 0}])[index]


def waiting(pod: Object) -> str:
    return container(pod)["state"].get("waiting", {}).get("reason", "")


async def test_a_node_says_that_it_is_simulated_and_has_eight_gpus(api: KubeAPI, node: GpuNode) -> None:
    registered = await api.get(f"/api/v1/nodes/{node.name}")
    assert registered["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert registered["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-L4"
    assert registered["metadata"]["labels"]["spillway.dev/simulated"] == "true"
    assert registered["status"]["nodeInfo"]["osImage"] == "simulated by spillway"
    lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node.name}"
    await eventually(lambda: api.find(lease), lambda found: found is not None)


async def test_readiness_follows_the_probe(pods: Pods) -> None:
    probe = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
    spec = {
        "name": "main",
        "image": "server:1",
        "env": [{"name": "FILES", "value": "/state"}],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": probe,
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }
    await pods.create("web", spec, volumes=[{"name": "state", "emptyDir": {"medium": "Memory"}}])
    running = await pods.until("web", lambda pod: "running" in container(pod)["state"])
    assert condition(running, "Ready")["reason"] == "ContainersNotReady"
    assert condition(running, "ContainersReady")["message"] == "containers with unready status: [main]"
    file = pods.node.directory / "pods" / running["metadata"]["uid"] / "volumes" / "state" / "ready"
    file.touch()
    up = await pods.until("web", ready)
    assert up["status"]["phase"] == "Running"
    assert up["status"]["podIP"].startswith("127.")
    assert {"Initialized", "PodScheduled"} < {entry["type"] for entry in up["status"]["conditions"]}
    file.unlink()
    down = await pods.until("web", lambda pod: not ready(pod))
    assert container(down)["restartCount"] == 0


async def test_liveness_failure_restarts_and_startup_holds_it_back(pods: Pods) -> None:
    spec = {
        "name": "main",
        "image": "shell",
        "args": ["test -e /state/second && touch /state/up; touch /state/second; sleep 60"],
        "startupProbe": {"exec": {"command": ["test", "-e", "/state/up"]}, "periodSeconds": 1, "failureThreshold": 2},
        "livenessProbe": {"exec": {"command": ["false"]}, "initialDelaySeconds": 1, "failureThreshold": 1},
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }
    await pods.create("slow", spec, volumes=[{"name": "state", "emptyDir": {}}], terminationGracePeriodSeconds=1)
    first = await pods.until("slow", lambda pod: container(pod)["restartCount"] == 1)
    assert container(first)["lastState"]["terminated"]["exitCode"] in {137, 143}
    started = await pods.until("slow", lambda pod: container(pod)["started"])
    assert container(started)["restartCount"] == 1
    await pods.until("slow", lambda pod: waiting(pod) == "CrashLoopBackOff")


async def test_variables_files_and_arguments_come_from_where_the_spec_says(api: KubeAPI, pods: Pods) -> None:
    meta = {"namespace": pods.namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {**meta, "name": "keys"}, "stringData": {"a": "alpha"}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "name": "conf"}, "data": {"b": "beta"}}
    await api.create(secret)
    await api.create(config)
    projected = [
        {"secret": {"name": "keys", "items": [{"key": "a", "path": "keys/a"}]}},
        {"secret": {"name": "nobody", "optional": True}},
        {"configMap": {"name": "conf"}},
        {"downwardAPI": {"items": [{"path": "tier", "fieldRef": {"fieldPath": "metadata.labels['tier']"}}]}},
    ]
    script = "cd /data; echo $NAME $IP $A $B $BOTH $KUBERNETES_SERVICE_PORT $DIR; cat keys/a b tier; ls; echo; echo end"
    spec = {
        "name": "main",
        "image": "shell",
        "command": ["sh", "-c"],
        "args": [script],
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "b"}}},
            {"name": "BOTH", "value": "$(A)-$(B)-$$(A)"},
            {"name": "DIR", "value": "/data"},
        ],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volumes = [{"name": "data", "projected": {"sources": projected}}]
    created = await pods.create("vars", spec, volumes=volumes, restartPolicy="Never")
    done = await pods.until("vars", lambda pod: pod["status"]["phase"] == "Succeeded")
    assert container(done)["state"]["terminated"]["reason"] == "Completed"
    assert condition(done, "Ready")["reason"] == "PodCompleted"
    log = await pods.log("vars", "end")
    directory = pods.node.directory / "pods" / created["metadata"]["uid"] / "volumes" / "data"
    port = api.server.rpartition(":")[2]
    first, second, *_ = log.splitlines()
    assert first == f"vars {done['status']['podIP']} alpha beta alpha-beta-$(A) {port} {directory}"
    assert second == "alphabetatestb"


async def test_the_projected_token_is_the_service_accounts(api: KubeAPI, pods: Pods) -> None:
    await api.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "me", "namespace": pods.namespace}}
    )
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    script = (
        "import os, json, ssl, sys, urllib.request as u; d = sys.argv[1]; e = os.environ\n"
        "a = 'https://' + e['KUBERNETES_SERVICE_HOST'] + ':' + e['KUBERNETES_SERVICE_PORT']\n"
        "r = u.Request(a + '/apis/authentication.k8s.io/v1/selfsubjectreviews', method='POST',\n"
        '  data=b\'{"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}\',\n'
        "  headers={'Authorization': 'Bearer ' + open(d + '/token').read(), 'Content-Type': 'application/json'})\n"
        "print(json.load(u.urlopen(r, context=ssl.create_default_context(cafile=d + '/ca.crt')))['status'])"
    )
    spec = {
        "name": "main",
        "image": "shell",
        "command": [sys.executable, "-c", script, "/sa"],
        "volumeMounts": [{"name": "sa", "mountPath": "/sa"}],
    }
    volumes = [{"name": "sa", "projected": {"sources": sources}}]
    await pods.create("token", spec, volumes=volumes, restartPolicy="Never", serviceAccountName="me")
    await pods.until("token", lambda pod: pod["status"]["phase"] in {"Succeeded", "Failed"})
    assert f"system:serviceaccount:{pods.namespace}:me" in pods.node.logs(pods.namespace, "token")


async def test_a_rotated_secret_reaches_the_file(api: KubeAPI, pods: Pods) -> None:
    meta = {"name": "key", "namespace": pods.namespace}
    await api.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"k": "old"}})
    spec = {
        "name": "main",
        "image": "shell",
        "args": ["while :; do cat /s/k; echo; sleep 0.2; done"],
        "volumeMounts": [{"name": "s", "mountPath": "/s"}],
    }
    await pods.create("rotate", spec, volumes=[{"name": "s", "secret": {"secretName": "key"}}])
    await pods.log("rotate", "old")
    await api.patch(f"/api/v1/namespaces/{pods.namespace}/secrets/key", {"stringData": {"k": "new"}})
    await pods.log("rotate", "new", seconds=4)


async def test_a_pod_waits_for_a_secret_that_is_not_there_yet(api: KubeAPI, pods: Pods) -> None:
    env = [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "late", "key": "k"}}}]
    await pods.create("late", {"name": "main", "image": "shell", "args": ["echo got $K; sleep 60"], "env": env})
    stuck = await pods.until("late", lambda pod: waiting(pod) == "CreateContainerConfigError")
    assert container(stuck)["state"]["waiting"]["message"] == 'secret "late" not found'
    assert stuck["status"]["phase"] == "Pending"
    meta = {"name": "late", "namespace": pods.namespace}
    await api.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"k": "it"}})
    await pods.log("late", "got it")


async def test_a_crash_loop_backs_off_and_says_why(pods: Pods) -> None:
    spec = {"name": "main", "image": "shell", "args": ["echo out of luck; exit 7"]}
    await pods.create("crash", {**spec, "terminationMessagePolicy": "FallbackToLogsOnError"})
    looping = await pods.until("crash", lambda pod: waiting(pod) == "CrashLoopBackOff")
    state = container(looping)
    assert state["state"]["waiting"]["message"].startswith("back-off 1.5s restarting failed container=main pod=crash_")
    assert (state["lastState"]["terminated"]["exitCode"], state["lastState"]["terminated"]["reason"]) == (7, "Error")
    assert state["lastState"]["terminated"]["message"] == "out of luck\n"
    assert looping["status"]["phase"] == "Running"
    again = await pods.until("crash", lambda pod: container(pod)["restartCount"] >= 2)
    assert not ready(again)
    assert pods.node.logs(pods.namespace, "crash", previous=True) == "out of luck\n"


async def test_kubectl_shows_logs(control_plane: ControlPlane, pods: Pods) -> None:
    main = {"name": "main", "image": "shell", "args": ["echo one; echo two; sleep 1; echo three"]}
    await pods.create("talks", main, restartPolicy="Never")
    await pods.log("talks", "two")
    args = ("logs", "talks", f"--namespace={pods.namespace}")
    assert (await asyncio.to_thread(control_plane.kubectl, *args, "--tail=1")).stdout == "two\n"
    assert (await asyncio.to_thread(control_plane.kubectl, *args, "--follow")).stdout == "one\ntwo\nthree\n"


async def test_a_killed_container_is_restarted(pods: Pods) -> None:
    script = "echo last words > /dev/termination-log; sleep 60 & wait"
    await pods.create("victim", {"name": "main", "image": "shell", "args": [script]})
    await pods.until("victim", ready)
    await asyncio.to_thread(_wait_for, lambda: any(pods.node.directory.glob("pods/*/containers/main/termination-log")))
    pods.node.kill(pods.namespace, "victim")
    back = await pods.until("victim", lambda pod: container(pod)["restartCount"] == 1 and ready(pod))
    assert container(back)["lastState"]["terminated"]["exitCode"] == 137


async def test_init_containers_run_in_order_before_the_others(pods: Pods) -> None:
    mount = [{"name": "d", "mountPath": "/d"}]
    init = [
        {"name": "one", "image": "shell", "args": ["sleep 0.5; echo one >> /d/log"], "volumeMounts": mount},
        {"name": "two", "image": "shell", "args": ["echo two >> /d/log"], "volumeMounts": mount},
    ]
    main = {"name": "main", "image": "shell", "args": ["cat /d/log; sleep 60"], "volumeMounts": mount}
    await pods.create("init", main, initContainers=init, volumes=[{"name": "d", "emptyDir": {}}])
    early = await pods.until("init", lambda pod: pod["status"].get("initContainerStatuses"))
    assert (early["status"]["phase"], waiting(early)) == ("Pending", "PodInitializing")
    assert condition(early, "Initialized")["status"] == "False"
    done = await pods.until("init", ready)
    assert condition(done, "Initialized")["status"] == "True"
    assert "one\ntwo\n" in await pods.log("init", "two")


async def test_a_failed_init_container_fails_a_pod_that_is_never_restarted(pods: Pods) -> None:
    init = [{"name": "one", "image": "shell", "args": ["exit 1"]}]
    main = {"name": "main", "image": "shell", "args": ["true"]}
    await pods.create("noinit", main, initContainers=init, restartPolicy="Never")
    failed = await pods.until("noinit", lambda pod: pod["status"]["phase"] == "Failed")
    assert waiting(failed) == "PodInitializing"


async def test_a_job_completes(api: KubeAPI, pods: Pods) -> None:
    main = {"name": "main", "image": "shell", "args": ["echo done"]}
    spec = {"containers": [main], "restartPolicy": "Never", "nodeSelector": {"kubernetes.io/hostname": pods.node.name}}
    meta = {"name": "job", "namespace": pods.namespace}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": {"spec": spec}}}
    await api.create(job)
    path = await api.path(job)
    await eventually(lambda: api.get(path), lambda job: job["status"].get("succeeded") == 1)


async def test_an_unknown_image_cannot_be_pulled(pods: Pods) -> None:
    await pods.create("nobody", {"name": "main", "image": "nobody/knows:this"})
    failed = await pods.until("nobody", lambda pod: waiting(pod) == "ErrImagePull")
    assert 'failed to resolve reference "nobody/knows:this"' in container(failed)["state"]["waiting"]["message"]
    backing_off = await pods.until("nobody", lambda pod: waiting(pod) == "ImagePullBackOff")
    assert container(backing_off)["state"]["waiting"]["message"] == 'Back-off pulling image "nobody/knows:this"'


async def test_what_the_node_does_not_do_is_said(pods: Pods) -> None:
    probe = {"grpc": {"port": 1}}
    await pods.create("grpc", {"name": "main", "image": "shell", "args": ["true"], "livenessProbe": probe})
    refused = await pods.until("grpc", lambda pod: waiting(pod) == "CreateContainerConfigError")
    assert "does not do a probe or hook of the kind grpc" in container(refused)["state"]["waiting"]["message"]
    await pods.api.delete(f"{pods.path}/grpc")
    await pods.gone("grpc")


async def test_deletion_runs_the_hook_and_leaves_the_grace(pods: Pods, tmp_path: Path) -> None:
    script = f"trap 'echo term >> {tmp_path}/log; sleep 0.5; echo bye >> {tmp_path}/log; exit 0' TERM; sleep 60 & wait"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", f"echo hook >> {tmp_path}/log; sleep 0.3"]}}}
    await pods.create("polite", {"name": "main", "image": "shell", "args": [script], "lifecycle": hook})
    await pods.until("polite", ready)
    await pods.api.delete(f"{pods.path}/polite")
    await pods.gone("polite")
    assert (tmp_path / "log").read_text() == "hook\nterm\nbye\n"


async def test_who_ignores_sigterm_is_killed_when_the_grace_is_over(pods: Pods) -> None:
    script = "trap '' TERM; while :; do sleep 0.1; done"
    await pods.create("deaf", {"name": "main", "image": "shell", "args": [script]}, terminationGracePeriodSeconds=1)
    await pods.until("deaf", ready)
    begun = time.monotonic()
    await pods.api.delete(f"{pods.path}/deaf")
    await pods.gone("deaf")
    assert 1 <= time.monotonic() - begun < 4


async def test_a_pod_whose_object_is_removed_by_force_ends(pods: Pods) -> None:
    await pods.create("forced", {"name": "main", "image": "server"})
    up = await pods.until("forced", ready)
    url = f"http://{up['status']['podIP']}:8000/"
    await asyncio.to_thread(_wait_for, lambda: _serves(url))
    await pods.api.delete(f"{pods.path}/forced", grace_seconds=0)
    await asyncio.to_thread(_wait_for, lambda: not _serves(url))


async def test_the_ninth_gpu_stays_pending(pods: Pods) -> None:
    gpu = {"limits": {"nvidia.com/gpu": "1"}}
    for index in range(9):
        main = {"name": "main", "image": "shell", "args": ["sleep 60"], "resources": gpu}
        await pods.create(f"gpu-{index}", main)
    async with asyncio.timeout(20):
        while True:
            listed = await pods.api.list(pods.path)
            pending = [pod for pod in listed if condition(pod, "PodScheduled").get("status") == "False"]
            if len([pod for pod in listed if ready(pod)]) == 8 and pending:
                break
            await asyncio.sleep(0.1)
    assert condition(pending[0], "PodScheduled")["reason"] == "Unschedulable"
    assert "Insufficient nvidia.com/gpu" in condition(pending[0], "PodScheduled")["message"]
    await pods.api.delete(next(pod for pod in listed if ready(pod)), grace_seconds=1)
    await pods.until(pending[0]["metadata"]["name"], ready)


async def test_a_claim_outlives_its_pod(api: KubeAPI, pods: Pods) -> None:
    meta = {"name": "disk", "namespace": pods.namespace}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    await api.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})
    volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}]
    for name, script in (("writer", "echo kept > /disk/file"), ("reader", "cat /disk/file")):
        main = {
            "name": "main",
            "image": "shell",
            "args": [script],
            "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
        }
        await pods.create(name, main, volumes=volumes, restartPolicy="Never")
        await pods.until(name, lambda pod: pod["status"]["phase"] == "Succeeded")
    assert pods.node.logs(pods.namespace, "reader") == "kept\n"


async def test_leaving_the_node_ends_its_processes_and_pods(api: KubeAPI, namespace: str) -> None:
    name = f"node-{secrets.token_hex(3)}"
    async with GpuNode(api, name=name, images={"server": server}) as node:
        pods = Pods(api, namespace, node)
        await pods.create("web", {"name": "main", "image": "server"}, terminationGracePeriodSeconds=600)
        up = await pods.until("web", ready)
        url = f"http://{up['status']['podIP']}:8000/"
        await asyncio.to_thread(_wait_for, lambda: _serves(url))
        directory = node.directory
    assert not _serves(url)
    assert not directory.exists()
    assert await api.find(f"/api/v1/nodes/{name}") is None
    assert await api.list(pods.path) == []


async def test_two_nodes_share_no_address(api: KubeAPI, namespace: str, control_plane: ControlPlane) -> None:
    async with (
        GpuNode(api, name="twin-a", images={"server": server}) as one,
        GpuNode(api, name="twin-b", images={"server": server}) as two,
    ):
        ips = set()
        for index, node in enumerate((one, two, one, two)):
            pods = Pods(api, namespace, node)
            await pods.create(f"web-{index}", {"name": "main", "image": "server"})
            ips.add((await pods.until(f"web-{index}", ready))["status"]["podIP"])
        assert len(ips) == 4


def _serves(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def _wait_for(done: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
