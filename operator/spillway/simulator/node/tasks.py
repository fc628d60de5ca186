"""Background tasks whose errors are seen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

_LOG = logging.getLogger("spillway.simulator.node")


def start(work: Coroutine[None, None, None], what: str) -> asyncio.Task[None]:
    """Run in the background; an unexpected error is logged at once, while everything else goes on."""

    def complain(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("%s: %r", what, error, exc_info=error)

    task = asyncio.create_task(work, name=what)
    task.add_done_callback(complain)
    return task


async def cancel(task: asyncio.Task[None]) -> None:
    """End it and wait until it has ended, whatever it ends with."""
    task.cancel()
    await asyncio.wait([task])
