"""From reasons to a recommendation: what is ruled out first, then what weighs most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Recommendation(StrEnum):
    """Where to run a model."""

    API = "API"
    SELF_HOST = "SelfHost"
    HYBRID = "Hybrid"


# Between equals: an API is the fastest to begin with and the easiest to leave.
_ORDER: Final = (Recommendation.API, Recommendation.HYBRID, Recommendation.SELF_HOST)


class Force(StrEnum):
    """What a reason does beside weighing."""

    WEIGHS = "Weighs"
    EXCLUDES = "Excludes"
    """It rules answers out, unless a law leaves nothing else."""
    LAW = "Law"
    """It rules answers out whatever the others say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One criterion: the figure it goes by, what that says (None: nothing either way), how much it weighs, 0 to 3."""

    criterion: str
    figure: str
    says: Recommendation | None
    weight: int
    text: str
    force: Force = Force.WEIGHS
    excludes: frozenset[Recommendation] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, the weight of each one's reasons, what was ruled out, and reasons that a law overruled."""

    recommendation: Recommendation
    scores: Mapping[Recommendation, int]
    excluded: frozenset[Recommendation]
    overruled: tuple[Reason, ...]


def decide(reasons: Sequence[Reason]) -> Decision:
    """The answer that is not ruled out and whose reasons weigh most; between equals the API, then the hybrid.

    Laws come first: what must stay, stays. A reason that would then rule out the last answer is overruled.
    """
    excluded: frozenset[Recommendation] = frozenset().union(
        *(reason.excludes for reason in reasons if reason.force is Force.LAW)
    )
    overruled = []
    for reason in (reason for reason in reasons if reason.force is Force.EXCLUDES):
        if len(excluded | reason.excludes) == len(_ORDER):
            overruled.append(reason)
        else:
            excluded |= reason.excludes
    scores = {answer: sum(reason.weight for reason in reasons if reason.says is answer) for answer in _ORDER}
    left = [answer for answer in _ORDER if answer not in excluded]
    best = max(left, key=lambda answer: (scores[answer], -_ORDER.index(answer)))
    return Decision(best, scores, excluded, tuple(overruled))
