"""The purses of one gateway on disk, so that a container that is started again knows what its predecessor owed.

Entries are written ahead: what was reserved is on the disk before a byte leaves. All that comes while one fsync runs
goes into the next (group commit), off the event loop. The file lives as long as the pod (an emptyDir) and carries the
name under which the pod holds its leases: with the file lost, or not to be believed, the pod takes another name, and
what was leased under the old one counts as spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

import structlog

from spillway.errors import JournalDamaged, JournalUnwritable, NotReserved, SetupError
from spillway.gateway.account import holder
from spillway.gateway.entries import EMPTY, Entry
from spillway.gateway.journal_format import image, read, record
from spillway.gateway.purse import Purse

FILE_NAME: Final = "money.journal"
REWRITE_ABOVE_BYTES: Final = 4 * 1024 * 1024
"""A file that grew past this is written anew, as small as what is open: some 40,000 requests after the last time."""

_log: Final = structlog.get_logger("spillway.gateway.journal")


class Books(Protocol):
    """Where purses are kept."""

    def purse(self, name: str) -> Purse:
        """The purse of that name, as it stood when it was last heard of; the same one each time."""
        ...

    async def commit(self) -> None:
        """Return when what happened to the purses until now will outlive a crash. Raises JournalUnwritable."""
        ...

    def close(self) -> None:
        """Write no more."""
        ...


class MemoryBooks:
    """Purses that end with the process: what it had leased at a crash counts as spent."""

    def __init__(self, pod_name: str) -> None:
        self._identity = holder(pod_name, secrets.token_hex(8))
        self._purses: dict[str, Purse] = {}

    def purse(self, name: str) -> Purse:
        """The purse of that name."""
        return self._purses.setdefault(name, Purse(self._identity))

    async def commit(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Do nothing."""


class Journal:
    """The books of one pod in a file of `directory`, which no other process uses meanwhile."""

    def __init__(
        self,
        directory: Path,
        pod_name: str,
        write: Callable[[int, bytes], int] = os.write,
        limit: int = REWRITE_ABOVE_BYTES,
    ) -> None:
        """Read what a predecessor left and settle what it had open at the full reservation.

        `write` is os.write, or a disk that fails. Raises SetupError when another process uses the directory.
        """
        self._directory = directory
        self._write_bytes = write
        self._limit = limit
        self._purses: dict[str, Purse] = {}
        self._buffer: list[bytes] = []
        self._appended = self._durable = 0
        self._size = 0
        self._file: int | None = None
        self._flush: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._lock = _lock(directory)
        self._incarnation = secrets.token_hex(8)
        self._pod_name = pod_name
        self._recover()
        try:
            self._replace(self._image())
        except OSError as problem:
            _log.error("the journal cannot be written: nothing leaves until it can", problem=str(problem))
        self._buffer.clear()  # all of it is in the image

    @property
    def identity(self) -> str:
        """The name under which this pod holds its leases."""
        return holder(self._pod_name, self._incarnation)

    @property
    def writable(self) -> bool:
        """Whether the last write came about."""
        return self._file is not None

    def purse(self, name: str) -> Purse:
        """The purse of that name, as it stood when it was last heard of; the same one each time."""
        if name not in self._purses:
            self._purses[name] = Purse(self.identity, lambda entry: self._append(name, entry))
        return self._purses[name]

    async def commit(self) -> None:
        """Return when all that happened to the purses until now is on the disk. Raises JournalUnwritable."""
        wanted = self._appended
        while self._durable < wanted or not self.writable:
            if self._flush is None or self._flush.done():
                self._flush = asyncio.get_running_loop().create_task(self._write())
            await asyncio.shield(self._flush)
            if not self.writable:
                raise JournalUnwritable(f"the journal in {self._directory} cannot be written")

    def close(self) -> None:
        """Write no more; the last entries are written first if they can be."""
        self._thread.shutdown()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._add(self._file, b"".join(self._buffer))
            os.close(self._file)
        self._file = None
        if self._lock is not None:
            os.close(self._lock)

    def _append(self, name: str, entry: Entry) -> None:
        self._appended += 1
        self._buffer.append(record(name, entry))

    async def _write(self) -> None:
        """Bring the file up to date with memory as it is now."""
        wanted, batch = self._appended, b"".join(self._buffer)
        file = self._file
        loop = asyncio.get_running_loop()
        try:
            if file is None or self._size + len(batch) > self._limit:
                whole = self._image()
                self._buffer.clear()
                await loop.run_in_executor(self._thread, self._replace, whole)
            else:
                self._buffer.clear()
                await loop.run_in_executor(self._thread, self._add, file, batch)
        except OSError as problem:
            _log.error("the journal cannot be written: nothing leaves until it can", problem=str(problem))
            self._give_up()
            return
        self._durable = wanted

    def _image(self) -> bytes:
        told = ((name, purse.whole) for name, purse in self._purses.items())
        return image(self._incarnation, ((name, whole) for name, whole in told if whole != EMPTY))

    def _recover(self) -> None:
        path = self._directory / FILE_NAME
        try:
            contents = read(path.read_bytes())
            self._incarnation = contents.incarnation
            for name, entry in contents.entries:
                self.purse(name).replay((entry,))
        except FileNotFoundError:
            return
        except (OSError, JournalDamaged, NotReserved, ValueError) as problem:
            self._purses.clear()
            self._incarnation = secrets.token_hex(8)
            _log.error("the journal cannot be read: what was leased is spent", path=str(path), problem=str(problem))
            return
        charged = {name: purse.charge_open() for name, purse in self._purses.items()}
        _log.info(
            "took over the leases of this pod", torn_bytes=contents.torn_bytes, charged_micros=sum(charged.values())
        )

    def _replace(self, whole: bytes) -> None:
        """Put a file in the place of the old one, at once or not at all."""
        path, fresh = self._directory / FILE_NAME, self._directory / f"{FILE_NAME}.new"
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._write_all(file, whole)
            os.fsync(file)
            fresh.rename(path)
            _sync_directory(self._directory)
        except OSError:
            os.close(file)
            raise
        if self._file is not None:
            os.close(self._file)
        self._file, self._size = file, len(whole)

    def _add(self, file: int, batch: bytes) -> None:
        self._write_all(file, batch)
        os.fdatasync(file)
        self._size += len(batch)

    def _write_all(self, file: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._write_bytes(file, bytes(rest)) :]

    def _give_up(self) -> None:
        """The file ends in what may be half a batch: it is written anew, whole, before anything else is."""
        self._buffer.clear()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock(directory: Path) -> int | None:
    """Hold the directory as long as this process lives; None where not even that can be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / f"{FILE_NAME}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SetupError(
            f"{directory} is the journal of another gateway that runs: give each a folder of its own"
        ) from None
    return lock


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
