"""A small asynchronous Kubernetes client for the simulated surroundings, the demo and the tests.

Objects are plain JSON as the API server sends it. Operator and gateway have their own clients: what they do must not be
judged by the code that does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp

from spillway.errors import ClusterError, Conflict, Forbidden, Invalid, NotFound, Unreachable

Object = dict[str, Any]
"""A Kubernetes object, as JSON."""

_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
_ERRORS: Mapping[int, type[ClusterError]] = {403: Forbidden, 404: NotFound, 409: Conflict, 422: Invalid}
_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
_WATCH_SECONDS = 300
_GONE = 410


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to an object; of a deleted one, its last state."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object


class KubeAPI:
    """One connection pool to an API server, as one user (a client certificate or a bearer token)."""

    def __init__(
        self,
        server: str,
        *,
        ca_file: Path,
        client_cert: Path | None = None,
        client_key: Path | None = None,
        token: str | None = None,
        manager: str = "spillway-simulator",
    ) -> None:
        """Speak to `server` (https://host:port); `manager` is the field manager of applies and patches."""
        self.server = server
        self.ca_file = ca_file
        self._tls = ssl.create_default_context(cafile=str(ca_file))
        if client_cert is not None:
            self._tls.load_cert_chain(client_cert, client_key)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._manager = manager
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(
            self.server, connector=connector, headers=self._headers, timeout=_TIMEOUT, trust_env=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ready(self) -> bool:
        """Whether the API server answers and says that it is ready."""
        try:
            async with self._open.get("/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def get(self, path: str, **query: str) -> Object:
        """Read an object or a list by its path.

        Raises:
            ClusterError: one of its kinds, with the API server's message; the same for all calls below.
        """
        return await self._request("GET", path, query)

    async def find(self, path: str) -> Object | None:
        """Read an object, None when there is none."""
        try:
            return await self.get(path)
        except NotFound:
            return None

    async def list(self, path: str, *, labels: str = "", fields: str = "") -> list[Object]:
        """The objects under a collection's path, by label and field selector."""
        found = await self.get(path, **_selectors(labels, fields))
        return [_typed(item, found) for item in found.get("items") or []]

    async def post(self, path: str, body: Object) -> Object:
        """Create at a path: for subresources such as a token or an eviction."""
        return await self._request("POST", path, {}, body)

    async def create(self, obj: Object) -> Object:
        """Create an object; Conflict when there is one of that name."""
        return await self.post(await self._collection(obj), obj)

    async def apply(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply, as our field manager, taking fields over from others."""
        query = {"fieldManager": self._manager, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        return await self._request("PATCH", await self.path(obj), query, obj, _APPLY_PATCH)

    async def patch(self, path: str, body: Object) -> Object:
        """A merge patch: lists are replaced whole, None removes a field."""
        return await self._request("PATCH", path, {"fieldManager": self._manager}, body, _MERGE_PATCH)

    async def patch_status(self, obj: Object, status: Object) -> Object:
        """Merge into an object's status; Conflict when another object has taken its name (by uid)."""
        body: Object = {"status": status}
        if uid := obj["metadata"].get("uid"):
            body["metadata"] = {"uid": uid}
        return await self.patch(f"{await self.path(obj)}/status", body)

    async def delete(self, obj: Object | str, *, grace_seconds: int | None = None, uid: str = "") -> None:
        """Delete an object, named by itself or its path; what is not there is deleted already."""
        path = obj if isinstance(obj, str) else await self.path(obj)
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        if uid:
            body["preconditions"] = {"uid": uid}
        with contextlib.suppress(NotFound):
            await self._request("DELETE", path, {}, body)

    async def path(self, obj: Object) -> str:
        """The path of an object, by its apiVersion, kind, namespace (`default` when it names none) and name."""
        return f"{await self._collection(obj)}/{obj['metadata']['name']}"

    async def text(self, path: str, **query: str) -> str:
        """Read what is not JSON: a pod's log, metrics."""
        async with self._open.get(path, params=query) as response:
            body = await response.text()
            if response.status >= 400:
                raise _error(f"GET {path}", response.status, body)
            return body

    async def watch(self, path: str, *, labels: str = "", fields: str = "") -> AsyncIterator[Event]:
        """What is under a collection's path, as ADDED, and from then on each change, for ever.

        Outlives a closed connection and an expired resource version: then it lists anew and reports the difference.
        Leaves by being cancelled or closed; refusals (403, 404 of the collection) are raised.
        """
        query = _selectors(labels, fields)
        known: dict[str, Object] = {}
        while True:
            try:
                found = await self.get(path, **query)
            except Unreachable:
                await asyncio.sleep(0.2)
                continue
            items = {item["metadata"]["uid"]: _typed(item, found) for item in found.get("items") or []}
            for event in _difference(known, items):
                yield event
            known = items
            version: str = found["metadata"]["resourceVersion"]
            with contextlib.suppress(Unreachable, _Expired):
                while True:
                    async for kind, item in self._watch_once(path, query, version):
                        version = item["metadata"]["resourceVersion"]
                        if kind == "BOOKMARK":
                            continue
                        uid = item["metadata"]["uid"]
                        if kind == "DELETED":
                            known.pop(uid, None)
                            yield Event("DELETED", item)
                        else:
                            type_: Literal["MODIFIED", "ADDED"] = "MODIFIED" if uid in known else "ADDED"
                            known[uid] = item
                            yield Event(type_, item)
            await asyncio.sleep(0.05)

    async def _watch_once(self, path: str, query: dict[str, str], version: str) -> AsyncIterator[tuple[str, Object]]:
        query = query | {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=_WATCH_SECONDS + 30)
        try:
            async with self._open.get(path, params=query, timeout=timeout) as response:
                if response.status == _GONE:
                    raise _Expired
                if response.status >= 400:
                    raise _error(f"watch {path}", response.status, await response.text())
                async for line in _lines(response.content):
                    event: Object = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _Expired
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"watch {path}: {error!r}") from error

    async def _collection(self, obj: Object) -> str:
        version: str = obj["apiVersion"]
        kind: str = obj["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._plurals:
            for resource in (await self.get(root))["resources"]:
                if "/" not in resource["name"]:
                    self._plurals[version, resource["kind"]] = (resource["name"], resource["namespaced"])
        if (version, kind) not in self._plurals:
            raise NotFound(f"the API server knows no kind {kind} in {version}")
        plural, namespaced = self._plurals[version, kind]
        return (
            f"{root}/namespaces/{obj['metadata'].get('namespace', 'default')}/{plural}"
            if namespaced
            else f"{root}/{plural}"
        )

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        content: str = "application/json",
    ) -> Object:
        data = None if body is None else json.dumps(body)
        try:
            async with self._open.request(
                method, path, params=query, data=data, headers={"Content-Type": content}
            ) as response:
                text = await response.text()
                if response.status >= 400:
                    raise _error(f"{method} {path}", response.status, text)
                answer: Object = json.loads(text)
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("enter the KubeAPI (async with) before use")
        return self._session


class _Expired(Exception):
    """The API server no longer has the history from our resource version on."""


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {name: value for name, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}


def _typed(item: Object, found: Object) -> Object:
    """The items of a list carry no apiVersion and kind of their own."""
    return {"apiVersion": found["apiVersion"], "kind": found["kind"].removesuffix("List"), **item}


def _difference(known: Mapping[str, Object], items: Mapping[str, Object]) -> list[Event]:
    events = [Event("DELETED", obj) for uid, obj in known.items() if uid not in items]
    for uid, obj in items.items():
        if uid not in known:
            events.append(Event("ADDED", obj))
        elif known[uid]["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            events.append(Event("MODIFIED", obj))
    return events


def _error(what: str, status: int, body: str) -> ClusterError:
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.strip()[:500]
    if status == 429 or status >= 500:
        return Unreachable(f"{what}: {status} {message}")
    return _ERRORS.get(status, ClusterError)(f"{what}: {message}")


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: an event may be longer than the 64 KiB that aiohttp's own readline takes."""
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
