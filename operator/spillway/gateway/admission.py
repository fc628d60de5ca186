"""What is known of a request before it is decided, and what is open to it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from spillway.api.v1alpha1 import DataClass
from spillway.routing.budget import reservation_micros
from spillway.routing.facts import Classified, Intake, Route, Target
from spillway.routing.outcomes import Reason
from spillway.routing.providers import unsuited_because
from spillway.routing.terms import Offer, Request

STREAM_ANSWER_SECONDS: Final = 60.0
"""An engine that is silent for this long on a stream will not answer; every replica's backlog is bounded far below."""
UNARY_ANSWER_SECONDS: Final = 600.0
"""A unary answer comes as a whole, so silence says nothing until very late."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One request: what stays open to it, what it is, whom it is for, its bytes. `arrived` is monotonic seconds.

    Its bytes are in no repr: one may get into a message or a log.
    """

    request: Request
    route: Route
    intake: Intake
    classified: Classified
    body: bytes = field(repr=False)
    arrived: float


@dataclass(slots=True)
class Timings:
    """Moments of the last attempt on the monotonic clock; None when it never came to that."""

    dispatched: float | None = None
    first_token: float | None = None


def admit(
    request_id: str, intake: Intake, classified: Classified, route: Route, is_usable: Callable[[Target], bool]
) -> Request:
    """What is open to a request: every usable target that can serve it as it was asked, when it may leave.

    Else none, and the reason why.
    """
    stays_because = _stays_because(intake, classified, route)
    offers: tuple[Offer, ...] = ()
    if stays_because is None:
        suited = [target for target in route.targets if unsuited_because(intake, target) is None]
        offers = tuple(
            Offer(target.name, target.price, partial(reservation_micros, intake, target, route), target.timeout_seconds)
            for target in suited
            if route.is_shadow or is_usable(target)  # what is only counted needs no key
        )
        stays_because = None if suited else Reason.POLICY_DENIED
    return Request(
        request_id=request_id,
        offers=offers,
        stays_because=stays_because or Reason.BACKEND_ERROR,
        local_answer_seconds=STREAM_ANSWER_SECONDS if intake.stream else UNARY_ANSWER_SECONDS,
        is_shadow=route.is_shadow,
    )


def readmit(facts: Facts, route: Route, is_usable: Callable[[Target], bool]) -> Facts:
    """The same request under its deployment as it is compiled now: what may leave no more stays from here on.

    A request for which nothing was open is not opened: it may be that nobody read it. Nor does one leave that was read
    by other rules than hold now.
    """
    request = facts.request
    if request.offers and (route.default_class, route.detectors) == (facts.route.default_class, facts.route.detectors):
        request = admit(request.request_id, facts.intake, facts.classified, route, is_usable)
    elif request.offers:
        request = replace(request, offers=(), stays_because=Reason.POLICY_DENIED)
    return replace(facts, request=request, route=route)


def _stays_because(intake: Intake, classified: Classified, route: Route) -> Reason | None:
    """Why it may not leave; None when it may."""
    if not route.targets:
        return Reason.SATURATED  # there is nowhere to go, whatever the request is
    if classified.data_class is DataClass.SENSITIVE:
        return Reason.SENSITIVE
    if classified.data_class not in route.may_leave or intake.stays_for or not intake.inspectable:
        return Reason.POLICY_DENIED
    return None if route.is_shadow or route.budget_limit_micros is not None else Reason.POLICY_DENIED
