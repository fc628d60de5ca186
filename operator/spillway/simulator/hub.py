"""A model hub that serves the repositories it was given, with the paths, headers and errors of the Hugging Face Hub.

Written from the hub's public API (https://huggingface.co/docs/hub/api) and from what `huggingface_hub` asks for. It can
be told to cut connections, to serve other bytes than it promises, and to serve slowly; each answer says that it is
simulated.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import web

_LFS_FROM_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 16
_SIMULATED = {"server": "spillway-simulator"}


@dataclass(frozen=True, slots=True)
class Repository:
    """Files by path at one commit; with a `token` it is private."""

    files: Mapping[str, bytes]
    token: str = ""
    branch: str = "main"

    @property
    def commit(self) -> str:
        """Forty digits, as git names commits; of the files alone."""
        made = hashlib.sha1(usedforsecurity=False)
        for path, content in sorted(self.files.items()):
            made.update(f"{path}\0{len(content)}\0".encode())
            made.update(content)
        return made.hexdigest()


@dataclass(slots=True)
class Faults:
    """What goes wrong on purpose with the bytes of large files."""

    cut_after_bytes: int = 0
    """Drop a connection after so many bytes of its answer; 0: never."""
    cuts: int = 1_000_000
    """How often."""
    corrupt: bool = False
    """Serve a byte wrongly."""
    ignore_ranges: bool = False
    is_down: bool = False
    """Answer 503."""
    bytes_per_second: float = 0.0
    """0: as fast as it goes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a file's bytes."""

    path: str
    range: str
    authorization: str


@dataclass(slots=True)
class Hub:
    """The server; `url` is known once it has been entered."""

    repositories: dict[str, Repository]
    faults: Faults = field(default_factory=Faults)
    asked: list[Asked] = field(default_factory=list)
    resolved: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    files_host: str = "localhost"
    """Where large files are said to be: another host than the hub's, as its CDN is, so no token may be sent there."""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application()
        app.router.add_get("/api/models/{owner}/{name}/revision/{revision}", self._info)
        app.router.add_get("/{owner}/{name}/resolve/{revision}/{path:.+}", self._resolve)
        app.router.add_get("/cdn/{digest}", self._large)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://{self.host}:{self.port}"

    async def _info(self, request: web.Request) -> web.Response:
        repository = self._find(request)
        self.resolved += 1
        siblings = []
        for path, content in repository.files.items():
            entry: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": _git_blob(content)}
            if _is_large(content):
                entry["lfs"] = {"sha256": _sha256(content), "size": len(content), "pointerSize": 135}
            siblings.append(entry)
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        told = {"_id": "0" * 24, "id": name, "modelId": name, "sha": repository.commit, "siblings": siblings}
        return web.json_response(told, headers=_SIMULATED)

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        repository = self._find(request)
        path = request.match_info["path"]
        self._note(request, path)
        if path not in repository.files:
            raise _refusal(404, "EntryNotFound", "Entry not found")
        content = repository.files[path]
        headers = {"x-repo-commit": repository.commit, "etag": f'"{_git_blob(content)}"'}
        if not _is_large(content):
            return web.Response(body=content, headers=headers | _SIMULATED)
        place = f"http://{self.files_host}:{self.port}/cdn/{_sha256(content)}"
        raise web.HTTPFound(place, headers=headers | {"x-linked-etag": f'"{_sha256(content)}"'})

    async def _large(self, request: web.Request) -> web.StreamResponse:
        digest = request.match_info["digest"]
        found = {_sha256(c): c for repo in self.repositories.values() for c in repo.files.values() if _is_large(c)}
        if digest not in found:
            raise web.HTTPNotFound
        self._note(request, request.path)
        if self.faults.is_down:
            raise web.HTTPServiceUnavailable
        content = found[digest]
        if self.faults.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = request.http_range
        start = (wanted.start or 0) if not self.faults.ignore_ranges else 0
        status = 206 if start else 200
        headers = {"etag": f'"{digest}"', "accept-ranges": "bytes", **_SIMULATED}
        if start:
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = len(content) - start
        with contextlib.suppress(ConnectionError):  # whoever has enough goes: a step of a download ends so
            await response.prepare(request)
            await self._send(request, response, content[start:])
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, content: bytes) -> None:
        limit = len(content)
        if self.faults.cut_after_bytes and self.faults.cuts and self.faults.cut_after_bytes < limit:
            limit, self.faults.cuts = self.faults.cut_after_bytes, self.faults.cuts - 1
        for at in range(0, limit, _CHUNK_BYTES):
            chunk = content[at : min(at + _CHUNK_BYTES, limit)]
            await response.write(chunk)
            if self.faults.bytes_per_second:
                await asyncio.sleep(len(chunk) / self.faults.bytes_per_second)
        if limit < len(content) and request.transport is not None:
            request.transport.close()

    def _note(self, request: web.Request, path: str) -> None:
        headers = request.headers
        self.asked.append(Asked(path, headers.get("Range", ""), headers.get("Authorization", "")))

    def _find(self, request: web.Request) -> Repository:
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        repository = self.repositories.get(name)
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository is None:
            # to whoever is nobody the hub does not say whether it exists
            raise _refusal(404 if given else 401, "RepoNotFound", "Repository not found")
        if repository.token and given != repository.token:
            if given:
                raise _refusal(401, "", "Invalid credentials in Authorization header")
            raise _refusal(401, "GatedRepo", f"Access to model {name} is restricted")
        if request.match_info["revision"] not in {repository.branch, repository.commit}:
            raise _refusal(404, "RevisionNotFound", "Invalid rev id")
        return repository


def made_up_model(weight_bytes: int, config: Mapping[str, object], seed: bytes = b"spillway") -> dict[str, bytes]:
    """The files of a repository with `weight_bytes` of weights that mean nothing, in two shards."""
    block = b"".join(hashlib.sha256(seed + bytes([index])).digest() for index in range(128))
    weights = (block * (weight_bytes // len(block) + 1))[:weight_bytes]
    half = weight_bytes // 2
    return {
        "config.json": json.dumps(config, indent=2).encode(),
        "tokenizer.json": b'{"version": "1.0", "model": {"vocab": {}}}',
        "model-00001-of-00002.safetensors": weights[:half],
        "model-00002-of-00002.safetensors": b"2" + weights[half + 1 :],
    }


def _refusal(status: int, code: str, message: str) -> web.HTTPException:
    headers = {"x-error-message": message, **({"x-error-code": code} if code else {}), **_SIMULATED}
    kind = {401: web.HTTPUnauthorized, 404: web.HTTPNotFound}[status]
    return kind(headers=headers, text=json.dumps({"error": message}), content_type="application/json")


def _is_large(content: bytes) -> bool:
    return len(content) >= _LFS_FROM_BYTES


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
