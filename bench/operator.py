"""How quick the operator is, and how quiet: `make bench-operator`.

On the embedded control plane, beside a bare server-side-apply client on another of the same make, in the same run:
that client knows already what to apply, so it is the floor for anyone who applies. No node: pods stay pending.
Latency is from the call that applies an LLMDeployment until a watch shows its engine's Deployment; of the bare client
from the call that applies the Deployment. The table is for people, the last line is one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from bench.audit import Audit, apiserver_options, requests, writes
from bench.operated import USER, Operated, install
from bench.seen import Seen
from spillway.api.v1alpha1 import parse_deployment
from spillway.controller.desire import Desires
from spillway.controller.operator import LONGEST_PAUSE_SECONDS
from spillway.controller.start import make_policy
from spillway.render import render_namespace
from spillway.settings import OperatorSettings
from spillway.simulator.controlplane import ControlPlane, running
from spillway.simulator.kubeapi import KubeAPI

NAMESPACES = 20
CLIENTS = 20
PAUSE_SECONDS = 0.3
Object = dict[str, Any]
POLICY = make_policy(OperatorSettings())


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds of each sample; seconds until every child of the many objects was there."""

    one_at_a_time: Sequence[float]
    back_to_back: Sequence[float]
    many_seconds: float
    first_of_namespace: Sequence[float] = ()
    """One at a time as well, each in a namespace that gets its gateway after it, while the next one comes."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """What the operator does when nothing is to be done, and what it costs by then."""

    requests_per_second: float
    writes_per_second: float
    cpu_seconds: float
    rss_mib: float
    requests_until_then: int
    writes_until_then: int
    restart_writes: int
    restart_requests: int
    restart_seconds: float


def main(
    objects: Annotated[int, typer.Option(help="How many objects for the long part.")] = 1000,
    samples: Annotated[int, typer.Option(help="How many objects for each latency.")] = 50,
    rest_seconds: Annotated[float, typer.Option(help="How long to watch the operator at rest.")] = 60.0,
) -> None:
    """Measure and print."""
    console = Console(highlight=False, width=110)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        with running() as plane:
            bare = runner.run(measure_bare(plane, objects, samples))
        console.print("[dim]the bare client is measured[/]")
        with tempfile.TemporaryDirectory(prefix="spillway-bench-") as directory:
            options = apiserver_options(Path(directory), USER)
            with running(Path(directory), apiserver_options=options) as plane:
                speed, quiet = runner.run(measure_operator(plane, objects, samples, rest_seconds))
    console.print(table(objects, bare, speed, quiet))
    print(json.dumps(as_json(speed, quiet)))


async def measure_bare(plane: ControlPlane, objects: int, samples: int) -> Speed:
    """A client that applies what the operator would, with nothing to watch, read or decide."""
    async with plane.api() as api:
        await install(api)
        await make_namespaces(api)

        names = [
            f"{kind}-{number}" for kind, many in (("few", 2 * samples), ("many", objects)) for number in range(many)
        ]
        known = {name: rendered(name) for name in names}

        async def engine_only(name: str) -> None:
            await api.apply(next(child for child in known[name] if child["kind"] == "Deployment"))

        async def everything(name: str) -> None:
            await api.apply(llm_deployment(name))
            await asyncio.gather(*(api.apply(child) for child in known[name]))

        async with Seen(api) as seen:
            one = [await after_a_pause(seen, name, engine_only) for name in names[:samples]]
            row = await back_to_back(seen, names[samples : 2 * samples], engine_only)
        return Speed(one, row, await make_many(api, objects, everything))


async def measure_operator(plane: ControlPlane, objects: int, samples: int, rest_seconds: float) -> tuple[Speed, Quiet]:
    """The operator, with the rights that it is installed with."""
    async with plane.api() as api:
        await install(api)
        await make_namespaces(api)
        operated, audit = await asyncio.to_thread(Operated, plane), Audit(plane.directory)
        await operated.start()
        try:
            speed = await measure_speed(api, operated, objects, samples)
            quiet = await measure_quiet(operated, audit, rest_seconds)
        finally:
            await operated.stop()
    return speed, quiet


async def measure_speed(api: KubeAPI, operated: Operated, objects: int, samples: int) -> Speed:
    """Latencies of few, then the time of many."""

    async def apply(name: str) -> None:
        await api.apply(llm_deployment(name))

    async with Seen(api) as seen:
        first = [await after_a_pause(seen, f"first-{number}", apply) for number in range(min(NAMESPACES, samples))]
        await operated.calm()
        one = [await after_a_pause(seen, f"one-{number}", apply) for number in range(samples)]
        await operated.calm()
        row = await back_to_back(seen, [f"row-{number}" for number in range(samples)], apply)
    await operated.calm()
    return Speed(one, row, await make_many(api, objects, apply, gateways=min(NAMESPACES, objects)), first)


async def measure_quiet(operated: Operated, audit: Audit, rest_seconds: float) -> Quiet:
    """At rest, and over a restart."""
    await at_rest(operated, audit)
    cpu, rss, made = operated.cpu_seconds, operated.rss_mib, audit.read()
    before = made
    await asyncio.sleep(rest_seconds)
    rest = audit.read() - before
    await operated.stop()
    await asyncio.sleep(1.0)
    before, begun = audit.read(), time.monotonic()
    await operated.start()
    settled = await at_rest(operated, audit)
    restart = audit.read() - before
    return Quiet(
        requests(rest) / rest_seconds,
        writes(rest) / rest_seconds,
        cpu,
        rss,
        requests(made),
        writes(made),
        writes(restart),
        requests(restart),
        settled - begun,
    )


async def at_rest(operated: Operated, audit: Audit) -> float:
    """Wait until nothing more is to come; the moment (of `time.monotonic`) since which nothing has.

    A namespace's pass may be put off for `LONGEST_PAUSE_SECONDS`, the longer the slower the machine is, and a status
    follows it.
    """
    calm = await operated.calm()
    return max(calm, await audit.silence(LONGEST_PAUSE_SECONDS + 2.0))


async def latency(seen: Seen, name: str, apply: Callable[[str], Awaitable[None]]) -> float:
    """Milliseconds from the call until its engine's Deployment is seen."""
    begun = time.perf_counter()
    await apply(name)
    return (await seen.when(f"{name}-engine") - begun) * 1000


async def after_a_pause(seen: Seen, name: str, apply: Callable[[str], Awaitable[None]]) -> float:
    """The same, when what the one before has set off is over, or nearly so."""
    await asyncio.sleep(PAUSE_SECONDS)
    return await latency(seen, name, apply)


async def back_to_back(seen: Seen, names: Sequence[str], apply: Callable[[str], Awaitable[None]]) -> list[float]:
    """The same, each applied as soon as the API server has answered the one before."""
    begun = {}
    for name in names:
        begun[name] = time.perf_counter()
        await apply(name)
    return [(await seen.when(f"{name}-engine") - begun[name]) * 1000 for name in names]


async def make_many(api: KubeAPI, objects: int, apply: Callable[[str], Awaitable[None]], *, gateways: int = 0) -> float:
    """Seconds until every child of so many objects is there, and those of so many new namespaces' gateways."""
    expected = await expect(api, objects, gateways)
    names = iter([f"many-{number}" for number in range(objects)])
    begun = time.perf_counter()

    async def client() -> None:
        for name in names:
            await apply(name)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    for path, number in expected.items():
        while await count(api, path) < number:
            if time.perf_counter() - begun > 1200:
                raise SystemExit(f"{path}: {await count(api, path)} of {number} after 20 minutes")
            await asyncio.sleep(0.05)
    return time.perf_counter() - begun


async def expect(api: KubeAPI, objects: int, gateways: int) -> Counter[str]:
    """How many objects of each kind (by path) there will be."""
    body = llm_deployment("many-0")
    shared = render_namespace(body["metadata"]["namespace"], [parse_deployment(body)], POLICY.render)
    expected: Counter[str] = Counter()
    for children, times in ((rendered("many-0"), objects), (shared, gateways)):
        for child in children:
            expected[await collection(api, child)] += times
    return Counter({path: await count(api, path) + number for path, number in expected.items()})


async def count(api: KubeAPI, path: str) -> int:
    """How many objects there are of a kind: the API server counts them without reading them."""
    found = await api.get(path, limit="1")
    return len(found["items"]) + int(found["metadata"].get("remainingItemCount", 0))


async def collection(api: KubeAPI, obj: Object) -> str:
    """The path of all objects of a kind, in all namespaces."""
    return re.sub(r"/namespaces/[^/]+", "", await api.path(obj)).rpartition("/")[0]


async def make_namespaces(api: KubeAPI) -> None:
    """Where the objects go, round robin."""
    for number in range(NAMESPACES):
        for kind in ("few", "many"):
            await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{kind}-{number}"}})


def llm_deployment(name: str) -> Object:
    """An object as a user writes it; its name, such as many-17, says in which namespace."""
    kind, _, number = name.rpartition("-")
    namespace = f"{'many' if kind == 'many' else 'few'}-{int(number) % NAMESPACES}"
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
            "accelerator": {"profile": "l4-24gb"},
            "cache": {"mode": "Ephemeral"},  # else the engine waits for a download that no node makes
        },
    }


def rendered(name: str) -> tuple[Object, ...]:
    """The children of such an object, whose owner nobody looks for."""
    body = llm_deployment(name)
    body["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000"
    children = Desires(POLICY).of(body, None).children
    for child in children:
        metadata = child["metadata"]
        assert isinstance(metadata, dict)
        metadata.pop("ownerReferences", None)
    return children


def table(objects: int, bare: Speed, speed: Speed, quiet: Quiet) -> Table:
    """What was measured, beside the floor."""
    shown = Table(
        title=f"LLMDeployment applied -> engine Deployment seen; {objects} objects over {NAMESPACES} namespaces"
    )
    shown.add_column("", no_wrap=True)
    for column in ("Spillway", "bare server-side apply", "to reach"):
        shown.add_column(column, justify="right")
    shown.add_row("one at a time, p50 / p95 ms", *pairs("one_at_a_time", speed, bare), "13 / 25")
    shown.add_row("the first of a namespace, which gets a gateway", *pairs("first_of_namespace", speed), "-", "-")
    shown.add_row("back to back, p50 / p95 ms", *pairs("back_to_back", speed, bare), "60 / 120")
    shown.add_row(
        f"{objects} by {CLIENTS} clients until every child exists, s",
        f"{speed.many_seconds:.1f}",
        f"{bare.many_seconds:.1f}",
        f"{30 * objects / 1000:.1f}",
    )
    shown.add_row("API requests a second at rest", f"{quiet.requests_per_second:.2f}", "-", "-")
    shown.add_row("writes a second at rest", f"{quiet.writes_per_second:.2f}", "-", "0")
    shown.add_row("writes after a restart", f"{quiet.restart_writes}", "-", "0")
    shown.add_row("requests in a restart", f"{quiet.restart_requests}", "-", "-")
    shown.add_row("seconds until a restarted operator is calm", f"{quiet.restart_seconds:.1f}", "-", "-")
    shown.add_row(
        "requests / writes of the operator until at rest",
        f"{quiet.requests_until_then} / {quiet.writes_until_then}",
        "-",
        "-",
    )
    shown.add_row("CPU seconds of the operator until at rest", f"{quiet.cpu_seconds:.1f}", "-", "-")
    shown.add_row("RSS of the operator at rest, MiB", f"{quiet.rss_mib:.0f}", "-", "-")
    return shown


def pairs(field: str, *speeds: Speed) -> list[str]:
    """The medians and 95th percentiles, as text."""
    return ["{p50:.1f} / {p95:.1f}".format(**percentiles(getattr(speed, field))) for speed in speeds]


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile."""
    cuts = statistics.quantiles(samples, n=20, method="inclusive")
    return {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1)}


def as_json(speed: Speed, quiet: Quiet) -> Object:
    """The same for programs."""
    return {
        "deployment_ms": percentiles(speed.one_at_a_time),
        "first_of_namespace_ms": percentiles(speed.first_of_namespace),
        "back_to_back_ms": percentiles(speed.back_to_back),
        "thousand_seconds": round(speed.many_seconds, 1),
        "requests_per_second_at_rest": round(quiet.requests_per_second, 3),
        "writes_per_second_at_rest": round(quiet.writes_per_second, 3),
        "writes_after_restart": quiet.restart_writes,
        "operator_cpu_seconds": round(quiet.cpu_seconds, 1),
        "operator_rss_mib": round(quiet.rss_mib, 1),
    }


if __name__ == "__main__":
    typer.run(main)
