"""`python -m spillway.simulator.cloud --directory D --price model=0.15,0.60`: the cloud as a process of its own.

Writes `ca.crt`, `requests.jsonl`, `received.jsonl` and `bill.json` into the directory. The API key is taken from the
environment, SPILLWAY_SIMULATED_API_KEY, so that it is in no process list. When it listens it prints one line of JSON
with its base_url; on SIGTERM or SIGINT it ends with exit code 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path

import uvloop

from spillway.signals import told_to_end
from spillway.simulator.cloud.bill import Price
from spillway.simulator.cloud.server import Pace, RecordingCloud


def _priced(text: str) -> tuple[str, Price]:
    model, _, amounts = text.partition("=")
    try:
        into, out = (Decimal(amount) for amount in amounts.split(","))
    except (ValueError, InvalidOperation) as wrong:
        raise argparse.ArgumentTypeError(f"{text!r} is not model=input,output in dollars per million tokens") from wrong
    return model, Price(into, out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spillway.simulator.cloud", description="A recording cloud, simulated.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, also in the certificate")
    parser.add_argument("--port", type=int, default=0, help="0: any free one, told in the line of JSON")
    parser.add_argument("--name", action="append", default=["localhost"], help="further names in the certificate")
    parser.add_argument("--directory", type=Path, required=True, help="where its files go; must exist")
    parser.add_argument(
        "--price", type=_priced, action="append", required=True, help="model=input,output in USD per 1M"
    )
    parser.add_argument(
        "--max-concurrent-requests", type=int, default=None, help="answers 429 above; default: no limit"
    )
    parser.add_argument("--first-token-seconds", type=float, default=0.35, help="until the first token")
    parser.add_argument("--seed", type=int, default=0, help="of the jitter")
    return parser


async def _serve(options: argparse.Namespace, api_key: str) -> None:
    stop = told_to_end()
    directory: Path = options.directory
    cloud = RecordingCloud(
        dict(options.price),
        api_key,
        host=options.host,
        port=options.port,
        names=options.name,
        pace=Pace(first_token_seconds=options.first_token_seconds),
        rng=random.Random(options.seed),
        max_concurrent_requests=options.max_concurrent_requests,
        directory=directory,
    )
    async with cloud:
        (directory / "ca.crt").write_bytes(cloud.ca_pem)
        ready = {"simulator": True, "what": "Spillway's recording cloud", "base_url": cloud.base_url}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """Serve until a signal; exit code 2 when an option or the key is missing."""
    parser = _parser()
    options = parser.parse_args()
    api_key = os.environ.get("SPILLWAY_SIMULATED_API_KEY")
    if not api_key:
        parser.error("SPILLWAY_SIMULATED_API_KEY is not set")
    uvloop.run(_serve(options, api_key))


if __name__ == "__main__":
    main()
