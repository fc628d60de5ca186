"""Metrics of gateways (docs/metrics.md) become traffic: from Prometheus, or from the text of an exposition.

Prometheus is asked with https://prometheus.io/docs/prometheus/latest/querying/api/, over the last days; an exposition
holds sums since its gateway began and no time, so how long that was has to be said. Neither tells cached tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Final

import httpx2
import orjson
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spillway.advisor.traffic import DAY_SECONDS, Counts, Traffic
from spillway.errors import InvalidSetting

_STEP: Final = "5m"
_STEP_SECONDS: Final = 300
_TIMEOUT_SECONDS: Final = 30.0
_LONGEST_ANSWER: Final = 64 * 1024 * 1024
TOKENS: Final = "spillway_tokens_total"
REQUESTS: Final = "spillway_requests_total"
SPENT: Final = "spillway_spent_usd_total"
SHADOW: Final = "spillway_shadow_spent_usd_total"
_RATE: Final = f"sum(rate({TOKENS}[{_STEP}]))"


@dataclass(frozen=True, slots=True)
class Sample:
    """One number with its labels."""

    labels: Mapping[str, str]
    value: float


class _Result(BaseModel):
    model_config = ConfigDict(extra="ignore")
    metric: dict[str, str] = Field(default_factory=dict)
    value: tuple[float, float]


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)
    kind: str = Field(alias="resultType")
    result: list[_Result]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")
    status: str
    data: _Data | None = None
    error: str = ""


Ask = Callable[[str], Sequence[Sample]]
"""Evaluates an expression of PromQL now."""


def fetch(url: str) -> bytes:
    """What is at `url`; raises InvalidSetting that names --from when nothing can be had there."""
    try:
        with httpx2.Client(timeout=_TIMEOUT_SECONDS) as client, client.stream("GET", url) as answer:
            body = b""
            for part in answer.iter_bytes():
                body += part
                if len(body) > _LONGEST_ANSWER:
                    raise InvalidSetting(f"--from: {url} answers with over {_LONGEST_ANSWER} bytes; name another")
            if answer.status_code >= 400 and not body.startswith(b"{"):
                raise InvalidSetting(
                    f"--from: {url} answers {answer.status_code}; name Prometheus or a gateway's /metrics"
                )
            return body
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise InvalidSetting(
            f"--from: {url} cannot be read ({error}); name Prometheus or a gateway's /metrics"
        ) from error


def prometheus(base: str) -> Ask:
    """Asks the Prometheus at `base`."""

    def ask(expression: str) -> Sequence[Sample]:
        query = str(httpx2.QueryParams({"query": expression}))
        body = fetch(f"{base.rstrip('/')}/api/v1/query?{query}")
        try:
            answer = _Answer.model_validate(orjson.loads(body))
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise InvalidSetting(f"--from: {base} does not answer as Prometheus does; name its address") from error
        if answer.status != "success" or answer.data is None:
            raise InvalidSetting(f"--from: {base} refuses {expression!r}: {answer.error}")
        return [Sample(each.metric, each.value[1]) for each in answer.data.result]

    return ask


def of_prometheus(ask: Ask, base: str, days: float) -> Traffic:
    """The traffic of the last `days`, as far as Prometheus has seen them."""
    window = f"[{round(days * DAY_SECONDS)}s]"
    stretches = f"[{round(days * DAY_SECONDS)}s:{_STEP}]"
    seen = _one(ask(f"count_over_time(sum({TOKENS}){stretches})"))
    seconds = min(days * DAY_SECONDS, (seen or 0) * _STEP_SECONDS)
    return _traffic(
        source=base,
        seconds=max(1.0, seconds),
        tokens=ask(f"sum by (place, kind) (increase({TOKENS}{window}))"),
        requests=ask(f"sum by (place) (increase({REQUESTS}{window}))"),
        spent=ask(f"sum(increase({SPENT}{window}))"),
        shadow=ask(f"sum(increase({SHADOW}{window}))"),
        peak=_one(ask(f"max_over_time({_RATE}{stretches})")),
        p95=_one(ask(f"quantile_over_time(0.95, {_RATE}{stretches})")),
    )


def of_exposition(text: str, source: str, days: float) -> Traffic:
    """The traffic of gateways that began `days` ago, by the sums that they tell.

    Raises:
        InvalidSetting: the text is no exposition.
    """
    try:
        samples = [
            (sample.name, Sample(sample.labels, sample.value))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    except ValueError as error:
        raise InvalidSetting(f"--from: {source} is no text of metrics ({error}); name one of a gateway") from error
    named: dict[str, list[Sample]] = {}
    for name, sample in samples:
        named.setdefault(name, []).append(sample)
    return _traffic(
        source=source,
        seconds=days * DAY_SECONDS,
        tokens=named.get(TOKENS, ()),
        requests=named.get(REQUESTS, ()),
        spent=named.get(SPENT, ()),
        shadow=named.get(SHADOW, ()),
        peak=None,
        p95=None,
    )


def _traffic(
    *,
    source: str,
    seconds: float,
    tokens: Sequence[Sample],
    requests: Sequence[Sample],
    spent: Sequence[Sample],
    shadow: Sequence[Sample],
    peak: float | None,
    p95: float | None,
) -> Traffic:
    return Traffic(
        source=source,
        seconds=seconds,
        local=_counts("local", tokens, requests),
        cloud=_counts("cloud", tokens, requests),
        spent_usd=_usd(spent),
        shadow_usd=_usd(shadow),
        unserved=_total(sample for sample in requests if sample.labels.get("place") not in {"local", "cloud"}),
        peak_tokens_per_second=peak,
        p95_tokens_per_second=p95,
    )


def _counts(place: str, tokens: Sequence[Sample], requests: Sequence[Sample]) -> Counts:
    def there(samples: Iterable[Sample], **labels: str) -> int:
        wanted = {"place": place, **labels}.items()
        return _total(sample for sample in samples if wanted <= sample.labels.items())

    return Counts(there(requests), there(tokens, kind="prompt"), 0, there(tokens, kind="completion"))


def _total(samples: Iterable[Sample]) -> int:
    return round(sum(sample.value for sample in samples if isfinite(sample.value)))


def _usd(samples: Sequence[Sample]) -> Decimal:
    return Decimal(str(round(sum(sample.value for sample in samples if isfinite(sample.value)), 6)))


def _one(samples: Sequence[Sample]) -> float | None:
    value = samples[0].value if samples else None
    return value if value is not None and isfinite(value) else None
