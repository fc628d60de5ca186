"""One request, from its class to its settlement, as a machine: `step(state, event, now) -> (state, commands)`.

A state is a place where we wait for the outside. Everything that decides what a request does next is in TRANSITIONS
below; the shell in the gateway only carries commands out, and so does replay. Streamed chunks never pass through here.

Laws, checked over every interleaving in tests/unit/routing/test_request.py:
 1. A cloud Dispatch follows its Reserved.
 2. Each Reserved is resolved by exactly one Settle or Release.
 3. Release only if nothing can have been served, else charge.
 4. After Commit neither Dispatch nor Respond nor PassThrough.
 5. Each Occupy has exactly one Vacate.
 6. One Record, last.
 7. Each Dispatch has a deadline.
 8. An event of an older attempt changes nothing.
 9. What may not leave is never dispatched to a cloud.
10. A client that leaves while money is being reserved: wait for the answer, then release.
11. In the shadow nothing is reserved or dispatched to a cloud: what would have left is taken down, and stays.
12. When the terms change, what was decided by the old ones and not yet dispatched is decided again; no later Dispatch
    goes to a target that they do not offer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from spillway.errors import ImpossibleEvent
from spillway.routing.budget import cost_micros
from spillway.routing.endings import Step, finish, free, the
from spillway.routing.faults import Fault, fault_of
from spillway.routing.messages import (
    AbortUpstream,
    Accepted,
    Ask,
    BodyComplete,
    CancelTimer,
    ClientGone,
    CloseClient,
    Command,
    Commit,
    ConnectFailed,
    Decided,
    Dispatch,
    Event,
    FirstToken,
    LedgerLost,
    Occupy,
    PassThrough,
    Prefilled,
    Reserve,
    Reserved,
    ReserveRefused,
    Respond,
    SetTimer,
    Settled,
    StreamEnded,
    TermsChanged,
    TimerFired,
    UpstreamLost,
    UpstreamRefused,
    UsageReported,
    Vacate,
    Withdraw,
)
from spillway.routing.outcomes import Outcome, Place, Reason
from spillway.routing.state import Phase, Shadowed, State
from spillway.routing.terms import Offer, Request
from spillway.routing.verdicts import Cloud, Local, Refusal

MAX_DISPATCHES: Final = 4
"""Attempts for one request: enough for a replica, its neighbour and two targets, too few to feed a storm."""

ENGINE_FULL: Final = 503
"""What an engine answers at the limit of its queue (vLLM's --max-num-queued-reqs, Ollama's OLLAMA_MAX_QUEUE)."""


def start(request: Request) -> Step:
    """The machine of a new request, and what to do first."""
    state = State(request)
    return state, (_ask(state),)


def step(state: State, event: Event, now: float) -> Step:
    """Take one event in. An event of an older attempt, or after the end, changes nothing.

    Raises:
        ImpossibleEvent: the table has no row for this event in this state.
    """
    if state.phase is Phase.FINISHED:
        return state, ()
    if not isinstance(event, ClientGone | TermsChanged) and event.attempt < state.attempt:
        return state, ()
    handler = TRANSITIONS[state.phase].get(type(event))
    if handler is None:
        raise ImpossibleEvent(f"{type(event).__name__} in {state.phase.value} (attempt {state.attempt})")
    return handler(state, event, now)


# --- transitions ---


def _ask(state: State) -> Ask:
    open_targets = (
        () if state.cloud_closed else tuple(o.name for o in state.request.offers if o.name not in state.closed_targets)
    )
    because = state.cloud_closed or (Reason.BACKEND_ERROR if state.request.offers else state.request.stays_because)
    return Ask(state.attempt, open_targets, because, state.excluded_replicas, state.after_failure)


def _decided(state: State, event: Decided, now: float) -> Step:
    verdict = event.verdict
    if isinstance(verdict, Refusal):
        ended = replace(state, reason=verdict.reason)
        return finish(ended, Outcome.REFUSED, 503, Respond(503, verdict.reason, verdict.retry_after_seconds))
    if isinstance(verdict, Local):
        state = replace(state, replica=verdict.replica, reason=verdict.reason)
        state, commands = _dispatch(state, Place.LOCAL, verdict.replica, state.request.local_answer_seconds, now)
        return state, (Occupy(Place.LOCAL, verdict.replica), *commands)
    return (_shadow if state.request.is_shadow else _reserve)(state, verdict, _offer(state, verdict))


def _offer(state: State, verdict: Cloud) -> Offer:
    offer = next((o for o in state.request.offers if o.name == verdict.target), None)
    if offer is None or state.cloud_closed is not None:
        # Asserted here too, on the far side of the pool: what may not leave has no offers.
        raise ImpossibleEvent(f"a spill to {verdict.target!r}, which is not open to this request")
    return offer


def _shadow(state: State, verdict: Cloud, offer: Offer) -> Step:
    """Take down what would have left, and ask again as if there were no target."""
    shadowed = Shadowed(offer.name, verdict.reason, offer.price, offer.most_micros())
    state = replace(state, attempt=state.attempt + 1, shadowed=shadowed, cloud_closed=Reason.SATURATED)
    return state, (_ask(state),)


def _reserve(state: State, verdict: Cloud, offer: Offer) -> Step:
    most_micros = offer.most_micros()
    state = replace(state, phase=Phase.RESERVING, offer=offer, terms_changed=False, reason=verdict.reason)
    state = replace(state, reservation_micros=most_micros)
    return state, (Occupy(Place.CLOUD, offer.name), Reserve(state.attempt, state.key, most_micros))


def _reserved(state: State, _event: Reserved, now: float) -> Step:
    offer = the(state.offer)
    state = replace(state, reserved_micros=state.reserved_micros + state.reservation_micros)
    if state.client_gone:
        state, freed = free(state, served=False, trouble=False)
        return finish(state, Outcome.CLIENT_GONE, 499, *freed)
    if state.terms_changed:
        state, freed = free(state, served=False, trouble=False)
        state = replace(state, phase=Phase.HOLDING, attempt=state.attempt + 1)
        return state, (*freed, _ask(state))
    return _dispatch(state, Place.CLOUD, offer.name, offer.timeout_seconds, now)


def _reserve_refused(state: State, event: ReserveRefused, _now: float) -> Step:
    vacate = Vacate(Place.CLOUD, the(state.offer).name, trouble=False)
    state = replace(state, offer=None)
    if state.client_gone:
        return finish(state, Outcome.CLIENT_GONE, 499, vacate)
    state = replace(state, phase=Phase.HOLDING, attempt=state.attempt + 1, cloud_closed=event.reason)
    return state, (vacate, _ask(state))


def _dispatch(state: State, place: Place, backend: str, answer_seconds: float, now: float) -> Step:
    state = replace(state, phase=Phase.DISPATCHING, place=place, backend=backend, dispatches=state.dispatches + 1)
    return state, (SetTimer(state.attempt, now + answer_seconds), Dispatch(state.attempt, place, backend))


def _accepted(state: State, _event: Accepted, _now: float) -> Step:
    return replace(state, phase=Phase.AWAITING_FIRST_TOKEN), ()


def _connect_failed(state: State, _event: ConnectFailed, _now: float) -> Step:
    return _again(state, served=False)


def _refused(state: State, event: UpstreamRefused, _now: float) -> Step:
    if fault_of(event.status) is Fault.UPSTREAM:
        full = event.status == ENGINE_FULL and state.replica is not None
        return _again(state, served=event.billed, failure=not full)
    state, freed = free(state, served=event.billed, trouble=False)
    return finish(state, Outcome.REJECTED, event.status, CancelTimer(state.attempt), *freed, PassThrough(state.attempt))


def _lost(state: State, _event: UpstreamLost, _now: float) -> Step:
    return _again(state, served=True)


def _late(state: State, _event: TimerFired, _now: float) -> Step:
    return _again(state, served=True, abandoned=True, first=(AbortUpstream(state.attempt),))


def _again(
    state: State, *, served: bool, abandoned: bool = False, failure: bool = True, first: tuple[Command, ...] = ()
) -> Step:
    """The attempt failed before its first byte: free what it held and try elsewhere. Saturation is no `failure`."""
    failed = state
    state, freed = free(state, served=served, trouble=True, abandoned=abandoned, full=not failure)
    commands = (*first, CancelTimer(failed.attempt), *freed)
    if state.dispatches >= MAX_DISPATCHES:
        state = replace(state, reason=Reason.BACKEND_ERROR)
        return finish(state, Outcome.FAILED, 502, *commands, Respond(502, Reason.BACKEND_ERROR, None))
    state = replace(
        state,
        phase=Phase.HOLDING,
        attempt=state.attempt + 1,
        after_failure=state.after_failure or failure,
        excluded_replicas=state.excluded_replicas | ({failed.replica} if failed.replica else set()),
        closed_targets=state.closed_targets | ({failed.offer.name} if failed.offer else set()),
    )
    return state, (*commands, _ask(state))


def _first_token(state: State, _event: FirstToken, _now: float) -> Step:
    return _commit(state, None)


def _body_complete(state: State, event: BodyComplete, _now: float) -> Step:
    cost = cost_micros(state.offer.price, event.usage) if state.offer and event.usage else None
    return _commit(replace(state, usage=event.usage), cost)


def _commit(state: State, cost: int | None) -> Step:
    prefilled = (Prefilled(state.replica),) if state.replica else ()
    commands = (CancelTimer(state.attempt), *prefilled, Commit(state.attempt, cost))
    return replace(state, phase=Phase.RELAYING), commands


def _usage(state: State, event: UsageReported, _now: float) -> Step:
    return replace(state, usage=event.usage), ()


def _ended(state: State, event: StreamEnded, _now: float) -> Step:
    return _settle(state, Outcome.COMPLETED if event.complete else Outcome.BROKEN)


def _broken(state: State, _event: UpstreamLost, _now: float) -> Step:
    return _settle(state, Outcome.BROKEN)


def _settle(state: State, outcome: Outcome) -> Step:
    closing = (CloseClient(),) if outcome is Outcome.BROKEN else ()
    state, freed = free(state, served=True, trouble=outcome is Outcome.BROKEN)
    if state.place is Place.LOCAL:
        return finish(state, outcome, 200, *freed, *closing)
    return replace(state, phase=Phase.SETTLING, outcome=outcome), (*freed, *closing)


def _settled(state: State, _event: Settled | LedgerLost, _now: float) -> Step:
    outcome = the(state.outcome)
    return finish(state, outcome, 499 if outcome is Outcome.CLIENT_GONE else 200)


def _gone_holding(state: State, _event: ClientGone, _now: float) -> Step:
    return finish(state, Outcome.CLIENT_GONE, 499, Withdraw())


def _gone_reserving(state: State, _event: ClientGone, _now: float) -> Step:
    return replace(state, client_gone=True), ()


def _gone_under_way(state: State, _event: ClientGone, _now: float) -> Step:
    stop = (AbortUpstream(state.attempt), CancelTimer(state.attempt))
    state, freed = free(state, served=True, trouble=False, abandoned=True)
    if state.place is Place.LOCAL:
        return finish(state, Outcome.CLIENT_GONE, 499, *stop, *freed)
    return replace(state, phase=Phase.SETTLING, outcome=Outcome.CLIENT_GONE), (*stop, *freed)


def _asked_anew(state: State, event: TermsChanged, _now: float) -> Step:
    state = replace(state, request=event.request, attempt=state.attempt + 1)
    return state, (Withdraw(), _ask(state))


def _decide_when_reserved(state: State, event: TermsChanged, _now: float) -> Step:
    return replace(state, request=event.request, terms_changed=True), ()


def _for_later(state: State, event: TermsChanged, _now: float) -> Step:
    """What is dispatched is under way; another attempt would be made by the new terms."""
    return replace(state, request=event.request), ()


def _nothing(state: State, _event: Event, _now: float) -> Step:
    return state, ()


_BEFORE_FIRST_BYTE: Final[dict[type, Callable[..., Step]]] = {
    ConnectFailed: _connect_failed,
    UpstreamRefused: _refused,
    UpstreamLost: _lost,
    FirstToken: _first_token,
    BodyComplete: _body_complete,
    TimerFired: _late,
    ClientGone: _gone_under_way,
    TermsChanged: _for_later,
}

TRANSITIONS: Final[dict[Phase, dict[type, Callable[..., Step]]]] = {
    Phase.HOLDING: {Decided: _decided, ClientGone: _gone_holding, TermsChanged: _asked_anew},
    Phase.RESERVING: {
        Reserved: _reserved,
        ReserveRefused: _reserve_refused,
        ClientGone: _gone_reserving,
        TermsChanged: _decide_when_reserved,
    },
    Phase.DISPATCHING: {Accepted: _accepted, **_BEFORE_FIRST_BYTE},
    Phase.AWAITING_FIRST_TOKEN: {Accepted: _nothing, **_BEFORE_FIRST_BYTE},
    Phase.RELAYING: {
        UsageReported: _usage,
        StreamEnded: _ended,
        UpstreamLost: _broken,
        TimerFired: _nothing,
        ClientGone: _gone_under_way,
        TermsChanged: _nothing,
    },
    Phase.SETTLING: {
        Settled: _settled,
        LedgerLost: _settled,
        UsageReported: _nothing,
        StreamEnded: _nothing,
        UpstreamLost: _nothing,
        TimerFired: _nothing,
        ClientGone: _nothing,
        TermsChanged: _nothing,
    },
    Phase.FINISHED: {},
}
