"""The model's folder on the claim: the files, what is still missing of them, and what says that they are all there.

Beside the model stands `.spillway/`: `listing.json`, what was resolved, so that every later step downloads the same
commit; `parts/`, what has arrived of unfinished files; `complete.json`, written last and at once, so that it is there
only when everything is; `lock`, held by whoever downloads.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from spillway.fetch.report import Result
from spillway.fetch.source import Listing, RemoteFile

_T = TypeVar("_T")
_LISTING = TypeAdapter(Listing)
_RESULT = TypeAdapter(Result)


class Folder:
    """One model's folder; it need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ours = path / ".spillway"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and wait until nobody else downloads into it; two pods may, on a shared claim."""
        (self._ours / "parts").mkdir(parents=True, exist_ok=True)
        with (self._ours / "lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                # some network file systems have no locks; a Job is one pod, so it is the rare case that loses
                print(json.dumps({"event": "unlocked", "message": str(error)}), flush=True)  # noqa: T201 - the log
            yield

    def final(self, file: RemoteFile) -> Path:
        """Where the file is when all of it is there and verified."""
        return self.path / file.path

    def part(self, file: RemoteFile) -> Path:
        """Where the file is while it arrives; another content of the same name has another part."""
        mark = file.checksum.value[:16] if file.checksum else f"{file.size}"
        return self._ours / "parts" / f"{file.path.replace('/', '%2F')[-180:]}.{mark}"

    def arrived(self, file: RemoteFile) -> int:
        """Bytes of the file that are there."""
        for path in (self.final(file), self.part(file)):
            if path.is_file():
                return min(path.stat().st_size, file.size)
        return 0

    def is_there(self, file: RemoteFile) -> bool:
        """Whether all of the file is there."""
        path = self.final(file)
        return path.is_file() and path.stat().st_size == file.size

    @property
    def listing(self) -> Listing | None:
        """What was resolved before, None if nothing was."""
        return _read(self._ours / "listing.json", _LISTING)

    def pin(self, listing: Listing) -> None:
        """Let every later step download just this."""
        _write(self._ours / "listing.json", asdict(listing))

    def unpin(self) -> None:
        """Let the next attempt resolve anew."""
        (self._ours / "listing.json").unlink(missing_ok=True)

    @property
    def result(self) -> Result | None:
        """What was told when the download was complete; None while it is not, or if a file has gone or changed size."""
        result, listing = _read(self._ours / "complete.json", _RESULT), self.listing
        if result is None or listing is None or not all(self.is_there(file) for file in listing.files):
            return None
        return result

    def complete(self, result: Result) -> None:
        """Say that everything is there."""
        _write(self._ours / "complete.json", asdict(result))


def _read(path: Path, shape: TypeAdapter[_T]) -> _T | None:
    try:
        return shape.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, value: object) -> None:
    """Replace the file at once: after a crash it is the old one or the new one."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
