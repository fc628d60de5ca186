"""The four published cases, as needs."""

from __future__ import annotations

from functools import cache

from spillway.advisor.data import find, listed, own_text
from spillway.advisor.decision import Recommendation
from spillway.advisor.needs import Needs
from spillway.sizing.profiles import Facts


class Scenario(Facts):
    """A case: what is stated of it, what was assumed besides, what the source recommends."""

    name: str
    title: str
    recommends: Recommendation
    needs: Needs
    stated: str
    assumed: str


@cache
def scenarios() -> tuple[Scenario, ...]:
    """The cases, in the order of their source."""
    return listed(own_text("scenarios.yaml"), Scenario, "scenarios", "write a list of {name, needs, recommends, ...}")


def find_scenario(name: str) -> Scenario:
    """The case called `name`; raises InvalidObject with the choices."""
    return find(scenarios(), name, "--scenario", "scenario")
