"""The memory limit of a container: what its processes hold is looked at now and then, where a kernel would count."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

_LOOK_EVERY_SECONDS = 0.2
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def until_above(limit_bytes: int, group: int) -> None:
    """Return once the processes of a process group hold more than `limit_bytes` together."""
    while resident_bytes(group) <= limit_bytes:  # noqa: ASYNC110 - nobody announces what a process holds
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


def resident_bytes(group: int) -> int:
    """Resident memory of all processes of a group; pages that several share count for each."""
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        # a process may end while it is looked at
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES
    return total
