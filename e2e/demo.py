"""The story of `make demo` on the kind cluster.

The sample is applied, a burst is replayed from outside, and what is claimed is held against the books of each side.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import yaml
from rich.console import Console

from e2e import cluster, programs, release
from e2e.cluster import until
from e2e.images.build import ENGINE
from e2e.stories import outside
from e2e.stories.world import Team
from spillway.simulator import trace
from spillway.simulator.cloud.recorder import read_records, read_sent
from spillway.simulator.demo import sample
from spillway.simulator.demo.burst import Burst
from spillway.simulator.demo.claims import Evidence, judge
from spillway.simulator.demo.evidence import held_usd
from spillway.simulator.demo.plan import plan_burst
from spillway.simulator.demo.screen import Screen
from spillway.simulator.demo.tally import tally

NAMESPACE = "demo"
ENGINE_PORT = 8000
GATEWAY_PORT = 8080


def run(arguments: list[str]) -> int:
    """Play it; 0 when every claim held, 1 when one did not."""
    parser = argparse.ArgumentParser(prog="make kind-demo")
    parser.add_argument("--seconds", type=int, default=60, help="how long the burst is")
    parser.add_argument("--limit", type=Decimal, default=Decimal("0.60"), help="the budget in dollars")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    screen = Screen(console if console.is_terminal else Console(highlight=False, width=120))
    team = Team(NAMESPACE)
    _prepare(screen, team)
    adapted = _deploy(screen, team, options.limit)
    with _forwarded() as gateway_url:
        planned = plan_burst(trace.read(), options.seconds, random.Random(options.seed))
        burst = Burst(planned, options.seconds)
        screen.step(f"{len(planned)} requests of the Azure code trace in {options.seconds} s, from outside the cluster")
        victim = _Victim()
        asyncio.run(_play(screen, burst, gateway_url, adapted.model_name, victim, options.limit))
    screen.step("The object after the burst")
    screen.block(cluster.kubectl("get", "llmdep", "-n", NAMESPACE, "-o", "wide"))
    claims = judge(_evidence(burst, victim, options.limit))
    screen.say("The GPUs, the engines and the cloud are simulators; each figure is of this run on this machine.")
    screen.summary(claims)
    screen.say(f"\n  export KUBECONFIG={cluster.KUBECONFIG} PATH={programs.kubectl().parent}:$PATH")
    screen.say("  make kind-down removes the cluster")
    return 1 if any(claim.held is False for claim in claims) else 0


class _Victim:
    """The engine pod that is killed."""

    def __init__(self) -> None:
        self.pod: str | None = None
        self.in_flight = 0
        self.news: list[str] = []

    async def kill(self) -> None:
        """Take away the pod with the most in flight, as a node that is lost would."""
        await asyncio.to_thread(self._kill)

    def _kill(self) -> None:
        pods = [one["metadata"]["name"] for one in Team(NAMESPACE).pods("engine")]
        self.in_flight, self.pod = max((_requests_on(pod), pod) for pod in pods)
        cluster.kubectl("delete", "pod", self.pod, "-n", NAMESPACE, "--grace-period=0", "--force")
        self.news.append(f"pod {self.pod} was killed with {self.in_flight} requests on it")


def _prepare(screen: Screen, team: Team) -> None:
    screen.step("A node that says it has GPUs; beside it a model hub, and a cloud that records and bills")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    if cluster.get("namespace", outside.CLOUD_NAMESPACE):
        cluster.kubectl("delete", "pod", "cloud", "-n", outside.CLOUD_NAMESPACE, "--now", "--ignore-not-found")
    outside.open_all()
    team.open()
    screen.block(cluster.kubectl("get", "nodes", "-L", "nvidia.com/gpu.product"))


def _deploy(screen: Screen, team: Team, limit_usd: Decimal) -> sample.Adapted:
    chat = sample.read_sample("chat")
    secret, key = sample.secret_of(chat)
    team.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}, "stringData": {key: outside.CLOUD_KEY}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "recording-cloud"},
            "data": {"ca.crt": outside.cloud_ca()},
        },
    )
    adapted = sample.adapt(chat, f"https://{release.CLOUD_HOST}:{release.CLOUD_PORT}/v1", limit_usd)
    spec = adapted.document["spec"]
    assert isinstance(spec, dict)
    spec["engine"] = {"image": ENGINE, "env": [{"name": "SPILLWAY_SIMULATED_LOAD_SECONDS", "value": "8"}]}
    screen.step("kubectl apply of manifests/samples/chat.yaml, changed for this cluster in")
    for change in (*adapted.changes, f"engine.image: {ENGINE}, the simulated engine"):
        screen.say(f"  - {change}")
    screen.block(cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=yaml.safe_dump(adapted.document)))
    team.until_serving("chat", replicas=2, seconds=300)
    screen.block(cluster.kubectl("get", "llmdep,pods", "-n", NAMESPACE, "-o", "wide"))
    return adapted


async def _play(
    screen: Screen, burst: Burst, gateway_url: str, model: str, victim: _Victim, limit_usd: Decimal
) -> None:
    async def observe() -> None:
        held, spent_usd = await asyncio.to_thread(_gateways_state)
        seen = tally(burst.seen, burst.sent, burst.now_seconds)
        screen.update(seen, held, spent_usd, limit_usd, burst.now_seconds, victim.news)

    screen.begin_live()
    try:
        await burst.run(gateway_url, model, victim.kill, observe)
    finally:
        screen.end_live()
    for line in victim.news:
        screen.say(f"  {line}")


@contextmanager
def _forwarded() -> Iterator[str]:
    """The gateway's address on this machine, for as long as it is needed."""
    where = ["-n", NAMESPACE, "service/spillway-gateway", ":80"]
    argv = [*cluster.kubectl_words(), "port-forward", *where]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found, "kubectl port-forward says where it listens"
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()


def _evidence(burst: Burst, victim: _Victim, limit_usd: Decimal) -> Evidence:
    spent = _settled_usd()
    logs = "\n".join(
        [
            cluster.kubectl("logs", "-n", NAMESPACE, "deployment/spillway-gateway"),
            cluster.kubectl("logs", "-n", NAMESPACE, "deployment/chat-engine", "--all-pods"),
            cluster.kubectl("logs", "-n", release.NAMESPACE, "deployment/spillway-operator"),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        _copy_books(Path(folder))
        sent = b"\0".join(read_sent(Path(folder)))
        cloud_requests = len(read_records(Path(folder)))
        bill = Decimal(json.loads((Path(folder) / "bill.json").read_text())["micros"]).scaleb(-6)
    markers = {one.marker for one in burst.planned}
    spills = [one.sent_seconds for one in burst.seen if one.place == "cloud"]
    return Evidence(
        seen=tuple(burst.seen),
        markers_in_cloud=frozenset(marker for marker in markers if marker.encode() in sent),
        cloud_requests=cloud_requests,
        cloud_bill_usd=bill,
        ledger_spent_usd=spent,
        limit_usd=limit_usd,
        last_spill_seconds=max(spills, default=None),
        killed_pod=victim.pod,
        killed_in_flight=victim.in_flight,
        markers_in_logs=sum(1 for marker in markers if marker in logs),
        log_bytes=len(logs),
        audit_lines=sum(1 for line in logs.splitlines() if '"request_id"' in line and '"outcome"' in line),
    )


def _settled_usd() -> Decimal:
    """What the ledger holds as spent, once that is what it held a moment ago."""
    held = [Decimal(-1)]

    def still() -> bool:
        held.append(held_usd(cluster.get("llmledger", "chat", NAMESPACE) or {}))
        return held[-1] == held[-2]

    until("the ledger settles", still, 30)
    return held[-1]


def _copy_books(into: Path) -> None:
    argv = [*cluster.kubectl_words(), "exec", "-n", outside.CLOUD_NAMESPACE, "cloud"]
    packed = subprocess.run([*argv, "--", "tar", "-C", "/data", "-c", "."], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(into, filter="data")


def _gateways_state() -> tuple[int, Decimal]:
    """(requests that wait, dollars spent) as all gateways' metrics say."""
    pods = [one["metadata"]["name"] for one in Team(NAMESPACE).pods("gateway")]
    held = sum(_metric(pod, GATEWAY_PORT, "spillway_held_requests") for pod in pods)
    spent = sum(_metric(pod, GATEWAY_PORT, "spillway_spent_usd_total") for pod in pods)
    return int(held), Decimal(f"{spent:.6f}")


def _requests_on(pod: str) -> int:
    return int(_metric(pod, ENGINE_PORT, "vllm:num_requests_(?:running|waiting)"))


def _metric(pod: str, port: int, name: str) -> float:
    """The sum of a pod's metrics of a name; 0 of a pod that does not answer."""
    told = cluster.try_kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:{port}/proxy/metrics")
    return sum(map(float, re.findall(rf"^{name}\{{[^}}]*\}} (\S+)$", told.stdout, re.MULTILINE)))
