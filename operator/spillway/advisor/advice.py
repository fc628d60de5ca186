"""The advice: from needs and prices to a recommendation, with every reason and figure it rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from spillway.advisor.accelerators import accelerators
from spillway.advisor.criteria import reasons
from spillway.advisor.decision import Decision, Reason, Recommendation, decide
from spillway.advisor.figures import Figures, figures, wanted
from spillway.advisor.flowchart import Step, Trigger, flowchart, triggers
from spillway.advisor.hardware import Choice, choices
from spillway.advisor.needs import Needs
from spillway.advisor.patterns import Pattern, alone, patterns
from spillway.advisor.prices import ListPrice, find_price, own_prices, stale
from spillway.advisor.setups import Setup, find_setup, own_setups


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What is recommended, why, and what it would take.

    `hardware` is what can run the model at the precision asked for, cheapest first; `patterns` what is to be applied
    for it, best first, none for an API; `setups` are all that there were to choose from.
    """

    needs: Needs
    decision: Decision
    reasons: tuple[Reason, ...]
    figures: Figures
    flowchart: Recommendation
    steps: tuple[Step, ...]
    triggers: tuple[Trigger, ...]
    hardware: tuple[Choice, ...]
    patterns: tuple[Pattern, ...]
    warnings: tuple[str, ...]
    setups: tuple[Setup, ...]

    @property
    def recommendation(self) -> Recommendation:
        """The answer."""
        return self.decision.recommendation


_PATTERNS: Final[Mapping[Recommendation, Callable[[Needs, Figures], tuple[Pattern, ...]]]] = {
    Recommendation.API: lambda _, __: (),
    Recommendation.SELF_HOST: alone,
    Recommendation.HYBRID: patterns,
}


def advise(
    needs: Needs, today: date, prices: Sequence[ListPrice] | None = None, setups: Sequence[Setup] | None = None
) -> Advice:
    """Advise on `needs`, as of `today`; without `prices` and `setups` by those that come with Spillway.

    Raises:
        InvalidObject: needs name a price, setup or accelerator that is not there, or a model that nothing tells the
            size of; names the field and the choices.
    """
    price = find_price(own_prices() if prices is None else prices, needs.cloud)
    known = own_setups() if setups is None else tuple(setups)
    setup = find_setup(known, needs.self_host.setup)
    numbers = figures(needs, price, setup)
    found = reasons(needs, numbers)
    decision = decide(found)
    answer, steps = flowchart(needs)
    return Advice(
        needs=needs,
        decision=decision,
        reasons=found,
        figures=numbers,
        flowchart=answer,
        steps=steps,
        triggers=triggers(needs),
        hardware=choices(wanted(needs), accelerators(), (needs.model.precision,)),
        patterns=_PATTERNS[decision.recommendation](needs, numbers),
        warnings=tuple(_warnings(needs, numbers, decision, today)),
        setups=known,
    )


def _warnings(needs: Needs, numbers: Figures, decision: Decision, today: date) -> Iterator[str]:
    old = stale(numbers.price, today)
    if old is not None:
        yield old
    setup, most = numbers.setup, numbers.roofline_tokens
    if numbers.plan is None:
        yield (
            f"{needs.model.uri} in {needs.model.precision} with {needs.model.context_tokens} tokens does not fit a "
            f"machine of {setup.accelerator}: take another setup, fewer bits or a shorter context"
        )
    if most is not None and most < numbers.capacity_tokens:
        yield (
            f"{setup.name} is reckoned with {numbers.capacity_tokens / 1e9:.3g}B tokens a month, but by the roofline "
            f"this model serves at most {most / 1e9:.2g}B on it: measure, and state selfHost.tokensPerSecond"
        )
    alone = decision.recommendation is Recommendation.SELF_HOST
    if alone and numbers.waiting is not None and not numbers.waiting.stable:
        yield "at the peak more requests come than the replicas can answer by the roofline: the queue would only grow"
    for reason in decision.overruled:
        yield f"{reason.criterion} asks for what must not be: {reason.text}"
