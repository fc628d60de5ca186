"""The HTTP surface: two paths that are served, one that lists, three for those who run it, and no other.

What is not here is answered 404 in OpenAI's shape and never forwarded: engines carry unguarded administration beside
their API (vLLM's /invocations, /sleep, /collective_rpc).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson
import structlog
from aiohttp import web

from spillway.errors import BadRequest
from spillway.gateway import answers
from spillway.gateway.admission import Facts, Timings
from spillway.gateway.audit import Audit
from spillway.gateway.handler import REQUEST_ID_KEY, Handler, new_request_id, to_response
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

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_in_openai_shape])
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


@web.middleware
async def _in_openai_shape(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give every answer its request id, and every error OpenAI's shape."""
    request_id = request[REQUEST_ID_KEY] = new_request_id()
    headers: dict[str, str] = {}
    try:
        response = await handler(request)
    except BadRequest as problem:
        answer = answers.bad_request(problem)
    except web.HTTPMethodNotAllowed as problem:
        allowed = ", ".join(sorted(problem.allowed_methods))
        headers["allow"] = allowed
        answer = answers.error(405, f"{request.path} takes {allowed}, not {request.method}.", code="method_not_allowed")
    except web.HTTPRequestEntityTooLarge:
        answer = answers.error(413, f"The body is larger than {MAX_BODY_BYTES} bytes.", code="request_too_large")
    except web.HTTPException as problem:
        path = f"{request.method} {request.path[:200]}"
        message = f"{path} is not served here." if problem.status == 404 else f"{path}: {problem.reason}."
        answer = answers.error(problem.status, message, code="unknown_url" if problem.status == 404 else None)
    except Exception:  # noqa: BLE001 (whatever it is, the caller gets our shape and other requests go on)
        _log.exception("a bug stopped this request", request_id=request_id)
        answer = answers.error(500, "The gateway failed on this request.", code="internal_error")
    else:
        if not response.prepared:
            response.headers.setdefault(answers.REQUEST_ID, request_id)
        return response
    return to_response(answer, headers | {answers.REQUEST_ID: request_id})
