"""Whether a model's files fit on the claim that is made for them: else that shows when most of them have come."""

from __future__ import annotations

from math import ceil
from typing import Final

from spillway.api.v1alpha1 import CacheMode, LLMDeployment
from spillway.errors import InvalidObject
from spillway.sizing.devices import weights_alone
from spillway.sizing.formats import PLAIN
from spillway.sizing.memory import GIB
from spillway.sizing.models import Origin
from spillway.sizing.plan import Plan

_BYTES: Final = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def cache_shortage(deployment: LLMDeployment, plan: Plan) -> InvalidObject | None:
    """What to say of a claim that is smaller than the weights' files; None if it is not, or nothing tells.

    Nothing is refused for it: the size may be an estimate, and a storage class may give more than was asked for.
    """
    cache, facts = deployment.spec.cache, plan.facts
    is_made = cache.mode is CacheMode.PERSISTENT_VOLUME and not deployment.spec.model.uri.startswith("pvc://")
    if not is_made or facts is None or facts.origin is Origin.CONFIG:  # its own config.json: it is there
        return None
    # what is quantised while it loads is downloaded as it was published
    weights = weights_alone(facts, PLAIN if plan.quantized_on_load else plan.weights).weight_bytes
    if weights <= int(cache.size[:-2]) * _BYTES[cache.size[-2:]]:
        return None
    return InvalidObject(
        "spec.cache.size",
        f"{cache.size} is less than the {weights / GIB:.0f} GiB of the model's weights",
        f"state at least {ceil(1.05 * weights / GIB)}Gi, more to keep another revision beside it",
        reason="CacheTooSmall",
    )
