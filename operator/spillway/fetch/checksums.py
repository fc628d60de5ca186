"""Checksums as hubs and buckets publish them, reckoned over a file on disk: what is verified is what is served."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_CHUNK_BYTES = 1 << 20


class Kind(StrEnum):
    """What a checksum is made by."""

    SHA256 = "sha256"
    """Of a large file on the hub (Git LFS)."""
    GIT_BLOB = "git-blob"
    """Of a small file on the hub: git's name for it, SHA-1 over a header and the bytes
    (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects)."""
    MD5 = "md5"
    """The ETag of an object that was uploaded in one piece."""
    MD5_PARTS = "md5-parts"
    """The ETag of an object that was uploaded in parts: MD5 over the MD5s of its parts, a dash and their number
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html)."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """`value` in hexadecimal; `part_bytes` is the size of every part but the last, for a checksum by parts."""

    kind: Kind
    value: str
    part_bytes: int = 0


def digest(path: Path, like: Checksum) -> str:
    """The checksum of the file at `path`, made as `like` was."""
    match like.kind:
        case Kind.SHA256:
            return _digest(path, hashlib.sha256())
        case Kind.GIT_BLOB:
            return _digest(path, hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False))
        case Kind.MD5:
            return _digest(path, hashlib.md5(usedforsecurity=False))
        case Kind.MD5_PARTS:
            return _digest_of_parts(path, like.part_bytes)


def _digest(path: Path, made: hashlib._Hash) -> str:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            made.update(chunk)
    return made.hexdigest()


def _digest_of_parts(path: Path, part_bytes: int) -> str:
    digests = []
    with path.open("rb") as file:
        left = path.stat().st_size
        while left > 0:
            part, rest = hashlib.md5(usedforsecurity=False), min(part_bytes, left)
            left -= rest
            while rest > 0 and (chunk := file.read(min(_CHUNK_BYTES, rest))):
                part.update(chunk)
                rest -= len(chunk)
            digests.append(part.digest())
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"
