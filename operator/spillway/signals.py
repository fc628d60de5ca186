"""How a process of ours hears that it is to end."""

from __future__ import annotations

import asyncio
import signal


def told_to_end() -> asyncio.Event:
    """Set by SIGTERM and SIGINT from now on; to be called in the loop that is to hear of them."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    return told
