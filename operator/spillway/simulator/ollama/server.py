"""The HTTP surface of `ollama serve` 0.17.4, as far as Spillway and its tests meet it, in the shapes measured there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web
from pydantic import ValidationError

from spillway.simulator import words
from spillway.simulator.ollama.runner import Runner
from spillway.simulator.ollama.store import Store
from spillway.simulator.openai_wire import ChatRequest, CompletionRequest

VERSION: Final = "0.17.4"
SERVER_NAME: Final = "spillway-simulator"
FINGERPRINT: Final = "spillway-simulator"
MAX_BODY_BYTES: Final = 64 * 2**20
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is settled about an answer before its first token; without a limit it runs to ten times the context."""

    model: str
    is_chat: bool
    prompt_tokens: int
    output_tokens: int
    seed: int
    include_usage: bool

    def usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.output_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.output_tokens, "total_tokens": total}


class OllamaServer:
    """The routes over one store and one runner; `context_tokens` is of each slot."""

    def __init__(self, store: Store, runner: Runner, context_tokens: int) -> None:
        self._store = store
        self._runner = runner
        self._context_tokens = context_tokens

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[_edge], client_max_size=MAX_BODY_BYTES)
        app.on_response_prepare.append(_name_server)
        app.add_routes(
            [
                web.get("/", self._running),
                web.get("/api/version", self._version),
                web.get("/api/tags", self._tags),
                web.get("/api/ps", self._loaded),
                web.post("/api/generate", self._load),
                web.post("/api/show", self._show),
                web.post("/api/pull", self._pull),
                web.post("/api/copy", self._copy),
                web.post("/api/create", self._create),
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completion),
            ]
        )
        return app

    async def _running(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, _request: web.Request) -> web.Response:
        return _json({"version": VERSION})

    async def _tags(self, _request: web.Request) -> web.Response:
        return _json({"models": [{"name": name, "model": name} for name in self._store.names()]})

    async def _loaded(self, _request: web.Request) -> web.Response:
        loaded = [{"name": self._runner.model, "context_length": self._context_tokens}] if self._runner.model else []
        return _json({"models": loaded})

    async def _load(self, request: web.Request) -> web.Response:
        """An empty prompt loads the model; a simulator answers no other here."""
        body = _object(await request.read())
        name = self._known(body.get("model"))
        if body.get("prompt"):
            return _json({"error": "the simulated ollama answers prompts on /v1 alone"}, 501)
        await self._runner.load(name)
        return _json({"model": name, "response": "", "done": True, "done_reason": "load"})

    async def _show(self, request: web.Request) -> web.Response:
        self._known(_object(await request.read()).get("model"))
        return _json({"details": {"format": "gguf"}})

    async def _pull(self, request: web.Request) -> web.Response:
        """Every name but one that begins with `missing` is in the simulated registry."""
        name = str(_object(await request.read()).get("model", ""))
        if name.rsplit("/", 1)[-1].startswith("missing"):
            return _json({"error": "pull model manifest: file does not exist"}, 500)
        self._store.add(name, "pulled")
        return _json({"status": "success"})

    async def _copy(self, request: web.Request) -> web.Response:
        body = _object(await request.read())
        self._store.copy(self._known(body.get("source")), str(body.get("destination")))
        return web.Response()

    async def _create(self, request: web.Request) -> web.Response:
        self._store.add(str(_object(await request.read()).get("model", "")), "created")
        return _json({"status": "success"})

    async def _models(self, _request: web.Request) -> web.Response:
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "library"} for name in self._store.names()]
        return _json({"object": "list", "data": models or None})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, ChatRequest)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, CompletionRequest)

    async def _generate(self, request: web.Request, shape: type[ChatRequest | CompletionRequest]) -> web.StreamResponse:
        try:
            asked = shape.model_validate_json(await request.read())
        except ValidationError as error:
            raise _Refused(400, str(error.errors()[0]["msg"]), "invalid_request_error") from error
        name = self._known(asked.model)
        text = asked.text()
        # Not max_completion_tokens, which Ollama ignores; and a prompt that is too long is cut without a word.
        limit = 10 * self._context_tokens if asked.max_tokens is None else asked.max_tokens
        seed = words.seed_of(text)
        answer = _Answer(
            model=name,
            is_chat=isinstance(asked, ChatRequest),
            prompt_tokens=min(self._context_tokens, words.count_tokens(len(text), asked.message_count())),
            output_tokens=min(words.natural_length(seed), limit),
            seed=seed,
            include_usage=asked.stream_options is not None and asked.stream_options.include_usage,
        )
        await self._runner.load(name)
        async with self._runner.prompt(answer.prompt_tokens):
            return await (self._stream(request, answer) if asked.stream else self._whole(answer))

    async def _stream(self, request: web.Request, answer: _Answer) -> web.StreamResponse:
        """Status line and headers come with the first token; each delta repeats the role."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        head = _head(answer, "chat.completion.chunk" if answer.is_chat else "text_completion")
        for index in range(answer.output_tokens):
            await self._runner.token()
            if not response.prepared:
                await response.prepare(request)
            word = (" " if index else "") + words.VOCABULARY[words.word_at(answer.seed, index)]
            await response.write(_event(head | {"choices": [_part(answer, word, None)]}))
        if not response.prepared:
            await response.prepare(request)
        end = _event(head | {"choices": [_part(answer, "", "stop")]})
        usage = _event(head | {"choices": [], "usage": answer.usage()}) if answer.include_usage else b""
        await response.write(end + usage + b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _whole(self, answer: _Answer) -> web.Response:
        for _ in range(answer.output_tokens):
            await self._runner.token()
        text = words.answer_words(answer.seed, answer.output_tokens)
        choice: dict[str, object] = {"index": 0, "finish_reason": "stop"}
        choice |= {"message": {"role": "assistant", "content": text}} if answer.is_chat else {"text": text}
        kind = "chat.completion" if answer.is_chat else "text_completion"
        return _json(_head(answer, kind) | {"choices": [choice], "usage": answer.usage()})

    def _known(self, name: object) -> str:
        if not isinstance(name, str) or not name:
            raise _Refused(400, "model is required")
        if not self._store.has(name):
            raise _Refused(404, f"model '{name}' not found")
        return name


class _Refused(Exception):
    """A request gets an error of Ollama's in place of an answer."""

    def __init__(self, status: int, message: str, kind: str = "api_error") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind


@web.middleware
async def _edge(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Ollama's error bodies, and its refusal of browsers' requests."""
    if "Origin" in request.headers:
        return web.Response(status=403)
    try:
        return await handler(request)
    except _Refused as refused:
        if request.path.startswith("/v1"):
            body = {"message": refused.message, "type": refused.kind, "param": None, "code": None}
            return _json({"error": body}, refused.status)
        return _json({"error": refused.message}, refused.status)
    except OSError as error:
        return _json({"error": str(error)}, 500)


def _head(answer: _Answer, kind: str) -> dict[str, object]:
    # Ollama's own ids are not unique: one of 999.
    name = f"{'chatcmpl' if answer.is_chat else 'cmpl'}-{secrets.randbelow(999)}"
    created = int(time.time())
    return {"id": name, "object": kind, "created": created, "model": answer.model, "system_fingerprint": FINGERPRINT}


def _part(answer: _Answer, word: str, finish_reason: str | None) -> dict[str, object]:
    content: dict[str, object] = {"text": word}
    if answer.is_chat:
        content = {"delta": {"role": "assistant", "content": word}}
    return {"index": 0, **content, "finish_reason": finish_reason}


def _event(body: object) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(body)


def _object(body: bytes) -> dict[str, object]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _Refused(400, str(error)) from error
    return found if isinstance(found, dict) else {}


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def _name_server(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER_NAME
