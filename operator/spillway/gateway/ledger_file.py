"""LLMLedgers in a file of one machine, for a gateway without Kubernetes.

The same objects by the same law as on the API server, in `ledger.json` of a folder that one process holds at a time.
A write replaces the file at once or not at all, and is on the disk before anybody is told so. The file carries a
digest: one that was damaged, changed by hand or taken away is not believed, and nothing may be spent until the gateway
is started again with one that is whole. Without a file nothing was spent: that is how the first one begins.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from spillway.api.v1alpha1 import LLMLedgerSpec, LLMLedgerStatus
from spillway.errors import LedgerConflict, LedgerUnreachable, SetupError
from spillway.gateway.account import Account, breach
from spillway.gateway.ledger_object import account_of, status_of
from spillway.gateway.store import Snapshot

FILE_NAME: Final = "ledger.json"
_log: Final = structlog.get_logger("spillway.gateway.ledger")


class _Contents(BaseModel):
    """What the file holds. `sha256` is of `ledgers` as they stand there, keys in order."""

    model_config = ConfigDict(extra="forbid")

    version: int
    sha256: str
    ledgers: dict[str, dict[str, object]]


class FileLedgerStore:
    """The ledgers in a folder. All that touches them runs in one thread, one thing after the other."""

    def __init__(self, directory: Path) -> None:
        """Hold the folder and read what is there.

        Raises:
            SetupError: another process holds the folder, or it cannot be written.
        """
        self._path = directory / FILE_NAME
        self._lock = _lock(directory)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._specs: dict[str, LLMLedgerSpec] = {}
        self._statuses: dict[str, LLMLedgerStatus] = {}
        self._versions: dict[str, int] = {}
        self._on_disk: bytes | None = None
        self._problem: str | None = None
        try:
            self._on_disk = self._path.read_bytes()
            self._statuses = _parse(self._on_disk)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as problem:
            self._problem = (
                f"{self._path} is damaged or was changed by hand ({problem}); put a copy that is whole in its place, "
                "or move it away to begin with nothing spent, and start the gateway again"
            )
            _log.error("the ledger cannot be believed: nothing leaves", problem=self._problem)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        os.close(self._lock)

    async def set_budgets(self, specs: Mapping[str, LLMLedgerSpec]) -> None:
        """Take in the budget of each deployment by its name. One that is gone keeps its own: it may still settle."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._set_budgets, dict(specs))

    async def read(self, name: str) -> Snapshot:
        """The account now. Raises LedgerUnreachable."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, name)

    async def write(self, name: str, snapshot: Snapshot) -> Snapshot:
        """Store the account if the object is still at `snapshot.version`. Raises LedgerConflict, LedgerUnreachable."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._write, name, snapshot)

    def _set_budgets(self, specs: dict[str, LLMLedgerSpec]) -> None:
        for name, spec in specs.items():
            if spec != self._specs.get(name):
                self._versions[name] = self._versions.get(name, 0) + 1
        self._specs |= specs

    def _read(self, name: str) -> Snapshot:
        self._check_disk()
        account = self._account(name)
        return Snapshot(str(self._versions[name]), account)

    def _write(self, name: str, snapshot: Snapshot) -> Snapshot:
        self._check_disk()
        before = self._account(name)
        if snapshot.version != str(self._versions[name]):
            raise LedgerConflict(f"the budget of {name} was changed")
        after = replace(snapshot.account, limit_micros=before.limit_micros)
        if (broken := breach(before, after)) is not None:
            raise LedgerUnreachable(f"ledger of {name}: {broken}")
        statuses = self._statuses | {name: status_of(after)}
        contents = _render(statuses)
        try:
            _replace(self._path, contents)
        except OSError as problem:
            raise LedgerUnreachable(f"{self._path} cannot be written: {problem}") from problem
        self._statuses, self._on_disk = statuses, contents
        self._versions[name] += 1
        return Snapshot(str(self._versions[name]), after)

    def _account(self, name: str) -> Account:
        spec = self._specs.get(name)
        if spec is None:
            raise LedgerUnreachable(f"{name} is in none of the files")
        return account_of(spec, self._statuses.get(name))

    def _check_disk(self) -> None:
        """Raise LedgerUnreachable when the file is not as it was left here: somebody else's word counts no money."""
        if self._problem is not None:
            raise LedgerUnreachable(self._problem)
        try:
            found = self._path.read_bytes() if self._path.exists() else None
        except OSError as problem:
            raise LedgerUnreachable(f"{self._path} cannot be read: {problem}") from problem
        if found != self._on_disk:
            self._problem = f"{self._path} was changed while this gateway runs; start it again once it is whole"
            _log.error("the ledger cannot be believed: nothing leaves", problem=self._problem)
            raise LedgerUnreachable(self._problem)


def _lock(directory: Path) -> int:
    """Hold the folder as long as this process lives."""
    path = directory / f"{FILE_NAME}.lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise SetupError(f"--state-dir {directory} cannot be written ({problem}); name a folder that can") from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise SetupError(
            f"--state-dir {directory} is held by another gateway (process {holder}), and two must not spend one "
            "budget; end that one, or name another folder for a budget of its own"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _parse(data: bytes) -> dict[str, LLMLedgerStatus]:
    """What the file holds. Raises ValueError when it is not what was written."""
    try:
        contents = _Contents.model_validate(orjson.loads(data))
        if contents.version != 1:
            raise ValueError(f"version {contents.version} is not one that this gateway reads")
        if contents.sha256 != _digest(contents.ledgers):
            raise ValueError("its digest is that of another content")
        return {name: LLMLedgerStatus.model_validate(status) for name, status in contents.ledgers.items()}
    except ValidationError as problem:
        raise ValueError(f"{problem.error_count()} fields are not as they were written") from problem


def _render(statuses: Mapping[str, LLMLedgerStatus]) -> bytes:
    ledgers = {
        name: status.model_dump(mode="json", by_alias=True, exclude_none=True) for name, status in statuses.items()
    }
    whole = {"version": 1, "sha256": _digest(ledgers), "ledgers": ledgers}
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n"


def _digest(ledgers: Mapping[str, object]) -> str:
    return hashlib.sha256(orjson.dumps(ledgers, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _replace(path: Path, contents: bytes) -> None:
    """Put a file in the place of the old one, at once or not at all, and on the disk before this returns."""
    fresh = path.with_suffix(".json.new")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(file, "wb", closefd=False) as stream:
            stream.write(contents)
        os.fsync(file)
    finally:
        os.close(file)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
