"""Values of the routing core for tests, with what a test does not care about filled in."""

from __future__ import annotations

from typing import Any

import orjson

from spillway.api.v1alpha1 import DataClass
from spillway.routing.facts import Endpoint, Intake, Price, Route, Target
from spillway.routing.intake import parse
from spillway.routing.outcomes import Reason

PRICE = Price(2_500_000, 10_000_000, 1_250_000)
TARGET = Target("openai", "https://api.openai.com/v1", "gpt-4o", PRICE, 60.0)
SPILL_REASONS = frozenset({Reason.SATURATED, Reason.NO_ENDPOINTS, Reason.LOADING, Reason.BACKEND_ERROR})


def route(**changes: Any) -> Route:
    values: dict[str, Any] = {
        "namespace": "team",
        "name": "chat",
        "uid": "1",
        "model_name": "chat",
        "slo_ttft_seconds": 2.0,
        "max_held": 100,
        "max_wait_seconds": 30.0,
        "context_length": 8192,
        "kv_capacity_tokens": None,
        "default_class": DataClass.INTERNAL,
        "may_leave": frozenset({DataClass.INTERNAL, DataClass.PUBLIC}),
        "detectors": frozenset({"PII"}),
        "spill_reasons": SPILL_REASONS,
        "targets": (TARGET,),
        "budget_limit_micros": 50_000_000,
    }
    return Route(**(values | changes))


def chat(content: object, **fields: object) -> bytes:
    return orjson.dumps({"model": "chat", "messages": [{"role": "user", "content": content}], **fields})


def intake(content: object, **fields: object) -> Intake:
    return parse(Endpoint.CHAT, chat(content, **fields))
