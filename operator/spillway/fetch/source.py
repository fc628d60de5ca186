"""What a hub and a bucket have in common: files of known size, most with a checksum, readable from any byte on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from spillway.errors import ModelNotFound
from spillway.fetch.checksums import Checksum


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file: its path below the model, its size in bytes, and what its bytes must come to (None: nobody says)."""

    path: str
    size: int
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A model at one moment: `revision` names it for good (a commit; of a bucket the digest of its listing)."""

    revision: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class Source(Protocol):
    """A place that models are downloaded from. Every method raises `FetchError`s alone."""

    def resolve(self) -> Listing:
        """The model as it is there now."""

    def read(self, listing: Listing, file: RemoteFile, start: int) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes of `file` from byte `start` on."""


def checked(listing: Listing) -> Listing:
    """The listing, once no file of it lies outside the model's folder or where we keep our own.

    Raises:
        ModelNotFound: there is no file, or one whose name is a way out.
    """
    if not listing.files:
        raise ModelNotFound("there is no file of a model: is the path right?")
    for file in listing.files:
        parts = PurePosixPath(file.path).parts
        if not parts or parts[0] == "/" or ".." in parts or parts[0].startswith(".spillway") or "\0" in file.path:
            raise ModelNotFound(f"the file name {file.path!r} cannot be that of a model")
    return listing
