"""Where the engine's tokens go: into a client's connection as they come, or counted until the answer is whole."""

from __future__ import annotations

import asyncio

from spillway.simulator.engine.frames import Answer, Frames


class StreamSink:
    """Writes each token to the transport at once, as one chunk of HTTP/1.1 chunked coding.

    The engine is never slowed by a slow reader, as vLLM is not: what it cannot take is buffered.
    """

    def __init__(self, transport: asyncio.Transport, answer: Answer, break_after_tokens: int | None) -> None:
        self._transport = transport
        self._frames = Frames(answer)
        self._tokens = 0
        self._break_after_tokens = break_after_tokens
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def token(self, *, is_first: bool, is_last: bool) -> None:
        """Send one more token, the role before the first, usage and the end mark after the last."""
        index = self._tokens
        self._tokens += 1
        event = self._frames.last(index) if is_last else self._frames.token(index)
        self.write(self._frames.role() + event if is_first else event)
        if self._tokens == self._break_after_tokens:
            self._transport.abort()
        if is_last:
            self._finish()

    def abort(self) -> None:
        """End the stream as vLLM 0.32.0 was seen to on SIGTERM, when it ended it at all."""
        self.write(self._frames.aborted(self._tokens))
        self._finish()

    def write(self, event: bytes) -> None:
        """Send bytes as one chunk."""
        if not self._transport.is_closing():
            self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class CountingSink:
    """Counts tokens; `done` holds how many and whether the engine cut it short."""

    def __init__(self) -> None:
        self._tokens = 0
        self.done: asyncio.Future[tuple[int, bool]] = asyncio.get_running_loop().create_future()

    def token(self, *, is_first: bool, is_last: bool) -> None:  # noqa: ARG002 the protocol of sinks
        """Count one more."""
        self._tokens += 1
        if is_last and not self.done.done():
            self.done.set_result((self._tokens, False))

    def abort(self) -> None:
        """Give up what came so far."""
        if not self.done.done():
            self.done.set_result((self._tokens, True))
