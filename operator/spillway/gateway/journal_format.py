"""The bytes of a journal, pure: a header, then records, each with its length and checksums. Integers little-endian.

    header: "SPWJ", version (1 byte), incarnation (16 bytes of hex), CRC-32 of these 21 bytes
    record: length of the payload (4 bytes), CRC-32 of these 4 bytes, CRC-32 of the payload, payload

A payload is JSON: [purse, word, values...]. Only what was written last can be torn, by a crash while it was written;
damage before it means that the file is not what was written, and then nothing of it is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import orjson
from pydantic import TypeAdapter, ValidationError

from spillway.errors import JournalDamaged
from spillway.gateway.entries import (
    Confirmed,
    Disowned,
    Entry,
    Rejected,
    Released,
    Sent,
    Settled,
    Taken,
    Whole,
)

VERSION: Final = 1
_MAGIC: Final = b"SPWJ"
_HEADER: Final = struct.Struct("<4sB16sI")
_FRAME: Final = struct.Struct("<III")
_LENGTH: Final = struct.Struct("<I")
_WORDS: Final[dict[str, type[Entry]]] = {
    "taken": Taken,
    "settled": Settled,
    "released": Released,
    "sent": Sent,
    "rejected": Rejected,
    "confirmed": Confirmed,
    "disowned": Disowned,
    "whole": Whole,
}
_WORD_OF: Final = {kind: word for word, kind in _WORDS.items()}
_READERS: Final = {word: TypeAdapter(kind) for word, kind in _WORDS.items()}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal says: whose it is, what happened to which purse in order, and how many bytes of it were torn."""

    incarnation: str
    entries: tuple[tuple[str, Entry], ...]
    torn_bytes: int


def header(incarnation: str) -> bytes:
    """The beginning of a file; `incarnation` are 16 hexadecimal digits."""
    start = _HEADER.pack(_MAGIC, VERSION, incarnation.encode("ascii"), 0)[: -_LENGTH.size]
    return start + _LENGTH.pack(crc32(start))


def record(purse: str, entry: Entry) -> bytes:
    """One entry of one purse."""
    payload = orjson.dumps([purse, _WORD_OF[type(entry)], entry])
    length = _LENGTH.pack(len(payload))
    return _FRAME.pack(len(payload), crc32(length), crc32(payload)) + payload


def read(data: bytes) -> Contents:
    """What a file says.

    Raises:
        JournalDamaged: it is of another version, or its bytes are not those that were written.
    """
    incarnation = _read_header(data)
    entries: list[tuple[str, Entry]] = []
    offset = _HEADER.size
    while offset < len(data):
        payload = _payload_at(data, offset)
        if payload is None:
            break
        entries.append(_entry(payload))
        offset += _FRAME.size + len(payload)
    return Contents(incarnation, tuple(entries), len(data) - offset)


def _read_header(data: bytes) -> str:
    if len(data) < _HEADER.size:
        raise JournalDamaged("the journal is shorter than its header")
    magic, version, incarnation, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC or crc32(data[: _HEADER.size - _LENGTH.size]) != checksum:
        raise JournalDamaged("the journal's header is not one of ours")
    if version != VERSION:
        raise JournalDamaged(f"the journal has version {version}, and this program reads version {VERSION}")
    return bytes(incarnation).decode("ascii")


def _payload_at(data: bytes, offset: int) -> bytes | None:
    """The payload of the record there; None when what is left was torn while it was written."""
    if not any(data[offset : offset + _FRAME.size]) and not any(data[offset:]):
        return None  # a file system that grew the file and crashed before the bytes came leaves zeros
    if len(data) - offset < _FRAME.size:
        return None
    length, length_checksum, checksum = _FRAME.unpack_from(data, offset)
    if crc32(_LENGTH.pack(length)) != length_checksum:
        raise JournalDamaged(f"the length of the record at byte {offset} is not what was written")
    start, end = offset + _FRAME.size, offset + _FRAME.size + length
    payload = data[start:end]
    if crc32(payload) == checksum and len(payload) == length:
        return payload
    if end >= len(data):
        return None
    raise JournalDamaged(f"the record at byte {offset} is not what was written")


def _entry(payload: bytes) -> tuple[str, Entry]:
    try:
        purse, word, values = orjson.loads(payload)
        return str(purse), _READERS[word].validate_python(values)
    except (ValueError, KeyError, TypeError, ValidationError) as problem:
        raise JournalDamaged(f"a record of the journal says what it cannot: {problem}") from problem


def image(incarnation: str, purses: Iterable[tuple[str, Whole]]) -> bytes:
    """A whole file that says of each purse how it stands."""
    return header(incarnation) + b"".join(record(name, whole) for name, whole in purses)
