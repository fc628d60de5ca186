"""Engines at addresses that somebody gave, for a gateway without Kubernetes: whose they are, and which are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import orjson
import structlog

from spillway.api.v1alpha1 import EngineType
from spillway.errors import InvalidSetting
from spillway.gateway.routes import Replicas
from spillway.routing.facts import Route

PROBE_EVERY_SECONDS: Final = 2.0
ANSWER_WITHIN_SECONDS: Final = 2.0
MISSES_AT_MOST: Final = 3
"""A ready engine that is late so many times in a row is taken for dead: one that is busy may be late once."""
HEALTH: Final = {EngineType.VLLM: "/health", EngineType.OLLAMA: "/api/version"}
MODELS: Final = "/v1/models"

_log: Final = structlog.get_logger("spillway.gateway.endpoints")

Addresses = Mapping[str, tuple[str, ...]]
"""host:port of each engine, by the object's name; those of the empty name are of the only object."""


def parse_endpoints(options: Iterable[str]) -> Addresses:
    """The addresses of `URL` and `NAME=URL`.

    Raises:
        InvalidSetting: one is no http:// address of a host and a port.
    """
    found: dict[str, list[str]] = {}
    for option in options:
        before, equals, after = option.partition("=")
        name, url = (before, after) if equals else ("", before)
        of_name = found.setdefault(name, [])
        if (address := _address(url, option)) not in of_name:
            of_name.append(address)
    return {name: tuple(addresses) for name, addresses in found.items()}


def assign(addresses: Addresses, names: Iterable[str]) -> Addresses:
    """The engines of each object in `names`.

    Raises:
        InvalidSetting: an address is of an object that is in no file, or of none though there are several.
    """
    known = sorted(names)
    unnamed = addresses.get("", ())
    if unnamed and len(known) > 1:
        raise InvalidSetting(
            f"--endpoint http://{unnamed[0]} does not say whose it is, and there are several LLMDeployments "
            f"({', '.join(known)}); write --endpoint {known[0]}=http://{unnamed[0]}"
        )
    for name in addresses.keys() - {"", *known}:
        raise InvalidSetting(
            f"--endpoint {name}=http://{addresses[name][0]}: no file holds an LLMDeployment {name!r} "
            f"(there is {', '.join(known)}); name one of them"
        )
    return {name: (*unnamed, *addresses.get(name, ())) for name in known}


def _address(url: str, option: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        parts, host, port = urlsplit(""), None, 0
    plain = parts.path in {"", "/"} and not parts.query and not parts.fragment and parts.username is None
    if parts.scheme != "http" or not host or not plain:
        raise InvalidSetting(
            f"--endpoint {option!r} is not the address of an engine; write http://HOST:PORT or NAME=http://HOST:PORT, "
            "without a path, such as --endpoint http://127.0.0.1:8000"
        )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Seen(Enum):
    """What a probe saw."""

    WELL = "answers"
    STARTING = "answers, and is not ready"
    SILENT = "does not answer in time"
    GONE = "cannot be connected to"


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one engine: the last that was seen, and how often in a row it was not well."""

    seen: Seen = Seen.GONE
    misses: int = 0
    is_ready: bool = False

    def after(self, seen: Seen) -> Health:
        """With one probe more. What is gone, or says that it is not ready, is not ready at once."""
        if seen is Seen.WELL:
            return Health(seen, 0, is_ready=True)
        misses = self.misses + 1
        return Health(seen, misses, is_ready=self.is_ready and seen is Seen.SILENT and misses < MISSES_AT_MOST)


class Prober:
    """Asks engines whether they are ready; `routes` are those served now, `tell` takes the replicas of all."""

    def __init__(self, routes: Callable[[], Iterable[Route]], tell: Callable[[Mapping[str, Replicas]], None]) -> None:
        self._routes = routes
        self._tell = tell
        self._addresses: Addresses = {}
        self._health: dict[tuple[str, str], Health] = {}

    def set_addresses(self, addresses: Addresses) -> None:
        """Take in whose engines are where (`assign`)."""
        self._addresses = addresses

    async def run(self, probed: Callable[[], None]) -> None:
        """Probe for ever; `probed` is called after each round."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_SECONDS)
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            while True:
                await self._round(session)
                probed()
                await asyncio.sleep(PROBE_EVERY_SECONDS)

    async def _round(self, session: aiohttp.ClientSession) -> None:
        due = [(route, address) for route in self._routes() for address in self._addresses.get(route.name, ())]
        found = await asyncio.gather(*(_probe(session, address, HEALTH[route.engine]) for route, address in due))
        before, self._health = self._health, {}
        for (route, address), seen in zip(due, found, strict=True):
            was = before.get((route.name, address))
            self._health[route.name, address] = now = (was or Health()).after(seen)
            if was is None or was.is_ready != now.is_ready:
                say = _log.info if now.is_ready else _log.warning
                said = "an engine is ready" if now.is_ready else "an engine is not ready"
                say(said, deployment=route.name, endpoint=f"http://{address}", because=seen.value)
                if now.is_ready:
                    await _warn_of_another_model(session, route, address)
        self._tell({route.name: self._replicas(route.name) for route in self._routes()})

    def _replicas(self, name: str) -> Replicas:
        health = {address: self._health.get((name, address), Health()) for address in self._addresses.get(name, ())}
        ready = {address: address for address, known in health.items() if known.is_ready}
        coming = [known for known in health.values() if not known.is_ready and known.seen is not Seen.GONE]
        return Replicas(ready, loading=len(coming))


async def _probe(session: aiohttp.ClientSession, address: str, path: str) -> Seen:
    try:
        async with session.get(f"http://{address}{path}", allow_redirects=False) as answer:
            return Seen.WELL if answer.status == 200 else Seen.STARTING
    except aiohttp.ClientConnectorError:
        return Seen.GONE
    except (aiohttp.ClientError, OSError, TimeoutError):
        return Seen.SILENT


async def _warn_of_another_model(session: aiohttp.ClientSession, route: Route, address: str) -> None:
    """Say so when the engine does not list the name by which it will be asked: it would answer 404."""
    try:
        async with session.get(f"http://{address}{MODELS}", allow_redirects=False) as answer:
            listed = orjson.loads(await answer.read())
        names = [str(model["id"]) for model in listed["data"]]
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError):
        return  # what it says is no list of models: nothing is known
    if route.model_name not in names and f"{route.model_name}:latest" not in names:
        cure = (
            f"start it with --served-model-name {route.model_name}, or write spec.model.servedName"
            if route.engine is EngineType.VLLM
            else "pull that model, or write the name of one that it has into spec.model.servedName"
        )
        _log.warning(
            "an engine does not serve the model by this name",
            endpoint=f"http://{address}",
            name=route.model_name,
            serves=names[:20],
            cure=cure,
        )
