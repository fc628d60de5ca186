"""The cloud itself: HTTP over TLS, in-process or (`__main__`) as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import orjson
from aiohttp import web
from pydantic import ValidationError

from spillway.simulator import words
from spillway.simulator.cloud import ca
from spillway.simulator.cloud.answers import Answer, error_body
from spillway.simulator.cloud.bill import Bill, BillLine, Price
from spillway.simulator.cloud.faults import Faults
from spillway.simulator.cloud.manners import ANY, Manners, objection_body
from spillway.simulator.cloud.recorder import Record, Recorder, Tap
from spillway.simulator.openai_wire import ChatRequest, CompletionRequest, Request

SERVER_NAME: Final = "spillway-simulator"
CONTEXT_TOKENS: Final = 128_000
MAX_BODY_BYTES: Final = 32 * 2**20

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast it answers: round figures for a small hosted model, of no provider in particular."""

    first_token_seconds: float = 0.35
    jitter_seconds: float = 0.1
    """The first token comes up to this much earlier or later, uniformly."""
    tokens_per_second: float = 80.0


class _RefusedError(Exception):
    """A request gets an error in place of an answer, and no bill."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body.decode())
        self.status = status
        self.body = body
        self.headers = headers or {}


class RecordingCloud:
    """An OpenAI-compatible API for one run: `async with RecordingCloud(prices, "key") as cloud`.

    `prices` are its models; `host` is the address to listen on, and with `names` what its certificate is for. Its
    tokenizer takes `bytes_per_token` bytes for a token, from 4 (plain English) to 1, the worst that can be: no
    tokenizer makes more tokens of a text than it has bytes. `max_concurrent_requests` is where 429 begins; the
    `manners` are those of a provider.
    """

    def __init__(
        self,
        prices: Mapping[str, Price],
        api_key: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        names: Sequence[str] = ("localhost",),
        pace: Pace | None = None,
        rng: random.Random | None = None,
        max_concurrent_requests: int | None = None,
        bytes_per_token: int = words.BYTES_PER_TOKEN,
        manners: Manners = ANY,
        faults: Faults | None = None,
        directory: Path | None = None,
    ) -> None:
        self._api_key = api_key
        self._host = host
        self._port = port
        self._pace = pace or Pace()
        self._rng = rng or random.Random()
        self._max_concurrent_requests = max_concurrent_requests
        self._bytes_per_token = bytes_per_token
        self._manners = manners
        self._certificates = ca.make((host, *names), dt.datetime.now(dt.UTC))
        self._recorder = Recorder(time.time, directory)
        self._bill = Bill(prices, directory)
        self._active = 0
        self._exits = contextlib.AsyncExitStack()
        self.faults = faults or Faults()
        """May be set at any time, for the requests that follow."""

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application(middlewares=[self._edge], client_max_size=MAX_BODY_BYTES)
        app.on_response_prepare.append(self._add_headers)
        prefix = self._manners.prefix
        app.add_routes([web.get(f"{prefix}/models", self._models), web.post(f"{prefix}/chat/completions", self._chat)])
        if self._manners.has_completions:
            app.add_routes([web.post(f"{prefix}/completions", self._completion)])
        # handler_cancellation: a client that leaves ends the work, so the bill is for what was generated until then.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        self._exits.push_async_callback(runner.cleanup)
        serve = runner.server
        assert serve is not None
        server = await asyncio.get_running_loop().create_server(
            lambda: Tap(serve(), self._recorder),
            self._host,
            self._port,
            ssl=self._certificates.server_context(),
            backlog=1024,
        )
        self._exits.callback(server.close)
        self._port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening, cut what is in flight; what was recorded and billed stays readable."""
        await self._exits.aclose()
        self._bill.save()

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as base_url: `https://127.0.0.1:<port>/v1`, or where its provider answers."""
        return f"https://{self._host}:{self._port}{self._manners.prefix}"

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority that signed its own."""
        return self._certificates.ca_pem

    @property
    def requests(self) -> tuple[Record, ...]:
        """Every request that could be read, in order."""
        return self._recorder.records

    @property
    def received(self) -> tuple[bytes, ...]:
        """Every byte that it was sent, by connection."""
        return self._recorder.received

    @property
    def bill(self) -> tuple[BillLine, ...]:
        """What it charges, by request."""
        return self._bill.lines

    @property
    def bill_micros(self) -> int:
        """What it charges in all, in micro-dollars."""
        return self._bill.micros

    @property
    def active(self) -> int:
        """Requests that it works on now."""
        return self._active

    def contains(self, needle: bytes) -> bool:
        """Whether these bytes were among what it was sent, also when written with the escapes of JSON."""
        return self._recorder.contains(needle)

    @web.middleware
    async def _edge(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Record, then answer; errors in the provider's shape."""
        body = await request.read()
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
        self._recorder.request(request.method, request.raw_path, headers, body)
        try:
            if request.headers.get(self._manners.key_header) != f"{self._manners.key_prefix}{self._api_key}":
                message = "Incorrect API key provided: this is the simulator's cloud, and the key is not its own."
                raise _RefusedError(401, error_body(message, "invalid_request_error", "invalid_api_key"))
            return await handler(request)
        except _RefusedError as refused:
            return _json(self._manners.error(refused.status, refused.body), refused.status, refused.headers)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as wrong:
            body = error_body(f"Invalid URL ({request.method} {request.path})", "invalid_request_error")
            return _json(self._manners.error(wrong.status, body), wrong.status)

    async def _add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = SERVER_NAME
        response.headers.update(self._manners.headers)

    async def _models(self, _request: web.Request) -> web.Response:
        models = [{"id": name, "object": "model", "created": 0, "owned_by": SERVER_NAME} for name in self._bill.prices]
        return _json(orjson.dumps({"object": "list", "data": models}), 200)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, ChatRequest)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, CompletionRequest)

    async def _complete(self, request: web.Request, shape: type[ChatRequest | CompletionRequest]) -> web.StreamResponse:
        faults = self.faults
        _refuse_as_told(faults)
        body = await request.read()
        asked = _read(shape, body)
        objection = next(self._manners.objections(orjson.loads(body)), None)
        if objection is not None:
            raise _RefusedError(400, objection_body(objection))
        answer = self._answer(asked, len(body), request.headers.get("x-request-id", ""))
        if faults.without_usage:
            answer = replace(answer, include_usage=False, tells_usage=False)
        if self._max_concurrent_requests is not None and self._active >= self._max_concurrent_requests:
            refusal = error_body("Rate limit reached for requests.", "requests", "rate_limit_exceeded")
            raise _RefusedError(429, refusal, {"Retry-After": "1"})
        self._active += 1
        self._charge(answer, 0)
        self._bill.save()
        try:
            return await self._answer_as_faults_say(request, answer, faults, streams=bool(asked.stream))
        finally:
            self._active -= 1
            self._bill.save()

    async def _answer_as_faults_say(
        self, request: web.Request, answer: Answer, faults: Faults, *, streams: bool
    ) -> web.StreamResponse:
        if faults.silent:
            await asyncio.get_running_loop().create_future()
        if faults.drop_before_headers:
            return _drop(request)
        if streams:
            return await self._stream(request, answer, faults)
        async for tokens in self._generate(answer, faults):
            if faults.drop_after_tokens is not None and tokens >= faults.drop_after_tokens:
                return _drop(request)
        return _json(answer.body(), 200)

    async def _stream(self, request: web.Request, answer: Answer, faults: Faults) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        written = 0
        async for tokens in self._generate(answer, faults):
            opening = b""
            if not response.prepared:
                await response.prepare(request)
                opening = answer.opening()
            await response.write(opening + answer.tokens(written, tokens))
            written = tokens
            if faults.drop_after_tokens is not None and tokens >= faults.drop_after_tokens:
                return _drop(request, response)
        await response.write(answer.closing())
        await response.write_eof()
        return response

    async def _generate(self, answer: Answer, faults: Faults) -> AsyncIterator[int]:
        """Yield how many tokens of each choice exist, each time some came to be; each is charged when it does."""
        pace = self._pace
        jitter = pace.jitter_seconds * self._rng.uniform(-1.0, 1.0)
        first = time.monotonic() + max(0.0, pace.first_token_seconds + jitter) * faults.slowness
        token_seconds = faults.slowness / pace.tokens_per_second
        limit = answer.output_tokens
        if faults.drop_after_tokens is not None:
            limit = max(1, min(limit, faults.drop_after_tokens))
        made = 0
        while made < limit:
            await asyncio.sleep(max(0.0, first + made * token_seconds - time.monotonic()))
            due = 1 + int((time.monotonic() - first) / token_seconds)
            made = min(limit, max(made + 1, due))
            self._charge(answer, made * answer.choices)
            yield made

    def _charge(self, answer: Answer, completion_tokens: int) -> None:
        generated = answer.thought_tokens + completion_tokens
        self._bill.charge(answer.answer_id, answer.model, answer.prompt_tokens, generated, answer.request_id)

    def _answer(self, asked: Request, body_bytes: int, request_id: str) -> Answer:
        """Settle what the answer will be. Raises _RefusedError for a request that no provider would work on."""
        name = asked.model
        if name is None or name not in self._bill.prices:
            message = f"The model `{name}` does not exist or you do not have access to it."
            raise _RefusedError(404, error_body(message, "invalid_request_error", "model_not_found"))
        if asked.has_media():
            message = "Invalid content type: the simulator's cloud reads only text."
            raise _RefusedError(400, error_body(message, "invalid_request_error", param="messages"))
        wanted = asked.output_limit()
        choices = 1 if asked.n is None else asked.n
        if choices < 1 or (wanted is not None and wanted < 1):
            message = "Invalid value: max_tokens and n must be at least 1."
            raise _RefusedError(400, error_body(message, "invalid_request_error", "integer_below_min_value"))
        text = asked.text()
        messages = asked.message_count()
        counted = words.count_tokens(len(text), messages, bytes_per_token=self._bytes_per_token)
        # The text was re-serialised in part (tools): a true tokenizer has never seen more bytes than the body's.
        prompt_tokens = max(1, min(counted, body_bytes + messages * words.TOKENS_PER_MESSAGE))
        if prompt_tokens + (wanted or 1) > CONTEXT_TOKENS:
            message = f"This model's maximum context length is {CONTEXT_TOKENS} tokens."
            raise _RefusedError(
                400, error_body(message, "invalid_request_error", "context_length_exceeded", "messages")
            )
        seed = words.seed_of(text)
        natural = words.natural_length(seed)
        thoughts = min(self._manners.thought_tokens, (natural if wanted is None else wanted) - 1)
        is_chat = isinstance(asked, ChatRequest)
        return Answer(
            answer_id=f"{'chatcmpl' if is_chat else 'cmpl'}-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=name,
            is_chat=is_chat,
            prompt_tokens=prompt_tokens,
            output_tokens=(natural if wanted is None else wanted) - thoughts,
            choices=choices,
            finish_reason="stop" if wanted is None else "length",
            seed=seed,
            include_usage=asked.stream_options is not None and asked.stream_options.include_usage,
            thought_tokens=thoughts,
            request_id=request_id,
        )


def _read(shape: type[ChatRequest | CompletionRequest], body: bytes) -> Request:
    try:
        return shape.model_validate_json(body)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        raise _RefusedError(400, error_body(first["msg"], "invalid_request_error", param=param)) from invalid


def _refuse_as_told(faults: Faults) -> None:
    """Raise _RefusedError when the faults say to answer with an error or a redirection."""
    if faults.redirect_to is not None:
        raise _RefusedError(307, error_body("Elsewhere.", "redirect"), {"Location": faults.redirect_to})
    if faults.status is not None:
        seconds = faults.retry_after_seconds
        later = faults.retry_after if seconds is None else str(seconds)
        body = error_body("The server had an error (simulated).", "server_error")
        raise _RefusedError(faults.status, body, {} if later is None else {"Retry-After": later})


def _drop(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Cut the connection under an answer."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()


def _json(body: bytes, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)
