"""What engines say of their load, over real sockets: others' work counts, what is stale or strange does not."""

from __future__ import annotations

import asyncio

from aiohttp import web

from gateway.rig import WHOLE, Rig, chat, engine, eventually, streams, unary
from spillway.routing.replica import NO_LOAD
from spillway.simulator.cloud.server import RecordingCloud

BUSY = b"""# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 20.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 60.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 60.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.5
vllm:cache_config_info{block_size="16",engine="0",kv_cache_size_tokens="100000",num_gpu_blocks="6250"} 1.0
"""


async def test_work_that_others_gave_an_engine_is_seen_and_holds_what_would_wait_there(rig: Rig) -> None:
    exposition = BUSY

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(body=exposition)
        return await streams(*WHOLE)(request)

    async with engine(answer) as fake:
        rig.replicas(fake.address)
        rig.gateway.keep(rig.gateway.scraper.run())
        await eventually(lambda: rig.pool.fleet.elsewhere()["chat-0"].requests == 80, "the work is seen")
        assert rig.pool.fleet.elsewhere()["chat-0"].resident_tokens == 50_000
        assert rig.pool.fleet.elsewhere()["chat-0"].pending_tokens > 10_000

        waiting = asyncio.create_task(rig.post(chat(stream=True)))
        await eventually(lambda: rig.pool.held == 1, "it is held")
        exposition = BUSY.replace(b" 20.0", b" 0.0").replace(b" 60.0", b" 0.0").replace(b" 0.5", b" 0.0")
        assert (await waiting).status == 200
        assert rig.pool.fleet.elsewhere()["chat-0"] == NO_LOAD


async def test_an_engine_whose_metrics_cannot_be_read_is_not_taken_for_saturated(rig: Rig) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(status=500, body=BUSY)
        return await streams(*WHOLE)(request)

    async with engine(answer) as fake:
        rig.replicas(fake.address)
        rig.gateway.keep(rig.gateway.scraper.run())
        failed = b'spillway_engine_scrapes_total{deployment="chat",outcome="failed"}'
        await eventually(lambda: failed in rig.gateway.metrics.render([]), "it is counted")
        assert rig.pool.fleet.elsewhere()["chat-0"] == NO_LOAD
        assert (await rig.post(chat(stream=True))).status == 200


async def test_an_idle_engine_is_asked_seldom_and_one_in_use_at_most_once_a_second(rig: Rig) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(body=BUSY.replace(b" 20.0", b" 0.0").replace(b" 60.0", b" 0.0"))
        return await streams(*WHOLE, pause=0.7)(request)

    def asked() -> int:
        return sum(path == "/metrics" for path, _, _ in fake.requests)

    async with engine(answer) as fake:
        rig.replicas(fake.address)
        rig.gateway.keep(rig.gateway.scraper.run())
        await eventually(lambda: asked() == 1, "it is asked first")
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await rig.post(chat(stream=True))).status == 200
        assert 1 <= asked() - 1 <= loop.time() - began + 1


async def test_an_engine_that_says_that_it_is_full_is_saturated_and_not_broken(
    spilling: Rig, cloud: RecordingCloud
) -> None:
    async with engine(unary({"error": {"message": "busy", "code": 503}}, 503)) as full:
        spilling.replicas(full.address)
        reply = await spilling.post(chat(max_tokens=5))
    assert (reply.status, reply.headers["x-spillway-backend"]) == (200, "cloud/cloud")
    assert reply.headers["x-spillway-reason"] == "Saturated"
    assert len(full.requests) == 1
