"""A caller on a socket of its own: knows what it was told, and what the gateway can have known of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bench.prove.asking import Asked

PATIENCE_SECONDS: Final = 120.0
MOST_BYTES: Final = 2**20


class End(StrEnum):
    """How a request looked to its caller."""

    WHOLE = "Whole"
    BROKEN = "Broken"
    LEFT = "Left"
    UNREACHED = "Unreached"
    """No connection: the gateway knows nothing of it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller knows of its request. Times are of time.monotonic.

    `begun`: the gateway certainly began with it, and so owes a line; None when nobody can tell.
    """

    asked: Asked
    end: End
    begun: bool | None
    sent: float
    ended: float
    status: int | None = None
    request_id: str = ""
    reason: str = ""
    body: bytes = b""


async def call(port: int, asked: Asked) -> Told:
    """Send one request and read its answer to the end, or leave before."""
    sent = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MOST_BYTES)
    except OSError:
        return Told(asked, End.UNREACHED, begun=False, sent=sent, ended=time.monotonic())
    begun: bool | None = None
    data = bytearray()
    end = End.BROKEN
    try:
        writer.write(_head(asked))
        if asked.expects:
            async with asyncio.timeout(PATIENCE_SECONDS):
                begun = await _is_welcome(reader, data) or None
        if not data:
            writer.write(asked.body)
            end = await _read(reader, data, asked.leaves)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.transport.abort()
    return _told(asked, end, begun, sent, bytes(data))


def _head(asked: Asked) -> bytes:
    headers = asked.headers | {"host": "gateway", "connection": "close", "content-length": str(len(asked.body))}
    if asked.expects:
        headers["expect"] = "100-continue"
    lines = [f"POST {asked.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


async def _is_welcome(reader: asyncio.StreamReader, data: bytearray) -> bool:
    """Whether 100 Continue came; another answer is left in `data`."""
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100 "):
        return True
    data += head + await reader.read(MOST_BYTES)
    return False


async def _read(reader: asyncio.StreamReader, data: bytearray, leaves: float | None) -> End:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS if leaves is None else leaves):
            while chunk := await reader.read(65536):
                data += chunk
                if _is_whole(data):
                    return End.WHOLE
    except TimeoutError:
        return End.LEFT if leaves is not None else End.BROKEN
    return End.WHOLE if _is_whole(data) else End.BROKEN


def _is_whole(data: bytearray) -> bool:
    head, separator, body = bytes(data).partition(b"\r\n\r\n")
    if not separator:
        return False
    fields = _fields(head)
    if fields.get("transfer-encoding") == "chunked":
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(fields.get("content-length", "0"))


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _told(asked: Asked, end: End, begun: bool | None, sent: float, data: bytes) -> Told:
    head, separator, _ = data.partition(b"\r\n\r\n")
    status, fields = None, dict[str, str]()
    if separator:
        fields = _fields(head)
        with contextlib.suppress(ValueError, IndexError):
            status = int(head.split(b" ", 2)[1])
    request_id = fields.get("x-spillway-request-id", "")
    return Told(
        asked=asked,
        end=end,
        begun=True if request_id else begun,
        sent=sent,
        ended=time.monotonic(),
        status=status,
        request_id=request_id,
        reason=fields.get("x-spillway-reason", ""),
        body=data,
    )
