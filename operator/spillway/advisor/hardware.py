"""Which accelerators can run a model, at which quantisation and context, how fast, cheapest first.

What fits says `sizing`, with the plan that the operator would make; how fast `roofline`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from spillway.advisor.accelerators import Accelerator
from spillway.advisor.roofline import Speed, speed
from spillway.api.v1alpha1 import EngineType, LLMDeployment, QuantizationMethod, parse_deployment
from spillway.errors import DoesNotFit, InvalidObject
from spillway.sizing.catalogue import find_model
from spillway.sizing.models import ModelFacts
from spillway.sizing.names import marked_quantization
from spillway.sizing.plan import Plan, plan_deployment


class Precision(StrEnum):
    """In how many bits weights are stored."""

    FOUR_BITS = "FourBits"
    EIGHT_BITS = "EightBits"
    SIXTEEN_BITS = "SixteenBits"


_METHODS = {
    Precision.FOUR_BITS: QuantizationMethod.AWQ,
    Precision.EIGHT_BITS: QuantizationMethod.FP8,
    Precision.SIXTEEN_BITS: QuantizationMethod.NONE,
}
_VARIANTS = {Precision.FOUR_BITS: "Q4_K_M", Precision.EIGHT_BITS: "Q8_0", Precision.SIXTEEN_BITS: "F16"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to run a model: its plan, what its accelerators cost to buy, how fast it is."""

    accelerator: Accelerator
    precision: Precision
    plan: Plan
    purchase_usd: Decimal
    watts: int
    speed: Speed | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be run: a repository (hf://organisation/name), and of how many tokens requests are.

    `context_tokens` are the most that one may have, `prompt_tokens` and `answer_tokens` what one has on the average.
    `requests`: of full length, for which there is to be room at once.
    """

    uri: str
    context_tokens: int
    prompt_tokens: int
    answer_tokens: int
    requests: int = 1
    parameters: str | None = None


def choices(
    wanted: Wanted, known: Sequence[Accelerator], precisions: Sequence[Precision] = tuple(Precision)
) -> tuple[Choice, ...]:
    """All ways to run what is wanted on one machine of the `known` accelerators, cheapest first.

    Raises:
        InvalidObject: nothing tells how big the model is, or the context is longer than it can take.
    """
    found = [way for each in known for way in _ways(wanted, each, precisions)]
    return tuple(sorted(found, key=lambda way: (way.purchase_usd, way.accelerator.name, way.precision)))


def plan_on(accelerator: Accelerator, wanted: Wanted, precision: Precision) -> Plan | None:
    """The plan of one replica on an accelerator, on as few as it fits; None: it does not fit one machine's.

    Raises:
        InvalidObject: nothing tells how big the model is, or the context is longer than it can take.
    """
    deployment = _deployment(accelerator, wanted, precision)
    try:
        plan = plan_deployment(deployment, {accelerator.name: accelerator.profile}, requests=wanted.requests)
    except DoesNotFit:
        return None
    except InvalidObject as problem:
        raise _of_the_needs(problem) from problem
    return plan if plan.fits else None


def model_facts(accelerator: Accelerator, wanted: Wanted) -> ModelFacts | None:
    """What is known of the model's shape; None if nothing tells it."""
    model = _deployment(accelerator, wanted, Precision.SIXTEEN_BITS).spec.model
    return find_model(model.uri.removeprefix("hf://"), model.parameter_count)


def _of_the_needs(problem: InvalidObject) -> InvalidObject:
    """What is wrong with the object, by the field of the needs that it is made of."""
    if problem.reason == "UnknownModel":
        return InvalidObject("model.uri", problem.problem, "state model.parameters, such as 7.6B", problem.reason)
    field = {"spec.contextLength": "model.contextTokens"}.get(problem.field, problem.field.removeprefix("spec."))
    return InvalidObject(field, problem.problem, problem.cure, problem.reason)


def _ways(wanted: Wanted, accelerator: Accelerator, precisions: Sequence[Precision]) -> Iterator[Choice]:
    published = marked_quantization(wanted.uri) is not QuantizationMethod.NONE
    for precision in precisions:
        if published and precision is not Precision.FOUR_BITS:
            continue  # a copy that is quantised already is what it is
        if precision is Precision.EIGHT_BITS and accelerator.engine is EngineType.VLLM and not accelerator.fp8:
            continue
        plan = plan_on(accelerator, wanted, precision)
        if plan is not None:
            count = max(1, plan.accelerators)
            reached = speed(accelerator, plan, wanted.prompt_tokens, wanted.answer_tokens)
            yield Choice(
                accelerator, precision, plan, count * accelerator.price_usd, count * accelerator.watts, reached
            )


def _deployment(accelerator: Accelerator, wanted: Wanted, precision: Precision) -> LLMDeployment:
    """The object that would ask for it."""
    quantization: dict[str, str]
    if accelerator.engine is EngineType.OLLAMA:
        quantization = {"variant": _VARIANTS[precision]}
    else:
        published = marked_quantization(wanted.uri) is not QuantizationMethod.NONE
        quantization = {"method": "Auto" if published else _METHODS[precision].value}
    model = {"uri": wanted.uri} | ({"parameters": wanted.parameters} if wanted.parameters else {})
    spec = {
        "model": model,
        "engine": {"type": accelerator.engine.value},
        "contextLength": wanted.context_tokens,
        "quantization": quantization,
        "memoryCheck": "Enforce",
        "accelerator": {"profile": accelerator.name},
    }
    document = {"apiVersion": "spillway.dev/v1alpha1", "kind": "LLMDeployment", "metadata": {"name": "wanted"}}
    try:
        return parse_deployment(document | {"spec": spec})
    except InvalidObject as problem:
        raise InvalidObject("model", f"{problem.field}: {problem.problem}", "state hf://organisation/name") from problem
