"""How long a request takes, by place, and how many make it in time.

    first token   round trip + queue + time to first token
    whole answer  first token + answer's tokens / tokens a second

Of a cloud the round trip and the queue vary; each is taken as spread evenly over the range that is published, apart
from the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from pydantic import Field

from spillway.advisor.data import listed, own_text
from spillway.advisor.queueing import Waiting
from spillway.sizing.profiles import Facts

CLOUD_ROUND_TRIP_MILLISECONDS: Final = (50.0, 150.0)
CLOUD_QUEUE_MILLISECONDS: Final = (0.0, 500.0)
LOCAL_ROUND_TRIP_MILLISECONDS: Final = (1.0, 10.0)
"""All three as "When to Self-Host LLMs vs. Use APIs" has them."""


class Place(Facts):
    """Where requests are answered."""

    name: str
    round_trip_milliseconds: float = Field(ge=0)
    queue_milliseconds: float = Field(ge=0)
    first_token_milliseconds: float = Field(ge=0)
    tokens_per_second: float = Field(gt=0)
    source: str

    def to_first_token(self) -> float:
        """Milliseconds from the request to its first token."""
        return self.round_trip_milliseconds + self.queue_milliseconds + self.first_token_milliseconds

    def to_last_token(self, answer_tokens: int) -> float:
        """Milliseconds from the request to the last of `answer_tokens`."""
        return self.to_first_token() + 1000 * answer_tokens / self.tokens_per_second


@dataclass(frozen=True, slots=True)
class Promise:
    """How a first token within `limit_milliseconds` is kept: the share of requests, 0 to 1, and what the p-th takes."""

    limit_milliseconds: float
    percentile: float
    share_in_time: float
    percentile_milliseconds: float

    @property
    def kept(self) -> bool:
        """Whether as many requests as asked for are in time."""
        return self.share_in_time >= self.percentile / 100


@cache
def places() -> tuple[Place, ...]:
    """The three places with published numbers: cloud-api, local-gpu, local-cpu."""
    return listed(own_text("latency.yaml"), Place, "latency", "write a list of {name, roundTripMilliseconds, ...}")


def place(name: str) -> Place:
    """The published place called `name`."""
    return next(each for each in places() if each.name == name)


def local_promise(
    first_token_milliseconds: float, waiting: Waiting, limit_milliseconds: float, percentile: float
) -> Promise:
    """Of one's own replicas, behind a queue, over the slowest network that is one's own."""
    fixed = first_token_milliseconds + LOCAL_ROUND_TRIP_MILLISECONDS[1]
    share = waiting.share_within((limit_milliseconds - fixed) / 1000)
    return Promise(limit_milliseconds, percentile, share, fixed + 1000 * waiting.percentile_seconds(percentile))


def cloud_promise(first_token_milliseconds: float, limit_milliseconds: float, percentile: float) -> Promise:
    """Of a cloud whose model takes `first_token_milliseconds`, over the published round trip and queue."""
    share = _share_of_sum(limit_milliseconds - first_token_milliseconds)
    low, high = 0.0, CLOUD_ROUND_TRIP_MILLISECONDS[1] + CLOUD_QUEUE_MILLISECONDS[1]
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if _share_of_sum(middle) < percentile / 100 else (low, middle)
    return Promise(limit_milliseconds, percentile, share, first_token_milliseconds + high)


def _share_of_sum(most: float) -> float:
    """Share of the sums of round trip and queue, each even over its range, that are at most so many milliseconds."""
    (start, end), (_, queue) = CLOUD_ROUND_TRIP_MILLISECONDS, CLOUD_QUEUE_MILLISECONDS
    trip, rest = end - start, most - start
    if rest <= 0:
        return 0.0
    corners = rest**2 - max(0.0, rest - trip) ** 2 - max(0.0, rest - queue) ** 2 + max(0.0, rest - trip - queue) ** 2
    return min(1.0, corners / (2 * trip * queue))
