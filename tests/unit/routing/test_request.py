"""The request machine's laws, held over every interleaving of up to two dispatches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from spillway.errors import ImpossibleEvent
from spillway.routing import messages as m
from spillway.routing.facts import Price, Usage
from spillway.routing.outcomes import Outcome, Place, Reason
from spillway.routing.request import MAX_DISPATCHES, TRANSITIONS, start, step
from spillway.routing.state import Phase, State
from spillway.routing.terms import Offer, Request
from spillway.routing.verdicts import Cloud, Local, Refusal

PRICE = Price(2_500_000, 10_000_000, 1_250_000)
OFFER = Offer("openai", PRICE, lambda: 20_000, timeout_seconds=60)
USAGE = Usage(1000, 100)
SPILLABLE = Request("r1", (OFFER,), Reason.SENSITIVE, 30)
PRIVATE = Request("r2", (), Reason.SENSITIVE, 30)
SHADOWED = replace(SPILLABLE, is_shadow=True)
CLOSED = replace(SPILLABLE, offers=(), stays_because=Reason.POLICY_DENIED)

Trace = list[tuple[m.Event | None, tuple[m.Command, ...]]]


def possible(state: State, ask: m.Ask, *, gone: bool, change: Request | None) -> Iterator[m.Event]:
    """Whatever the outside may say in this state, late words of an older attempt included."""
    n = state.attempt
    if state.phase is Phase.HOLDING:
        yield m.Decided(n, Refusal(Reason.SATURATED, 3))
        if state.dispatches < 2:
            yield m.Decided(n, Local("pod-a", Reason.DEFAULT, 0.1))
            yield from (m.Decided(n, Cloud(target, Reason.SATURATED)) for target in ask.targets)
    elif state.phase is Phase.RESERVING:
        yield from (m.Reserved(n), m.ReserveRefused(n, Reason.BUDGET_EXHAUSTED))
    elif state.phase in {Phase.DISPATCHING, Phase.AWAITING_FIRST_TOKEN}:
        if state.phase is Phase.DISPATCHING:
            yield m.Accepted(n)
            yield m.ConnectFailed(n)
        yield from (m.UpstreamRefused(n, 400), m.UpstreamRefused(n, 503), m.UpstreamLost(n), m.TimerFired(n))
        yield m.UpstreamRefused(n, 400, billed=True)
        yield from (m.FirstToken(n), m.BodyComplete(n, USAGE), m.BodyComplete(n, None))
    elif state.phase is Phase.RELAYING:
        if state.usage is None:
            yield m.UsageReported(n, USAGE)
        yield from (m.StreamEnded(n, complete=True), m.StreamEnded(n, complete=False), m.UpstreamLost(n))
    elif state.phase is Phase.SETTLING:
        yield from (m.Settled(n), m.LedgerLost(n))
    if not gone:
        yield m.ClientGone()
    if change is not None:
        yield m.TermsChanged(change)


def traces(state: State, trace: Trace, change: Request | None) -> Iterator[Trace]:
    if state.phase is Phase.FINISHED:
        yield trace
        return
    ask = next(c for _, commands in reversed(trace) for c in reversed(commands) if isinstance(c, m.Ask))
    gone = any(isinstance(event, m.ClientGone) for event, _ in trace)
    for event in possible(state, ask, gone=gone, change=change):
        after, commands = step(state, event, 10.0)
        yield from traces(after, [*trace, (event, commands)], None if isinstance(event, m.TermsChanged) else change)


def all_traces(request: Request, change: Request | None = None) -> Iterator[Trace]:
    """With `change`, the terms become these at some moment, or never."""
    state, commands = start(request)
    yield from traces(state, [(None, commands)], change)


def commands_of(trace: Trace) -> list[m.Command]:
    return [command for _, commands in trace for command in commands]


def check_money(trace: Trace) -> None:
    reserved = {f"r1:{event.attempt}" for event, _ in trace if isinstance(event, m.Reserved)}
    resolved = [c for c in commands_of(trace) if isinstance(c, m.Settle | m.Release)]
    assert sorted(c.key for c in resolved) == sorted(reserved), "law 2"
    for command in commands_of(trace):
        if isinstance(command, m.Dispatch) and command.place is Place.CLOUD:
            assert f"r1:{command.attempt}" in reserved, "law 1"
    dispatched = {c.attempt for c in commands_of(trace) if isinstance(c, m.Dispatch)}
    harmless = {e.attempt for e, _ in trace if isinstance(e, m.ConnectFailed)}
    harmless |= {e.attempt for e, _ in trace if isinstance(e, m.UpstreamRefused) and not e.billed}
    for release in (c for c in resolved if isinstance(c, m.Release)):
        assert release.attempt not in dispatched or release.attempt in harmless, "law 3"
    for settle in (c for c in resolved if isinstance(c, m.Settle)):
        assert settle.micros in {OFFER.most_micros(), 3500}, "a settlement is the whole reservation or the usage"


def check_order(trace: Trace) -> None:
    commands = commands_of(trace)
    records = [c for c in commands if isinstance(c, m.Record)]
    assert len(records) == 1, "law 6"
    assert commands[-1] is records[0], "law 6"
    committed = [i for i, c in enumerate(commands) if isinstance(c, m.Commit)]
    assert len(committed) <= 1
    for later in commands[committed[0] + 1 :] if committed else ():
        assert not isinstance(later, m.Dispatch | m.Respond | m.PassThrough), "law 4"
    answers = [c for c in commands if isinstance(c, m.Commit | m.Respond | m.PassThrough)]
    gone = any(isinstance(event, m.ClientGone) for event, _ in trace)
    assert len(answers) == 1 or (gone and not answers), "one answer, and none only to a client that left"


def check_places(trace: Trace) -> None:
    occupied: list[tuple[Place, str]] = []
    for command in commands_of(trace):
        if isinstance(command, m.Occupy):
            occupied.append((command.place, command.backend))
        elif isinstance(command, m.Vacate):
            occupied.remove((command.place, command.backend))
    assert not occupied, "law 5"
    for _, commands in trace:
        dispatches = [c for c in commands if isinstance(c, m.Dispatch)]
        timers = [c for c in commands if isinstance(c, m.SetTimer)]
        assert [d.attempt for d in dispatches] == [t.attempt for t in timers], "law 7"


@pytest.mark.parametrize("request_", [SPILLABLE, PRIVATE, SHADOWED], ids=["may leave", "may not leave", "shadow"])
def test_every_interleaving_keeps_the_laws(request_: Request) -> None:
    count = 0
    for trace in all_traces(request_):
        count += 1
        check_order(trace)
        check_places(trace)
        if request_ is SPILLABLE:
            check_money(trace)
        else:  # laws 9 and 11
            dispatches = [c for c in commands_of(trace) if isinstance(c, m.Dispatch)]
            assert all(d.place is Place.LOCAL for d in dispatches), "law 9"
            assert not any(isinstance(c, m.Reserve) for c in commands_of(trace)), "law 9"
    assert count > 300, "the enumeration did not run dry"


@pytest.mark.parametrize("change", [CLOSED, SHADOWED], ids=["nothing may leave", "fallback is a shadow"])
def test_whenever_the_terms_change_nothing_is_sent_to_a_cloud_by_the_old_ones(change: Request) -> None:
    moments = set()
    for trace in all_traces(SPILLABLE, change):
        check_order(trace)
        check_places(trace)
        check_money(trace)
        at = next((i for i, (event, _) in enumerate(trace) if isinstance(event, m.TermsChanged)), len(trace))
        later = [c for _, commands in trace[at:] for c in commands]
        assert not any(isinstance(c, m.Dispatch) and c.place is Place.CLOUD for c in later), "law 12"
        assert not any(isinstance(c, m.Reserve) for c in later), "law 12"
        moments.add(type(trace[at - 1][0]))
    assert {type(None), m.Decided, m.Reserved, m.Accepted, m.FirstToken} < moments


def test_terms_that_change_while_money_is_reserved_give_it_back_and_the_request_is_decided_again() -> None:
    state, _ = start(SPILLABLE)
    state, _ = step(state, m.Decided(1, Cloud("openai", Reason.SATURATED)), 0.0)
    state, commands = step(state, m.TermsChanged(SPILLABLE), 0.0)
    assert commands == ()
    state, commands = step(state, m.Reserved(1), 0.0)
    assert commands == (
        m.Release(1, "r1:1"),
        m.Vacate(Place.CLOUD, "openai", trouble=False),
        m.Ask(2, ("openai",), Reason.BACKEND_ERROR, frozenset(), after_failure=False),
    )
    state, _ = step(state, m.Decided(2, Cloud("openai", Reason.SATURATED)), 0.0)
    _, commands = step(state, m.Reserved(2), 0.0)
    assert m.Dispatch(2, Place.CLOUD, "openai") in commands


def test_what_the_shadow_decides_is_in_the_record_with_its_price_and_asked_once() -> None:
    for trace in all_traces(SHADOWED):
        would = [
            event.verdict for event, _ in trace if isinstance(event, m.Decided) and isinstance(event.verdict, Cloud)
        ]
        (record,) = (c for c in commands_of(trace) if isinstance(c, m.Record))
        assert (record.cost_micros, record.reserved_micros) == (0, 0)
        assert not any(isinstance(c, m.Occupy) and c.place is Place.CLOUD for c in commands_of(trace))
        assert len(would) <= 1
        if not would:
            assert record.shadow is None
            continue
        assert record.shadow is not None
        assert (record.shadow.target, record.shadow.reason) == ("openai", Reason.SATURATED)
        assert record.shadow.micros == (20_000 if record.usage is None else 3500)


def test_after_the_shadow_a_request_stays_as_if_there_were_no_target() -> None:
    state, _ = start(SHADOWED)
    state, commands = step(state, m.Decided(1, Cloud("openai", Reason.SATURATED)), 0.0)
    assert commands == (m.Ask(2, (), Reason.SATURATED, frozenset(), after_failure=False),)


def test_an_event_of_an_older_attempt_changes_nothing() -> None:
    state, _ = start(SPILLABLE)
    for event in (
        m.Decided(1, Local("pod-a", Reason.DEFAULT, 0.1)),
        m.UpstreamLost(1),
        m.Decided(2, Cloud("openai", Reason.BACKEND_ERROR)),
        m.Reserved(2),
        m.Accepted(2),
        m.FirstToken(2),
        m.StreamEnded(2, complete=True),
        m.Settled(2),
    ):
        old = state.attempt - 1
        for late in (
            m.FirstToken(old),
            m.UpstreamLost(old),
            m.Settled(old),
            m.TimerFired(old),
            m.BodyComplete(old, USAGE),
        ):
            assert step(state, late, 10.0) == (state, ())
        state, _ = step(state, event, 10.0)
    assert state.phase is Phase.FINISHED


def test_a_client_that_leaves_while_money_is_reserved_gets_it_released() -> None:
    state, _ = start(SPILLABLE)
    state, commands = step(state, m.Decided(1, Cloud("openai", Reason.SATURATED)), 0.0)
    assert commands == (m.Occupy(Place.CLOUD, "openai"), m.Reserve(1, "r1:1", 20_000))
    state, commands = step(state, m.ClientGone(), 0.1)
    assert commands == ()
    _, commands = step(state, m.Reserved(1), 0.2)
    assert commands[:2] == (m.Release(1, "r1:1"), m.Vacate(Place.CLOUD, "openai", trouble=False))
    assert isinstance(commands[2], m.Record)
    assert commands[2].outcome is Outcome.CLIENT_GONE


def test_a_spill_of_what_may_not_leave_is_refused_even_if_the_pool_asks_for_it() -> None:
    state, _ = start(PRIVATE)
    with pytest.raises(ImpossibleEvent):
        step(state, m.Decided(1, Cloud("openai", Reason.SATURATED)), 0.0)


def test_without_money_the_request_is_decided_again_as_one_that_stays() -> None:
    state, _ = start(SPILLABLE)
    state, _ = step(state, m.Decided(1, Cloud("openai", Reason.SATURATED)), 0.0)
    state, commands = step(state, m.ReserveRefused(1, Reason.BUDGET_EXHAUSTED), 0.0)
    assert commands[-1] == m.Ask(2, (), Reason.BUDGET_EXHAUSTED, frozenset(), after_failure=False)
    assert state.phase is Phase.HOLDING


def test_a_replica_that_died_before_the_first_byte_is_replaced_by_another() -> None:
    state, _ = start(PRIVATE)
    state, _ = step(state, m.Decided(1, Local("pod-a", Reason.DEFAULT, 0.1)), 0.0)
    state, commands = step(state, m.UpstreamLost(1), 1.0)
    assert m.Vacate(Place.LOCAL, "pod-a", trouble=True) in commands
    assert commands[-1] == m.Ask(2, (), Reason.SENSITIVE, frozenset({"pod-a"}), after_failure=True)


def test_a_cloud_that_fell_silent_is_charged_whole_and_not_asked_again() -> None:
    state, _ = start(SPILLABLE)
    state, _ = step(state, m.Decided(1, Cloud("openai", Reason.SATURATED)), 0.0)
    state, _ = step(state, m.Reserved(1), 0.0)
    state, commands = step(state, m.TimerFired(1), 60.0)
    assert m.Settle(1, "r1:1", 20_000) in commands
    assert isinstance(commands[-1], m.Ask)
    assert commands[-1].targets == ()


@pytest.mark.parametrize(
    ("status", "passes"),
    [
        (400, True),
        (413, True),
        (422, True),
        (401, False),
        (403, False),
        (404, False),
        (429, False),
        (500, False),
        (503, False),
    ],
)
def test_only_a_refusal_that_is_about_the_request_reaches_the_caller(status: int, passes: bool) -> None:
    state, _ = start(PRIVATE)
    state, _ = step(state, m.Decided(1, Local("pod-a", Reason.DEFAULT, 0.1)), 0.0)
    _, commands = step(state, m.UpstreamRefused(1, status), 0.0)
    assert any(isinstance(c, m.PassThrough) for c in commands) is passes


def test_a_target_that_timed_out_is_charged_whole_and_not_asked_again() -> None:
    state, _ = start(SPILLABLE)
    for event in (m.Decided(1, Cloud("openai", Reason.SATURATED)), m.Reserved(1)):
        state, _ = step(state, event, 0.0)
    state, commands = step(state, m.UpstreamRefused(1, 504, billed=True), 1.0)
    assert m.Settle(1, "r1:1", 20_000) in commands
    assert commands[-1] == m.Ask(2, (), Reason.BACKEND_ERROR, frozenset(), after_failure=True)


def test_attempts_are_bounded() -> None:
    state, commands = start(PRIVATE)
    for _ in range(MAX_DISPATCHES):
        state, _ = step(state, m.Decided(state.attempt, Local("pod-a", Reason.DEFAULT, 0.1)), 0.0)
        state, commands = step(state, m.ConnectFailed(state.attempt), 0.0)
    assert state.phase is Phase.FINISHED
    assert m.Respond(502, Reason.BACKEND_ERROR, None) in commands


def test_every_state_says_what_happens_when_the_client_leaves() -> None:
    assert all(m.ClientGone in row for phase, row in TRANSITIONS.items() if phase is not Phase.FINISHED)


def test_an_event_that_cannot_happen_is_an_error() -> None:
    state, _ = start(PRIVATE)
    with pytest.raises(ImpossibleEvent, match="FirstToken in Holding"):
        step(state, m.FirstToken(1), 0.0)
