"""One attempt: send it, judge the head and the first event of its answer, and once committed copy it to the caller.

First token before commit: until the first content (or the whole body) nothing is written, so another backend can still
take over. After that bytes are relayed as they came, but for the usage chunk that the caller did not ask for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import aiohttp

from spillway.errors import ClientLeft, NothingSent, StreamBroken
from spillway.gateway.answers import JSON, Answer, error
from spillway.gateway.client import Client
from spillway.gateway.cloud_errors import in_openai_shape, is_billed
from spillway.gateway.retry_after import retry_after_seconds
from spillway.gateway.sse import Event, Kind, Parser, unary_aborted, unary_usage
from spillway.gateway.upstream import Call, Upstreams
from spillway.routing import messages
from spillway.routing.facts import Usage

MAX_UNARY_BYTES: Final = 64 * 1024 * 1024
MAX_REFUSAL_BYTES: Final = 64 * 1024
STALLED_SECONDS: Final = 60.0
"""A stream that is silent for this long after its first token is lost: an engine that ends can leave one open."""


class Controls(Protocol):
    """What an attempt needs of its session."""

    def feed(self, event: messages.Event) -> None:
        """Tell the machine."""
        ...

    def committed(self, attempt: int) -> bool:
        """Whether the caller gets this attempt's answer."""
        ...

    def headers(self) -> Mapping[str, str]:
        """The x-spillway-* headers as they stand."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, and how to treat the answer."""

    attempt: int
    call: Call
    stream: bool
    strip_usage: bool


class Relay:
    """Carries one attempt out.

    `refusal` is the upstream's own answer when it was refused, `retry_after_seconds` when it asked to come back;
    `not_sent` is why nothing was sent.
    """

    def __init__(self, plan: Plan, upstreams: Upstreams, client: Client, controls: Controls) -> None:
        self._plan = plan
        self._upstreams = upstreams
        self._client = client
        self._controls = controls
        self.refusal: Answer | None = None
        self.retry_after_seconds: float | None = None
        self.not_sent: NothingSent | None = None
        self._usage: Usage | None = None

    async def run(self) -> None:
        """From the connection to the end of the answer; every way out tells the machine once."""
        attempt, feed = self._plan.attempt, self._controls.feed
        try:
            await self._run()
        except NothingSent as problem:
            self.not_sent = problem
            feed(messages.ConnectFailed(attempt))
        except ClientLeft:
            feed(messages.ClientGone())
        except (aiohttp.ClientError, OSError, TimeoutError, StreamBroken):
            feed(messages.UpstreamLost(attempt))

    async def _run(self) -> None:
        response = await self._upstreams.post(self._plan.call)
        try:
            if 200 < response.status < 300:
                raise StreamBroken(f"status {response.status} is no answer to a completion, and no refusal")
            if response.status != 200:
                await self._refused(response)
                return
            self._controls.feed(messages.Accepted(self._plan.attempt))
            if self._plan.stream and response.content_type == "text/event-stream":
                await self._stream(response)
            else:
                await self._whole(response)
        finally:
            response.close() if not response.content.at_eof() else response.release()

    async def _refused(self, response: aiohttp.ClientResponse) -> None:
        body = await _read_at_most(response, MAX_REFUSAL_BYTES)
        self.retry_after_seconds = retry_after_seconds(response.headers, datetime.now(UTC))
        billed = False
        if self._plan.call.tls is not None:
            self.refusal = in_openai_shape(response.status, body)
            billed = is_billed(response.status, body, self._plan.call.billed_codes)
        elif response.content_type == JSON and len(body) < MAX_REFUSAL_BYTES:
            self.refusal = Answer(response.status, body)
        else:
            self.refusal = error(response.status, f"The backend refused the request with status {response.status}.")
        self._controls.feed(messages.UpstreamRefused(self._plan.attempt, response.status, billed))

    async def _whole(self, response: aiohttp.ClientResponse) -> None:
        attempt = self._plan.attempt
        body = await _read_at_most(response, MAX_UNARY_BYTES)
        if len(body) == MAX_UNARY_BYTES:
            raise StreamBroken(f"an answer is longer than {MAX_UNARY_BYTES} bytes")
        if unary_aborted(body):
            self._controls.feed(messages.UpstreamLost(attempt))
            return
        self._controls.feed(messages.BodyComplete(attempt, unary_usage(body)))
        if self._controls.committed(attempt):
            content_type = response.headers.get("content-type", JSON)
            await self._client.send(Answer(200, body, content_type), self._controls.headers())
            self._controls.feed(messages.StreamEnded(attempt, complete=True))

    async def _stream(self, response: aiohttp.ClientResponse) -> None:
        parser = Parser()
        held: list[Event] = []
        async for chunk in response.content.iter_any():
            events = parser.feed(chunk)
            first = next((place for place, event in enumerate(events) if event.kind is Kind.CONTENT), None)
            failed = next((event for event in events[:first] if event.kind in _ENDS), None)
            if failed is not None:
                began = any(event.kind is Kind.PREAMBLE for event in (*held, *events[: events.index(failed)]))
                self._failed_before_content(failed, billed=began)
                return
            held += events
            if first is not None:
                break
        else:
            self._controls.feed(messages.UpstreamLost(self._plan.attempt))
            return
        self._controls.feed(messages.FirstToken(self._plan.attempt))
        if self._controls.committed(self._plan.attempt):
            parser.attentive = False
            await self._client.begin(
                response.headers.get("content-type", "text/event-stream"), self._controls.headers()
            )
            await self._copy(response, parser, held)

    def _failed_before_content(self, event: Event, *, billed: bool) -> None:
        """An error, an abort or an end before any content: as good as no answer. An answer that began may be billed."""
        attempt = self._plan.attempt
        if event.kind is Kind.ERROR:
            status = event.status if event.status is not None and 400 <= event.status <= 599 else 502
            in_shape = in_openai_shape if self._plan.call.tls is not None else Answer
            self.refusal = in_shape(status, event.data)
            billed = billed or is_billed(status, event.data, self._plan.call.billed_codes)
            self._controls.feed(messages.UpstreamRefused(attempt, status, billed))
        else:
            self._controls.feed(messages.UpstreamLost(attempt))

    async def _copy(self, response: aiohttp.ClientResponse, parser: Parser, events: list[Event]) -> None:
        """Write what came with the first content, then the rest as it comes, to the proof of its end."""
        attempt = self._plan.attempt
        while True:
            out, end = self._take(events)
            if out:
                await self._client.write(out)
            if end is Kind.DONE:
                await self._client.finish()
                self._controls.feed(messages.StreamEnded(attempt, complete=True))
                return
            if end is not None:
                self._controls.feed(messages.UpstreamLost(attempt))
                return
            async with asyncio.timeout(STALLED_SECONDS):
                chunk = await response.content.readany()
            if not chunk:
                self._controls.feed(messages.StreamEnded(attempt, complete=False))
                return
            events = parser.feed(chunk)

    def _take(self, events: list[Event]) -> tuple[bytes, Kind | None]:
        """The bytes of `events` for the caller, and what ended the stream if one of them did."""
        out: list[bytes] = []
        for event in events:
            self._usage = event.usage or self._usage
            if self._usage is not None and event.kind is Kind.DONE:
                # Usage may be a running count: it becomes the bill only when the stream proves whole.
                self._controls.feed(messages.UsageReported(self._plan.attempt, self._usage))
            if not (event.kind is Kind.USAGE and self._plan.strip_usage):
                out.append(event.raw)
            if event.kind in _ENDS:
                return b"".join(out), event.kind
        return b"".join(out), None


_ENDS: Final = frozenset({Kind.DONE, Kind.ERROR, Kind.ABORTED})


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    chunks: list[bytes] = []
    left = limit
    while left and (chunk := await response.content.read(left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
