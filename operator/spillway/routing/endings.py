"""How an attempt and a request end in the machine of `request`: what was held is given back, one record is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from spillway.errors import ImpossibleEvent
from spillway.routing.budget import cost_micros
from spillway.routing.messages import Command, Record, Release, Settle, Vacate
from spillway.routing.outcomes import Outcome, Place
from spillway.routing.state import Phase, State

T = TypeVar("T")
Step = tuple[State, tuple[Command, ...]]


def free(
    state: State, *, served: bool, trouble: bool, abandoned: bool = False, full: bool = False
) -> tuple[State, tuple[Command, ...]]:
    """Give back the replica or the money of this attempt: law 2, 3 and 5 in one place."""
    if state.replica is not None:
        return replace(state, replica=None), (Vacate(Place.LOCAL, state.replica, trouble, abandoned, full),)
    offer = the(state.offer)
    vacate = Vacate(Place.CLOUD, offer.name, trouble)
    if not served:
        return replace(state, offer=None), (Release(state.attempt, state.key), vacate)
    charge = cost_micros(offer.price, state.usage) if state.usage else state.reservation_micros
    settled = Settle(state.attempt, state.key, charge)
    return replace(state, offer=None, charged_micros=state.charged_micros + charge), (settled, vacate)


def finish(state: State, outcome: Outcome, status: int, *commands: Command) -> Step:
    """The end: these commands, then the one record."""
    place, backend = (state.place, state.backend) if state.dispatches else (Place.NONE, "")
    record = Record(
        outcome=outcome,
        place=Place.NONE if outcome in {Outcome.REFUSED, Outcome.FAILED} else place,
        backend=backend,
        reason=state.reason,
        status=status,
        dispatches=state.dispatches,
        reserved_micros=state.reserved_micros,
        cost_micros=state.charged_micros,
        usage=state.usage,
        shadow=state.shadowed.spill(state.usage) if state.shadowed else None,
    )
    return replace(state, phase=Phase.FINISHED, outcome=outcome), (*commands, record)


def the(value: T | None) -> T:
    """What a state must hold. Raises ImpossibleEvent."""
    if value is None:
        raise ImpossibleEvent("the machine lost what it holds")
    return value
