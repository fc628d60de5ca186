"""One request: facts, decision, target, relay, settle. The last four are the session's, which the machine drives."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from spillway.api.v1alpha1 import Detector, EngineType
from spillway.gateway import answers
from spillway.gateway.admission import Facts, Timings, admit, readmit
from spillway.gateway.answers import Answer
from spillway.gateway.client import Client
from spillway.gateway.routes import RouteTable, Served
from spillway.gateway.session import Session
from spillway.gateway.upstream import Upstreams
from spillway.gateway.usable import is_usable
from spillway.routing import ollama
from spillway.routing.detection.inspect import inspect
from spillway.routing.facts import Classified, Endpoint, Intake, Route
from spillway.routing.intake import parse
from spillway.routing.messages import Record
from spillway.routing.sensitivity import classify, is_read

LABEL_HEADER: Final = "x-spillway-data-class"
READ_AT_ONCE_BYTES: Final = 32_768
"""Of a body that is searched on the loop, which takes a few milliseconds; larger ones are searched in a thread."""
REQUEST_ID_KEY: Final = web.RequestKey("request_id", str)
RECORDED_KEY: Final = web.RequestKey("recorded", bool)
"""There when the request's own session writes its audit line."""


class Handler:
    """Serves the two POST paths; `now` counts seconds."""

    def __init__(
        self,
        table: RouteTable,
        upstreams: Upstreams,
        record: Callable[[Served, Facts, Record, Timings], None],
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._upstreams = upstreams
        self._record = record
        self._now = now
        # patterns are compiled when they are first used, which is not to be while somebody waits
        inspect({}, frozenset(Detector))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request. Raises BadRequest for what cannot be served as it is."""
        arrived = self._now()
        request_id = request[REQUEST_ID_KEY]
        body = await request.read()
        intake = parse(Endpoint(request.path), body)
        served = self._table.find(intake.model)
        if served is None:
            known = [route.model_name for route in self._table.models()]
            raise answers.unknown_model(intake.model, known)
        route = served.route
        if route.engine is EngineType.OLLAMA:
            ollama.check(intake, route)
        classified = await _classify(intake, _label(request), route)
        usable = partial(is_usable, served, credentials=self._upstreams.credentials)
        terms = admit(request_id, intake, classified, route, usable)
        facts = Facts(terms, route, intake, classified, body, arrived)
        client = Client(request)
        session = Session(
            facts,
            served.desk,
            served.observer,
            served.ledger,
            self._upstreams,
            client,
            partial(self._record, served),
            partial(readmit, is_usable=usable),
        )
        request[RECORDED_KEY] = True
        await session.run()
        if client.response is not None:
            return client.response
        if session.answer is None:
            raise RuntimeError(f"request {request_id} ended without an answer")
        return to_response(session.answer, session.headers())


def _label(request: web.Request) -> str | None:
    """Every line of the header: a proxy's beside the caller's is one more (RFC 9110, section 5.3)."""
    lines = request.headers.getall(LABEL_HEADER, [])
    return ",".join(lines) if lines else None


async def _classify(intake: Intake, label: str | None, route: Route) -> Classified:
    if intake.body_bytes <= READ_AT_ONCE_BYTES or not is_read(intake, label, route):
        return classify(intake, label, route)
    return await asyncio.to_thread(classify, intake, label, route)


def new_request_id() -> str:
    """128 random bits, in hex."""
    return secrets.token_hex(16)


def to_response(answer: Answer, headers: dict[str, str]) -> web.Response:
    """An answer of ours as aiohttp sends it."""
    response = web.Response(status=answer.status, body=answer.body, headers=headers | dict(answer.headers))
    response.headers["content-type"] = answer.content_type
    return response
