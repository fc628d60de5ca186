"""What is open to one request: its terms, as they were worked out from the deployment as it is compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spillway.routing.facts import Price
from spillway.routing.outcomes import Reason


@dataclass(frozen=True, slots=True)
class Offer:
    """A target that is open to this request.

    `most_micros` works out the most that it may cost there. Most requests never leave, so it is asked only when money
    is about to be reserved.
    """

    name: str
    price: Price
    most_micros: Callable[[], int]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Request:
    """What stays the same over all attempts, unless the deployment is compiled anew meanwhile.

    `offers` is empty when the request may not leave, for `stays_because`.

    `is_shadow`: a spill is decided and taken down, never made.
    """

    request_id: str
    offers: tuple[Offer, ...]
    stays_because: Reason
    local_answer_seconds: float
    is_shadow: bool = False
