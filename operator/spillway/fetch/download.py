"""The download: several files at a time, each resumed where it stopped, verified on disk, moved into its place."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from io import FileIO
from pathlib import Path

from spillway.errors import ChecksumMismatch, ConnectionLost, DiskFull, FetchError
from spillway.fetch.checksums import digest
from spillway.fetch.folder import Folder
from spillway.fetch.report import Reporter, percent
from spillway.fetch.source import Listing, RemoteFile, Source

PARALLEL_FILES = 4
ATTEMPTS = 6
"""In a row that brought next to nothing; then the process ends, and its pod's back-off takes over."""
_PROGRESS_BYTES = 1 << 16
_LONGEST_PAUSE_SECONDS = 30.0
_PROGRESS_SECONDS = 5.0
_GIB = 1024**3
# The file system, a quota on it, or a limit of the process is used up.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Download:
    """One listing on its way into one folder; `clock` is in seconds."""

    def __init__(
        self, source: Source, folder: Folder, listing: Listing, reporter: Reporter, clock: Callable[[], float]
    ) -> None:
        self._source = source
        self._folder = folder
        self._listing = listing
        self._reporter = reporter
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._arrived = {file.path: folder.arrived(file) for file in listing.files}
        self._told_at = clock()

    @property
    def arrived(self) -> int:
        """Bytes that are there, verified or not."""
        return sum(self._arrived.values())

    def run(self, until_bytes: int) -> None:
        """Download until at least `until_bytes` are there; all of them: until every file is verified and in its place.

        Raises:
            FetchError: it cannot go on; what has arrived is kept.
        """
        self._check_room()
        with ThreadPoolExecutor(PARALLEL_FILES) as pool:
            futures = [pool.submit(self._fetch, file, until_bytes) for file in self._listing.files]
            try:
                for future in as_completed(futures):
                    future.result()
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def _check_room(self) -> None:
        """Say at once what would be said after hours."""
        missing, free = self._listing.size - self.arrived, shutil.disk_usage(self._folder.path).free
        if missing > free:
            raise DiskFull(self._too_small(f"{missing / _GIB:.1f} GiB are missing and {free / _GIB:.1f} GiB are free"))

    def _fetch(self, file: RemoteFile, until_bytes: int) -> None:
        if self._folder.is_there(file):
            return
        try:
            self._fetch_once(file, until_bytes)
        except ChecksumMismatch as error:
            # what an earlier process left, perhaps before its node lost power, is no proof that the source is bad
            self._reporter.line("retry", file=file.path, seconds=0, message=str(error))
            self._fetch_once(file, until_bytes)

    def _fetch_once(self, file: RemoteFile, until_bytes: int) -> None:
        failures = 0
        while not self._is_enough(until_bytes):
            before = self._arrived[file.path]
            try:
                self._receive(file, until_bytes)
            except ConnectionLost as error:
                failures = 1 if self._arrived[file.path] - before >= _PROGRESS_BYTES else failures + 1
                if failures >= ATTEMPTS:
                    raise
                seconds = min(2.0 ** (failures - 1), _LONGEST_PAUSE_SECONDS)
                self._reporter.line("retry", file=file.path, seconds=seconds, message=str(error))
                if self._stop.wait(seconds):
                    return
            else:
                break
        if self._arrived[file.path] >= file.size and not self._stop.is_set():
            self._finish(file)

    def _receive(self, file: RemoteFile, until_bytes: int) -> None:
        """Append what is missing to the file's part.

        Raises:
            ConnectionLost: it ended before the file did.
            DiskFull: there is no room for it.
        """
        part = self._folder.part(file)
        with self._append(part) as output:
            start = output.tell()
            if start < file.size:
                with self._source.read(self._listing, file, start) as chunks:
                    for chunk in chunks:
                        self._write(output, chunk)
                        self._count(file, len(chunk))
                        if self._is_enough(until_bytes) and self._arrived[file.path] < file.size:
                            return
            os.fsync(output.fileno())
        if self._arrived[file.path] < file.size:
            raise ConnectionLost(f"{file.path} ended after {self._arrived[file.path]} of {file.size} bytes")

    def _finish(self, file: RemoteFile) -> None:
        """Verify the whole file as it is on disk, and move it into its place."""
        part, final = self._folder.part(file), self._folder.final(file)
        size = part.stat().st_size if part.is_file() else 0
        found = digest(part, file.checksum) if file.checksum and size == file.size else ""
        if size != file.size or (file.checksum and found != file.checksum.value):
            part.unlink(missing_ok=True)
            with self._lock:
                self._arrived[file.path] = 0
            expected = f"{file.checksum.kind} {file.checksum.value}" if file.checksum else f"{file.size} bytes"
            raise ChecksumMismatch(
                f"{file.path} should be {expected} and is {found or f'{size} bytes'}: it was thrown away"
            )
        final.parent.mkdir(parents=True, exist_ok=True)
        part.replace(final)
        self._reporter.line("file", file=file.path, bytes=file.size, verified=file.checksum is not None)

    def _append(self, part: Path) -> FileIO:
        try:
            return part.open("ab", buffering=0)
        except OSError as error:
            raise self._failure(error) from error

    def _write(self, output: FileIO, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[output.write(rest) :]
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> FetchError:
        if error.errno in FULL:
            return DiskFull(self._too_small(error.strerror or "no space"))
        return FetchError(f"the claim cannot be written to: {error}")

    def _too_small(self, why: str) -> str:
        size = self._listing.size / _GIB
        return f"the model is {size:.1f} GiB and does not fit: {why}; make spec.cache.size larger"

    def _count(self, file: RemoteFile, received: int) -> None:
        with self._lock:
            self._arrived[file.path] += received
            now = self._clock()
            if now - self._told_at < _PROGRESS_SECONDS:
                return
            self._told_at = now
            arrived = self.arrived
        total = self._listing.size
        self._reporter.line("progress", percent=percent(arrived, total), bytes=arrived, totalBytes=total)

    def _is_enough(self, until_bytes: int) -> bool:
        return self._stop.is_set() or (until_bytes < self._listing.size and self.arrived >= until_bytes)
