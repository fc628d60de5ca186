"""What a request would see if it stayed: time to first token, from what was dispatched and what was learnt from it.

    ttft = kappa * (base + (W + u) / R)        W = P - progress of the prompt at the head

P: prompt tokens dispatched to the replica and not yet at their first token. u: the request's own. R (tokens a second)
and base (seconds) come from a weighted regression of observed prefill times on prompt tokens; kappa closes the loop on
what the whole prediction misses. Counting dispatched prompt tokens, not requests or an engine's `waiting`, is what
makes the prediction sharp: a partly prefilled request counts as running there, which hides the backlog.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

PRIOR_TOKENS_PER_SECOND: Final = 4000.0
PRIOR_BASE_SECONDS: Final = 0.05
PRIOR_WEIGHT: Final = 4.0
"""The prior weighs as much as four observations: ten real prefills outweigh it."""
MEMORY: Final = 0.98
"""Each observation takes 2 % off the weight of those before it: the last fifty or so count."""
HEAD_PROGRESS_AT_MOST: Final = 0.9
KAPPA_GAIN: Final = 0.05
KAPPA_RANGE: Final = (0.3, 4.0)
BETA_RANGE: Final = (0.3, 1.05)
BETA_LATE_STEP: Final = 0.02
BETA_TIMELY_STEP: Final = 0.00012
"""0.006 of the late step: beta rests where about 0.6 % are late, below the 1 % that an SLO of 99 % allows."""
OUTPUT_GAIN: Final = 0.05
CLOUD_GAIN: Final = 0.1
CLOUD_DEVIATIONS: Final = 3.0
BYTES_PER_TOKEN_GAIN: Final = 0.05


class PrefillModel:
    """Exponentially weighted least squares of `seconds = base + tokens / R`, with a prior to begin from."""

    def __init__(self) -> None:
        self._n = self._x = self._y = self._xx = self._xy = 0.0
        for tokens in (100.0, 4000.0):
            self._add(tokens, PRIOR_BASE_SECONDS + tokens / PRIOR_TOKENS_PER_SECOND, PRIOR_WEIGHT / 2)

    def observe(self, tokens: int, seconds: float) -> None:
        """Take in that a prompt of `tokens` was prefilled in `seconds`."""
        for name in ("_n", "_x", "_y", "_xx", "_xy"):
            setattr(self, name, getattr(self, name) * MEMORY)
        self._add(float(tokens), seconds, 1.0)

    def seconds_per_token(self) -> float:
        """1 / R."""
        spread = self._xx - self._x * self._x / self._n
        slope = (self._xy - self._x * self._y / self._n) / spread if spread > 1.0 else 0.0
        return max(slope, self._y / self._x * 0.1)

    def base_seconds(self) -> float:
        """What a prefill takes however short it is."""
        return max(0.0, (self._y - self.seconds_per_token() * self._x) / self._n)

    def _add(self, tokens: float, seconds: float, weight: float) -> None:
        self._n += weight
        self._x += weight * tokens
        self._y += weight * seconds
        self._xx += weight * tokens * tokens
        self._xy += weight * tokens * seconds


@dataclass(slots=True)
class Stay:
    """One request on one replica, from its dispatch to its end."""

    prompt_tokens: int
    resident_tokens: int
    arrived: float
    dispatched: float
    predicted_seconds: float
    streams: bool
    in_time: bool
    """Whether it was predicted to meet the SLO when it was dispatched: only such a one says anything about beta."""
    pending: bool = True


@dataclass(slots=True)
class Replica:
    """The gateway's own ledger of one engine pod."""

    name: str
    ready: bool = True
    shunned_until: float = 0.0
    head_since: float = 0.0
    stays: dict[str, Stay] = field(default_factory=dict)

    @property
    def pending_tokens(self) -> int:
        """P: prompt tokens dispatched and not yet at their first token."""
        return sum(stay.prompt_tokens for stay in self.stays.values() if stay.pending)

    @property
    def resident_tokens(self) -> int:
        """K: tokens that the KV cache holds or will hold for what is in flight."""
        return sum(stay.resident_tokens for stay in self.stays.values())

    def usable(self, now: float) -> bool:
        """Whether new work may go here."""
        return self.ready and now >= self.shunned_until

    def head_tokens(self) -> int:
        """The prompt that is prefilled now: the oldest that has no first token."""
        return next((stay.prompt_tokens for stay in self.stays.values() if stay.pending), 0)


class Predictor:
    """Everything that is learnt about the engines of one deployment."""

    def __init__(self) -> None:
        self.prefill = PrefillModel()
        self.kappa = 1.0
        self.beta = 0.95
        self.output_tokens = 100.0
        self.bytes_per_token = 4.0
        self._cloud_mean_seconds = 0.5
        self._cloud_deviation_seconds = 0.05

    def backlog_seconds(self, replica: Replica, now: float) -> float:
        """How long the replica still prefills what it has."""
        slope = self.prefill.seconds_per_token() * self.kappa
        done = min((now - replica.head_since) / slope, replica.head_tokens() * HEAD_PROGRESS_AT_MOST)
        return max(0.0, replica.pending_tokens - done) * slope

    def own_seconds(self, prompt_tokens: int) -> float:
        """Time to first token on an idle replica."""
        return self.kappa * (self.prefill.base_seconds() + prompt_tokens * self.prefill.seconds_per_token())

    def ttft_seconds(self, replica: Replica, prompt_tokens: int, now: float) -> float:
        """Time to first token if dispatched to `replica` now."""
        return self.backlog_seconds(replica, now) + self.own_seconds(prompt_tokens)

    def first_token(self, replica: Replica, stay: Stay, slo_seconds: float, now: float) -> None:
        """Learn from a first token that came from `replica` just now."""
        service_seconds = now - max(replica.head_since, stay.dispatched)
        self.prefill.observe(stay.prompt_tokens, max(0.0, service_seconds))
        if stay.predicted_seconds > 0:
            ratio = (now - stay.dispatched) / stay.predicted_seconds
            self.kappa = _clamp(self.kappa + KAPPA_GAIN * (ratio - 1.0) * self.kappa, KAPPA_RANGE)
        if stay.in_time:
            late = now - stay.arrived > slo_seconds
            self.beta = _clamp(self.beta - BETA_LATE_STEP if late else self.beta + BETA_TIMELY_STEP, BETA_RANGE)

    def usage(self, prompt_bytes: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Learn from the usage that an engine reported."""
        self.output_tokens += OUTPUT_GAIN * (completion_tokens - self.output_tokens)
        if prompt_tokens > 0 and prompt_bytes > 0:
            ratio = _clamp(prompt_bytes / prompt_tokens, (0.5, 16.0))
            self.bytes_per_token += BYTES_PER_TOKEN_GAIN * (ratio - self.bytes_per_token)

    @property
    def cloud_ttft_seconds(self) -> float:
        """What a spill must be left to reach its first token in time: mean and three mean deviations.

        The estimate is TCP's for its retransmission timer, with a deviation less (https://www.rfc-editor.org/rfc/rfc6298).
        """
        return self._cloud_mean_seconds + CLOUD_DEVIATIONS * self._cloud_deviation_seconds

    def cloud_first_token(self, seconds: float) -> None:
        """Learn how long the cloud took to its first token."""
        off = abs(seconds - self._cloud_mean_seconds)
        self._cloud_deviation_seconds += CLOUD_GAIN * (off - self._cloud_deviation_seconds)
        self._cloud_mean_seconds += CLOUD_GAIN * (seconds - self._cloud_mean_seconds)

    def prompt_tokens(self, prompt_bytes: int) -> int:
        """How many tokens a prompt of `prompt_bytes` is likely to have (money never rests on this)."""
        return max(1, round(prompt_bytes / self.bytes_per_token))


def _clamp(value: float, bounds: tuple[float, float]) -> float:
    return max(bounds[0], min(bounds[1], value))
