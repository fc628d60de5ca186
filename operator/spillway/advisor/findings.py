"""Where the published figures do not follow from their assumptions, or from one another: reckoned, each with why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from spillway.advisor.accelerators import find_accelerator
from spillway.advisor.costs import (
    DAYS_A_MONTH,
    HOURS_A_MONTH,
    ONE_TO_TWO,
    cents,
    cloud_usd,
    effective_usd_per_million,
    units_needed,
)
from spillway.advisor.hardware import Precision, Wanted, plan_on
from spillway.advisor.latency import place
from spillway.advisor.prices import find_price, own_prices
from spillway.advisor.published import (
    DAILY_GPU_TOKENS,
    DAILY_GPU_USD,
    DAILY_USD_PER_MILLION,
    EFFECTIVE_TOKENS,
    VERSUS,
    WHEN,
    WHY,
    WHY_2026,
    daily_break_even,
)
from spillway.advisor.roofline import requests_per_second, speed
from spillway.advisor.setups import find_setup, own_setups
from spillway.api.v1alpha1 import EngineType

LLAMA_70B = "hf://meta-llama/Llama-3.1-70B-Instruct"
LLAMA_7B = "hf://meta-llama/Llama-2-7b-hf"


@dataclass(frozen=True, slots=True)
class Finding:
    """A published figure, what it comes to, and why they differ."""

    name: str
    source: str
    published: str
    comes_to: str
    why: str


def floor_plus_one(tokens: int, capacity_tokens: int) -> int:
    """GPUs as "Why Self-Host LLMs?" counts them above one GPU's capacity: the floor and one more."""
    return 1 if tokens <= capacity_tokens else tokens // capacity_tokens + 1


def findings() -> tuple[Finding, ...]:
    """All of them."""
    return (*_counting(), *_dollars(), *_memory(), *_thresholds())


def roofline_tokens_a_month(accelerator: str, precision: Precision = Precision.FOUR_BITS) -> int | None:
    """What one replica of Llama 3.1 70B could serve of prompts of 500 and answers of 1,000 tokens; None: no room."""
    product = find_accelerator(accelerator)
    wanted = Wanted(uri=LLAMA_70B, context_tokens=8192, prompt_tokens=500, answer_tokens=1000)
    plan = plan_on(product, wanted, precision)
    reached = None if plan is None else speed(product, plan, 500, 1000)
    return None if reached is None else int(requests_per_second(reached, 1000) * 1500 * 3600 * HOURS_A_MONTH)


def accelerators_for(uri: str, accelerator: str, precision: Precision) -> int | None:
    """Accelerators of one machine that a model takes with 4,096 tokens of context; None: it does not fit."""
    wanted = Wanted(uri=uri, context_tokens=4096, prompt_tokens=500, answer_tokens=1000)
    plan = plan_on(find_accelerator(accelerator), wanted, precision)
    return None if plan is None else max(1, plan.accelerators)


def _counting() -> Iterator[Finding]:
    tokens = 2 * DAILY_GPU_TOKENS
    yield Finding(
        "one GPU too many",
        WHY,
        f"{floor_plus_one(tokens, DAILY_GPU_TOKENS)} GPUs for 100M tokens a day at 50M each",
        f"{units_needed(tokens, DAILY_GPU_TOKENS)} GPUs",
        "`// + 1` buys one too many at every exact multiple of the capacity; what is needed is the ceiling",
    )
    capacity = DAILY_GPU_TOKENS * DAYS_A_MONTH
    yield Finding(
        "capacity of a GPU",
        f"{WHY}; {VERSUS}",
        "50M tokens a day; 2 GPUs for 5B a month and 4 for 10B",
        f"{units_needed(5 * 10**9, capacity)} and {units_needed(10**10, capacity)} GPUs at 50M a day",
        "1, 2 and 4 GPUs for 1B, 5B and 10B a month take 2.5B to 3.3B a month of each, 83M to 111M a day",
    )
    most = roofline_tokens_a_month("a100-80gb")
    assert most is not None
    yield Finding(
        "a 70B model on one A100",
        VERSUS,
        "1B tokens a month on one A100 80GB, and 5B on two, for a 70B model",
        f"{accelerators_for(LLAMA_70B, 'a100-80gb', Precision.SIXTEEN_BITS)} of them in 16 bits; one in 4 bits, which "
        f"by the roofline serves at most {most / 1e9:.1f}B a month",
        "140 GB of weights are more than 80 GB; two for 5B a month are more than data sheets allow",
    )


def _dollars() -> Iterator[Finding]:
    low, high = (_effective(Decimal(usd)) for usd in (4000, 8000))
    yield Finding(
        "effective cost of two A100s",
        WHEN,
        "$0.04-0.08 a million tokens at 100M a day for $4,000-8,000 a month",
        f"${cents(low)}-{cents(high)}",
        "3B tokens a month share it; $0.04-0.08 would take 100B a month, 3.3B a day",
    )
    power = _effective(Decimal(50))
    pc = [_effective(Decimal(usd) / 36 + 50) for usd in (2500, 4000)]
    yield Finding(
        "effective cost of a PC",
        WHEN,
        "$0.02-0.05 a million tokens at 100M a day for $2,500-4,000 and $50 of power",
        f"${cents(pc[0])}-{cents(pc[1])} over 36 months",
        f"its power alone is ${cents(power)}; the lower end leaves the PC itself out",
    )
    gpt = find_price(own_prices(), "OpenAI/gpt-4o")
    yield Finding(
        "GPT-4o at 100M tokens a day",
        WHEN,
        "$7,500 a month, $2.50 a million",
        f"${cents(cloud_usd(EFFECTIVE_TOKENS, gpt, ONE_TO_TWO)):,} a month, a third of it prompts",
        f"$2.50 is the price of prompts; the mix by which {VERSUS} gets $750 for 100M comes to $7.50 a million",
    )
    mini = find_price(own_prices(), "OpenAI/gpt-4o-mini")
    yield Finding(
        "price of GPT-4o mini",
        WHY,
        f'${DAILY_USD_PER_MILLION / 1000} a thousand tokens, "e.g., GPT-4o mini"',
        f"${cloud_usd(1000, mini, ONE_TO_TWO):f} a thousand",
        f"{VERSUS} has $0.15 and $0.60 a million; $10 a million is GPT-4o's price of answers",
    )
    rented = find_setup(own_setups(), "rented-a100").cost.monthly.hardware
    yield Finding(
        "rent of an A100",
        f"{WHY}; {VERSUS}",
        f"${DAILY_GPU_USD} a month; ${rented:,} a month, reserved",
        f"${cents(DAILY_GPU_USD / HOURS_A_MONTH)} and ${cents(rented / HOURS_A_MONTH)} an hour",
        "the two differ by a factor of seven, and their crossovers with them",
    )
    a100 = find_accelerator("a100-80gb")
    yield Finding(
        "amortisation of an A100",
        VERSUS,
        "~$2,000 a month for a single A100",
        f"${2000 * 36:,} over 36 months",
        f"one costs in the order of ${a100.price_usd:,}, paid in {a100.price_usd / 2000:.1f} months of $2,000",
    )
    bill = find_setup(own_setups(), "rented-a100").cost.monthly.total / (Decimal("0.8") - Decimal("0.6"))
    yield Finding(
        "80 % at home saves 60 %",
        VERSUS,
        "costs fall by 60 % with 80 % of the requests at home",
        f"true of a bill of ${bill:,.0f} a month, if the 80 % take one rented A100",
        "the other 20 % still cost 20 %, so what serves the 80 % costs 20 % of the old bill",
    )


def _memory() -> Iterator[Finding]:
    for product, uri, precision, source, published in (
        ("rtx-4090", LLAMA_70B, Precision.FOUR_BITS, WHEN, "an RTX 4090 (24GB) PC for a 70B model"),
        ("rtx-3080-ti", LLAMA_7B, Precision.SIXTEEN_BITS, WHEN, "7B in FP16 on an RTX 3080 Ti"),
        ("apple-m2-pro-16gb", LLAMA_7B, Precision.SIXTEEN_BITS, WHEN, "7B in FP16 on an M2 Pro with 16GB"),
        ("apple-m3-max-128gb", LLAMA_70B, Precision.SIXTEEN_BITS, WHEN, "70B in FP16 on an M3 Max with 128GB"),
    ):
        accelerator = find_accelerator(product)
        taken = accelerators_for(uri, product, precision)
        needs = "does not fit" if taken is None else f"takes {taken} of them"
        weights = {LLAMA_70B: 35 if precision is Precision.FOUR_BITS else 140, LLAMA_7B: 13}[uri]
        rest = "; with the processor's memory it runs, at a fraction of the speed"
        if accelerator.engine is EngineType.OLLAMA:
            rest = f", of which the GPU may hold {accelerator.memory_gib * 1024**3 / 1e9:.0f}"
        yield Finding(
            f"memory of {accelerator.product}",
            source,
            published,
            needs,
            f"the weights alone are over {weights} GB, of {accelerator.memory_gigabytes} GB{rest}",
        )


def _thresholds() -> Iterator[Finding]:
    yield Finding(
        "what is little",
        f"{WHY}; {WHY_2026}; {WHEN}; {VERSUS}",
        "below 1M a day; 10M a month; 10M a day; 500M a month",
        f"{1 * DAYS_A_MONTH}M, 10M, {10 * DAYS_A_MONTH}M and 500M a month",
        "each is against another price and another GPU; the advisor compares the dollars first",
    )
    yield Finding(
        "the flowchart's 5M a day",
        WHY,
        "consider self-hosting above 5M tokens a day",
        f"{daily_break_even():,.0f} tokens a day",
        "by its own GPU and price it pays from a third of that; the rest is a margin for people, which it leaves out",
    )
    yield Finding(
        "first token here",
        f"{WHY_2026}; {WHY}",
        f"10-15 ms; {place('local-gpu').first_token_milliseconds:.0f} ms",
        ", ".join(f"{_first_token(name):.0f} ms on {name}" for name in ("b200-180gb", "h200-141gb", "a100-80gb"))
        + ": a 7B model in 4 bits, 500 tokens of prompt",
        "by the roofline it is the prompt's arithmetic: ten times as long for a 70B model",
    )


def _first_token(accelerator: str) -> float:
    """Milliseconds to the first token of Llama 2 7B for a prompt of 500 tokens, alone."""
    product = find_accelerator(accelerator)
    wanted = Wanted(uri=LLAMA_7B, context_tokens=4096, prompt_tokens=500, answer_tokens=1000)
    plan = plan_on(product, wanted, Precision.FOUR_BITS)
    reached = None if plan is None else speed(product, plan, 500, 1000)
    assert reached is not None
    return reached.first_token_milliseconds


def _effective(usd: Decimal) -> Decimal:
    found = effective_usd_per_million(usd, EFFECTIVE_TOKENS)
    assert found is not None
    return found
