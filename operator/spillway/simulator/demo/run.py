"""The demo, told in the order in which it happens."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from decimal import Decimal

from rich.console import Console

from spillway.errors import SetupError
from spillway.signals import told_to_end
from spillway.simulator import trace
from spillway.simulator.demo import sample
from spillway.simulator.demo.burst import Burst
from spillway.simulator.demo.claims import judge
from spillway.simulator.demo.evidence import gather
from spillway.simulator.demo.plan import Planned, plan_burst
from spillway.simulator.demo.repository import WEIGHT_BYTES
from spillway.simulator.demo.screen import Screen
from spillway.simulator.demo.stage import NAMESPACE, Stage, until
from spillway.simulator.demo.tally import tally
from spillway.simulator.demo.watching import Victim, Watching

LOAD_SECONDS = 8
READY_SECONDS = 150.0
PIPED_WIDTH = 120


def run_demo(seconds: int, limit_usd: Decimal, seed: int) -> int:
    """Run it; 0 when every claim held, 1 when one did not or was not shown, 130 after Ctrl-C before the summary."""
    try:
        return asyncio.run(_demo(Screen(_console()), seconds, limit_usd, seed))
    except KeyboardInterrupt:
        return 130


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPED_WIDTH)


async def _demo(screen: Screen, seconds: int, limit_usd: Decimal, seed: int) -> int:
    began = time.monotonic()
    screen.say("Spillway demo", style="bold")
    screen.say("Real: the Kubernetes control plane, operator, gateway, the OpenAI SDK as client.")
    screen.say(
        "Simulated, and said so wherever seen: GPUs, the vLLM engines on them, the model hub, the cloud that records "
        "and bills."
    )
    chat = sample.read_sample("chat")
    screen.step("Kubernetes control plane (built once from Go modules, then cached)")
    async with Stage(screen.progress, sample.price_of(chat)) as stage:
        await _set_up(screen, stage, sample.model_of(chat))
        adapted = sample.adapt(chat, stage.cloud_url, limit_usd)
        await _deploy(screen, stage, chat, adapted)
        gateway_url = await _wait_until_ready(screen, stage)
        held = await _burst(screen, stage, gateway_url, adapted, Burst(_plan(seconds, seed), seconds), limit_usd)
        screen.say(f"\n{time.monotonic() - began:.0f} s in all.")
        await _look_around(screen, stage, gateway_url)
    return 0 if held else 1


def _plan(seconds: int, seed: int) -> tuple[Planned, ...]:
    return plan_burst(trace.read(), seconds, random.Random(seed))


async def _set_up(screen: Screen, stage: Stage, model_uri: str) -> None:
    screen.block(await stage.kubectl("version"))
    screen.step("A GPU node without GPUs, a model hub, a cloud that records and bills, the operator as its own process")
    await stage.start_node({"SPILLWAY_SIMULATED_LOAD_SECONDS": str(LOAD_SECONDS)})
    await stage.start_hub(model_uri)
    await stage.start_cloud()
    await stage.start_operator()
    screen.block(await stage.kubectl("get", "nodes", "-L", "nvidia.com/gpu.product", "-L", "spillway.dev/simulated"))
    weights = f"{WEIGHT_BYTES >> 20} MiB of made-up weights in the place of 5.2 GiB"
    screen.say(f"  model hub (simulated) at {stage.hub_url}: {weights}")
    screen.say(f"  recording cloud (simulated) at {stage.cloud_url}")


async def _deploy(screen: Screen, stage: Stage, chat: sample.Object, adapted: sample.Adapted) -> None:
    screen.step("kubectl apply of manifests/samples/chat.yaml, changed for this machine in")
    for change in adapted.changes:
        screen.say(f"  - {change}")
    await stage.make_namespace(sample.secret_of(chat))
    document = sample.as_yaml(adapted)
    where = ("--server-side", "-n", NAMESPACE, "-f", "-")
    screen.block(await stage.kubectl("apply", *where, "--dry-run=server", stdin=document))
    screen.block(await stage.kubectl("apply", *where, stdin=document))


async def _wait_until_ready(screen: Screen, stage: Stage) -> str:
    screen.step("The model is downloaded once onto its claim; then engines start on the GPU node, load, become ready")
    watching = Watching(stage)
    shown: dict[str, str] = {}

    async def ready() -> bool:
        for name, state in (await watching.states()).items():
            if shown.get(name) != state:
                shown[name] = state
                screen.say(f"  {watching.age_seconds():5.1f} s  {name}: {state}")
        return await watching.is_ready()

    try:
        await until("the LLMDeployment to become Ready", ready, READY_SECONDS)
    except SetupError as error:
        raise SetupError(f"{error}\n{await watching.why_not()}") from error
    screen.block(await stage.kubectl("get", "llmdep", "-n", NAMESPACE, "-o", "wide"))
    return await watching.gateway_url()


async def _burst(
    screen: Screen, stage: Stage, gateway_url: str, adapted: sample.Adapted, burst: Burst, limit_usd: Decimal
) -> bool:
    screen.step(
        f"{len(burst.planned)} requests of the Azure code trace in {burst.seconds:.0f} s through the gateway, "
        f"{sum(1 for one in burst.planned if one.sensitive)} of them sensitive, budget ${limit_usd:.2f}"
    )
    watching = Watching(stage)
    victim = Victim(stage)
    screen.begin_live()

    async def observe() -> None:
        state = await watching.gateway_state()
        seen = tally(burst.seen, burst.sent, burst.now_seconds)
        screen.update(seen, state.held, state.spent_usd, limit_usd, burst.now_seconds, victim.news)

    try:
        await burst.run(gateway_url, adapted.model_name, victim.kill, observe)
    finally:
        screen.end_live()
    for line in victim.news:
        screen.say(f"  {line}")
    screen.step("The object after the burst")
    screen.block(await stage.kubectl("get", "llmdep", "-n", NAMESPACE))
    evidence = await gather(stage, burst, victim, limit_usd)
    claims = judge(evidence)
    screen.console.print()
    screen.say("The engines and the cloud are simulators; each figure is of this run on this machine.", style="dim")
    screen.summary(claims)
    return all(claim.held for claim in claims)


async def _look_around(screen: Screen, stage: Stage, gateway_url: str) -> None:
    screen.say("")
    screen.say(f"  export KUBECONFIG={stage.plane.kubeconfig} PATH={stage.plane.bin_dir}:$PATH")
    screen.say(f"  gateway: {gateway_url}    files of this run: {stage.directory}")
    message = '{"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}'
    screen.say(f"  curl -i {gateway_url}/v1/chat/completions -H 'content-type: application/json' -d '{message}'")
    if not screen.console.is_terminal:
        return
    screen.say("\nUp until Ctrl-C.", style="bold")
    with contextlib.suppress(asyncio.CancelledError):
        await told_to_end().wait()
    screen.say("stopping")
