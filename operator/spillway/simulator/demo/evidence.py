"""What is measured after the burst, from the books of each side: the cloud's recording and bill, ledger, logs."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

from spillway.simulator.cloud.recorder import read_records, read_sent
from spillway.simulator.demo.burst import Burst
from spillway.simulator.demo.claims import Evidence
from spillway.simulator.demo.stage import Stage, until
from spillway.simulator.demo.watching import GROUP_PATH, Victim

SETTLE_SECONDS = 10.0


async def gather(stage: Stage, burst: Burst, victim: Victim, limit_usd: Decimal) -> Evidence:
    """Read every book once the ledger has taken in the last settlement."""
    ledger_spent = await _settled_usd(stage)
    # A marker is a word of letters, so no encoding that a cloud could read spells it otherwise.
    sent = b"\0".join(await asyncio.to_thread(read_sent, stage.cloud_dir))
    markers = {one.marker for one in burst.planned}
    logs = await asyncio.to_thread(_read_logs, stage.directory)
    spills = [one for one in burst.seen if one.place == "cloud"]
    return Evidence(
        seen=tuple(burst.seen),
        markers_in_cloud=frozenset(marker for marker in markers if marker.encode() in sent),
        cloud_requests=len(read_records(stage.cloud_dir)),
        cloud_bill_usd=stage.bill_usd(),
        ledger_spent_usd=ledger_spent,
        limit_usd=limit_usd,
        last_spill_seconds=max((one.sent_seconds for one in spills), default=None),
        killed_pod=victim.pod,
        killed_in_flight=victim.in_flight,
        markers_in_logs=sum(1 for marker in markers if marker.encode() in logs),
        log_bytes=len(logs),
        audit_lines=sum(1 for line in logs.splitlines() if b'"request_id"' in line and b'"outcome"' in line),
    )


async def _settled_usd(stage: Stage) -> Decimal:
    """What the LLMLedger holds as spent, tranches still leased included: what a crash now would have cost."""
    last = Decimal(-1)

    async def still() -> bool:
        nonlocal last
        found = await stage.api.get(f"{GROUP_PATH}/llmledgers/chat")
        before, last = last, held_usd(found)
        return before == last

    await until("the ledger to settle", still, SETTLE_SECONDS)
    return last


def held_usd(ledger: dict[str, object]) -> Decimal:
    """What an LLMLedger holds as spent, with what gateways have leased of it."""
    status = ledger.get("status")
    if not isinstance(status, dict):
        return Decimal(0)
    tranches = status.get("tranches") or []
    return Decimal(str(status.get("spent", "0"))) + sum((Decimal(str(one["amount"])) for one in tranches), Decimal(0))


def _read_logs(directory: Path) -> bytes:
    """Every log of the run but the cloud's recording."""
    logs = [
        path for path in directory.rglob("*") if path.is_file() and "log" in path.name and "cloud" not in path.parts
    ]
    return b"\n".join(path.read_bytes() for path in logs)
