"""Every table of the published figures, from stated assumptions and to the cent; and where they do not follow."""

from __future__ import annotations

from decimal import Decimal

import pytest

from spillway.advisor.costs import (
    DAYS_A_MONTH,
    ONE_TO_TWO,
    blended_usd_per_million,
    break_even_tokens,
    cents,
    cloud_usd,
    tokens_usd,
    units_needed,
)
from spillway.advisor.findings import accelerators_for, findings, floor_plus_one, roofline_tokens_a_month
from spillway.advisor.hardware import Precision
from spillway.advisor.prices import find_price, own_prices
from spillway.advisor.published import (
    DAILY_GPU_TOKENS,
    EFFECTIVE_TOKENS,
    crossovers,
    daily,
    daily_break_even,
    effective,
    monthly,
    payback,
    setup_totals,
)
from spillway.sizing.hardware import hardware_rows


def test_daily_volumes_at_a_cent_a_thousand_against_a_gpu_at_500_dollars():
    assert [(row.tokens, str(cents(row.api_usd)), str(cents(row.self_host_usd)), row.winner) for row in daily()] == [
        (100_000, "30.00", "500.00", "API"),
        (1_000_000, "300.00", "500.00", "API"),
        (5_000_000, "1500.00", "500.00", "SelfHost"),
        (50_000_000, "15000.00", "500.00", "SelfHost"),
    ]


def test_the_example_of_10m_tokens_a_day_saves_2500_dollars_a_month():
    cloud = tokens_usd(10_000_000 * DAYS_A_MONTH, Decimal(10))
    assert (cents(cloud), cents(cloud - 500)) == (Decimal("3000.00"), Decimal("2500.00"))


def test_that_gpu_breaks_even_at_1_666_667_tokens_a_day():
    assert round(daily_break_even()) == 1_666_667


def test_monthly_volumes_at_gpt_4o_against_one_two_and_four_rented_gpus():
    assert [
        (row.tokens, str(cents(row.api_usd)), row.units, str(cents(row.self_host_usd)), row.winner) for row in monthly()
    ] == [
        (10**7, "75.00", 1, "4000.00", "API"),
        (10**8, "750.00", 1, "4000.00", "API"),
        (5 * 10**8, "3750.00", 1, "4000.00", None),
        (10**9, "7500.00", 1, "4000.00", "SelfHost"),
        (5 * 10**9, "37500.00", 2, "8000.00", "SelfHost"),
        (10**10, "75000.00", 4, "16000.00", "SelfHost"),
    ]


def test_a_third_of_prompts_and_two_thirds_of_answers_give_seven_dollars_fifty_a_million():
    gpt = find_price(own_prices(), "gpt-4o")
    assert (gpt.input_usd_per_million, gpt.output_usd_per_million) == (Decimal("2.50"), Decimal("10.00"))
    assert blended_usd_per_million(gpt, ONE_TO_TWO) == Decimal("7.50")


@pytest.mark.parametrize(
    ("name", "prompt", "answer"),
    [
        ("gpt-4o", "2.50", "10.00"),
        ("gpt-4o-mini", "0.15", "0.60"),
        ("claude-3-5-sonnet", "3.00", "15.00"),
        ("gemini-1.5-pro", "1.25", "5.00"),
    ],
)
def test_the_prices_of_late_2025(name: str, prompt: str, answer: str):
    price = find_price(own_prices(), name)
    assert (str(price.input_usd_per_million), str(price.output_usd_per_million)) == (prompt, answer)


def test_four_setups_by_month():
    assert {name: str(cost.total) for name, cost in setup_totals()} == {
        "owned-a100": "2700",
        "owned-4x-a100": "10800",
        "rented-a100": "4000",
        "rented-h100": "6000",
    }


def test_a_15000_dollar_server_that_replaces_2000_a_month_pays_in_seven_to_eight_months():
    assert payback() == Decimal("7.5")
    assert 7 < payback() < 8
    assert round(payback(Decimal("129.60")), 1) == Decimal("8.0")


def test_apis_at_100m_tokens_a_day_cost_what_is_published():
    rows = {row.setup: row for row in effective()}
    assert cents(rows["GPT-4o, direct"].monthly_usd[0]) == Decimal("7500.00")
    assert cents(rows["Llama 3.1 70B at Together"].monthly_usd[0]) == Decimal("2640.00")
    for name in ("GPT-4o, direct", "Llama 3.1 70B at Together"):
        assert rows[name].computed == rows[name].published


def test_two_a100s_cost_1_33_to_2_67_a_million_and_not_4_to_8_cents():
    row = next(row for row in effective() if row.setup.startswith("2x A100"))
    assert row.monthly_usd == (4000, 8000)
    assert tuple(map(cents, row.computed)) == (Decimal("1.33"), Decimal("2.67"))
    assert row.published == (Decimal("0.04"), Decimal("0.08"))
    # what the published cents would take
    assert Decimal(4000) / Decimal("0.04") * 10**6 == 100 * 10**9
    assert round(100 * 10**9 / EFFECTIVE_TOKENS) == 33


def test_a_pc_costs_4_to_5_cents_a_million_over_36_months_and_2_for_its_power_alone():
    row = next(row for row in effective() if row.setup.startswith("RTX"))
    assert tuple(map(cents, row.computed)) == (Decimal("0.04"), Decimal("0.05"))
    assert cents(Decimal(50) / 3000) == Decimal("0.02") == row.published[0]


@pytest.mark.parametrize(
    ("published", "millions_a_month"),
    [
        ("50M a month", "49.66"),
        ("150M a month", "145.67"),
        ("500M a month", "533.33"),
        ("1B a month", "1066.67"),
        ("100M a day", "3200.00"),
        ("1.67M a day", "50.00"),
    ],
)
def test_each_crossover_follows_from_assumptions_of_its_own(published: str, millions_a_month: str):
    row = next(row for row in crossovers() if row.published == published)
    assert cents(row.tokens / 10**6) == Decimal(millions_a_month)


def test_the_two_monthly_crossovers_differ_by_the_dollars_of_a_gpu_and_not_by_the_price_of_tokens():
    gpt = blended_usd_per_million(find_price(own_prices(), "gpt-4o"), ONE_TO_TWO)
    server, rented = break_even_tokens(Decimal("546.27"), gpt), break_even_tokens(Decimal(4000), gpt)
    assert server is not None
    assert rented is not None
    assert 50 * 10**6 < server < 150 * 10**6
    assert 500 * 10**6 < rented < 10**9


@pytest.mark.parametrize(("gpus", "floored"), [(1, 1), (2, 3), (3, 4), (10, 11)])
def test_floor_plus_one_buys_one_gpu_too_many_at_exact_multiples(gpus: int, floored: int):
    tokens = gpus * DAILY_GPU_TOKENS
    assert (units_needed(tokens, DAILY_GPU_TOKENS), floor_plus_one(tokens, DAILY_GPU_TOKENS)) == (gpus, floored)
    assert units_needed(tokens + 1, DAILY_GPU_TOKENS) == floor_plus_one(tokens + 1, DAILY_GPU_TOKENS) == gpus + 1


@pytest.mark.parametrize(("capacity", "fits"), [(2_499, False), (2_500, True), (3_333, True), (3_334, False)])
def test_one_two_and_four_gpus_take_a_capacity_of_2_5b_to_3_33b_a_month(capacity: int, fits: bool):
    counts = [units_needed(millions, capacity) for millions in (1_000, 5_000, 10_000)]
    assert (counts == [1, 2, 4]) is fits


def test_the_capacity_of_50m_a_day_takes_four_and_seven():
    capacity = DAILY_GPU_TOKENS * DAYS_A_MONTH
    assert [units_needed(tokens, capacity) for tokens in (5 * 10**9, 10**10)] == [4, 7]


def test_gpt_4o_at_100m_a_day_is_its_price_for_prompts_alone():
    gpt = find_price(own_prices(), "gpt-4o")
    assert tokens_usd(EFFECTIVE_TOKENS, gpt.input_usd_per_million) == 7500
    assert cloud_usd(EFFECTIVE_TOKENS, gpt, ONE_TO_TWO) == 22_500


def test_a_cent_a_thousand_is_no_price_of_gpt_4o_mini():
    mini = find_price(own_prices(), "gpt-4o-mini")
    assert cloud_usd(1000, mini, ONE_TO_TWO) == Decimal("0.00045")


def test_80_percent_at_home_saves_60_percent_of_a_bill_of_20000():
    bill = Decimal(20_000)
    assert bill * Decimal("0.2") + 4000 == bill * Decimal("0.4")


def test_a_70b_model_in_16_bits_takes_two_a100s_and_in_4_bits_one():
    assert accelerators_for("hf://meta-llama/Llama-3.1-70B-Instruct", "a100-80gb", Precision.SIXTEEN_BITS) == 2
    assert accelerators_for("hf://meta-llama/Llama-3.1-70B-Instruct", "a100-80gb", Precision.FOUR_BITS) == 1


def test_one_a100_serves_1b_tokens_a_month_of_a_70b_model_and_two_do_not_serve_5b():
    most = roofline_tokens_a_month("a100-80gb")
    assert most is not None
    assert 10**9 < most < 2.5 * 10**9


@pytest.mark.parametrize(
    ("model", "accelerator", "precision", "count"),
    [
        ("meta-llama/Llama-3.1-70B-Instruct", "rtx-4090", Precision.FOUR_BITS, 4),
        ("meta-llama/Llama-2-7b-hf", "rtx-3080-ti", Precision.SIXTEEN_BITS, 2),
        ("meta-llama/Llama-3.1-70B-Instruct", "apple-m3-max-128gb", Precision.SIXTEEN_BITS, None),
        ("meta-llama/Llama-3.1-70B-Instruct", "apple-m2-ultra-192gb", Precision.SIXTEEN_BITS, 1),
        ("meta-llama/Llama-2-7b-hf", "rtx-3060", Precision.FOUR_BITS, 1),
        ("meta-llama/Llama-2-7b-hf", "apple-m1-16gb", Precision.FOUR_BITS, 1),
        ("meta-llama/Llama-2-7b-hf", "apple-m2-pro-16gb", Precision.SIXTEEN_BITS, None),
        ("meta-llama/Llama-2-13b-hf", "apple-m2-pro-16gb", Precision.FOUR_BITS, None),
        ("meta-llama/Llama-3.1-70B-Instruct", "apple-m2-max-96gb", Precision.FOUR_BITS, 1),
        ("meta-llama/Llama-2-13b-hf", "rtx-3080", Precision.FOUR_BITS, 2),
    ],
)
def test_the_hardware_that_is_named_for_a_model(model: str, accelerator: str, precision: Precision, count: int | None):
    assert accelerators_for(f"hf://{model}", accelerator, precision) == count


def test_the_published_memory_by_size_is_what_sizing_has():
    assert [row.rule_gigabytes for row in hardware_rows()] == [6, 16, 10, 40, 140]


def test_every_finding_has_a_name_and_says_why():
    names = [each.name for each in findings()]
    assert len(set(names)) == len(names) >= 14
    assert all(each.published and each.comes_to and each.why for each in findings())
    assert {"one GPU too many", "effective cost of two A100s", "capacity of a GPU", "what is little"} <= set(names)
