"""Watches over the processes of one run from outside it, so that even a killed run leaves nothing behind.

Started by `process.Keeper` as a program of its own (standard library only, so that it is up in 20 ms). It sleeps until
its parent is gone, however it went, then kills every process that carries the run's mark in its environment and
removes the run's directory. The mark is inherited, so a process's own children are found too, wherever they moved.

A signal on the parent's death (PR_SET_PDEATHSIG) would not do: it is tied to the *thread* that forked, is not inherited
by grandchildren, and must be set between fork and exec, where a program with threads may not run Python. See prctl(2).
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "SPILLWAY_RUN"
"""The environment variable by which a process is known to belong to a run."""


def marked(mark: str) -> list[int]:
    """The ids of this user's living processes that carry the mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            if wanted in (entry / "environ").read_bytes().split(b"\0"):  # empty for a zombie
                found.append(int(entry.name))
    return found


def sweep(mark: str, deadline_seconds: float = 5.0) -> bool:
    """Kill what carries the mark until nothing does; False when something outlived the deadline."""
    until = time.monotonic() + deadline_seconds
    while pids := marked(mark):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def main(mark: str, parent: int, directory: str) -> None:
    """Wait until the parent closes our standard input or is gone, then clean up."""
    while os.getppid() == parent:
        # A forked copy of the parent may hold the other end open: hence the look at the parent each half second.
        if select.select([0], [], [], 0.5)[0] and not os.read(0, 1):
            break
    sweep(mark)
    if directory:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
