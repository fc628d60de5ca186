"""The one model that a simulated Ollama holds: its load, and the slots in which requests run.

As measured with Ollama 0.17.4: requests wait for a slot in the order in which they came and without bound; a load is
given up when nobody waits for it any more; whoever leaves while the prompt is read leaves its slot taken until the
prompt is through, and frees it at once afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PROMPT_TOKENS_PER_SECOND = 4000.0
OUTPUT_TOKENS_PER_SECOND = 60.0


class Runner:
    """Loads on demand, then runs `slots` requests at a time."""

    def __init__(self, slots: int, load_seconds: float) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._load_seconds = load_seconds
        self._loading: asyncio.Task[None] | None = None
        self._waiting = 0
        self._prompts: set[asyncio.Task[None]] = set()
        self.model = ""

    async def load(self, name: str) -> None:
        """Return when the model is loaded; the load is given up when everybody who waits for it has left."""
        if self.model == name:
            return
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(asyncio.sleep(self._load_seconds))
        loading = self._loading
        self._waiting += 1
        try:
            await asyncio.shield(loading)
        finally:
            self._waiting -= 1
            if not self._waiting:
                loading.cancel()
        self.model = name

    @asynccontextmanager
    async def prompt(self, tokens: int) -> AsyncIterator[None]:
        """Wait for a slot and read a prompt of so many tokens; inside, the slot is held for the answer."""
        await self._slots.acquire()
        reading = asyncio.create_task(asyncio.sleep(tokens / PROMPT_TOKENS_PER_SECOND))
        self._prompts.add(reading)
        reading.add_done_callback(self._prompts.discard)
        try:
            await asyncio.shield(reading)
        except asyncio.CancelledError:
            reading.add_done_callback(lambda _: self._slots.release())
            raise
        try:
            yield
        finally:
            self._slots.release()

    async def token(self) -> None:
        """The time that one token takes."""
        await asyncio.sleep(1 / OUTPUT_TOKENS_PER_SECOND)
