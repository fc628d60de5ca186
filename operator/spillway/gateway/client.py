"""The caller's side of one request: begin, write, finish, or cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Final

from aiohttp import web

from spillway.errors import ClientLeft
from spillway.gateway.answers import Answer

STALLED_SECONDS: Final = 120.0
"""A caller that takes no bytes for this long holds a slot for nothing and is let go."""


class Client:
    """Writes one answer to one caller. Whoever was committed is the only one to call it."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None

    @property
    def response(self) -> web.StreamResponse | None:
        """What was begun, or None."""
        return self._response

    async def send(self, answer: Answer, headers: Mapping[str, str]) -> None:
        """A whole answer. Raises ClientLeft."""
        response = web.Response(status=answer.status, body=answer.body, headers=dict(headers) | dict(answer.headers))
        response.headers["content-type"] = answer.content_type
        await self._begin(response)
        await self._within(response.write_eof())

    async def begin(self, content_type: str, headers: Mapping[str, str]) -> None:
        """The head of a stream. Raises ClientLeft."""
        response = web.StreamResponse(status=200, headers=dict(headers))
        response.headers["content-type"] = content_type
        response.headers["cache-control"] = "no-cache"
        await self._begin(response)

    async def write(self, data: bytes) -> None:
        """Bytes of a stream; waits while the caller is slower than its upstream. Raises ClientLeft."""
        if self._response is None:
            raise RuntimeError("written before it was begun")
        await self._within(self._response.write(data))

    async def finish(self) -> None:
        """The regular end of a stream. Raises ClientLeft."""
        if self._response is None:
            raise RuntimeError("finished before it was begun")
        await self._within(self._response.write_eof())

    def cut(self) -> None:
        """Close the connection: a stream without its end must not look whole."""
        if self._request.transport is not None:
            self._request.transport.close()

    async def _begin(self, response: web.StreamResponse) -> None:
        if self._response is not None:
            raise RuntimeError("begun twice")
        self._response = response
        await self._within(response.prepare(self._request))

    async def _within(self, writing: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await writing
        except (ConnectionError, TimeoutError) as error:
            raise ClientLeft(str(error)) from error
