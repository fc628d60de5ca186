"""Gateways that share replicas tell each other what they have there: each asks the others four times a second.

Asking, not telling: whom to believe follows from the pods that the API server lists under the gateways' label, and
nobody can push numbers in. The port is the peers' own; a network policy admits gateway pods of the namespace alone. No
token: there is nothing here but counts, and those of a peer only make a gateway more careful.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import aiohttp
import orjson
import structlog
from aiohttp import web

from spillway.errors import MalformedShares
from spillway.gateway.desk import Desk
from spillway.gateway.kube import Json
from spillway.gateway.watch import address_of, name_of
from spillway.routing.shares import Shares, Work, decode, encode

GATEWAY_PODS: Final = "app.kubernetes.io/managed-by=spillway,app.kubernetes.io/component=gateway"
PATH: Final = "/peers/v1/shares"
PORT_NAME: Final = "peers"
ASK_EVERY_SECONDS: Final = 0.25
ANSWER_WITHIN_SECONDS: Final = 0.5
BODY_AT_MOST: Final = 2**20
ENDED: Final = frozenset({"Failed", "Succeeded"})

_log: Final = structlog.get_logger("spillway.gateway.peers")


class Peers:
    """This gateway among its peers; `name` is its pod's. `count` is told of each exchange's outcome."""

    def __init__(
        self,
        name: str,
        desks: Callable[[], Iterable[Desk]],
        now: Callable[[], float],
        count: Callable[[str], None],
    ) -> None:
        self._name = name
        self._instance = secrets.token_hex(8)
        self._desks = desks
        self._now = now
        self._count = count
        self._addresses: dict[str, str] = {}
        self._changed = asyncio.Event()

    @property
    def known(self) -> int:
        """How many others there are."""
        return len(self._addresses)

    def app(self) -> web.Application:
        """What peers may ask; it listens on a port of its own."""
        app = web.Application(client_max_size=1024)
        app.router.add_get(PATH, self._answer)
        return app

    def set_peers(self, addresses: Mapping[str, str]) -> None:
        """Take in all gateway pods (name to host:port), this one among them; one that left is forgotten at once."""
        self._addresses = {name: address for name, address in addresses.items() if name != self._name}
        self._changed.set()

    async def run(self) -> None:
        """Ask every peer, each in a task of its own, for ever."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_SECONDS)
        asking: dict[tuple[str, str], asyncio.Task[None]] = {}
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            try:
                while True:
                    self._changed.clear()
                    wanted = set(self._addresses.items())
                    for peer in asking.keys() - wanted:
                        asking.pop(peer).cancel()
                        self._take(peer[0], {})
                    for peer in wanted - asking.keys():
                        asking[peer] = asyncio.create_task(self._ask_for_ever(session, *peer))
                    await self._changed.wait()
            finally:
                for task in asking.values():
                    task.cancel()
                await asyncio.gather(*asking.values(), return_exceptions=True)

    async def _answer(self, _: web.Request) -> web.Response:
        models = {desk.route.name: Work(desk.pool.fleet.own()) for desk in self._desks() if desk.pool.has_work}
        return web.Response(body=orjson.dumps(encode(Shares(self._instance, models))), content_type="application/json")

    async def _ask_for_ever(self, session: aiohttp.ClientSession, name: str, address: str) -> None:
        while True:
            began = self._now()
            await self._ask(session, name, address)
            await asyncio.sleep(max(0.0, ASK_EVERY_SECONDS - (self._now() - began)))

    async def _ask(self, session: aiohttp.ClientSession, name: str, address: str) -> None:
        try:
            shares = decode(orjson.loads(await _read(session, f"http://{address}{PATH}")))
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._count("failed")
        except (MalformedShares, orjson.JSONDecodeError) as problem:
            self._count("malformed")
            _log.warning("a peer told what is not understood; ignored", peer=name, problem=str(problem))
        else:
            self._count("ok")
            if shares.instance != self._instance:
                self._take(name, shares.models)

    def _take(self, name: str, models: Mapping[str, Work]) -> None:
        now = self._now()
        for desk in self._desks():
            desk.pool.fleet.tell(name, models.get(desk.route.name), now)
            if desk.pool.held:
                desk.pump()


async def _read(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, allow_redirects=False) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > BODY_AT_MOST:
                raise MalformedShares(f"more than {BODY_AT_MOST} bytes")
        if answer.status != 200:
            raise MalformedShares(f"status {answer.status}")
        return bytes(body)


class PeerSink:
    """Gateway pods, as peers: from when they run until they are gone, for what they began goes on while they drain."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._pods: dict[str, str] = {}

    def replace(self, objects: Iterable[Json]) -> None:
        """All pods that there are."""
        self._pods = {}
        for pod in objects:
            self._put(pod)
        self._peers.set_peers(self._pods)

    def apply(self, obj: Json) -> None:
        """One pod that is new or changed."""
        self._put(obj)
        self._peers.set_peers(self._pods)

    def remove(self, name: str) -> None:
        """One pod that is gone."""
        self._pods.pop(name, None)
        self._peers.set_peers(self._pods)

    def _put(self, pod: Json) -> None:
        status = pod.get("status")
        ended = isinstance(status, dict) and status.get("phase") in ENDED
        address = None if ended else address_of(pod, PORT_NAME)
        if address is None:
            self._pods.pop(name_of(pod), None)
        else:
            self._pods[name_of(pod)] = address
