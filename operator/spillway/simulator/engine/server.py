"""The HTTP surface of `vllm serve` 0.32.0 over the simulated engine, errors in the shapes that were measured there."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web
from pydantic import ValidationError

from spillway.simulator import words
from spillway.simulator.engine import frames
from spillway.simulator.engine.faults import Faults
from spillway.simulator.engine.loop import Loop
from spillway.simulator.engine.metrics import Metrics
from spillway.simulator.engine.sinks import CountingSink, StreamSink
from spillway.simulator.openai_wire import ChatRequest, CompletionRequest, Request

SERVER_NAME: Final = "spillway-simulator"
VLLM_VERSION: Final = "0.32.0"
MAX_BODY_BYTES: Final = 32 * 2**20

_BUSY: Final = (
    "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."
)
_GUARDED: Final = ("/v1", "/v2", "/inference")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server was started with."""

    names: tuple[str, ...]
    model: str
    max_model_len: int
    max_num_queued_reqs: int | None = None
    api_keys: tuple[str, ...] = ()
    force_include_usage: bool = False
    server_load_tracking: bool = False


class _RefusedError(Exception):
    """A request gets an error of vLLM's in place of an answer."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param

    def response(self) -> web.Response:
        body = {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}
        return _json({"error": body}, self.status)


class EngineServer:
    """The routes. `draining` is what SIGTERM with a shutdown timeout makes true."""

    def __init__(self, settings: Settings, loop: Loop, metrics: Metrics, faults: Faults) -> None:
        self._settings = settings
        self._loop = loop
        self._metrics = metrics
        self._faults = faults
        self._started = int(time.time())
        self.draining = False

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._edge], client_max_size=MAX_BODY_BYTES)
        app.on_response_prepare.append(_name_server)
        app.add_routes(
            [
                web.get("/health", self._health, allow_head=False),
                web.get("/ping", self._health, allow_head=False),
                web.post("/ping", self._health),
                web.get("/version", self._version, allow_head=False),
                web.get("/load", self._load, allow_head=False),
                web.get("/metrics", self._render_metrics, allow_head=False),
                web.get("/v1/models", self._models, allow_head=False),
                web.post("/tokenize", self._tokenize),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completion),
            ]
        )
        return app

    @web.middleware
    async def _edge(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Keys, vLLM's error bodies, and the count of requests."""
        try:
            if self._settings.api_keys and request.path.startswith(_GUARDED) and not self._has_key(request):
                response: web.StreamResponse = _json({"error": "Unauthorized"}, 401)
            else:
                response = await handler(request)
        except web.HTTPNotFound:
            return _json({"detail": "Not Found"}, 404)
        except web.HTTPMethodNotAllowed as wrong:
            return _json({"detail": "Method Not Allowed"}, 405, allow=wrong.headers["Allow"])
        except _RefusedError as refused:
            response = refused.response()
        status = f"{response.status // 100}xx"
        self._metrics.http.labels(handler=request.path, method=request.method, status=status).inc()
        return response

    def _has_key(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").encode()
        return any(secrets.compare_digest(given, f"Bearer {key}".encode()) for key in self._settings.api_keys)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, _request: web.Request) -> web.Response:
        return _json({"version": VLLM_VERSION})

    async def _load(self, _request: web.Request) -> web.Response:
        return _json({"server_load": self._loop.in_flight if self._settings.server_load_tracking else 0})

    async def _render_metrics(self, _request: web.Request) -> web.Response:
        text = self._metrics.render(self._loop.batch)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _models(self, _request: web.Request) -> web.Response:
        models: list[dict[str, object]] = [
            {
                "id": name, "object": "model", "created": self._started, "owned_by": "vllm",
                "root": self._settings.model, "parent": None, "max_model_len": self._settings.max_model_len,
                "permission": [],
            }
            for name in self._settings.names
        ]  # fmt: skip
        return _json({"object": "list", "data": models})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.read()
        is_chat = b'"messages"' in body
        asked = _read(ChatRequest if is_chat else CompletionRequest, body)
        count = words.count_tokens(len(asked.text()), asked.message_count())
        tokens = [words.word_at(words.seed_of(asked.text()), index) for index in range(count)]
        limit = self._settings.max_model_len
        return _json({"count": count, "max_model_len": limit, "tokens": tokens, "token_strs": None})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, ChatRequest)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, CompletionRequest)

    async def _generate(self, request: web.Request, shape: type[ChatRequest | CompletionRequest]) -> web.StreamResponse:
        if not request.content_type.startswith("application/json"):
            raise _RefusedError(400, "Unsupported Media Type: Only 'application/json' is allowed", "Bad Request")
        asked = _read(shape, await request.read())
        answer = self._answer(asked)
        if self._faults.errors:
            raise _RefusedError(500, "simulated fault", "InternalServerError")
        if self.draining:
            raise _RefusedError(500, "cannot schedule new futures after shutdown", "InternalServerError")
        if self._is_full():
            raise _RefusedError(503, _BUSY, "Service Unavailable")
        return await (self._stream(request, answer) if asked.stream else self._whole(answer))

    def _answer(self, asked: Request) -> frames.Answer:
        """Settle what the answer will be, or refuse in vLLM's words."""
        name = asked.model or self._settings.names[0]
        if name not in self._settings.names:
            valid = ", ".join(self._settings.names)
            message = f"The model `{name}` does not exist. Valid aliases: {valid}."
            raise _RefusedError(404, message, "NotFoundError", "model")
        if asked.has_media():
            raise _RefusedError(400, "At most 0 image(s) may be provided in one prompt.")
        if (asked.n or 1) != 1:
            raise _RefusedError(400, "the engine simulator generates one choice per request (n=1)", param="n")
        text = asked.text()
        prompt_tokens = max(1, words.count_tokens(len(text), asked.message_count()))
        wanted = asked.output_limit()
        limit = self._settings.max_model_len
        _check_lengths(prompt_tokens, wanted, limit)
        seed = words.seed_of(text)
        room = limit - prompt_tokens
        natural = words.natural_length(seed)
        output_tokens = min(natural if wanted is None else wanted, room)
        options = asked.stream_options
        forced = self._settings.force_include_usage
        is_chat = isinstance(asked, ChatRequest)
        return frames.Answer(
            answer_id=f"{'chatcmpl' if is_chat else 'cmpl'}-{secrets.token_hex(8)}",
            created=int(time.time()),
            model=name,
            is_chat=is_chat,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            finish_reason="stop" if wanted is None and natural <= room else "length",
            seed=seed,
            include_usage=forced or (options is not None and options.include_usage),
            usage_on_every_chunk=forced or (options is not None and options.continuous_usage_stats),
        )

    def _is_full(self) -> bool:
        limit = self._settings.max_num_queued_reqs
        if limit is None or self._loop.in_flight < limit:
            return False
        self._metrics.rejections["max_num_queued_reqs"].inc()
        return True

    async def _stream(self, request: web.Request, answer: frames.Answer) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", "Vary": "Origin"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        sink = StreamSink(transport, answer, self._faults.break_after_tokens)
        # Lets a burst of streams pass the first check together: then, as in vLLM, the limit is told inside the stream.
        await asyncio.sleep(0)
        if self._is_full():
            sink.write(frames.error_event(503, _BUSY, "Service Unavailable"))
        elif self._faults.silent:
            await asyncio.get_running_loop().create_future()
        else:
            key = self._loop.submit(answer.prompt_tokens, answer.output_tokens, answer.finish_reason, sink)
            try:
                await sink.done
            finally:
                self._loop.cancel(key)
        with contextlib.suppress(ConnectionResetError):
            await response.write_eof()
        return response

    async def _whole(self, answer: frames.Answer) -> web.Response:
        if self._faults.silent:
            await asyncio.get_running_loop().create_future()
        sink = CountingSink()
        key = self._loop.submit(answer.prompt_tokens, answer.output_tokens, answer.finish_reason, sink)
        try:
            tokens, aborted = await sink.done
        finally:
            self._loop.cancel(key)
        body = frames.whole_body(answer, tokens, "abort" if aborted else answer.finish_reason)
        return web.Response(body=body, content_type="application/json", headers={"Vary": "Origin"})


def _check_lengths(prompt_tokens: int, wanted: int | None, limit: int) -> None:
    if wanted is not None and wanted < 1:
        raise _RefusedError(400, f"max_tokens must be at least 1, got {wanted}.", param="max_tokens")
    if wanted is not None and wanted > limit:
        raise _RefusedError(
            400,
            f"max_tokens={wanted} cannot be greater than max_model_len={limit}. Please request fewer output tokens. "
            f"(parameter=max_tokens, value={wanted})",
            param="max_tokens",
        )
    if prompt_tokens >= limit:
        raise _RefusedError(
            400,
            f"This model's maximum context length is {limit} tokens. However, your prompt contains at least "
            f"{limit + 1} input tokens, which exceeds this limit even without any output tokens. "
            f"Please reduce the length of the input prompt. (parameter=input_tokens, value={limit + 1})",
            param="input_tokens",
        )


def _read(shape: type[ChatRequest | CompletionRequest], body: bytes) -> Request:
    try:
        return shape.model_validate_json(body)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(["body", *(str(part) for part in first["loc"])])
        details = {"type": first["type"], "loc": place, "msg": first["msg"]}
        message = f"{invalid.error_count()} validation error:\n  {details}"
        raise _RefusedError(400, message, "Bad Request", place) from invalid


def _json(body: object, status: int = 200, **headers: str) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)


async def _name_server(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER_NAME
