"""Continuous batching, step by step, as vLLM's scheduler does it: pure, the clock is the caller's.

In each step every sequence that has its first token gets one more, then prompts are read first come, first served,
in chunks, until the step holds `max_batched_tokens` tokens. A sequence is admitted when fewer than `max_sequences`
run and the KV cache has room for its whole prompt and output; nobody overtakes the head of the queue. A step takes

    a + b * prompt tokens read + c * sequences in the step + d * tokens resident in the KV cache   (seconds)

and its tokens exist at its end; the first one of a sequence at the end of the step that reads the last of its prompt.
No prefix cache, no preemption, no attention term quadratic in the prompt: orders of magnitude, not a measurement.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What a step costs and what an engine holds."""

    step_seconds: float
    """a: reading the weights once, and launching the step."""
    prompt_token_seconds: float
    """b: each prompt token read in the step."""
    sequence_seconds: float
    """c: each sequence that takes part in the step."""
    resident_token_seconds: float
    """d: each token that is in the KV cache when the step begins."""
    max_batched_tokens: int
    max_sequences: int
    kv_tokens: int


@dataclass(frozen=True, slots=True)
class Work:
    """One sequence to generate: a key of the caller's, and how many tokens go in and come out (at least one)."""

    key: int
    prompt_tokens: int
    output_tokens: int

    @property
    def kv_tokens(self) -> int:
        """The room in the KV cache that it is admitted with."""
        return self.prompt_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Step:
    """One step that has begun: its tokens exist after `seconds`."""

    seconds: float
    decoding: tuple[int, ...]
    """Keys that get one more token."""
    reading: tuple[tuple[int, int], ...]
    """Keys and the prompt tokens of theirs that are read."""
    admitted: tuple[int, ...]
    """Keys that left the queue for this step."""


@dataclass(frozen=True, slots=True)
class Emission:
    """One token that came to be at the end of a step."""

    key: int
    is_first: bool
    is_last: bool


@dataclass(slots=True)
class _Sequence:
    work: Work
    read: int = 0
    generated: int = 0

    @property
    def resident(self) -> int:
        return self.read + self.generated


@dataclass(slots=True)
class Batch:
    """The queue and the running sequences of one engine. Deterministic: same calls, same answers."""

    coefficients: Coefficients
    _waiting: deque[Work] = field(default_factory=deque)
    _running: dict[int, _Sequence] = field(default_factory=dict)
    _reserved_tokens: int = 0
    _step: Step | None = None

    @property
    def waiting(self) -> int:
        """Sequences that wait to be admitted."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Sequences that were admitted and are not done."""
        return len(self._running)

    @property
    def reserved_tokens(self) -> int:
        """KV tokens that the running sequences were admitted with."""
        return self._reserved_tokens

    @property
    def resident_tokens(self) -> int:
        """KV tokens that hold something: prompts as far as read, and what was generated."""
        return sum(sequence.resident for sequence in self._running.values())

    def fits(self, work: Work) -> bool:
        """Whether the KV cache could ever hold this sequence."""
        return work.kv_tokens <= self.coefficients.kv_tokens

    def submit(self, work: Work) -> None:
        """Put a sequence at the end of the queue. Raises ValueError for one that could never run."""
        if work.output_tokens < 1 or work.prompt_tokens < 1:
            raise ValueError(f"a sequence reads and generates at least one token each: {work}")
        if not self.fits(work):
            raise ValueError(f"{work.kv_tokens} tokens can never fit a KV cache of {self.coefficients.kv_tokens}")
        self._waiting.append(work)

    def cancel(self, key: int) -> bool:
        """Forget a sequence and free what it holds, also in the middle of a step. False when it is not here."""
        sequence = self._running.pop(key, None)
        if sequence is not None:
            self._reserved_tokens -= sequence.work.kv_tokens
            return True
        remaining = deque(work for work in self._waiting if work.key != key)
        found = len(remaining) < len(self._waiting)
        self._waiting = remaining
        return found

    def begin_step(self) -> Step | None:
        """Admit what may run and choose the next step's work; None when there is nothing to do."""
        admitted = self._admit()
        if not self._running:
            return None
        limits = self.coefficients
        decoding = tuple(key for key, sequence in self._running.items() if sequence.generated)
        room = max(0, limits.max_batched_tokens - len(decoding))
        reading: list[tuple[int, int]] = []
        for key, sequence in self._running.items():
            chunk = min(sequence.work.prompt_tokens - sequence.read, room)
            if chunk:
                reading.append((key, chunk))
                room -= chunk
        seconds = (
            limits.step_seconds
            + limits.prompt_token_seconds * sum(chunk for _, chunk in reading)
            + limits.sequence_seconds * (len(decoding) + len(reading))
            + limits.resident_token_seconds * self.resident_tokens
        )
        self._step = Step(seconds, decoding, tuple(reading), admitted)
        return self._step

    def finish_step(self) -> tuple[Emission, ...]:
        """The tokens that the step begun last has made, in order of admission; what was cancelled has none."""
        step, self._step = self._step, None
        if step is None:
            return ()
        emissions: list[Emission] = []
        for key in step.decoding:
            sequence = self._running.get(key)
            if sequence is not None:
                emissions.append(self._emit(sequence))
        for key, chunk in step.reading:
            sequence = self._running.get(key)
            if sequence is None:
                continue
            sequence.read += chunk
            if sequence.read == sequence.work.prompt_tokens:
                emissions.append(self._emit(sequence))
        return tuple(emissions)

    def _admit(self) -> tuple[int, ...]:
        limits = self.coefficients
        admitted: list[int] = []
        while self._waiting and len(self._running) < limits.max_sequences:
            work = self._waiting[0]
            if self._reserved_tokens + work.kv_tokens > limits.kv_tokens:
                break
            self._waiting.popleft()
            self._running[work.key] = _Sequence(work)
            self._reserved_tokens += work.kv_tokens
            admitted.append(work.key)
        return tuple(admitted)

    def _emit(self, sequence: _Sequence) -> Emission:
        sequence.generated += 1
        work = sequence.work
        is_last = sequence.generated == work.output_tokens
        if is_last:
            del self._running[work.key]
            self._reserved_tokens -= work.kv_tokens
        return Emission(work.key, is_first=sequence.generated == 1, is_last=is_last)
