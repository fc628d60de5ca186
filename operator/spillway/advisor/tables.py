"""The tables of docs/when-to-self-host.md, in Markdown, by the name of the block that each stands in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from spillway.advisor.accelerators import accelerators, find_accelerator
from spillway.advisor.advice import Advice, advise
from spillway.advisor.costs import DAYS_A_MONTH, ONE_TO_TWO, at_utilization, blended_usd_per_million, cents
from spillway.advisor.findings import LLAMA_70B, findings
from spillway.advisor.hardware import Choice, Precision, Wanted, choices
from spillway.advisor.latency import places
from spillway.advisor.needs import Certification, described
from spillway.advisor.people import CERTIFICATIONS, people, team_scales
from spillway.advisor.prices import own_prices
from spillway.advisor.published import Comparison, crossovers, daily, effective, monthly, payback, setup_totals
from spillway.advisor.scenarios import scenarios
from spillway.advisor.setups import find_setup, own_setups

AS_OF: Final = date(2025, 12, 1)
"""The day that the page advises as of: that of the prices on it."""
_LLAMA_7B: Final = "hf://meta-llama/Llama-2-7b-hf"
_ANSWER_TOKENS: Final = 200


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a column whose head ends with a colon is aligned to the right."""
    marks = ["---:" if column.endswith(":") else "---" for column in head]
    lines = [[column.removesuffix(":") for column in head], marks, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _comparisons(found: Iterable[Comparison], volume: str, api: str) -> str:
    rows = (
        (
            _tokens(row.tokens),
            f"${cents(row.api_usd):,}",
            str(row.units),
            f"${cents(row.self_host_usd):,}",
            row.winner or "roughly equal",
        )
        for row in found
    )
    return _table([f"{volume}:", f"{api}:", "GPUs:", "self-hosted:", "cheaper"], rows)


def _daily() -> str:
    return _comparisons(daily(), "tokens a day", "API a month")


def _monthly() -> str:
    return _comparisons(monthly(), "tokens a month", "GPT-4o a month")


def _setups() -> str:
    rows = [
        (name, f"${cost.hardware:,}", f"${cost.power:,}", f"${cost.people:,}", f"${cost.total:,}")
        for name, cost in setup_totals()
    ]
    return _table(["setup", "hardware:", "power:", "people:", "a month:"], rows)


def _utilization() -> str:
    setup = find_setup(own_setups(), "rented-a100")
    rows = []
    for percent in (5, 10, 25, 50, 100):
        usd = at_utilization(setup.cost.monthly.total, setup.capacity_tokens_per_month, Decimal(percent) / 100)
        tokens = _tokens(setup.capacity_tokens_per_month * percent // 100)
        rows.append((f"{percent} %", tokens, "" if usd is None else f"${cents(usd)}"))
    return _table([f"{setup.name}, of which is used:", "tokens a month:", "a million:"], rows)


def _effective() -> str:
    rows = (
        (
            row.setup,
            _range(f"{row.monthly_usd[0]:,.0f}", f"{row.monthly_usd[1]:,.0f}"),
            _range(str(row.published[0]), str(row.published[1])),
            _range(str(cents(row.computed[0])), str(cents(row.computed[1]))),
        )
        for row in effective()
    )
    return _table(["setup", "a month:", "published, a million:", "computed, a million:"], rows)


def _crossovers() -> str:
    rows = (
        (row.published, row.source, row.assumptions, _millions(row.tokens, 0), _millions(row.tokens / DAYS_A_MONTH, 1))
        for row in crossovers()
    )
    return _table(["published", "by", "follows from", "comes to, a month:", "a day:"], rows)


def _payback() -> str:
    running = find_setup(own_setups(), "owned-server").cost.monthly.power
    rows = (
        ("nothing to run it", f"{payback():.1f} months"),
        (f"${cents(running)} of power a month (1 kW at $0.15 and a PUE of 1.2)", f"{payback(running):.1f} months"),
    )
    return _table(["the $15,000 server that replaces $2,000 a month, with", "pays in:"], rows)


def _findings() -> str:
    rows = ((each.name, each.published, each.source, each.comes_to, each.why) for each in findings())
    return _table(["", "published", "by", "comes to", "because"], rows)


def _prices() -> str:
    rows = (
        (
            price.name,
            f"${price.input_usd_per_million:.2f}",
            f"${price.output_usd_per_million:.2f}",
            f"${blended_usd_per_million(price, ONE_TO_TWO):.2f}",
            price.source,
        )
        for price in own_prices()
    )
    return _table(["price", "prompt:", "answer:", "one to two:", "source"], rows)


def _latency() -> str:
    rows = (
        (
            place.name,
            f"{place.round_trip_milliseconds:.0f} ms",
            f"{place.queue_milliseconds:.0f} ms",
            f"{place.first_token_milliseconds:.0f} ms",
            f"{place.tokens_per_second:.0f}",
            f"{place.to_first_token():,.0f} ms",
            f"{place.to_last_token(_ANSWER_TOKENS):,.0f} ms",
        )
        for place in places()
    )
    head = ["place", "round trip:", "queue:", "model's first token:", "tokens a second:", "first token:"]
    return _table([*head, f"answer of {_ANSWER_TOKENS} tokens:"], rows)


def _people() -> str:
    rows = ((scale.scale, people(scale.minimum), people(scale.recommended)) for scale in team_scales())
    return _table(["scale", "at least", "better"], rows)


def _certifications() -> str:
    rows = ((asked.value, CERTIFICATIONS[asked].by_provider, CERTIFICATIONS[asked].here) for asked in Certification)
    return _table(["asked for", "of a provider", "self-hosted"], rows)


def _hardware() -> str:
    rows = [
        (
            size,
            {"FourBits": "4", "EightBits": "8", "SixteenBits": "16"}[way.precision],
            f"{max(1, way.plan.accelerators)} x {way.accelerator.product}",
            f"${way.purchase_usd:,}",
            f"{way.watts:,} W",
            "" if way.speed is None else f"{way.speed.one_sequence_tokens_per_second:,.0f}",
            "" if way.speed is None else f"{way.speed.most_tokens_per_second:,.0f} ({way.speed.sequences})",
        )
        for size, uri in (("7B", _LLAMA_7B), ("70B", LLAMA_70B))
        for precision in Precision
        for way in _cheapest(uri, precision)
    ]
    head = ["model", "bits:", "cheapest three of NVIDIA and AMD, and of Apple", "price, about:", "power:"]
    return _table([*head, "tokens/s, alone:", "tokens/s, together (of):"], rows)


def _cheapest(uri: str, precision: Precision) -> tuple[Choice, ...]:
    wanted = Wanted(uri=uri, context_tokens=4096, prompt_tokens=500, answer_tokens=1000)
    found = choices(wanted, accelerators(), (precision,))
    apple = [way for way in found if way.accelerator.product.startswith("Apple")]
    return (*[way for way in found if way not in apple][:3], *apple[:1])


def _needs() -> str:
    rows = ((f"`{path}`", f"`{default}`" if default else "", text) for path, default, text in described())
    return _table(["field", "default", ""], rows)


def _own_setups() -> str:
    rows = (
        (
            setup.name,
            f"{setup.accelerators} x {find_accelerator(setup.accelerator).product}",
            f"${cents(setup.cost.monthly.total):,}",
            _tokens(setup.capacity_tokens_per_month),
            setup.source,
        )
        for setup in own_setups()
    )
    return _table(["setup", "accelerators", "a month:", "tokens a month:", "source"], rows)


def _scenarios() -> str:
    advised = [(case, advise(case.needs, AS_OF)) for case in scenarios()]
    rows = (
        (
            f"`{case.name}`",
            f"{case.stated}. Assumed: {case.assumed}",
            _scores(advice),
            f"**{advice.recommendation}**",
            _why(advice),
        )
        for case, advice in advised
    )
    return _table(["scenario", "needs", "weights", "advice", "by"], rows)


def _scores(advice: Advice) -> str:
    decision = advice.decision
    return ", ".join(
        f"{answer} {'ruled out' if answer in decision.excluded else score}" for answer, score in decision.scores.items()
    )


def _why(advice: Advice) -> str:
    return "; ".join(
        f"{reason.criterion} ({reason.weight})" for reason in advice.reasons if reason.says is advice.recommendation
    )


def _tokens(count: int) -> str:
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:g}{letter}"
    return str(count)


def _millions(tokens: Decimal, places: int) -> str:
    return f"{tokens / 10**6:,.{places}f}M"


def _range(low: str, high: str) -> str:
    return f"${low}" if low == high else f"${low}-{high}"


BLOCKS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "daily": _daily,
        "monthly": _monthly,
        "setups": _setups,
        "effective": _effective,
        "utilization": _utilization,
        "payback": _payback,
        "crossovers": _crossovers,
        "findings": _findings,
        "prices": _prices,
        "latency": _latency,
        "people": _people,
        "certifications": _certifications,
        "hardware": _hardware,
        "scenarios": _scenarios,
        "needs": _needs,
        "own-setups": _own_setups,
    }
)
"""Of each block of the page what writes it."""
