"""The people that self-hosting takes, and what certificates ask of whoever does it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Final

from pydantic import Field

from spillway.advisor.data import listed, own_text
from spillway.advisor.needs import Certification, Team
from spillway.sizing.profiles import Facts

SKILLS: Final = ("Linux administration", "GPU drivers", "containers and Kubernetes", "model optimisation")
SETUP_HOURS: Final = (2, 8)
WEEKLY_HOURS: Final = (2, 4)
"""All three as "Why Self-Host LLMs?" has them."""


class TeamScale(Facts):
    """People for one scale of self-hosting; without a limit it is for all that is more."""

    scale: str
    until_tokens_per_month: int | None = Field(default=None, gt=0)
    models: int | None = Field(default=None, gt=0)
    minimum: Team
    recommended: Team


@dataclass(frozen=True, slots=True)
class Held:
    """Who can show a certificate: a provider of an API, and oneself when hosting."""

    by_provider: str
    by_self_hosting: bool
    here: str


CERTIFICATIONS: Final = {
    Certification.SOC_2: Held("SOC 2 Type II report", by_self_hosting=False, here="an audit of one's own"),
    Certification.BAA: Held("a BAA, not of every provider", by_self_hosting=True, here="nobody to have one with"),
    Certification.VENDOR_LIABILITY: Held("by contract", by_self_hosting=False, here="no vendor who could be liable"),
    Certification.REGIONAL_ENDPOINT: Held("in some regions", by_self_hosting=True, here="wherever the machines are"),
    Certification.ZERO_RETENTION: Held("as an option", by_self_hosting=True, here="as one decides"),
}
"""Providers' by "When to Self-Host LLMs vs. Use APIs"; what self-hosting lacks by "Why Self-Host LLMs?"."""


@cache
def team_scales() -> tuple[TeamScale, ...]:
    """The scales, from the smallest on."""
    return listed(own_text("people.yaml"), TeamScale, "people", "write a list of {scale, minimum, recommended}")


def team_scale(tokens_per_month: int, models: int) -> TeamScale:
    """The first scale that has room for the volume and the number of models."""
    return next(
        scale
        for scale in team_scales()
        if tokens_per_month <= (scale.until_tokens_per_month or tokens_per_month) and models <= (scale.models or models)
    )


def missing(team: Team, asked: Team) -> Team:
    """Who is missing of whom is asked for; an engineer of one kind does not stand in for another."""
    return Team(
        ml_engineers=max(Decimal(0), asked.ml_engineers - team.ml_engineers),
        dev_ops=max(Decimal(0), asked.dev_ops - team.dev_ops),
        sre=max(Decimal(0), asked.sre - team.sre),
    )


def people(team: Team) -> str:
    """A team in words."""
    parts = ((team.ml_engineers, "ML engineer"), (team.dev_ops, "DevOps"), (team.sre, "SRE"))
    return ", ".join(f"{count.normalize():f} {kind}" for count, kind in parts if count) or "nobody"
