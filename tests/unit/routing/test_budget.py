"""Money: amounts are exact, rounded against us, and a reservation is a true bound."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_values import PRICE, TARGET, intake, route
from spillway.api.v1alpha1 import Provider
from spillway.routing.budget import cost_micros, micros, reservation_micros, usd
from spillway.routing.facts import Price, Usage


@pytest.mark.parametrize(
    ("dollars", "expected"),
    [("0", 0), ("50.00", 50_000_000), ("0.000001", 1), ("0.0000001", 1), ("1.2345678", 1_234_568)],
)
def test_dollars_become_whole_micro_dollars_rounded_up(dollars: str, expected: int) -> None:
    assert micros(Decimal(dollars)) == expected


@pytest.mark.parametrize("dollars", ["-1", "NaN", "Infinity"])
def test_what_is_no_amount_is_refused(dollars: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        micros(Decimal(dollars))


@given(st.integers(0, 10**12))
def test_micro_dollars_survive_the_way_through_dollars(amount: int) -> None:
    assert micros(usd(amount)) == amount


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(0, 0), 0),
        (Usage(1, 0), 3),  # 2.5 micro-dollars, rounded up
        (Usage(1000, 100), 3500),
        (Usage(1000, 100, cached_prompt_tokens=400), 3000),
        (Usage(100, 0, cached_prompt_tokens=400), 125),
    ],
)
def test_cost_is_the_price_of_what_was_used(usage: Usage, expected: int) -> None:
    assert cost_micros(PRICE, usage) == expected


@given(
    text=st.text(max_size=400),
    n=st.integers(1, 4),
    bound=st.one_of(st.none(), st.integers(1, 20_000)),
    share=st.floats(0, 1),
    cached_price=st.integers(0, 5_000_000),
    provider=st.sampled_from(Provider),
)
def test_no_answer_costs_more_than_was_reserved_whoever_gives_it(
    text: str, n: int, bound: int | None, share: float, cached_price: int, provider: Provider
) -> None:
    fields: dict[str, object] = {"n": n} if bound is None else {"n": n, "max_tokens": bound}
    parsed = intake(text, **fields)
    price = Price(2_500_000, 10_000_000, cached_price)
    target = type(TARGET)("t", TARGET.base_url, "m", price, 60.0, provider=provider)
    prompt_tokens = len(text.encode()) + 4 + 3  # one token a byte, the message's frame and the answer's primer
    answer_tokens = min(bound or 4096, 8192) * n
    usage = Usage(prompt_tokens, answer_tokens, cached_prompt_tokens=int(prompt_tokens * share))
    assert cost_micros(target.price, usage) <= reservation_micros(parsed, target, route())
