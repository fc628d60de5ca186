"""The engine's one loop: takes the steps that `batching` decides, in real time, and hands out their tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from spillway.simulator.engine.batching import Batch, Emission, Work
from spillway.simulator.engine.metrics import Metrics

_MAX_CATCH_UP_SECONDS: Final = 0.25
"""How far behind its own clock the loop may run before it gives up catching up: a busy core then makes it slower."""


class Sink(Protocol):
    """Where the tokens of one sequence go. Called from the loop, must not block."""

    def token(self, *, is_first: bool, is_last: bool) -> None:
        """One more token exists."""
        ...

    def abort(self) -> None:
        """The engine is going down: no more tokens will come."""
        ...


@dataclass(slots=True)
class _Sequence:
    work: Work
    sink: Sink
    finish_reason: str
    arrived: float
    admitted: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0


class Loop:
    """One engine process: a queue, a batch, a clock."""

    def __init__(self, batch: Batch, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self.batch = batch
        self._metrics = metrics
        self._monotonic = monotonic
        self._sequences: dict[int, _Sequence] = {}
        self._next_key = 0
        self._wakeup = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """Sequences that wait or run."""
        return len(self._sequences)

    def submit(self, prompt_tokens: int, output_tokens: int, finish_reason: str, sink: Sink) -> int:
        """Queue a sequence; the key cancels it. Raises ValueError for one that can never run."""
        self._next_key += 1
        work = Work(self._next_key, prompt_tokens, output_tokens)
        self.batch.submit(work)
        self._sequences[work.key] = _Sequence(work, sink, finish_reason, self._monotonic())
        self._wakeup.set()
        self._idle.clear()
        return work.key

    def cancel(self, key: int) -> None:
        """Free at once what a sequence holds; nothing happens for one that is done."""
        if key in self._sequences:
            self._forget(key)
            self.batch.cancel(key)

    def abort_all(self) -> None:
        """Cut every sequence short and tell its sink."""
        for key, sequence in list(self._sequences.items()):
            self.cancel(key)
            sequence.sink.abort()

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        await self._idle.wait()

    async def run(self) -> None:
        """Step until cancelled."""
        begun = self._monotonic()
        while True:
            step = self.batch.begin_step()
            if step is None:
                self._wakeup.clear()
                await self._wakeup.wait()
                begun = self._monotonic()
                continue
            for key in step.admitted:
                self._sequences[key].admitted = begun
            ends = begun + step.seconds
            await asyncio.sleep(max(0.0, ends - self._monotonic()))
            self._metrics.prompt_tokens.inc(sum(chunk for _, chunk in step.reading))
            now = self._monotonic()
            emissions = self.batch.finish_step()
            self._metrics.generation_tokens.inc(len(emissions))
            for emission in emissions:
                self._emit(emission, now)
            begun = ends if now - ends < _MAX_CATCH_UP_SECONDS else now

    def _emit(self, emission: Emission, now: float) -> None:
        sequence = self._sequences[emission.key]
        if emission.is_first:
            sequence.first_token = now
            self._metrics.time_to_first_token.observe(now - sequence.arrived)
        else:
            self._metrics.inter_token_latency.observe(now - sequence.last_token)
        sequence.last_token = now
        if emission.is_last:
            self._forget(emission.key)
            self._record(sequence, now)
        sequence.sink.token(is_first=emission.is_first, is_last=emission.is_last)

    def _forget(self, key: int) -> None:
        del self._sequences[key]
        if not self._sequences:
            self._idle.set()

    def _record(self, sequence: _Sequence, now: float) -> None:
        metrics = self._metrics
        metrics.success[sequence.finish_reason].inc()
        metrics.prefix_queries.inc(sequence.work.prompt_tokens)
        metrics.latency.observe(now - sequence.arrived)
        metrics.queue_time.observe(sequence.admitted - sequence.arrived)
        if sequence.work.output_tokens > 1:
            decoding = now - sequence.first_token
            metrics.time_per_output_token.observe(decoding / (sequence.work.output_tokens - 1))
