"""A gateway without Kubernetes, as a process: files, engines at addresses, a ledger in a folder."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import ClientSession
from openai import APIStatusError, AsyncOpenAI

from crd_cases import DEPLOYMENT, OLLAMA_SPEC, changed
from gateway.rig import API_KEY, COMPLETION, WHOLE, chat, engine, eventually, streams, unary
from gateway.standalone_process import Standalone, arguments, started, write
from simulator.processes import StartEngine, engines
from spillway.api.v1alpha1 import LLMDeployment, parse_deployment
from spillway.errors import InvalidSetting, SpillwayError
from spillway.gateway import standalone
from spillway.gateway.endpoints import Health, Seen, assign, parse_endpoints
from spillway.gateway.options import Given, run
from spillway.gateway.standalone import manifest
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings
from spillway.simulator.cloud.server import RecordingCloud

SHORT = {"maxRequests": 10, "maxWaitSeconds": 1}
KEY = ("--credential-env", "openai/api-key=CLOUD_KEY")
WORDS: list[Any] = [{"role": "user", "content": "how far is the moon"}]


@pytest.fixture
def start_engine(tmp_path: Path) -> Iterator[StartEngine]:
    with engines(tmp_path) as start:
        yield start


def client(gateway: Standalone) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="the caller's own", max_retries=0)


async def why_refused(sdk: AsyncOpenAI) -> str | None:
    """Ask once; None when it was answered."""
    try:
        await sdk.chat.completions.create(model="chat", messages=WORDS, max_tokens=20)
    except APIStatusError as refusal:
        return refusal.response.headers["x-spillway-reason"]
    return None


def ledger(directory: Path, name: str = "chat") -> dict[str, Any]:
    return orjson.loads((directory / "state/ledger.json").read_bytes())["ledgers"][name]


async def test_the_openai_sdk_is_served_by_the_engine_and_by_the_cloud_once_that_is_gone(
    tmp_path: Path, cloud: RecordingCloud, start_engine: StartEngine
) -> None:
    write(tmp_path, cloud, queue=SHORT)
    own = await asyncio.to_thread(start_engine, "--served-model-name", "chat")
    async with started(*arguments(tmp_path, "--endpoint", own.url, *KEY)) as gateway, client(gateway) as sdk:
        local = await sdk.chat.completions.with_raw_response.create(model="chat", messages=WORDS, max_tokens=5)
        stream = await sdk.chat.completions.create(model="chat", messages=WORDS, max_tokens=5, stream=True)
        streamed = [event async for event in stream]
        own.process.kill()
        await eventually(lambda: bool(gateway.said("an engine is not ready")), "the engine is gone")
        spilled = await sdk.chat.completions.with_raw_response.create(model="chat", messages=WORDS, max_tokens=5)
        with pytest.raises(APIStatusError) as kept:
            await sdk.chat.completions.create(
                model="chat",
                messages=[{"role": "user", "content": "mail jane.doe@example.com"}],
                extra_headers={"x-spillway-data-class": "Internal"},
                timeout=60,
            )
        assert await gateway.end() == 0
    assert local.headers["x-spillway-backend"] == f"local/{own.url.removeprefix('http://')}"
    assert local.parse().usage is not None
    assert len(streamed) > 1
    assert (spilled.headers["x-spillway-backend"], spilled.headers["x-spillway-reason"]) == (
        "cloud/cloud",
        "NoEndpoints",
    )
    assert (kept.value.status_code, kept.value.response.headers["x-spillway-data-class"]) == (503, "Sensitive")
    assert not cloud.contains(b"jane.doe")
    assert [line["place"] for line in gateway.lines] == ["local", "local", "cloud", "none"]
    assert {line["namespace"] for line in gateway.lines} == {"default"}
    assert API_KEY not in repr(gateway.logged) + repr(gateway.lines)
    assert round(float(ledger(tmp_path)["spent"]) * 1e6) == cloud.bill_micros > 0
    assert ledger(tmp_path)["tranches"] == [], "what was leased is given back"


async def test_the_bill_outlives_a_restart_and_a_kill(tmp_path: Path, cloud: RecordingCloud) -> None:
    write(tmp_path, cloud)
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        async with started(*arguments(tmp_path, *KEY)) as gateway, client(gateway) as sdk:
            await sdk.chat.completions.create(model="chat", messages=WORDS, max_tokens=5)
            await gateway.end(how)
    assert len(cloud.requests) == 3
    # what was settled when it was killed is in the journal, or its whole reservation is charged
    spent = round(float(ledger(tmp_path)["spent"]) * 1e6)
    assert cloud.bill_micros <= spent < cloud.bill_micros + 5_000


async def test_the_limit_of_the_file_holds_over_restarts(tmp_path: Path, cloud: RecordingCloud) -> None:
    write(tmp_path, cloud, budget={"limit": "0.0007"}, queue=SHORT)
    refused: list[str | None] = []
    for _ in range(2):
        async with started(*arguments(tmp_path, *KEY)) as gateway, client(gateway) as sdk:
            refused += [await why_refused(sdk) for _ in range(6)]
            await gateway.end()
    assert refused[0] is None
    assert refused[-1] == "NoEndpoints", "it may go nowhere: there is no engine, and no money"
    assert 0 < cloud.bill_micros <= 700


async def test_sigterm_lets_what_is_in_flight_end(tmp_path: Path, cloud: RecordingCloud) -> None:
    write(tmp_path, cloud)
    async with engine(streams(*WHOLE, pause=0.3)) as fake:
        options = arguments(tmp_path, "--endpoint", f"http://{fake.address}", *KEY)
        async with started(*options) as gateway, client(gateway) as sdk:
            stream = await sdk.chat.completions.create(model="chat", messages=WORDS, stream=True)
            first = await anext(stream)
            gateway.process.send_signal(signal.SIGTERM)
            await eventually(lambda: bool(gateway.said("draining")), "it drains")
            rest = [event async for event in stream]
            assert await gateway.end() == 0
    assert first.choices
    assert rest[-1].choices[0].finish_reason == "stop"
    assert gateway.lines[-1]["outcome"] == "Completed"


async def test_a_second_gateway_on_the_same_ledger_is_refused_and_told_why(
    tmp_path: Path, cloud: RecordingCloud
) -> None:
    write(tmp_path, cloud)
    async with (
        started(*arguments(tmp_path, *KEY)) as first,
        started(*arguments(tmp_path, *KEY), listens=False) as second,
    ):
        assert await asyncio.wait_for(second.process.wait(), 60) == 1
        assert first.process.returncode is None
    told = second.logged[-1]["text"]
    assert told.startswith(f"error: --state-dir {tmp_path}/state is held by another gateway (process ")
    assert f"(process {first.process.pid})" in told
    assert "name another folder" in told


@pytest.mark.parametrize("damage", ["cut short", "a digit changed", "written by hand"])
async def test_a_ledger_that_cannot_be_believed_spends_nothing_and_local_goes_on(
    damage: str, tmp_path: Path, cloud: RecordingCloud
) -> None:
    write(tmp_path, cloud, queue=SHORT)
    async with started(*arguments(tmp_path, *KEY)) as gateway, client(gateway) as sdk:
        await sdk.chat.completions.create(model="chat", messages=WORDS, max_tokens=5)
        await gateway.end()
    path = tmp_path / "state/ledger.json"
    whole = path.read_bytes()
    spent = ledger(tmp_path)["spent"].encode()
    damaged = {
        "cut short": whole[:-40],
        "a digit changed": whole.replace(spent, b"0.000000"),
        "written by hand": b'{"version": 1, "sha256": "", "ledgers": {}}',
    }[damage]
    assert damaged != whole
    path.write_bytes(damaged)
    async with engine(unary(COMPLETION)) as fake:
        async with started(*arguments(tmp_path, *KEY)) as gateway, client(gateway) as sdk:
            with pytest.raises(APIStatusError) as refused:
                await sdk.chat.completions.create(model="chat", messages=WORDS, max_tokens=5)
            await gateway.end()
        options = arguments(tmp_path, "--endpoint", f"http://{fake.address}", *KEY)
        async with started(*options) as gateway, client(gateway) as sdk:
            served = await sdk.chat.completions.create(model="chat", messages=WORDS, max_tokens=5)
            await gateway.end()
    assert refused.value.response.headers["x-spillway-reason"] == "NoEndpoints"
    assert served.choices[0].message.content == "Hello you"
    told, *_ = gateway.said("the ledger cannot be believed: nothing leaves")
    assert "move it away to begin with nothing spent" in told["problem"]
    assert len(cloud.requests) == 1
    assert path.read_bytes() == damaged, "what is wrong is left for its owner to see"


async def test_a_ledger_that_is_taken_away_meanwhile_spends_nothing(tmp_path: Path, cloud: RecordingCloud) -> None:
    write(tmp_path, cloud, queue=SHORT, budget={"limit": "0.001"})
    async with started(*arguments(tmp_path, *KEY)) as gateway, client(gateway) as sdk:
        await sdk.chat.completions.create(model="chat", messages=WORDS, max_tokens=5)
        (tmp_path / "state/ledger.json").unlink()
        refused = [await why_refused(sdk) for _ in range(8)]
        await gateway.end()
    assert refused[-1] == "NoEndpoints", "nothing leaves"
    assert gateway.said("the ledger cannot be believed: nothing leaves")
    assert cloud.bill_micros <= 1000


async def test_an_edit_is_taken_and_one_that_does_not_compile_is_not_and_says_so(
    tmp_path: Path, cloud: RecordingCloud
) -> None:
    write(tmp_path, cloud, queue=SHORT)
    async with started(*arguments(tmp_path, *KEY)) as gateway, client(gateway) as sdk, ClientSession() as http:
        text = (tmp_path / "chat.yaml").read_text()
        (tmp_path / "chat.yaml").write_text(text.replace("limit: '50.00'", "limit: 50.00"))
        await eventually(lambda: bool(gateway.said("an edit is not taken; all is served as it was")), "it says so")
        before = await sdk.chat.completions.with_raw_response.create(model="chat", messages=WORDS, max_tokens=5)

        write(tmp_path, cloud, fallback={"mode": "Disabled"}, queue=SHORT)
        await eventually(lambda: len(gateway.said("serving what the files say")) == 2, "the edit is taken")
        async with http.post(f"{gateway.url}/v1/chat/completions", json=chat()) as after:
            assert (after.status, after.headers["x-spillway-reason"]) == (503, "NoEndpoints")
        await gateway.end()
    (told,) = gateway.said("an edit is not taken; all is served as it was")
    assert "chat: spec.budget.limit: budget.limit must be dollars" in told["problem"]
    assert before.headers["x-spillway-backend"] == "cloud/cloud"
    assert len(cloud.requests) == 1


async def test_nothing_leaves_past_the_ceiling_that_is_given(tmp_path: Path, cloud: RecordingCloud) -> None:
    write(tmp_path, cloud, queue=SHORT)
    options = arguments(tmp_path, *KEY, "--may-leave", "None")
    async with started(*options) as gateway, client(gateway) as sdk:
        with pytest.raises(APIStatusError):
            await sdk.chat.completions.create(model="chat", messages=WORDS)
        await gateway.end()
    assert not cloud.requests


async def test_each_of_several_objects_has_its_own_engines(tmp_path: Path, cloud: RecordingCloud) -> None:
    for name in ("chat", "code"):
        write(tmp_path, cloud, name=name)
    files = ("--file", str(tmp_path / "code.yaml"), "--audit-log", str(tmp_path / "audit.jsonl"))
    async with engine(unary(COMPLETION)) as one, engine(unary(COMPLETION)) as other:
        ends = ("--endpoint", f"chat=http://{one.address}", "--endpoint", f"code=http://{other.address}/")
        async with started(*arguments(tmp_path, *files, *ends, *KEY)) as gateway, client(gateway) as sdk:
            await sdk.chat.completions.create(model="code", messages=WORDS)
            names = [model.id async for model in sdk.models.list()]
            await gateway.end()
    assert names == ["chat", "code"]
    assert [path for path, _, _ in one.requests if path.endswith("completions")] == []
    assert [path for path, _, _ in other.requests if path.endswith("completions")] == ["/v1/chat/completions"]
    assert gateway.lines == []
    (line,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert orjson.loads(line)["deployment"] == "code"


def given(**options: Any) -> Given:
    values: dict[str, Any] = {field.name: "" for field in fields(Given)}
    values |= dict.fromkeys(("files", "endpoints", "credential_variables", "state_dir", "audit_log", "journal_dir"))
    return Given(**(values | {"port": 0, "peers_port": 0, "ollama_slots": 1, "may_leave": "Internal"} | options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"endpoints": ["127.0.0.1:8000"]}, "write http://HOST:PORT or NAME=http://HOST:PORT"),
        ({"endpoints": ["https://127.0.0.1:8000"]}, "write http://HOST:PORT or NAME=http://HOST:PORT"),
        ({"endpoints": ["http://127.0.0.1:99999"]}, "write http://HOST:PORT or NAME=http://HOST:PORT"),
        ({"endpoints": ["http://127.0.0.1:8000/v1"]}, "without a path"),
        ({"endpoints": ["code=http://127.0.0.1:8000"]}, "no file holds an LLMDeployment 'code' (there is chat)"),
        ({"credential_variables": ["openai=CLOUD_KEY"]}, "is not SECRET/KEY=VARIABLE"),
        ({"credential_variables": ["a/b=NOT_SET"]}, "export NOT_SET before the gateway starts"),
        ({"may_leave": "Sensitive"}, "write None, Public or Internal"),
        ({"files": [Path("/nowhere.yaml")]}, "--file /nowhere.yaml cannot be read"),
        ({"journal_dir": Path("/tmp/j")}, "with --file write --state-dir"),
        ({"audit_log": Path("/nowhere/audit")}, "--audit-log /nowhere/audit cannot be written"),
        ({"state_dir": Path("/proc/nowhere")}, "--state-dir /proc/nowhere cannot be written"),
        ({"files": None}, "to serve without Kubernetes, give --file deployment.yaml"),
        ({"files": None, "namespace": "a", "name": "b", "endpoints": ["x"]}, "--endpoint is for a gateway without"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_with_its_cure(
    options: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone, "configure_log", lambda: None)
    (tmp_path / "chat.yaml").write_text(yaml.safe_dump(DEPLOYMENT))
    usual = {"files": [tmp_path / "chat.yaml"], "state_dir": tmp_path / "state"}
    with pytest.raises(SpillwayError) as problem:
        run(given(**(usual | options)), {"CLOUD_KEY": API_KEY})
    assert said in str(problem.value)
    assert API_KEY not in str(problem.value)


def test_an_ollama_takes_as_many_requests_as_it_is_said_to_and_a_vllm_tells_by_itself() -> None:
    deployments = [parse_deployment(changed(DEPLOYMENT, change)) for change in ({"spec": OLLAMA_SPEC}, {})]
    routes = [
        compile_route(LLMDeployment.model_validate(manifest(one, 3)), None, CompileSettings(frozenset(), "None"))
        for one in deployments
    ]
    assert [(route.max_sequences, route.context_length) for route in routes] == [(3, 8192), (None, 8192)]


def test_two_objects_need_engines_that_say_whose_they_are() -> None:
    with pytest.raises(InvalidSetting, match=r"write --endpoint chat=http://127\.0\.0\.1:8000"):
        assign(parse_endpoints(["http://127.0.0.1:8000"]), ["code", "chat"])


def test_engines_of_an_object_are_those_that_were_given_to_it() -> None:
    given = parse_endpoints(["chat=http://a:1", "chat=http://a:1/", "chat=http://[::1]:2", "code=http://b"])
    assert assign(given, ["chat", "code", "more"]) == {"chat": ("a:1", "[::1]:2"), "code": ("b:80",), "more": ()}


@pytest.mark.parametrize(
    ("seen", "is_ready"),
    [
        ([Seen.WELL], True),
        ([Seen.SILENT], False),
        ([Seen.WELL, Seen.SILENT, Seen.SILENT], True),
        ([Seen.WELL, Seen.SILENT, Seen.SILENT, Seen.SILENT], False),
        ([Seen.WELL, Seen.SILENT, Seen.WELL, Seen.SILENT, Seen.SILENT], True),
        ([Seen.WELL, Seen.GONE], False),
        ([Seen.WELL, Seen.STARTING], False),
        ([Seen.WELL, Seen.GONE, Seen.SILENT], False),
        ([Seen.WELL, Seen.GONE, Seen.WELL], True),
    ],
)
def test_an_engine_that_dies_is_not_ready_and_one_that_is_late_once_is(seen: list[Seen], is_ready: bool) -> None:
    health = Health()
    for one in seen:
        health = health.after(one)
    assert health.is_ready is is_ready
