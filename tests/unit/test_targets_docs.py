"""docs/targets.md: its table is the table that the gateway uses, and each example is an object that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spillway.api.v1alpha1 import Provider, parse_deployment
from spillway.routing.compile import compile_route
from spillway.routing.facts import CompileSettings, Endpoint
from spillway.routing.providers import SURFACES, Surface

PAGE = Path(__file__).parents[2] / "docs" / "targets.md"
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
HOSTS = frozenset(
    {
        "api.openai.com",
        "api.anthropic.com",
        "generativelanguage.googleapis.com",
        "my-resource.openai.azure.com",
        "llm.corp.example.com",
    }
)


def words(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def row(provider: Provider, surface: Surface) -> str:
    owed = words(surface.owed) + (", strict `tools`" if surface.owes_strict_tools else "")
    cells = (
        f"`{provider.value}`",
        f"`{surface.base_url}`" if surface.base_url else "yours, in `baseURL`",
        f"`{surface.key_header}: {surface.key_prefix}KEY`",
        "yes" if Endpoint.COMPLETIONS in surface.endpoints else "no",
        f"`{surface.output_bound}`" if surface.output_bound else "as the caller wrote it",
        words(surface.dropped),
        owed,
    )
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("provider", list(Provider))
def test_the_table_of_the_page_is_the_gateways(provider: Provider) -> None:
    assert row(provider, SURFACES[provider]) in PAGE.read_text().splitlines()


def test_there_is_an_example_of_each_provider() -> None:
    shown = {target["provider"] for text in EXAMPLES for target in yaml.safe_load(text)["spec"]["fallback"]["targets"]}
    assert shown == {provider.value for provider in Provider}


@pytest.mark.parametrize("text", EXAMPLES)
def test_each_example_is_an_object_whose_targets_are_all_used(text: str) -> None:
    made: dict[str, Any] = yaml.safe_load(text)
    route = compile_route(parse_deployment(made), None, CompileSettings(HOSTS, "Internal"))
    assert route.refused_targets == ()
    assert len(route.targets) == len(made["spec"]["fallback"]["targets"])
