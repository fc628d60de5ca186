"""The gateway's Kubernetes client: JSON in, JSON out, with the errors of `spillway.errors`.

Built on the official client for its connection, TLS and token renewal (the kubelet replaces a token before it expires,
the client reads the file again each minute). Its generated models are not used: they validate nothing and cost much.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp
import orjson
from kubernetes.aio import client as kubernetes
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from spillway.errors import Conflict, Forbidden, Invalid, InvalidSetting, NotFound, Unreachable, WatchExpired

REQUEST_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 240
"""After this long the API server ends a watch and we begin another: a connection that died silently is noticed."""
WATCH_SLACK_SECONDS: Final = 15

Json = Mapping[str, object]


class KubeClient:
    """Talks to the API server that the pod's environment names, as the pod's service account."""

    def __init__(self, service_account_dir: Path) -> None:
        """Raises InvalidSetting when the environment or the service account's files are not there."""
        configuration = kubernetes.Configuration()
        token, ca = str(service_account_dir / "token"), str(service_account_dir / "ca.crt")
        try:
            loader = InClusterConfigLoader(token, ca)  # type: ignore[no-untyped-call]  # this part has no annotations
            loader.load_and_set(configuration)  # type: ignore[no-untyped-call]  # the same
        except ConfigException as problem:
            raise InvalidSetting(f"no Kubernetes API server to talk to: {problem}") from problem
        self._configuration = configuration
        self._api: kubernetes.ApiClient | None = None

    async def __aenter__(self) -> Self:
        self._api = kubernetes.ApiClient(self._configuration)
        self._api.user_agent = "spillway-gateway"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._api is not None:
            await self._api.close()  # type: ignore[no-untyped-call]  # the client's own has no annotations

    async def get(self, path: str, **query: str) -> Json:
        """An object or a list."""
        return await self._json("GET", path, query, None)

    async def put(self, path: str, body: Json, **query: str) -> Json:
        """Replace an object; raises Conflict when its resourceVersion is no longer the stored one."""
        return await self._json("PUT", path, query, body)

    async def watch(self, path: str, resource_version: str, **query: str) -> AsyncIterator[Json]:
        """Watch events from `resource_version` on, until the API server ends the watch.

        Raises:
            WatchExpired: the version is too old; list again.
            Unreachable: the connection broke, or nothing came for longer than a watch lasts.
        """
        query = query | {
            "watch": "1",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(
            total=WATCH_SECONDS + WATCH_SLACK_SECONDS, sock_connect=REQUEST_SECONDS, sock_read=None
        )
        response = await self._request("GET", path, query, None, timeout)
        try:
            tail = b""
            async for chunk in response.content.iter_any():
                *lines, tail = (tail + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _event(line)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"watch {path}: {error!r}") from error
        finally:
            response.close()

    async def _json(self, method: str, path: str, query: Mapping[str, str], body: Json | None) -> Json:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        response = await self._request(method, path, query, body, timeout)
        try:
            return _parse(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError) as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error
        finally:
            response.close()

    async def _request(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        if self._api is None:
            raise RuntimeError("KubeClient is used outside of its context")
        try:
            serialized = await self._api.param_serialize(
                method,
                path,
                query_params=list(query.items()),
                header_params={"Accept": "application/json", "Content-Type": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._api.call_api(*serialized, _request_timeout=limits)
            response: aiohttp.ClientResponse = answer.response
            refusal = await response.text() if response.status >= 400 else ""
        except (aiohttp.ClientError, OSError, TimeoutError, ConfigException) as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error
        if response.status >= 400:
            raise _error(response.status, f"{method} {path}: {refusal[:500]}")
        return response


def _error(status: int, message: str) -> Exception:
    """An answer of the API server as an error of ours."""
    kinds = {403: Forbidden, 404: NotFound, 409: Conflict, 410: WatchExpired, 422: Invalid}
    return kinds[status](message) if status in kinds else Unreachable(f"{status} {message}")


def _event(line: bytes) -> Json:
    event = _parse(line)
    if event.get("type") == "ERROR":
        status = event.get("object")
        code = status.get("code") if isinstance(status, dict) else None
        raise _error(code if isinstance(code, int) else 500, line.decode(errors="replace")[:500])
    return event


def _parse(data: bytes) -> Json:
    value = orjson.loads(data)
    return value if isinstance(value, dict) else {}
