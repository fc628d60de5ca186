"""Passes over keys: one at a time for each key, again if asked meanwhile, later and later while they fail."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from spillway.errors import ClusterError

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 60.0

logger = structlog.get_logger()


def retry_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row: doubling from a quarter of a second to a minute."""
    return float(min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 16)))


@dataclass(slots=True)
class _Entry:
    """What is known of one key that has a pass to come or under way; `due` is infinite while none is asked for."""

    due: float = math.inf
    failures: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class WorkQueue(Generic[K]):
    """Calls `work(key)` for every key that was added: at most `concurrency` keys at once, once at a time for each.

    A `ClusterError` is tried again with growing pauses, and said in one line; any other error is a mistake of ours:
    tried again as well, and logged with its trace. `yields` says how many seconds a pass that is due should still wait
    for others; it is asked again when they are over.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[K], Awaitable[None]],
        concurrency: int,
        yields: Callable[[K], float] = lambda _: 0.0,
    ) -> None:
        self._name = name
        self._work = work
        self._yields = yields
        self._slots = asyncio.Semaphore(concurrency)
        self._entries: dict[K, _Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def add(self, key: K, delay_seconds: float = 0.0) -> None:
        """Ask for a pass after the delay; passes asked for meanwhile are the same pass, the earliest time counts.

        A queue that was closed takes nothing more: events still come in while the process ends.
        """
        if self._is_closed:
            return
        due = asyncio.get_running_loop().time() + delay_seconds
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            task = asyncio.get_running_loop().create_task(self._serve(key, entry), name=f"{self._name} {key}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        entry.due = min(entry.due, due)
        entry.woken.set()

    @property
    def is_idle(self) -> bool:
        """Whether no pass is asked for or under way."""
        return not self._tasks

    async def close(self) -> None:
        """Stop what is under way and forget the rest, and whatever is asked for later."""
        self._is_closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, key: K, entry: _Entry) -> None:
        while entry.due < math.inf:
            await self._wait(key, entry)
            async with self._slots:
                entry.due = math.inf
                succeeded = await self._pass(key, entry)
            if succeeded:
                entry.failures = 0
            else:
                # what was asked for during a failing pass waits as well: an object that flaps must not defeat the pause
                entry.due = asyncio.get_running_loop().time() + retry_seconds(entry.failures)
        # nothing is awaited between the loop's test and here, so no `add` can fall in between
        del self._entries[key]

    async def _wait(self, key: K, entry: _Entry) -> None:
        loop = asyncio.get_running_loop()
        while (left := max(entry.due - loop.time(), self._yields(key))) > 0:
            entry.woken.clear()
            timer = loop.call_later(left, entry.woken.set)
            await entry.woken.wait()
            timer.cancel()

    async def _pass(self, key: K, entry: _Entry) -> bool:
        try:
            await self._work(key)
        except ClusterError as error:
            entry.failures += 1
            logger.warning(
                "pass failed, will try again",
                queue=self._name,
                key=str(key),
                failures=entry.failures,
                error=type(error).__name__,
                message=str(error),
            )
        except Exception:  # whatever it was, the other keys go on and this one is tried again
            entry.failures += 1
            logger.exception("pass failed by a mistake in Spillway", queue=self._name, key=str(key))
        else:
            return True
        return False
