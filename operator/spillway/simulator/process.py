"""Child processes that never outlive the run that started them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from spillway.simulator import sweeper


class Child:
    """One process, leader of its own process group, its output in a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        """The process id, also the id of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, -N when signal N ended it, None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until it ends; what is left of its group is killed, as a container's processes are with its first."""
        code = await self._process.wait()
        self.signal(signal.SIGKILL)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, if there is one left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def stop(self, grace_seconds: float) -> int:
        """SIGTERM, then SIGKILL when the grace is over; gives the exit code."""
        if self.returncode is None:
            self.signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(grace_seconds):
                    return await self.wait()
            except TimeoutError:
                self.signal(signal.SIGKILL)
        return await self.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of its output."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


class Keeper:
    """Starts processes, and ends all of them and their descendants when it is left: by exit, exception or SIGKILL."""

    def __init__(self, removes: Path | None = None) -> None:
        """Also remove the directory `removes` at the end."""
        self._removes = removes
        self._mark = secrets.token_hex(16)
        self._sweeper: subprocess.Popen[bytes] | None = None
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        argv = [sys.executable, "-I", "-S", sweeper.__file__, self._mark, str(os.getpid()), str(self._removes or "")]
        self._sweeper = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True, cwd="/")  # noqa: ASYNC220 (returns at once)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what still runs; whoever wants a process to end in order stops it before."""
        for child in self._children:
            if child.returncode is None:
                child.signal(signal.SIGKILL)
        for child in self._children:
            await child.wait()
        if self._sweeper is not None:
            # Closing its standard input tells the sweeper to do its work now.
            await asyncio.to_thread(self._sweeper.communicate)

    async def start(
        self, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Child:
        """Start a program with its output appended to `log`; `env` is its whole environment (default: ours).

        Raises:
            OSError: the program cannot be started.
        """
        self._children = [child for child in self._children if child.returncode is None]
        environment = {**(os.environ if env is None else env), sweeper.MARK: self._mark}
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=cwd, process_group=0
            )
        child = Child(process, log)
        self._children.append(child)
        return child
