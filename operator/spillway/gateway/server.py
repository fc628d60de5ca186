"""The HTTP surface: two paths that are served, one that lists, three for those who run it, and no other.

What is not here is answered 404 in OpenAI's shape and never forwarded: engines carry unguarded administration beside
their API (vLLM's /invocations, /sleep, /collective_rpc).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler as AppHandler
from aiohttp.typedefs import Middleware

from spillway.errors import BadRequest
from spillway.gateway import answers
from spillway.gateway.admission import Facts, Timings
from spillway.gateway.answers import Answer
from spillway.gateway.audit import CLIENT_LEFT, Audit
from spillway.gateway.handler import RECORDED_KEY, REQUEST_ID_KEY, Handler, new_request_id, to_response
from spillway.gateway.metrics import CONTENT_TYPE, Metrics
from spillway.gateway.routes import RouteTable, Served
from spillway.gateway.upstream import Upstreams
from spillway.routing.facts import Endpoint
from spillway.routing.messages import Record

MAX_BODY_BYTES: Final = 10 * 1024 * 1024
MAX_HEADER_BYTES: Final = 32 * 1024

_log: Final = structlog.get_logger("spillway.gateway.server")


@dataclass(slots=True)
class Readiness:
    """Whether this process should be sent requests: when all it needs was seen once, and until it is told to end."""

    synced: bool = False
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Synced, and not draining."""
        return self.synced and not self.draining


def build_app(
    table: RouteTable,
    upstreams: Upstreams,
    audit: Audit,
    metrics: Metrics,
    readiness: Readiness,
    now: Callable[[], float],
) -> web.Application:
    """The application; everything it touches is passed in. `now` counts seconds."""

    def record(served: Served, facts: Facts, ended: Record, timings: Timings) -> None:
        audit.record(facts, ended, timings)
        metrics.record(facts, ended, timings)
        served.observer.ended(ended)

    async def models(_: web.Request) -> web.Response:
        listed = [
            {"id": route.model_name, "object": "model", "created": 0, "owned_by": "spillway"}
            for route in table.models()
        ]
        return web.Response(body=orjson.dumps({"object": "list", "data": listed}), content_type=answers.JSON)

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if readiness.ready:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="draining\n" if readiness.draining else "waiting for the first list\n")

    async def metrics_page(_: web.Request) -> web.Response:
        body = metrics.render(served.desk for served in table.served)
        return web.Response(body=body, headers={"content-type": CONTENT_TYPE})

    def turned_away(request: web.Request, status: int, error: str, arrived: float) -> None:
        served = {endpoint.value for endpoint in Endpoint}
        endpoint = request.path if request.path in served else None
        audit.turned_away(request[REQUEST_ID_KEY], endpoint, status, error, arrived)
        metrics.turned_away(error)

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_shaped(turned_away, now)])
    app.on_response_prepare.append(_sign)
    handler = Handler(table, upstreams, record, now)
    for endpoint in Endpoint:
        app.router.add_post(endpoint.value, handler.serve)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics_page)
    return app


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    """Say who answers, in place of aiohttp's versions: they are for us to know."""
    response.headers["server"] = "spillway"


def _shaped(turned_away: Callable[[web.Request, int, str, float], None], now: Callable[[], float]) -> Middleware:
    """Give every answer its request id and every error OpenAI's shape; tell of those that no session records."""

    @web.middleware
    async def shape(request: web.Request, handler: AppHandler) -> web.StreamResponse:
        arrived = now()
        request[REQUEST_ID_KEY] = new_request_id()
        try:
            response = await handler(request)
        except asyncio.CancelledError:
            if RECORDED_KEY not in request:
                turned_away(request, CLIENT_LEFT, "client_gone", arrived)
            raise
        except Exception as problem:  # noqa: BLE001 (whatever it is, the caller gets our shape and other requests go on)
            refusal = _refusal(request, problem)
            if RECORDED_KEY not in request:
                turned_away(request, refusal.status, refusal.word, arrived)
            return to_response(refusal.answer, refusal.headers | {answers.REQUEST_ID: request[REQUEST_ID_KEY]})
        if not response.prepared:
            response.headers.setdefault(answers.REQUEST_ID, request[REQUEST_ID_KEY])
        return response

    return shape


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What is said to a caller whose request no model was asked, and the one word for it."""

    answer: Answer
    word: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return self.answer.status


def _refusal(request: web.Request, problem: Exception) -> _Refusal:
    match problem:
        case BadRequest():
            return _Refusal(answers.bad_request(problem), problem.code or "invalid_request")
        case web.HTTPMethodNotAllowed():
            allowed, word = ", ".join(sorted(problem.allowed_methods)), "method_not_allowed"
            message = f"{request.path} takes {allowed}, not {request.method}."
            return _Refusal(answers.error(405, message, code=word), word, {"allow": allowed})
        case web.HTTPRequestEntityTooLarge():
            word = "request_too_large"
            return _Refusal(answers.error(413, f"The body is larger than {MAX_BODY_BYTES} bytes.", code=word), word)
        case web.RequestPayloadError():
            word = "unreadable_body"
            message = "The body is not in the content-encoding or transfer-encoding that its headers name."
            return _Refusal(answers.error(400, message, code=word), word)
        case web.HTTPNotFound():
            message = f"{request.method} {request.path[:200]} is not served here."
            return _Refusal(answers.error(404, message, code="unknown_url"), "unknown_url")
        case web.HTTPException():
            message = f"{request.method} {request.path[:200]}: {problem.reason}."
            return _Refusal(answers.error(problem.status, message), "invalid_request")
    _log.error("a bug stopped this request", request_id=request[REQUEST_ID_KEY], exc_info=problem)
    word = "internal_error"
    return _Refusal(answers.error(500, "The gateway failed on this request.", code=word), word)
