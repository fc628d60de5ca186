"""Advice for programs: dollars as strings, exact to the cent; what is not known is null."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from spillway.advisor.advice import Advice
from spillway.advisor.costs import shown_usd
from spillway.advisor.curves import curves
from spillway.advisor.decision import Reason
from spillway.advisor.figures import Figures
from spillway.advisor.hardware import Choice
from spillway.advisor.latency import Promise, places
from spillway.report.plots import gib, plots


def mapping(advice: Advice) -> Mapping[str, object]:
    """The whole of it."""
    decision, drawn = advice.decision, curves(advice)
    return {
        "name": advice.needs.name,
        "recommendation": decision.recommendation.value,
        "scores": {answer.value: score for answer, score in decision.scores.items()},
        "ruledOut": sorted(answer.value for answer in decision.excluded),
        "reasons": [reason(each) for each in advice.reasons],
        "flowchart": {
            "answer": advice.flowchart.value,
            "steps": [{"question": step.question, "yes": step.yes} for step in advice.steps],
        },
        "triggers": [{"name": each.name, "holds": each.holds, "figure": each.figure} for each in advice.triggers],
        "costs": _costs(advice.figures),
        "latency": _latency(advice),
        "hardware": [choice(way) for way in advice.hardware],
        "patterns": [{"name": each.name, "text": each.text, "objects": list(each.objects)} for each in advice.patterns],
        "plots": {**plots(drawn), "deviceGiB": gib(drawn.device_bytes)},
        "warnings": list(advice.warnings),
        "needs": advice.needs.model_dump(mode="json", by_alias=True),
    }


def reason(found: Reason) -> Mapping[str, object]:
    """One found."""
    return {
        "criterion": found.criterion,
        "figure": found.figure,
        "says": None if found.says is None else found.says.value,
        "weight": found.weight,
        "force": found.force.value,
        "rulesOut": sorted(answer.value for answer in found.excludes),
        "text": found.text,
    }


def _costs(figures: Figures) -> Mapping[str, object]:
    own = figures.unit.times(figures.units)
    return {
        "cloud": figures.price.name,
        "cloudUsdPerMillionTokens": shown_usd(figures.blended_usd_per_million),
        "apiUsdPerMonth": shown_usd(figures.api_usd),
        "setup": figures.setup.name,
        "units": figures.units,
        "selfHostUsdPerMonth": shown_usd(own.total),
        "ofThatHardware": shown_usd(own.hardware),
        "ofThatPower": shown_usd(own.power),
        "ofThatPeople": shown_usd(own.people),
        "hybridUnits": figures.hybrid_units,
        "hybridUsdPerMonth": shown_usd(figures.hybrid_usd),
        "ofThatCloud": shown_usd(figures.hybrid_cloud_usd),
        "savedUsdPerMonth": shown_usd(figures.saved_usd),
        "breakEvenTokensPerMonth": _whole(figures.break_even_tokens_per_month),
        "breakEvenTokensPerDay": _whole(figures.break_even_tokens_per_day),
        "utilization": round(float(figures.utilization), 4),
        "effectiveUsdPerMillionTokens": shown_usd(figures.effective_usd_per_million),
        "paybackMonths": None if figures.payback_months is None else round(float(figures.payback_months), 1),
        "rooflineTokensPerMonthAndUnit": figures.roofline_tokens,
    }


def _latency(advice: Advice) -> Mapping[str, object]:
    answer = advice.needs.request.answer_tokens
    published = [
        {
            "place": place.name,
            "firstTokenMilliseconds": place.to_first_token(),
            "lastTokenMilliseconds": place.to_last_token(answer),
        }
        for place in places()
    ]
    reached = advice.figures.speed
    return {
        "published": published,
        "hereAloneFirstTokenMilliseconds": None if reached is None else round(reached.first_token_milliseconds, 1),
        "hereAloneTokensPerSecond": None if reached is None else round(reached.one_sequence_tokens_per_second, 1),
        "cloud": _promise(advice.figures.cloud),
        "here": _promise(advice.figures.local),
    }


def _promise(promise: Promise | None) -> Mapping[str, object] | None:
    if promise is None:
        return None
    slowest = promise.percentile_milliseconds
    return {
        "limitMilliseconds": promise.limit_milliseconds,
        "percentile": promise.percentile,
        "shareInTime": round(promise.share_in_time, 4),
        "percentileMilliseconds": None if slowest == float("inf") else round(slowest, 1),
        "kept": promise.kept,
    }


def choice(way: Choice) -> Mapping[str, object]:
    """One way to run the model."""
    reached = way.speed
    return {
        "accelerator": way.accelerator.name,
        "product": way.accelerator.product,
        "count": max(1, way.plan.accelerators),
        "precision": way.precision.value,
        "purchaseUsd": shown_usd(way.purchase_usd),
        "watts": way.watts,
        "oneSequenceTokensPerSecond": None if reached is None else round(reached.one_sequence_tokens_per_second, 1),
        "mostTokensPerSecond": None if reached is None else round(reached.most_tokens_per_second, 1),
    }


def _whole(tokens: Decimal | None) -> int | None:
    return None if tokens is None else int(tokens)
