"""Everything that the cloud was sent: the bytes of each connection as they came, and the requests read from them.

Bytes are taken from the connection itself, beneath HTTP (and inside TLS, whose handshake is not kept), so a request
that no server can parse is recorded like any other. With a directory they are also appended to two files, one JSON
object a line: `requests.jsonl` with the requests as read, and `received.jsonl` with the raw bytes in base64.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

REQUESTS_FILE: Final = "requests.jsonl"
RECEIVED_FILE: Final = "received.jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """One request, as it was read."""

    time: float
    """Seconds since 1970."""
    method: str
    path: str
    """With the query, as sent."""
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, its name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Recorder:
    """Keeps what was sent, in memory and, when it is given a directory, in files."""

    def __init__(self, clock: Callable[[], float], directory: Path | None = None) -> None:
        self._clock = clock
        self._directory = directory
        if directory is not None:
            (directory / RECEIVED_FILE).touch()
            (directory / REQUESTS_FILE).touch()
        self._connections: list[bytearray] = []
        self._records: list[Record] = []

    @property
    def records(self) -> tuple[Record, ...]:
        """The requests read so far, in order."""
        return tuple(self._records)

    @property
    def received(self) -> tuple[bytes, ...]:
        """The bytes of each connection so far."""
        return tuple(bytes(connection) for connection in self._connections)

    def open_connection(self) -> int:
        """Number a new connection."""
        self._connections.append(bytearray())
        return len(self._connections) - 1

    def receive(self, connection: int, data: bytes) -> None:
        """Keep bytes of a connection."""
        self._connections[connection] += data
        if self._directory is not None:
            line = {"time": self._clock(), "connection": connection, "data": base64.b64encode(data).decode()}
            _append(self._directory / RECEIVED_FILE, line)

    def request(self, method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes) -> Record:
        """Keep a request that was read."""
        record = Record(self._clock(), method, path, headers, body)
        self._records.append(record)
        if self._directory is not None:
            line = {
                "time": record.time,
                "method": method,
                "path": path,
                "headers": headers,
                "body": body.decode("utf-8", "backslashreplace"),
            }
            _append(self._directory / REQUESTS_FILE, line)
        return record

    def contains(self, needle: bytes) -> bool:
        """Whether these bytes were sent, in whatever place (`holds`)."""
        return any(holds(data, needle) for data in self._haystacks())

    def _haystacks(self) -> Iterator[bytes]:
        yield from self.received
        for record in self._records:
            yield record.body


class Tap(asyncio.Protocol):
    """Stands between a connection and the protocol that serves it, and records what comes in."""

    def __init__(self, inner: asyncio.Protocol, recorder: Recorder) -> None:
        self._inner = inner
        self._recorder = recorder
        self._connection = recorder.open_connection()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on."""
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Record, then pass it on."""
        self._recorder.receive(self._connection, data)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()


def _append(file: Path, line: object) -> None:
    with file.open("ab") as stream:
        stream.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def holds(data: bytes, needle: bytes) -> bool:
    r"""Whether data holds these bytes as they are, or as a JSON string may write them (`\u0040` for `@`)."""
    if needle in data:
        return True
    if b"\\" not in data:
        return False
    plain = _unescaped(data)
    return plain is not None and needle in plain


def contains(directory: Path, needle: bytes) -> bool:
    """What `Recorder.contains` tells, from the files of a cloud that is a process of its own."""
    return any(holds(data, needle) for data in read_sent(directory))


def read_sent(directory: Path) -> tuple[bytes, ...]:
    """Everything that a cloud which is a process of its own was sent: each connection's bytes, then each body read."""
    connections: dict[int, bytearray] = {}
    for text in Path(directory, RECEIVED_FILE).read_bytes().splitlines():
        line = orjson.loads(text)
        connections.setdefault(line["connection"], bytearray()).extend(base64.b64decode(line["data"]))
    sent = [bytes(data) for data in connections.values()]
    return (*sent, *(record.body for record in read_records(directory)))


def read_records(directory: Path) -> tuple[Record, ...]:
    """The requests that a cloud which is a process of its own has read so far."""
    lines = [orjson.loads(text) for text in Path(directory, REQUESTS_FILE).read_bytes().splitlines()]
    return tuple(
        Record(
            time=line["time"],
            method=line["method"],
            path=line["path"],
            headers=tuple((name, value) for name, value in line["headers"]),
            body=line["body"].encode(),
        )
        for line in lines
    )


def _unescaped(data: bytes) -> bytes | None:
    r"""Data with the escapes of JSON strings undone wherever they are, in valid JSON or not."""
    pieces: list[str] = []
    text = data.decode("utf-8", "replace")
    place = 0
    while (found := text.find("\\", place)) >= 0:
        pieces.append(text[place:found])
        length = 6 if text[found + 1 : found + 2] == "u" else 2
        escape = text[found : found + length]
        try:
            pieces.append(json.loads(f'"{escape}"'))
        except ValueError:
            pieces.append(escape)
        place = found + max(length, 1)
    pieces.append(text[place:])
    return "".join(pieces).encode("utf-8", "replace")
