from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from spillway.advisor.costs import Mix
from spillway.advisor.running import Running, running, usual_mix
from spillway.api.v1alpha1 import parse_deployment
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import by_name, default_profiles

PRICE = {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.00"}


def found(replicas: int = 2, price: dict[str, str] | None = PRICE, mix: Mix | None = None, **profile: Any) -> Running:
    target: dict[str, object] = {"name": "openai", "provider": "OpenAI", "model": "gpt-4o"}
    target["secretRef"] = {"name": "openai", "key": "api-key"}
    deployment = parse_deployment(
        {
            "apiVersion": "spillway.dev/v1alpha1",
            "kind": "LLMDeployment",
            "metadata": {"name": "chat"},
            "spec": {
                "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
                "accelerator": {"profile": profile.get("name", "l4-24gb"), "count": profile.pop("count", 0)},
                "fallback": {"targets": [target | ({"price": price} if price else {})]},
            },
        }
    )
    known = default_profiles()["l4-24gb"].model_copy(update=profile)
    plan = plan_deployment(deployment, by_name([known]))
    return running(deployment, plan, replicas, mix or usual_mix(plan.context_length))


def test_an_hour_costs_every_accelerator_of_every_replica():
    assert found(hourly_cost=Decimal("0.70")).usd_per_hour == Decimal("1.40")
    assert found(replicas=3, count=2).usd_per_hour == 3 * 2 * Decimal("0.70")
    assert found().usd_per_month == 720 * Decimal("1.40")
    assert found(replicas=0).usd_per_hour == 0


def test_break_even_is_where_a_day_here_costs_what_its_tokens_cost_there():
    even = found().break_even_tokens_per_day
    assert even == 24 * Decimal("1.40") * 10**6 / Decimal("7.50") == 4_480_000


@pytest.mark.parametrize(
    ("price", "mix", "dollars"),
    [
        (PRICE, Mix(500, 1000), "7.50"),
        (PRICE, Mix(1000, 0), "2.50"),
        (PRICE | {"cachedInputPerMillionTokens": "1.25"}, Mix(1000, 0, 500), "1.875"),
        (PRICE, Mix(1000, 0, 500), "2.50"),
    ],
)
def test_the_cloud_charges_the_objects_own_price_for_the_mix(price: dict[str, str], mix: Mix, dollars: str):
    assert found(price=price, mix=mix).cloud_usd_per_million == Decimal(dollars)


def test_a_million_tokens_here_cost_the_less_the_more_are_served():
    one = found()
    tenth, full = one.local_usd_per_million(Decimal("0.1")), one.local_usd_per_million(Decimal(1))
    assert tenth is not None
    assert full is not None
    assert one.tokens_per_day is not None
    assert abs(tenth - 10 * full) < Decimal("0.0001")
    assert abs(full * one.tokens_per_day / 10**6 - 24 * Decimal("1.40")) < Decimal("0.0001")
    assert one.local_usd_per_million(Decimal(0)) is None


def test_what_is_not_known_is_none_and_not_zero():
    unpriced, unmeasured = found(hourly_cost=None), found(name="of-our-own")
    assert (unpriced.usd_per_hour, unpriced.break_even_tokens_per_day) == (None, None)
    assert unpriced.local_usd_per_million(Decimal(1)) is None
    assert (unmeasured.tokens_per_day, unmeasured.local_usd_per_million(Decimal(1))) == (None, None)
    assert unmeasured.break_even_tokens_per_day == 4_480_000
    assert found(price=None).cloud_usd_per_million is None
    free = {"inputPerMillionTokens": "0", "outputPerMillionTokens": "0"}
    assert found(price=free).break_even_tokens_per_day is None


def test_a_usual_request_fits_the_context():
    assert usual_mix(8192) == Mix(500, 1000)
    assert usual_mix(600) == Mix(200, 400)
