"""fallback.mode Shadow over real sockets: what would leave is told and priced, and the cloud never hears of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gateway.rig import COMPLETION, chat, engine, eventually, manifest, running, unary
from spillway.simulator.cloud.server import RecordingCloud


def shadow(cloud: RecordingCloud, **spec: Any) -> dict[str, Any]:
    """An LLMDeployment whose fallback is a shadow: no budget, no access, and a Secret that nobody made."""
    made = manifest(cloud, **spec)
    made["spec"]["fallback"]["mode"] = "Shadow"
    made["spec"]["fallback"]["targets"][0]["secretRef"]["name"] = "nobody-made-it"
    del made["spec"]["budget"], made["spec"]["access"]
    return made


async def test_what_would_leave_is_recorded_and_priced_and_stays(tmp_path: Path, cloud: RecordingCloud) -> None:
    async with running(tmp_path, cloud) as rig:
        rig.store.create("chat", 0)
        rig.apply(shadow(cloud, queue={"maxRequests": 100, "maxWaitSeconds": 1}))

        refused = await rig.post(chat(max_tokens=5))
        line = await rig.line()
        async with rig.http.get(f"{rig.url}/metrics") as answer:
            page = await answer.text()

        def told() -> list[tuple[str, str | None, int]]:
            return [(gateway.state, gateway.reason, gateway.share_percent) for gateway in rig.store.account().gateways]

        await eventually(lambda: told() == [("Shadow", "NoEndpoints", 100)], "the ledger is told")

    assert (refused.status, refused.headers["x-spillway-reason"]) == (503, "NoEndpoints")
    assert (line["shadow_target"], line["shadow_reason"]) == ("cloud", "NoEndpoints")
    assert 0 < float(line["shadow_usd"]) < 0.001
    assert (line["cost_usd"], line["reserved_usd"], line["place"]) == ("0.000000", "0.000000", "none")
    assert 'spillway_shadow_spills_total{deployment="chat",reason="NoEndpoints",target="cloud"} 1.0' in page
    assert f'spillway_shadow_spent_usd_total{{deployment="chat",target="cloud"}} {float(line["shadow_usd"])}' in page
    assert not cloud.requests
    assert rig.store.account().spent_micros == 0


async def test_a_request_of_the_shadow_is_served_here_as_soon_as_a_replica_can(
    tmp_path: Path, cloud: RecordingCloud
) -> None:
    async with running(tmp_path, cloud) as rig, engine(unary(COMPLETION)) as fake:
        rig.store.create("chat", 0)
        rig.apply(shadow(cloud))
        waiting = asyncio.create_task(rig.post(chat()))
        await eventually(lambda: rig.pool.held == 1, "the request waits")
        rig.replicas(fake.address)
        served = await waiting
        sensitive = await rig.post(chat("mail me at jane.doe@example.com"))
        line = await rig.line(2)

    assert (served.status, sensitive.status) == (200, 200)
    assert (line["data_class"], line["shadow_target"]) == ("Sensitive", None)
    assert not cloud.requests
