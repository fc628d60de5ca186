"""A whole gateway over real sockets, its ledger in memory and no Kubernetes; and engines that do as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession, ClientTimeout, web

from spillway.api.v1alpha1 import BudgetWindow
from spillway.errors import LedgerConflict, LedgerUnreachable
from spillway.gateway.account import Account
from spillway.gateway.credentials import Credentials
from spillway.gateway.routes import Replicas
from spillway.gateway.settings import GatewaySettings
from spillway.gateway.start import Gateway, listen
from spillway.gateway.store import Snapshot
from spillway.gateway.upstream import Upstreams
from spillway.simulator.cloud.bill import Price
from spillway.simulator.cloud.server import RecordingCloud

API_KEY = "sk-the-clouds-own-key"
DEADLINE_SECONDS = 10.0


async def eventually(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until it holds; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


@dataclass
class MemoryStore:
    """Ledgers with compare-and-swap, and faults on demand."""

    accounts: dict[str, tuple[int, Account]] = field(default_factory=dict)
    reachable: bool = True
    writes: int = 0

    def create(self, name: str, limit_micros: int, window: BudgetWindow = BudgetWindow.MONTH) -> None:
        self.accounts[name] = (1, Account(limit_micros, window))

    def account(self, name: str = "chat") -> Account:
        return self.accounts[name][1]

    async def read(self, name: str) -> Snapshot:
        await asyncio.sleep(0)
        if not self.reachable or name not in self.accounts:
            raise LedgerUnreachable("no ledger here")
        version, account = self.accounts[name]
        return Snapshot(str(version), account)

    async def write(self, name: str, snapshot: Snapshot) -> Snapshot:
        await asyncio.sleep(0)
        if not self.reachable:
            raise LedgerUnreachable("no ledger here")
        version, before = self.accounts[name]
        if str(version) != snapshot.version:
            raise LedgerConflict("somebody was first")
        after = replace(snapshot.account, limit_micros=before.limit_micros)
        assert after.spent_micros + after.leased_micros <= max(
            after.limit_micros, before.spent_micros + before.leased_micros
        )
        self.accounts[name] = (version + 1, after)
        self.writes += 1
        return Snapshot(str(version + 1), after)


@dataclass
class FaultyStore(MemoryStore):
    """Each write takes the next fault of the list: a reply that is lost, a write that comes later, a conflict."""

    faults: list[str] = field(default_factory=list)
    late: list[tuple[str, Snapshot]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    """While it is not set, a write is under way."""

    async def write(self, name: str, snapshot: Snapshot) -> Snapshot:
        if self.gate is not None:
            await self.gate.wait()
        fault = self.faults.pop() if self.faults else "none"
        if fault == "conflict":
            raise LedgerConflict("as told")
        if fault == "lost before":
            raise LedgerUnreachable("as told")
        if fault == "late":
            self.late.append((name, snapshot))
            raise LedgerUnreachable("as told")
        written = await super().write(name, snapshot)
        if fault == "lost after":
            raise LedgerUnreachable("as told")
        if fault == "sent again":
            raise LedgerConflict("with itself: HTTP clients send a PUT once more when its connection breaks")
        return written

    async def deliver(self) -> None:
        name, snapshot = self.late.pop(0)
        with contextlib.suppress(LedgerConflict, LedgerUnreachable):
            await super().write(name, snapshot)


def manifest(
    cloud: RecordingCloud | None = None, *, name: str = "chat", limit: str = "50.00", **spec: Any
) -> dict[str, Any]:
    """An LLMDeployment; with a cloud one that may spill to it."""
    body: dict[str, Any] = {
        "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
        "accelerator": {"profile": "l4-24gb"},
        "queue": {"maxRequests": 100, "maxWaitSeconds": 30},
    }
    if cloud is not None:
        body |= {
            "dataPolicy": {"defaultClass": "Internal", "mayLeave": ["Internal", "Public"], "detectors": ["PII"]},
            "fallback": {
                "mode": "Enabled",
                "targets": [
                    {
                        "name": "cloud",
                        "provider": "OpenAICompatible",
                        "baseURL": cloud.base_url,
                        "model": "big",
                        "secretRef": {"name": "openai", "key": "api-key"},
                        "caBundleRef": {"name": "ca", "key": "ca.crt"},
                        "timeoutSeconds": 10,
                        "price": {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.00"},
                    }
                ],
            },
            "budget": {"limit": limit, "window": "Month"},
            "access": {"mode": "None"},
        }
    return {
        "apiVersion": "spillway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}"},
        "spec": body | spec,
    }


def cloud_of(**options: Any) -> RecordingCloud:
    prices = {"big": Price(Decimal("2.50"), Decimal("10.00"))}
    return RecordingCloud(prices, API_KEY, **options)


def settings_in(directory: Path, cloud: RecordingCloud | None, name: str = "gateway-1") -> GatewaySettings:
    (directory / "credentials/openai").mkdir(parents=True, exist_ok=True)
    (directory / "credentials/openai/api-key").write_text(API_KEY + "\n")
    (directory / "ca/ca").mkdir(parents=True, exist_ok=True)
    if cloud is not None:
        (directory / "ca/ca/ca.crt").write_bytes(cloud.ca_pem)
    return GatewaySettings(
        namespace="team",
        name=name,
        service_account_dir=directory,
        credentials_dir=directory / "credentials",
        ca_dir=directory / "ca",
        allowed_hosts=frozenset({"127.0.0.1"}),
        host="127.0.0.1",
        port=0,
        peers_port=0,
        drain_seconds=5.0,
    )


@dataclass
class Rig:
    """One running gateway, what it wrote, and a client."""

    gateway: Gateway
    url: str
    http: ClientSession
    store: MemoryStore
    directory: Path
    lines: list[dict[str, Any]]

    def replicas(self, *addresses: str, loading: int = 0, name: str = "chat") -> None:
        ready = {f"{name}-{place}": address for place, address in enumerate(addresses)}
        self.gateway.table.set_replicas({name: Replicas(ready, loading)})

    def apply(self, obj: dict[str, Any]) -> None:
        budget = obj["spec"].get("budget")
        name = obj["metadata"]["name"]
        if budget and name not in self.store.accounts:
            self.store.create(name, round(float(budget["limit"]) * 1_000_000))
        self.gateway.table.apply(obj)

    @property
    def pool(self) -> Any:
        served = self.gateway.table.find("chat")
        assert served is not None
        return served.desk.pool

    async def post(self, body: Any, path: str = "/v1/chat/completions", **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.http.post(
            self.url + path, data=io.BytesIO(data), headers={"content-type": "application/json"} | headers
        ) as answer:
            return Reply(
                answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()
            )

    async def line(self, count: int = 1) -> dict[str, Any]:
        """The last of `count` audit lines."""
        await eventually(lambda: len(self.lines) >= count, f"{count} audit lines")
        assert len(self.lines) == count
        return self.lines[-1]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert set(self.json) == {"error"}
        assert set(self.json["error"]) == {"message", "type", "param", "code"}
        return self.json["error"]


@contextlib.asynccontextmanager
async def running(
    directory: Path, cloud: RecordingCloud | None = None, store: MemoryStore | None = None, name: str = "gateway-1"
) -> AsyncIterator[Rig]:
    """A gateway that listens; it drains and gives its leases back at the end."""
    settings = settings_in(directory, cloud, name)
    store = store or MemoryStore()
    lines: list[dict[str, Any]] = []
    credentials = Credentials(settings.credentials_dir, settings.ca_dir)
    async with (
        Upstreams(credentials, settings.allowed_hosts) as upstreams,
        ClientSession(timeout=ClientTimeout(total=30)) as http,
    ):
        gateway = Gateway(settings, store, upstreams, lambda line: lines.append(orjson.loads(line)))
        gateway.keep(gateway.observe())
        gateway.readiness.synced = True
        runner = await listen(gateway)
        host, port = runner.addresses[0][:2]
        try:
            yield Rig(gateway, f"http://{host}:{port}", http, store, directory, lines)
        finally:
            await http.close()
            await runner.cleanup()
            await gateway.close()
            assert not gateway.died.is_set()


Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeEngine:
    """Answers as `answer` does, which a test may set at any time; keeps what it was sent."""

    answer: Answering
    address: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    active: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.requests.append((request.path, headers, await request.read()))
        self.active += 1
        try:
            return await self.answer(request)
        finally:
            self.active -= 1


@contextlib.asynccontextmanager
async def engine(answer: Answering) -> AsyncIterator[FakeEngine]:
    fake = FakeEngine(answer)
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    fake.address = f"{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    delta = {"role": "assistant", "content": ""} if content is None else {"content": content}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + orjson.dumps({"object": "chat.completion.chunk", "choices": choices} | more) + b"\n\n"


def usage_chunk(prompt: int = 14, completion: int = 2) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return b"data: " + orjson.dumps({"object": "chat.completion.chunk", "choices": [], "usage": usage}) + b"\n\n"


DONE = b"data: [DONE]\n\n"
WHOLE = (chunk(), chunk("Hello"), chunk(" you", "stop"), usage_chunk(), DONE)


def streams(*parts: bytes, status: int = 200, cut: bool = False, pause: float = 0.0) -> Answering:
    """Stream these parts; `cut` closes the connection in place of a regular end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(pause)
        if cut:
            assert request.transport is not None
            request.transport.abort()
        return response

    return answer


def unary(body: Any, status: int = 200, **headers: str) -> Answering:
    async def answer(_: web.Request) -> web.StreamResponse:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return web.Response(status=status, body=data, headers={"content-type": "application/json"} | headers)

    return answer


async def silence(_: web.Request) -> web.StreamResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello you"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 16},
}


def chat(content: str = "hello there", **more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": content}]} | more
