"""Every provider over real sockets, with OpenAI's own client before the gateway; and what must not cross over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.rig import API_KEY, COMPLETION, WHOLE, Rig, chat, cloud_of, engine, manifest, running, streams, unary
from spillway.simulator.cloud import Faults, manners
from spillway.simulator.cloud.manners import Manners
from spillway.simulator.cloud.server import Pace, RecordingCloud

QUICK = Pace(first_token_seconds=0.02, jitter_seconds=0.0, tokens_per_second=2000.0)
PROVIDERS = {
    "OpenAI": manners.OPENAI,
    "AzureOpenAI": manners.AZURE,
    "Anthropic": manners.ANTHROPIC,
    "Gemini": manners.GEMINI,
    "OpenAICompatible": manners.ANY,
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def spilling_to(cloud: RecordingCloud, **target: Any) -> dict[str, Any]:
    made = manifest(cloud)
    made["spec"]["fallback"]["targets"][0] |= target
    return made


def sdk_of(rig: Rig, **headers: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{rig.url}/v1", api_key="sk-of-the-caller", max_retries=0, default_headers=headers
    )


@pytest.fixture(params=list(PROVIDERS))
async def of_provider(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Rig, RecordingCloud]]:
    """A gateway that spills everything to one provider."""
    ways: Manners = PROVIDERS[request.param]
    async with cloud_of(pace=QUICK, manners=ways) as cloud, running(tmp_path, cloud) as rig:
        rig.apply(spilling_to(cloud, provider=request.param))
        yield rig, cloud


async def test_each_provider_answers_openais_client_and_is_paid_what_it_bills(
    of_provider: tuple[Rig, RecordingCloud],
) -> None:
    rig, cloud = of_provider
    async with sdk_of(rig) as sdk:
        answer = await sdk.chat.completions.create(
            model="chat",
            messages=[
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "hi", "reasoning_content": "greet back"},  # type: ignore[typeddict-unknown-key]
                {"role": "user", "content": "again"},
            ],
            tools=[TOOL],  # type: ignore[list-item]
            tool_choice="auto",
            parallel_tool_calls=True,
            temperature=0.3,
            seed=7,
            presence_penalty=0.5,
            frequency_penalty=0.5,
            reasoning_effort="low" if cloud_takes_effort(cloud) else openai.omit,
            stop=["END"],
            max_tokens=24,
            user="somebody",
            store=True,
            metadata={"team": "a"},
        )
        stream = await sdk.chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            stream_options={"include_usage": True},
            max_completion_tokens=24,
        )
        chunks = [chunk async for chunk in stream]
    assert answer.choices[0].message.content
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None
    await rig.line(2)
    assert [line["place"] for line in rig.lines] == ["cloud", "cloud"]
    assert sum(micros(line["cost_usd"]) for line in rig.lines) == cloud.bill_micros, "what is charged is what is billed"
    assert all(micros(line["cost_usd"]) <= micros(line["reserved_usd"]) for line in rig.lines)


def micros(dollars: str) -> int:
    return round(Decimal(dollars) * 1_000_000)


def cloud_takes_effort(cloud: RecordingCloud) -> bool:
    return cloud.base_url.endswith("/v1beta/openai")


CALLERS_OWN = {
    "authorization": "Bearer sk-of-the-caller",
    "api-key": "azure-key-of-the-caller",
    "x-api-key": "anthropic-key-of-the-caller",
    "x-goog-api-key": "gemini-key-of-the-caller",
    "cookie": "session=of-the-caller",
    "proxy-authorization": "Basic of-the-caller",
    "openai-organization": "org-of-the-caller",
    "openai-project": "proj-of-the-caller",
    "anthropic-version": "2023-06-01-of-the-caller",
    "x-forwarded-for": "198.51.100.7-of-the-caller",
    "traceparent": "00-of-the-caller",
    "x-anything": "of-the-caller",
}
TO_A_CALLER = {
    "content-type",
    "content-length",
    "date",
    "server",
    "cache-control",
    "transfer-encoding",
    "x-spillway-request-id",
    "x-spillway-backend",
    "x-spillway-reason",
    "x-spillway-data-class",
    "x-spillway-cost",
    "x-spillway-cost-reserved",
}


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_of_the_callers_headers_reaches_a_cloud_and_nothing_of_the_clouds_a_caller(
    of_provider: tuple[Rig, RecordingCloud], stream: bool
) -> None:
    rig, cloud = of_provider
    reply = await rig.post(chat(stream=stream, max_tokens=8), **CALLERS_OWN)
    assert reply.status == 200
    assert reply.headers["x-spillway-backend"] == "cloud/cloud"
    assert set(reply.headers) <= TO_A_CALLER
    assert b"of-the-cloud" not in repr(reply.headers).encode() + reply.body
    assert not cloud.contains(b"of-the-caller")
    (record,) = cloud.requests
    assert {name.lower() for name, _ in record.headers} <= {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-request-id",
        "authorization",
        "api-key",
    }
    keys = [value for name, value in record.headers if API_KEY in value]
    assert len(keys) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_of_the_callers_headers_reaches_an_engine_and_nothing_of_its_a_caller(
    tmp_path: Path, stream: bool
) -> None:
    answering = streams(*WHOLE) if stream else unary(COMPLETION, **{"set-cookie": "a=of-the-engine", "x-own": "x"})
    async with engine(answering) as local, running(tmp_path) as rig:
        rig.apply(manifest())
        rig.replicas(local.address)
        reply = await rig.post(chat(stream=stream), **CALLERS_OWN)
    assert reply.status == 200
    assert set(reply.headers) <= TO_A_CALLER
    ((_, headers, body),) = local.requests
    assert b"of-the-caller" not in repr(headers).encode() + body


@pytest.mark.parametrize(
    ("provider", "fields"),
    [
        ("OpenAI", {"messages": [{"role": "user", "content": "hi"}], "logit_bias": {"1": 1}}),
        ("Anthropic", {"messages": [{"role": "user", "content": "hi"}], "n": 2}),
        ("Anthropic", {"messages": [{"role": "user", "content": "hi"}], "response_format": {"type": "json_object"}}),
        ("Gemini", {"messages": [{"role": "user", "content": "hi"}], "logprobs": True}),
        ("Gemini", {"prompt": "hi"}),
    ],
)
async def test_what_a_provider_would_ignore_goes_to_the_next_that_does_not(
    tmp_path: Path, provider: str, fields: dict[str, Any]
) -> None:
    path = "/v1/completions" if "prompt" in fields else "/v1/chat/completions"
    async with cloud_of(pace=QUICK) as cloud, running(tmp_path, cloud) as rig:
        made = spilling_to(cloud, provider=provider)
        (first,) = made["spec"]["fallback"]["targets"]
        made["spec"]["fallback"]["targets"].append(first | {"name": "second", "provider": "OpenAICompatible"})
        rig.apply(made)
        reply = await rig.post({"model": "chat", "max_tokens": 4} | fields, path)
    assert reply.status == 200
    assert reply.headers["x-spillway-backend"] == "cloud/second"


async def test_a_refusal_of_the_request_reaches_the_caller_in_openais_shape(
    of_provider: tuple[Rig, RecordingCloud],
) -> None:
    rig, cloud = of_provider
    cloud.faults = Faults(status=400)
    async with sdk_of(rig) as sdk:
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}])
    assert refused.value.type == "invalid_request_error"
    assert "The server had an error (simulated)." in refused.value.message
    line = await rig.line()
    assert (line["outcome"], micros(line["cost_usd"])) == ("Rejected", 0)


async def two_targets(rig: Rig, cloud: RecordingCloud, other: RecordingCloud) -> None:
    made = manifest(cloud)
    (first,) = made["spec"]["fallback"]["targets"]
    (rig.directory / "ca/ca/other.crt").write_bytes(other.ca_pem)
    second = first | {
        "name": "second",
        "baseURL": other.base_url,
        "caBundleRef": {"name": "ca", "key": "other.crt"},
    }
    made["spec"]["fallback"]["targets"].append(second)
    rig.apply(made)


@pytest.mark.parametrize(
    "faults",
    [
        Faults(status=429, retry_after_seconds=30),
        Faults(status=429, retry_after="Fri, 31 Dec 2100 23:59:59 GMT"),
        Faults(status=503, retry_after_seconds=30),
        Faults(status=529),
        Faults(status=401),
        Faults(status=403),
        Faults(status=404),
        Faults(status=500),
    ],
)
async def test_a_target_that_refuses_is_left_alone_and_the_next_serves(tmp_path: Path, faults: Faults) -> None:
    async with (
        cloud_of(pace=QUICK, faults=faults) as cloud,
        cloud_of(pace=QUICK) as other,
        running(tmp_path, cloud) as rig,
    ):
        await two_targets(rig, cloud, other)
        replies = [await rig.post(chat(max_tokens=4)) for _ in range(4)]
        asked = len(cloud.requests)
    assert [reply.headers["x-spillway-backend"] for reply in replies] == ["cloud/second"] * 4
    assert asked == (3 if faults.status == 500 else 1), "three accidents in a row, or one word"
    assert cloud.bill_micros == 0


async def test_a_target_comes_back_after_one_request_has_tried_it(tmp_path: Path) -> None:
    faults = Faults(status=429, retry_after="0.5")
    async with (
        cloud_of(pace=Pace(0.2, 0.0, 2000.0), faults=faults) as cloud,
        cloud_of(pace=QUICK) as other,
        running(tmp_path, cloud) as rig,
    ):
        await two_targets(rig, cloud, other)
        assert (await rig.post(chat(max_tokens=4))).headers["x-spillway-backend"] == "cloud/second"
        cloud.faults = Faults()
        deadline = asyncio.get_running_loop().time() + 10.0
        served: list[str] = []
        while "cloud/cloud" not in served:
            assert asyncio.get_running_loop().time() < deadline
            replies = await asyncio.gather(*(rig.post(chat(max_tokens=4)) for _ in range(3)))
            served = [reply.headers["x-spillway-backend"] for reply in replies]
        assert served.count("cloud/cloud") == 1, "only one tries it"
        replies = await asyncio.gather(*(rig.post(chat(max_tokens=4)) for _ in range(3)))
    assert [reply.headers["x-spillway-backend"] for reply in replies] == ["cloud/cloud"] * 3


async def test_when_every_target_is_left_alone_what_may_leave_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with cloud_of(pace=QUICK, faults=Faults(status=401)) as cloud, running(tmp_path, cloud) as rig:
        rig.apply(manifest(cloud, queue={"maxWaitSeconds": 1}))
        first = await rig.post(chat(max_tokens=4))
        second = await rig.post(chat(max_tokens=4))
    assert (first.status, second.status) == (503, 503)
    assert "retry-after" in second.headers
    assert len(cloud.requests) == 1


async def test_a_target_never_has_more_requests_open_than_it_may(tmp_path: Path) -> None:
    async with (
        cloud_of(pace=Pace(0.3, 0.0, 2000.0), max_concurrent_requests=2) as cloud,
        running(tmp_path, cloud) as rig,
    ):
        rig.apply(spilling_to(cloud, maxConcurrentRequests=2))
        replies = await asyncio.gather(*(rig.post(chat(max_tokens=4)) for _ in range(7)))
    assert [reply.status for reply in replies] == [200] * 7, "the cloud would have answered 429 to a third"


async def test_a_renewed_private_ca_is_trusted_for_the_next_request(tmp_path: Path) -> None:
    async with cloud_of(pace=QUICK) as cloud, cloud_of(pace=QUICK) as other, running(tmp_path, cloud) as rig:
        rig.apply(spilling_to(cloud))
        assert (await rig.post(chat(max_tokens=4))).status == 200
        bundle = rig.directory / "ca/ca/ca.crt"
        renewed = rig.directory / "renewed"
        renewed.write_bytes(other.ca_pem)
        renewed.rename(bundle)
        rig.apply(spilling_to(other))
        assert (await rig.post(chat(max_tokens=4))).status == 200
    assert len(other.requests) == 1


async def test_status_says_that_a_certificate_is_not_trusted_until_its_ca_is_there(tmp_path: Path) -> None:
    async with cloud_of(pace=QUICK) as cloud, cloud_of(pace=QUICK) as other, running(tmp_path, other) as rig:
        rig.apply(manifest(cloud, queue={"maxWaitSeconds": 1}))
        served = rig.gateway.table.find("chat")
        assert served is not None
        assert (await rig.post(chat(max_tokens=4))).status == 503
        (target,) = served.observer.report(served.route).targets
        assert (target.ready, target.reason) == (False, "CertificateNotTrusted")
        (rig.directory / "ca/ca/ca.crt").write_bytes(cloud.ca_pem)
        assert (await rig.post(chat(max_tokens=4))).status == 200
        (target,) = served.observer.report(served.route).targets
        assert target.ready


async def test_a_redirection_is_not_followed(tmp_path: Path) -> None:
    async with cloud_of(pace=QUICK) as cloud, running(tmp_path, cloud) as rig:
        rig.apply(manifest(cloud, queue={"maxWaitSeconds": 1}))
        cloud.faults = Faults(redirect_to=f"{cloud.base_url}/elsewhere")
        assert (await rig.post(chat(max_tokens=4))).status == 503
        assert {record.path for record in cloud.requests} == {"/v1/chat/completions"}
