"""Two rules of thumb that are older than any figures: the flowchart, and the five triggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spillway.advisor.costs import DAYS_A_MONTH
from spillway.advisor.decision import Recommendation
from spillway.advisor.needs import DataResidency, Needs

FLOWCHART_TOKENS_A_DAY: Final = 5_000_000
TRIGGER_TOKENS_A_DAY: Final = 100_000_000
TRIGGER_FIRST_TOKEN_MILLISECONDS: Final = 100


@dataclass(frozen=True, slots=True)
class Step:
    """A question of the flowchart and its answer."""

    question: str
    yes: bool


@dataclass(frozen=True, slots=True)
class Trigger:
    """One of the five triggers for self-hosting: whether it holds, and by what figure."""

    name: str
    holds: bool
    figure: str


def flowchart(needs: Needs) -> tuple[Recommendation, tuple[Step, ...]]:
    """The flowchart of "Why Self-Host LLMs?": its answer, and the questions on the way there.

    Above 5M tokens a day it says to consider self-hosting, which is taken as its answer.
    """
    questions = (
        ("Is there sensitive data that cannot leave?", needs.data is DataResidency.MUST_STAY),
        ("More than 5M tokens a day?", needs.tokens_per_month > FLOWCHART_TOKENS_A_DAY * DAYS_A_MONTH),
        ("Specific models, or offline?", needs.custom_weights or needs.offline),
    )
    steps: list[Step] = []
    for question, yes in questions:
        steps.append(Step(question, yes))
        if yes:
            return Recommendation.SELF_HOST, tuple(steps)
    return Recommendation.API, tuple(steps)


def triggers(needs: Needs) -> tuple[Trigger, ...]:
    """The five triggers of "When to Self-Host Models"."""
    limit = needs.first_token.limit_milliseconds if needs.first_token else None
    a_day = needs.tokens_per_month / DAYS_A_MONTH
    return (
        Trigger("data residency", needs.data in {DataResidency.MUST_STAY, DataResidency.PART_MUST_STAY}, needs.data),
        Trigger("cost at scale", a_day >= TRIGGER_TOKENS_A_DAY, f"{a_day / 1e6:,.1f}M tokens a day of 100M"),
        Trigger(
            "latency",
            limit is not None and limit <= TRIGGER_FIRST_TOKEN_MILLISECONDS,
            "no limit" if limit is None else f"first token within {limit} ms, of 100 ms",
        ),
        Trigger("customisation", needs.custom_weights, "own weights" if needs.custom_weights else "none of its own"),
        Trigger("offline", needs.offline, "no connection" if needs.offline else "connected"),
    )
