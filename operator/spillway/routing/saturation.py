"""What a request would see if it stayed: time to first token, from what was dispatched and what was learnt from it.

    ttft = kappa * (base + (W + u) / R) + d(n) + room        W = P - progress of the prompt at the head
    tpot = d(n + 1)

P: prompt tokens dispatched to the replica and not yet at their first token, by this gateway and, as far as it is told,
by others. u: the request's own. n: requests in flight there. R (tokens a second) and base (seconds) come from a
weighted regression of observed prefill times on prompt tokens, d(n) (seconds a step) from one of observed times per
output token on n; kappa closes the loop on what the whole prediction misses. room: how long until the KV cache, or a
slot, takes one more; 0 while K + u + o stays under 90 % of the capacity C.

Counting dispatched prompt tokens, not requests or an engine's `waiting`, is what makes the prediction sharp: a partly
prefilled request counts as running there, which hides the backlog.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from spillway.routing.learnt import OutputLengths, PrefillModel, StepModel
from spillway.routing.replica import Replica, Stay

KV_SHARE: Final = 0.9
KAPPA_GAIN: Final = 0.05
KAPPA_RANGE: Final = (0.3, 4.0)
BETA_RANGE: Final = (0.3, 1.05)
BETA_LATE_STEP: Final = 0.02
BETA_TIMELY_STEP: Final = 0.00012
"""0.006 of the late step: beta rests where about 0.6 % are late, below the 1 % that an SLO of 99 % allows."""
CLOUD_GAIN: Final = 0.1
CLOUD_DEVIATIONS: Final = 3.0
BYTES_PER_TOKEN_GAIN: Final = 0.05
PROMPT_GAIN: Final = 0.05
ASK_AGAIN_SECONDS: Final = 10.0
"""At most one request in so long is late where engines are really too slow for their SLO."""
USUAL_PROMPTS: Final = 2
"""Times the mean."""
STEPS_THAT_TELL: Final = 8
"""A time per token over fewer tokens is mostly the noise of the network."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one replica takes at once: tokens in its KV cache, requests. None: no bound that is known."""

    kv_tokens: int | None = None
    requests: int | None = None


class Predictor:
    """Everything that is learnt about the engines of one deployment."""

    def __init__(self) -> None:
        self.prefill = PrefillModel()
        self.step = StepModel()
        self.output = OutputLengths()
        self.kappa = 1.0
        self.beta = 0.95
        self.bytes_per_token = 4.0
        self.mean_prompt_tokens = 500.0
        self.asked_at = math.inf
        self._cloud_mean_seconds = 0.5
        self._cloud_deviation_seconds = 0.05

    def may_be_wrong(self, prompt_tokens: int, now: float) -> bool:
        """Whether what was learnt is old, and a usual prompt would tell more.

        An engine that was slow for a while would be spared for ever else: who is not asked never says otherwise.
        """
        return now - self.asked_at >= ASK_AGAIN_SECONDS and prompt_tokens <= USUAL_PROMPTS * self.mean_prompt_tokens

    @property
    def seconds_per_token(self) -> float:
        """Kappa / R: what a prompt token more takes, as far as is known."""
        return self.prefill.seconds_per_token * self.kappa

    def backlog_seconds(self, replica: Replica, now: float) -> float:
        """How long the replica still prefills what it has, from this gateway and from others."""
        slope = self.seconds_per_token
        return replica.backlog_tokens(now, slope) * slope

    def own_seconds(self, prompt_tokens: int) -> float:
        """Time to first token on an idle replica."""
        return self.kappa * (self.prefill.base_seconds + prompt_tokens * self.prefill.seconds_per_token)

    def ttft_seconds(
        self, replica: Replica, prompt_tokens: int, output_tokens: int, capacity: Capacity, now: float
    ) -> float:
        """Time to first token if dispatched to `replica` now."""
        return (
            self.backlog_seconds(replica, now)
            + self.own_seconds(prompt_tokens)
            + self.step.seconds(replica.requests)
            + self.room_seconds(replica, prompt_tokens + output_tokens, capacity, now)
        )

    def tpot_seconds(self, replica: Replica) -> float:
        """Time per output token if dispatched to `replica`."""
        return self.step.seconds(replica.requests + 1)

    def has_room(self, replica: Replica, tokens: int, capacity: Capacity) -> bool:
        """Whether `tokens` more, of one request, fit; an empty replica is let say itself what it cannot take."""
        if not replica.requests:
            return True
        limit = replica.kv_capacity_tokens or capacity.kv_tokens
        if capacity.requests is not None and replica.requests >= capacity.requests:
            return False
        return limit is None or replica.all_resident_tokens + tokens <= KV_SHARE * limit

    def room_seconds(self, replica: Replica, tokens: int, capacity: Capacity, now: float) -> float:
        """How long until there is room for `tokens` of one request: 0 if there is.

        Requests end in the order in which that is to be expected. What others have there is not known to end, so where
        it alone is too much, the wait is that of a whole answer.
        """
        if self.has_room(replica, tokens, capacity):
            return 0.0
        limit = replica.kv_capacity_tokens or capacity.kv_tokens
        excess_tokens = replica.all_resident_tokens + tokens - KV_SHARE * limit if limit is not None else 0.0
        excess_requests = replica.requests + 1 - capacity.requests if capacity.requests is not None else 0
        step = self.step.seconds(replica.requests)
        for stay in sorted(replica.stays.values(), key=lambda stay: stay.ends(step)):
            excess_tokens -= stay.resident_tokens
            excess_requests -= 1
            if excess_tokens <= 0 and excess_requests <= 0:
                return max(step, stay.ends(step) - now)
        return max(step, self.output.expected("") * step)

    def first_token(self, replica: Replica, stay: Stay, slo_seconds: float, now: float) -> None:
        """Learn from a first token that came from `replica` just now."""
        self.mean_prompt_tokens += PROMPT_GAIN * (stay.prompt_tokens - self.mean_prompt_tokens)
        if stay.alone and not replica.shared:
            service_seconds = now - max(replica.head_since, stay.dispatched) - stay.step_seconds
            self.prefill.observe(stay.prompt_tokens, max(0.0, service_seconds))
        if stay.predicted_seconds > 0:
            # one that is off by far says no more than that kappa belongs at the end of its range
            ratio = min((now - stay.dispatched) / stay.predicted_seconds, KAPPA_RANGE[1])
            self.kappa = _clamp(self.kappa + KAPPA_GAIN * (ratio - 1.0) * self.kappa, KAPPA_RANGE)
        if stay.in_time:
            late = now - stay.arrived > slo_seconds
            self.beta = _clamp(self.beta - BETA_LATE_STEP if late else self.beta + BETA_TIMELY_STEP, BETA_RANGE)

    def last_token(self, replica: Replica, stay: Stay, completion_tokens: int, now: float) -> None:
        """Learn d(n) from an answer whose last token came just now, and whose length the engine reported."""
        if stay.streams and stay.first_token is not None and completion_tokens > STEPS_THAT_TELL:
            seconds = (now - stay.first_token) / (completion_tokens - 1)
            self.step.observe((stay.requests + replica.requests) / 2, seconds)

    def usage(self, caller: str, prompt_bytes: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Learn from the usage that an engine reported; `caller` is empty when nobody knows who asked."""
        self.output.observe(caller, completion_tokens)
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
