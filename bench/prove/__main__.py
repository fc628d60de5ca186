"""The invariants under fire: `make prove ARGS="--requests 100000"`.

Two gateway processes on a real API server, simulated engines, two recording clouds with exact books; all on loopback,
nothing is left behind. The last line is one JSON object (`verdict.Verdict` says what its numbers mean); the exit code
is 1 when one of the invariants is not zero, and what broke it is on standard error.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from typing import Annotated

import typer

from bench.prove.evidence import Evidence
from bench.prove.run import Result, Run
from bench.prove.verdict import could_be_saved, leaks, without_their_line
from spillway.simulator.controlplane import ControlPlane

SHOWN = 20
LEFT_SECONDS = 600.0
"""For starting, one round of everything that is broken, and ending."""


def main(
    requests: Annotated[int, typer.Option(min=1, help="How many to ask.")] = 2000,
    seed: Annotated[int | None, typer.Option(help="Of requests and faults; absent: any.")] = None,
    minutes: Annotated[float, typer.Option(help="Ask no longer than this.")] = 60.0,
) -> None:
    """Ask, break, count."""
    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    result = asyncio.run(run(requests, chosen, minutes))
    if not result.verdict.holds:
        explain(result.evidence)
    print(json.dumps(result.as_json()))
    sys.exit(0 if result.verdict.holds else 1)


async def run(requests: int, seed: int, minutes: float) -> Result:
    """One run on a control plane of its own."""
    async with asyncio.timeout(minutes * 60 + LEFT_SECONDS), ControlPlane() as plane:
        return await Run(plane, seed, requests, minutes * 60, tell).run()


def tell(what: str) -> None:
    """Say how far it is, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def explain(evidence: Evidence) -> None:
    """What broke the invariants, on standard error."""
    for title, found in (("leaked", leaks), ("failed", could_be_saved)):
        for number, what in enumerate(found(evidence)):
            if number < SHOWN:
                print(f"{title}: {what}", file=sys.stderr)
    for life in evidence.lives:
        if life.killed is None and life.code != 0:
            print(f"{life.gateway} ended with {life.code} after SIGTERM:\n{life.last_words}", file=sys.stderr)
    for place, life in enumerate(evidence.lives):
        if wrong := without_their_line(evidence, place):
            print(f"unaudited: {wrong} of {life.gateway}, killed {life.killed}, code {life.code}", file=sys.stderr)
    for bug in evidence.bugs[:SHOWN]:
        print(f"bug: {bug[:2000]}", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
