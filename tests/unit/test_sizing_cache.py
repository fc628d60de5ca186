"""Whether the model's files fit on the claim that is made for them."""

from __future__ import annotations

from typing import Any

import pytest

from crd_cases import DEPLOYMENT, changed
from spillway.api.v1alpha1 import LLMDeploymentStatus, parse_deployment
from spillway.controller.desire import Desires
from spillway.controller.start import make_policy
from spillway.settings import OperatorSettings
from spillway.sizing.cache import cache_shortage
from spillway.sizing.models import Origin
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import default_profiles

LLAMA_70B = {"spec.model.uri": "hf://meta-llama/Llama-3.3-70B-Instruct", "spec.accelerator.profile": "h100-80gb"}


def shortage(change: dict[str, Any]) -> str | None:
    made = parse_deployment(changed(DEPLOYMENT, LLAMA_70B | change))
    found = cache_shortage(made, plan_deployment(made, default_profiles()))
    assert found is None or (found.field, found.reason) == ("spec.cache.size", "CacheTooSmall")
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("change", "weights_gib", "least"),
    [
        ({}, 131, "138Gi"),
        ({"spec.cache": {"size": "130Gi"}}, 131, "138Gi"),
        # downloaded as it was published, whatever is made of it while it loads
        ({"spec.quantization": {"method": "FP8"}}, 131, "138Gi"),
        ({"spec.model.uri": "hf://acme/llama-70b-awq", "spec.cache": {"size": "36000Mi"}}, 37, "39Gi"),
    ],
    ids=str,
)
def test_a_claim_that_is_too_small_is_told_with_the_size_that_would_do(
    change: dict[str, Any], weights_gib: int, least: str
):
    size = change.get("spec.cache", {}).get("size", "50Gi")
    assert shortage(change) == (
        f"spec.cache.size: {size} is less than the {weights_gib} GiB of the model's weights; "
        f"state at least {least}, more to keep another revision beside it"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"spec.cache": {"size": "138Gi"}},
        {"spec.cache": {"size": "1Ti"}},
        {"spec.cache": {"mode": "Ephemeral"}},
        {"spec.cache": {"mode": "ExistingClaim", "claimName": "models"}},
        {"spec.model.uri": "pvc://models/llama-70b"},
        {"spec.model.uri": "hf://acme/nameless", "spec.accelerator.count": 1},
    ],
    ids=str,
)
def test_nothing_is_said_of_a_claim_that_is_big_enough_or_not_ours_or_of_which_nothing_is_known(change: dict[str, Any]):
    assert shortage(change) is None


def test_nothing_is_said_of_a_model_that_is_there():
    made = parse_deployment(changed(DEPLOYMENT, LLAMA_70B))
    plan = plan_deployment(made, default_profiles())
    assert plan.facts is not None
    there = plan.facts.model_copy(update={"origin": Origin.CONFIG})
    assert cache_shortage(made, plan_deployment(made, default_profiles(), there)) is None


def test_it_stops_nothing():
    body = changed(DEPLOYMENT, LLAMA_70B | {"metadata.uid": "1"})
    desired = Desires(make_policy(OperatorSettings())).of(body | {"status": LLMDeploymentStatus().model_dump()}, None)
    assert (desired.problem, desired.warning is not None and desired.warning.reason) == (None, "CacheTooSmall")
    assert "Job" in {child["kind"] for child in desired.children}
