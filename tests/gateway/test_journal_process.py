"""kill -9 of a gateway that has money reserved, and the container that is started after it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
from aiohttp import ClientError, ClientSession

from gateway.rig import MemoryStore, chat, cloud_of, eventually, manifest, settings_in
from spillway.gateway.account import Account
from spillway.simulator.cloud.faults import Faults

TESTS = Path(__file__).parents[1]


def ledger(directory: Path) -> Account:
    account = pickle.loads((directory / "ledger").read_bytes())["chat"][1]
    assert isinstance(account, Account)
    return account


@contextlib.asynccontextmanager
async def gateway_process(directory: Path) -> AsyncIterator[str]:
    """The URL of a running gateway; it is killed with -9 at the end, whatever it does."""
    (directory / "port").unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.money_process", str(directory)),
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await eventually((directory / "port").exists, "the gateway listens", 60)
        yield f"http://127.0.0.1:{(directory / 'port').read_text()}"
    finally:
        process.kill()
        await process.wait()


async def test_a_gateway_killed_between_reserve_and_settle_settles_exactly_when_it_is_started_again(
    tmp_path: Path,
) -> None:
    async with cloud_of() as cloud, ClientSession() as http:
        settings_in(tmp_path, cloud)
        (tmp_path / "object.json").write_bytes(orjson.dumps(manifest(cloud)))
        store = MemoryStore()
        store.create("chat", 50_000_000)
        (tmp_path / "ledger").write_bytes(pickle.dumps(store.accounts))

        async with gateway_process(tmp_path) as url:
            async with http.post(f"{url}/v1/chat/completions", json=chat(max_tokens=5)) as answer:
                assert answer.status == 200
                cost = round(float(answer.headers["x-spillway-cost"]) * 1_000_000)
            cloud.faults = Faults(silent=True)
            hanging = asyncio.ensure_future(http.post(f"{url}/v1/chat/completions", json=chat(max_tokens=5)))
            await eventually(lambda: len(cloud.requests) == 2, "the second request is at the cloud")
        with contextlib.suppress(ClientError):
            await hanging
        leased = ledger(tmp_path).leased_micros
        billed = cloud.bill_micros

        async with gateway_process(tmp_path):
            await eventually(lambda: ledger(tmp_path).leased_micros == 0, "the rest of the lease is given back")

        spent = ledger(tmp_path).spent_micros
    assert cost < billed <= spent < leased
    reservation = spent - cost
    # chat(max_tokens=5): its body, 16 tokens for the message, 64 for the request, at 2.50; and 5 tokens at 10 dollars
    assert 5 * 10 + 2.5 * (16 + 64) < reservation < 1000
