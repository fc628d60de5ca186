"""How long it takes to look for what is personal and secret in a prompt. Prints medians; `python -m bench.detection`.

The loop's stall is the longest time for which a task that only sleeps is late, while another thread classifies.
"""

from __future__ import annotations

import asyncio
import base64
import statistics
import time
from collections.abc import Callable
from typing import Final

from spillway.routing.detection.inspect import inspect

FAMILIES: Final = frozenset({"PII", "Secrets"})
RUNS: Final = {2_048: 200, 32_768: 50, 1_048_576: 9}
TICK_SECONDS: Final = 0.001
PROSE: Final = (
    "The meeting on 2024-01-15 moved to room 4, because the projector in room 12 was broken. Please summarise what was "
    "agreed: the release stays in week 31, the configuration of the staging environment changes first, and the "
    "documentation follows.\n"
)
CODE: Final = (
    "def load_configuration(path: str, *, default: int = 4096) -> dict[str, int]:\n"
    '    """Read it; version 2.14.3, commit 9f5189c0e1b2a3d4c5f60718293a4b5c6d7e8f90."""\n'
    "    with open(path, encoding='utf-8') as source:\n"
    '        return {"threshold": default, "message": "first line\\nsecond line"}\n'
)
OTHER_SCRIPT: Final = "会議は一月十五日に移動しました。要約してください。Сводка встречи: выпуск остаётся на неделе. "
TEXTS: Final = {
    "prose": PROSE,
    "code": CODE,
    "other scripts": OTHER_SCRIPT,
    "digits": "1024 2048, 17.25; 3.5 ",
    "base64 of prose": base64.b64encode(PROSE.encode() * 40).decode() + " ",
}


def main() -> None:
    """Measure each text at each size."""
    inspect({"prompt": "warm"}, FAMILIES)
    print(f"{'text':<18}{'bytes':>10}{'median':>12}{'per KB':>12}{'stall in a thread':>20}")
    for name, text in TEXTS.items():
        for size, runs in RUNS.items():
            prompt = _cut(text, size)
            payload: dict[str, object] = {"messages": [{"role": "user", "content": prompt}]}
            seconds = statistics.median(_timed(lambda payload=payload: inspect(payload, FAMILIES)) for _ in range(runs))
            stall = asyncio.run(_stall(lambda payload=payload: inspect(payload, FAMILIES)))
            per_kb = seconds * 1e6 / (size / 1024)
            print(f"{name:<18}{size:>10}{seconds * 1e3:>9.2f} ms{per_kb:>9.1f} us{stall * 1e3:>17.1f} ms")


def _cut(text: str, size: int) -> str:
    whole = text * (size // len(text.encode()) + 1)
    return whole.encode()[:size].decode(errors="ignore")


def _timed(work: Callable[[], object]) -> float:
    # of the processor: others may be at work on the machine
    began = time.thread_time()
    work()
    return time.thread_time() - began


async def _stall(work: Callable[[], object]) -> float:
    """Seconds by which the loop was late at most."""
    running = asyncio.create_task(asyncio.to_thread(work))
    latest = 0.0
    while not running.done():
        began = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        latest = max(latest, time.perf_counter() - began - TICK_SECONDS)
    await running
    return latest


if __name__ == "__main__":
    main()
