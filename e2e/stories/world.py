"""What a story has: a namespace of its own with a caller in it, its objects, and the recording cloud."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e import cluster, release
from e2e.cluster import Object, until
from e2e.images.build import ENGINE, OLLAMA
from e2e.stories.outside import CLOUD_KEY, MODEL, cloud_ca
from e2e.stories.pods import RESTRICTED, pod

OURS = "app.kubernetes.io/managed-by=spillway"
OWNED = "deployments,services,networkpolicies,poddisruptionbudgets,serviceaccounts,rolebindings,jobs,llmledgers"
CALLERS = 4
"""Of steady traffic."""
CALLER = (Path(__file__).parent / "caller.py").read_text()


@dataclass(slots=True)
class Answers:
    """What callers saw, one entry a request."""

    seen: list[dict[str, Any]] = field(default_factory=list)

    def backends(self) -> list[str]:
        """local, cloud or nothing, for each."""
        return [one.get("headers", {}).get("x-spillway-backend", "").partition("/")[0] for one in self.seen]

    def reasons(self) -> set[str]:
        """Every reason that was given."""
        return {one.get("headers", {}).get("x-spillway-reason", "") for one in self.seen}

    def unanswered(self) -> list[dict[str, Any]]:
        """Those that were not answered whole."""
        return [one for one in self.seen if not one["done"]]

    def lost(self) -> list[dict[str, Any]]:
        """Those that were neither answered whole nor told when to come back."""
        return [one for one in self.seen if not one["done"] and not _told_when(one)]


def _told_when(one: dict[str, Any]) -> bool:
    return one["status"] == 503 and "retry-after" in one["headers"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests that go on while something else happens."""

    process: subprocess.Popen[str]
    printed: Path
    """A file takes any number of answers without making their caller wait."""

    def answered(self) -> int:
        """How many requests are over."""
        return self.printed.read_text().count("\n")

    def until_answered(self, more: int) -> None:
        """Wait until so many more requests are over."""
        before = self.answered()
        until(f"{more} more requests are over", lambda: self.answered() >= before + more, 120)

    def end(self) -> Answers:
        """Wait until it is over, which steady traffic is soon after it is told; what was seen."""
        _, said = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, said
        return Answers([json.loads(line) for line in self.printed.read_text().splitlines()])

    def stop(self) -> None:
        """Break it off where it goes on, and forget what was seen."""
        self.process.kill()
        self.process.communicate()
        self.printed.unlink()


class Team:
    """A namespace, in the words of those who work in it."""

    def __init__(self, name: str = "", labels: dict[str, str] | None = None) -> None:
        self.name = name or f"team-{secrets.token_hex(3)}"
        self._labels = {**RESTRICTED, **(labels or {})}
        self._sent: list[Traffic] = []
        self._caller_is_ready = False

    def open(self) -> None:
        """Make it, with the key and the CA of the recording cloud, and with a pod to call from."""
        cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": self._labels}}
        )
        # a pod is refused until its namespace's account is there
        cluster.kubectl("wait", "-n", self.name, "--for=create", "serviceaccount/default", "--timeout=60s")
        self.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cloud"}, "stringData": {"api-key": CLOUD_KEY}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cloud-ca"}, "data": {"ca.crt": cloud_ca()}},
            pod("caller", ["sleep", "infinity"]),
        )

    def close(self) -> None:
        """Remove it with all that is in it, without waiting."""
        while self._sent:
            self._sent.pop().stop()
        # Nobody waits for an answer any more. Pods that drain keep GPUs and CPUs from the next story, and a namespace
        # that goes keeps its objects for half of the longest grace of its pods: both for minutes.
        cluster.kubectl("delete", "-n", self.name, "llmdep", "--all", "--wait=false")
        cluster.kubectl("delete", "namespace", self.name, "--wait=false")
        cluster.kubectl("delete", "-n", self.name, "pods", "--all", "--grace-period=0", "--force", "--wait=false")

    def apply(self, *objects: Object) -> None:
        """`kubectl apply` in this namespace."""
        cluster.apply(*objects, namespace=self.name)

    def patch(self, what: str, change: Object) -> None:
        """`kubectl patch --type=merge`."""
        cluster.kubectl("patch", "-n", self.name, what, "--type=merge", "-p", json.dumps(change))

    def delete(self, *what: str) -> None:
        """`kubectl delete`, without waiting."""
        cluster.kubectl("delete", "-n", self.name, *what, "--wait=false")

    def get(self, kind: str, name: str) -> Object | None:
        """One object, None where there is none."""
        return cluster.get(kind, name, self.name)

    def items(self, kind: str, selector: str = "") -> list[Object]:
        """The objects of a kind."""
        return cluster.items(kind, self.name, selector)

    def pods(self, component: str) -> list[Object]:
        """The pods of the gateway or of engines that are not on their way out."""
        found = self.items("pods", f"app.kubernetes.io/component={component}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def images(self, component: str) -> list[str]:
        """The image of each of those pods that is Ready."""
        return [pod["spec"]["containers"][0]["image"] for pod in self.pods(component) if is_ready(pod)]

    def left(self, kinds: str = OWNED) -> list[str]:
        """What Spillway made in the namespace and is still there."""
        return cluster.kubectl("get", kinds, "-n", self.name, "-l", OURS, "-o", "name").split()

    def ready(self, component: str) -> set[str]:
        """The names of those pods that are Ready."""
        return {pod["metadata"]["name"] for pod in self.pods(component) if is_ready(pod)}

    def restarts(self, pod_name: str) -> int:
        """How often the first container of a pod was started again."""
        found = self.get("pods", pod_name) or {}
        statuses = found.get("status", {}).get("containerStatuses") or [{"restartCount": 0}]
        return int(statuses[0]["restartCount"])

    def spent_usd(self, name: str) -> float:
        """What the object's status says was spent of its budget."""
        found = self.get("llmdep", name) or {}
        return float(found.get("status", {}).get("budget", {}).get("spent") or 0)

    def until_others_ready(self, component: str, count: int, gone: set[str]) -> None:
        """Wait until so many pods are Ready that are none of those that are gone."""
        until(f"{count} pods are ready beside {gone}", lambda: len(self.ready(component) - gone) >= count, 120)

    def until_ready(self, what: str, seconds: float = 90.0) -> None:
        """Wait for the condition Ready."""
        cluster.kubectl("wait", "-n", self.name, "--for=condition=Ready", what, f"--timeout={seconds:.0f}s")

    def until_serving(self, name: str, replicas: int = 1, seconds: float = 120.0) -> None:
        """Wait until the object says Ready, as many replicas answer, and the gateway takes requests."""

        def serving() -> bool:
            found = self.get("llmdep", name) or {}
            status = found.get("status", {})
            return is_ready(found) and status.get("readyReplicas") == replicas and bool(self.ready("gateway"))

        until(f"{name} serves with {replicas}", serving, seconds)

    def until_shown(self, name: str, reason: str, seconds: float = 30.0) -> str:
        """Wait until the line of `kubectl get llmdep` has the reason; the line."""

        def line() -> str:
            shown = cluster.kubectl("get", "llmdep", name, "-n", self.name, "--no-headers")
            return shown if reason in shown.split() else ""

        return until(f"kubectl get llmdep {name} shows {reason}", line, seconds)

    def ask(self, model: str, prompt: str = "Hello", **options: Any) -> Answers:
        """Send requests from the namespace's caller to the Service of the model, and wait for their answers."""
        return self.send(model, prompt, **options).end()

    def send(
        self,
        model: str,
        prompt: str = "Hello",
        *,
        max_tokens: int = 8,
        stream: bool = False,
        service: str = "",
        **order: Any,
    ) -> Traffic:
        """Begin to send requests; `order` is as in caller.py."""
        if not self._caller_is_ready:
            self.until_ready("pod/caller")
            self._caller_is_ready = True
        body = {"model": model, "max_tokens": max_tokens, "stream": stream}
        body["messages"] = [{"role": "user", "content": prompt}]
        url = f"http://{service or model}.{self.name}.svc.cluster.local/v1/chat/completions"
        text = json.dumps({"url": url, "body": body, **order})
        descriptor, printed = tempfile.mkstemp(prefix="answers-")
        words = [*cluster.kubectl_words(), "exec", "-i", "-n", self.name, "caller", "--", "python", "-c", CALLER, text]
        stdin = subprocess.PIPE if order.get("steady") else subprocess.DEVNULL
        with os.fdopen(descriptor) as writes:
            process = subprocess.Popen(words, stdin=stdin, stdout=writes, stderr=subprocess.PIPE, text=True)
        self._sent.append(Traffic(process, Path(printed)))
        return self._sent[-1]

    def send_steadily(self, model: str, **options: Any) -> Traffic:
        """CALLERS, each with one request after another until the traffic is ended; the first ones are answered."""
        traffic = self.send(model, steady=True, parallel=CALLERS, pause=0.1, **options)
        traffic.until_answered(8)
        return traffic

    def in_flight(self) -> float:
        """Requests that replicas work on, as the gateways' metrics say."""
        addresses = [pod["status"]["podIP"] for pod in self.pods("gateway") if is_ready(pod)]
        urls = [f"http://{address}:8080/metrics" for address in addresses]
        script = f"import urllib.request as u\nfor url in {urls}: print(u.urlopen(url).read().decode())"
        text = cluster.kubectl("exec", "-n", self.name, "caller", "--", "python", "-c", script)
        lines = [line for line in text.splitlines() if line.startswith("spillway_in_flight_requests{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def can_connect(self, pod_name: str, host: str, port: int) -> bool:
        """Whether a TCP connection comes about from a pod."""
        self.until_ready(f"pod/{pod_name}")
        script = f"import socket; socket.create_connection(({host!r}, {port}), 3).close()"
        tried = cluster.try_kubectl("exec", "-n", self.name, pod_name, "--", "python", "-c", script)
        refused = any(word in tried.stderr for word in ("timed out", "refused", "unreachable"))
        assert tried.returncode == 0 or refused, tried.stderr
        return tried.returncode == 0


def condition(found: Object, kind: str) -> Object:
    """A condition of an object, empty where it has none of that type."""
    conditions = found.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == kind), {})


def is_ready(found: Object) -> bool:
    """Whether its condition Ready is True."""
    return bool(condition(found, "Ready").get("status") == "True")


def deployment(name: str = "chat", *, engine: Object | None = None, **spec: Any) -> Object:
    """An LLMDeployment on the simulated engine, which loads in a second; None takes a field away."""
    environment = [{"name": "SPILLWAY_SIMULATED_LOAD_SECONDS", "value": "1"}]
    fields = {
        "model": {"uri": MODEL},
        "engine": {"image": ENGINE, "env": environment, **(engine or {})},
        "accelerator": {"profile": "l4-24gb"},
        "cache": {"mode": "Ephemeral"},
        **spec,
    }
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name},
        "spec": {field: value for field, value in fields.items() if value is not None},
    }


def on_ollama(**spec: Any) -> Object:
    """The fields of a spec that serves the tiny model, on the claim `models`, by a real Ollama."""
    return {
        "model": {"uri": "pvc://models/tiny.gguf", "parameters": "1M"},
        "engine": {"type": "Ollama", "image": OLLAMA, "env": []},
        "accelerator": {"profile": "cpu"},
        # what kind's own pods and two gateways leave of two CPUs; Ollama gets no more than it asks for
        "resources": {"cpu": "700m", "memory": "1Gi"},
        "contextLength": 2048,
        "cache": None,
        **spec,
    }


def put_model(team: Team) -> None:
    """Put the tiny model of the image onto a claim."""
    script = "cp /model/tiny.gguf /models/ && ls -l /models"
    on_claim: Object = {"/models": {"persistentVolumeClaim": {"claimName": "models"}}}
    copies = pod("put-model", ["/bin/sh", "-c", script], on_claim, restartPolicy="Never")
    copies["spec"]["containers"][0]["image"] = OLLAMA
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }
    team.apply(claim, copies)
    where = ("-n", team.name, "pod/put-model")
    cluster.kubectl("wait", *where, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")


def spilling(limit: str = "1.00", **target: Any) -> Object:
    """The fields of a spec that lets what is Internal spill to the recording cloud."""
    cloud = {
        "name": "cloud",
        "provider": "OpenAICompatible",
        "baseURL": f"https://{release.CLOUD_HOST}:{release.CLOUD_PORT}/v1",
        "caBundleRef": {"name": "cloud-ca", "key": "ca.crt"},
        "secretRef": {"name": "cloud", "key": "api-key"},
        "model": "gpt-4o",
        "price": {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.00"},
        **target,
    }
    return {
        "dataPolicy": {"defaultClass": "Internal", "mayLeave": ["Internal", "Public"]},
        "fallback": {"mode": "Enabled", "targets": [cloud]},
        "budget": {"limit": limit, "window": "Day"},
        "access": {"mode": "None"},
    }
