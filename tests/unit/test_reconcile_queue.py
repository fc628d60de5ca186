from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from spillway.controller.workqueue import LONGEST_RETRY_SECONDS, WorkQueue, retry_seconds
from spillway.errors import Unreachable


class Work:
    """Passes that can be held up; says how many were begun, and how many were under way at once."""

    def __init__(self):
        self.begun = []
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors = []
        self._running = []

    async def __call__(self, key):
        self.begun.append(key)
        self._running.append(key)
        assert self._running.count(key) == 1, "two passes over one key at once"
        self.most_at_once = max(self.most_at_once, len(self._running))
        try:
            await self.gate.wait()
            if self.errors:
                raise self.errors.pop(0)
        finally:
            self._running.remove(key)


@pytest.fixture
def work():
    return Work()


@pytest.fixture
async def queue(work):
    queue = WorkQueue("test", work, concurrency=2)
    yield queue
    await queue.close()


async def until(holds: Callable[[], bool]):
    deadline = asyncio.get_running_loop().time() + 5
    while not holds():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.002)


async def test_what_is_asked_for_in_a_burst_is_one_pass(work, queue):
    for _ in range(10):
        queue.add("a")
    await until(lambda: queue.is_idle)
    assert work.begun == ["a"]


async def test_what_is_asked_for_during_a_pass_is_another_one_after_it(work, queue):
    work.gate.clear()
    queue.add("a")
    await until(lambda: work.begun == ["a"])
    queue.add("a")
    queue.add("a")
    work.gate.set()
    await until(lambda: queue.is_idle)
    assert work.begun == ["a", "a"]


async def test_no_more_keys_are_served_at_once_than_allowed(work, queue):
    work.gate.clear()
    for key in "abcde":
        queue.add(key)
    await until(lambda: len(work.begun) == 2)
    work.gate.set()
    await until(lambda: queue.is_idle)
    assert (sorted(work.begun), work.most_at_once) == (list("abcde"), 2)


async def test_a_delayed_pass_waits_and_an_urgent_one_takes_it_along(work, queue):
    queue.add("a", 60)
    queue.add("a")
    await until(lambda: queue.is_idle)
    assert work.begun == ["a"]
    loop = asyncio.get_running_loop()
    start = loop.time()
    queue.add("a", 0.05)
    await until(lambda: queue.is_idle)
    assert loop.time() - start >= 0.05


@pytest.mark.parametrize("error", [Unreachable("no answer"), KeyError("a mistake")])
async def test_a_failed_pass_is_tried_again_after_a_pause(work, queue, error):
    work.errors = [error]
    loop = asyncio.get_running_loop()
    start = loop.time()
    queue.add("a")
    await until(lambda: queue.is_idle)
    assert work.begun == ["a", "a"]
    assert loop.time() - start >= retry_seconds(1)


async def test_one_key_that_fails_does_not_hold_up_others(work, queue):
    work.errors = [Unreachable("no answer")]
    queue.add("a")
    await until(lambda: work.begun == ["a"])
    queue.add("b")
    await until(lambda: work.begun == ["a", "b"])


async def test_closing_stops_what_is_under_way(work, queue):
    work.gate.clear()
    queue.add("a")
    await until(lambda: work.begun == ["a"])
    await queue.close()
    assert queue.is_idle
    queue.add("b")
    assert queue.is_idle, "what comes while the process ends would hold its end up"


def test_pauses_double_up_to_a_minute():
    pauses = [retry_seconds(failures) for failures in range(1, 12)]
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == LONGEST_RETRY_SECONDS
    assert retry_seconds(10_000) == LONGEST_RETRY_SECONDS


async def test_a_pass_that_is_due_yields_as_long_as_it_is_told_to(work):
    left = [0.02, 0.02, 0.0]
    queue = WorkQueue("test", work, concurrency=1, yields=lambda _: left.pop(0))
    queue.add("a")
    await until(lambda: queue.is_idle)
    assert (work.begun, left) == (["a"], [])
    await queue.close()
