"""Engines at given addresses are asked whether they are ready, each as its kind says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.rig import Answering, engine, eventually, unary
from routing_values import route
from spillway.api.v1alpha1 import EngineType
from spillway.gateway import endpoints
from spillway.gateway.endpoints import Prober
from spillway.gateway.routes import Replicas

MODELS = {"object": "list", "data": [{"id": "chat"}]}


@contextlib.asynccontextmanager
async def probing(address: str, kind: EngineType = EngineType.VLLM) -> AsyncIterator[list[Mapping[str, Replicas]]]:
    """What the prober tells of one engine of `chat`, round by round."""
    told: list[Mapping[str, Replicas]] = []
    prober = Prober(lambda: [route(engine=kind)], told.append)
    prober.set_addresses({"chat": (address,)})
    task = asyncio.create_task(prober.run(lambda: None))
    try:
        await eventually(lambda: bool(told), "one round")
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("kind", "path"), [(EngineType.VLLM, "/health"), (EngineType.OLLAMA, "/api/version")])
async def test_an_engine_that_answers_is_ready(kind: EngineType, path: str) -> None:
    async with engine(unary(MODELS)) as fake, probing(fake.address, kind) as told:
        assert told[0] == {"chat": Replicas({fake.address: fake.address}, 0)}
    assert [asked for asked, _, _ in fake.requests][:2] == [path, "/v1/models"]


async def test_one_that_says_it_is_not_ready_is_on_its_way_and_one_that_is_gone_is_not() -> None:
    async with engine(unary({}, status=503)) as fake, probing(fake.address) as told:
        assert told[0] == {"chat": Replicas({}, 1)}
    async with probing(fake.address) as told:
        assert told[0] == {"chat": Replicas({}, 0)}


async def test_an_engine_that_dies_is_not_ready_and_is_again_once_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "PROBE_EVERY_SECONDS", 0.01)
    answer: dict[str, Answering] = {"now": unary(MODELS)}

    async def current(request: web.Request) -> web.StreamResponse:
        return await answer["now"](request)

    async with engine(current) as fake, probing(fake.address) as told:
        answer["now"] = unary({}, status=500)
        await eventually(lambda: told[-1]["chat"] == Replicas({}, 1), "it is not ready")
        answer["now"] = unary(MODELS)
        await eventually(lambda: fake.address in told[-1]["chat"].ready, "it is ready again")


async def test_an_engine_that_serves_the_model_by_another_name_is_told_with_its_cure() -> None:
    named = {"data": [{"id": "Qwen/Qwen2.5-7B-Instruct-AWQ"}]}
    with capture_logs() as logged:
        async with engine(unary(named)) as fake, probing(fake.address):
            pass
    (said,) = [line for line in logged if line["event"] == "an engine does not serve the model by this name"]
    assert said["cure"] == "start it with --served-model-name chat, or write spec.model.servedName"
