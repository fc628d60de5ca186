"""`python -m spillway.simulator.engine <flags of vllm serve>`: start, load, serve, and end as vLLM does.

The environment says where it is: SPILLWAY_SIMULATED_HOST the address to listen on (as the network namespace of a
container would), SPILLWAY_SIMULATED_ACCELERATOR the label nvidia.com/gpu.product of its node (NVIDIA-L4 when absent),
SPILLWAY_SIMULATED_LOAD_SECONDS how long loading takes (by the weights, 0.7 GB/s, when absent) and
SPILLWAY_SIMULATED_FAULT what goes wrong (`faults.py`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import sys
import time
from collections.abc import Mapping

import uvloop
from aiohttp import web

from spillway.signals import told_to_end
from spillway.simulator.engine import arguments as command_line
from spillway.simulator.engine import faults as fault_names
from spillway.simulator.engine import hardware
from spillway.simulator.engine.arguments import Arguments
from spillway.simulator.engine.batching import Batch, Coefficients
from spillway.simulator.engine.loop import Loop
from spillway.simulator.engine.metrics import Metrics
from spillway.simulator.engine.server import EngineServer, Settings

_LOG = logging.getLogger("spillway.simulator.engine")
_LOAD_BYTES_PER_SECOND = 0.7e9
_LONGEST_CONTEXT_TOKENS = 32_768
_FAREWELL_SECONDS = 2.0
"""How long answers that are already complete may take to leave after SIGTERM."""


class _StartError(Exception):
    """vLLM would end here: the message is its own, the exit code 1."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    coefficients: Coefficients
    max_model_len: int
    weight_bytes: float


def _plan(arguments: Arguments, environment: Mapping[str, str]) -> _Plan:
    """What this engine can hold and how fast it is. Raises _StartError where vLLM would end."""
    product = environment.get("SPILLWAY_SIMULATED_ACCELERATOR") or "NVIDIA-L4"
    accelerator = hardware.ACCELERATORS.get(product)
    if accelerator is None:
        known = ", ".join(hardware.ACCELERATORS)
        raise _StartError(f"SPILLWAY_SIMULATED_ACCELERATOR={product}: the simulator knows {known}")
    count = arguments.tensor_parallel_size * arguments.pipeline_parallel_size
    model = hardware.model_of(arguments.model, arguments.quantization)
    free = hardware.kv_cache_bytes(accelerator, model, count, arguments.gpu_memory_utilization)
    kv_bytes = free if arguments.kv_cache_memory_bytes is None else float(arguments.kv_cache_memory_bytes * count)
    if model.weight_bytes / count > accelerator.memory_bytes:
        gib = accelerator.memory_bytes / 2**30
        raise _StartError(f"torch.OutOfMemoryError: CUDA out of memory. GPU 0 has a total capacity of {gib:.2f} GiB.")
    if kv_bytes <= 0:
        raise _StartError(
            "ValueError: No available memory for the cache blocks. "
            "Try increasing `gpu_memory_utilization` when initializing the engine."
        )
    coefficients = hardware.coefficients_of(accelerator, model, count, kv_bytes)
    coefficients = dataclasses.replace(
        coefficients,
        max_batched_tokens=arguments.max_num_batched_tokens or coefficients.max_batched_tokens,
        max_sequences=arguments.max_num_seqs or coefficients.max_sequences,
    )
    fitting = min(_LONGEST_CONTEXT_TOKENS, coefficients.kv_tokens)
    length = arguments.max_model_len
    max_model_len = fitting if length is None or length == -1 else length
    if max_model_len > coefficients.kv_tokens:
        raise _StartError(_kv_message(max_model_len, model.kv_bytes_per_token, kv_bytes))
    return _Plan(coefficients, max_model_len, model.weight_bytes)


def _kv_message(max_model_len: int, kv_bytes_per_token: float, kv_bytes: float) -> str:
    return (
        f"ValueError: To serve at least one request with the model's max seq len ({max_model_len}), "
        f"({max_model_len * kv_bytes_per_token / 2**30:.1f} GiB KV cache is needed, which is larger than the available "
        f"KV cache memory ({kv_bytes / 2**30:.1f} GiB). Based on the available memory, the estimated maximum model "
        f"length is {int(kv_bytes / kv_bytes_per_token)}. Try increasing `gpu_memory_utilization` or decreasing "
        "`max_model_len` when initializing the engine.\n"
        "RuntimeError: Engine core initialization failed. See root cause above."
    )


async def _serve(arguments: Arguments, environment: Mapping[str, str]) -> None:
    stop = told_to_end()
    faults = fault_names.parse(environment.get("SPILLWAY_SIMULATED_FAULT", ""))
    plan = _plan(arguments, environment)
    if faults.crash_at_start:
        raise _StartError(_kv_message(plan.max_model_len, 57_344, plan.max_model_len * 57_344 / 2))
    stated = environment.get("SPILLWAY_SIMULATED_LOAD_SECONDS")
    load_seconds = float(stated) if stated else plan.weight_bytes / _LOAD_BYTES_PER_SECOND
    _LOG.info("Loading %s, %.1f s as simulated; %s", arguments.model, load_seconds, plan.coefficients)
    if await _is_set_within(stop, None if faults.never_ready else load_seconds):
        return

    metrics = Metrics(arguments.names[0], plan.coefficients, plan.max_model_len, arguments.gpu_memory_utilization)
    loop = Loop(Batch(plan.coefficients), metrics, time.monotonic)
    settings = Settings(
        names=arguments.names,
        model=arguments.model,
        max_model_len=plan.max_model_len,
        max_num_queued_reqs=arguments.max_num_queued_reqs,
        api_keys=arguments.api_keys,
        force_include_usage=arguments.force_include_usage,
        server_load_tracking=arguments.server_load_tracking,
    )
    server = EngineServer(settings, loop, metrics, faults)
    # handler_cancellation: a client that leaves frees its sequence at once, as in vLLM.
    runner = web.AppRunner(
        server.application(), access_log=None, handler_cancellation=True, shutdown_timeout=_FAREWELL_SECONDS
    )
    await runner.setup()
    host = environment.get("SPILLWAY_SIMULATED_HOST") or arguments.host or "0.0.0.0"
    site = web.TCPSite(runner, host, arguments.port, backlog=2048)
    await site.start()
    stepping = asyncio.create_task(loop.run())
    _LOG.info("Application startup complete. Listening on http://%s:%d", host, arguments.port)
    await stop.wait()
    await _shut_down(server, loop, stepping, site, arguments.shutdown_timeout_seconds)
    await runner.cleanup()


async def _shut_down(
    server: EngineServer, loop: Loop, stepping: asyncio.Task[None], site: web.TCPSite, timeout_seconds: float
) -> None:
    """Abort, or drain; what a drain cannot finish in time hangs until its client leaves, as measured."""
    server.draining = True
    try:
        async with asyncio.timeout(timeout_seconds):
            await loop.drained()
    except TimeoutError:
        stepping.cancel()
        if timeout_seconds:
            _LOG.info("Waiting for connections to close")
            await site.stop()
            await loop.drained()
    loop.abort_all()
    stepping.cancel()


async def _is_set_within(event: asyncio.Event, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def main() -> None:
    """Run until a signal; exit code 0, 1 when vLLM would not have started, 2 for a flag that it does not have."""
    arguments = command_line.parse(sys.argv[1:], os.environ)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(asctime)s %(message)s")
    _LOG.info("This is Spillway's engine simulator: no model, no GPU, made-up words. Stands in for vLLM 0.32.0.")
    try:
        uvloop.run(_serve(arguments, os.environ))
    except _StartError as failed:
        _LOG.error("%s", failed)
        sys.exit(1)


if __name__ == "__main__":
    main()
