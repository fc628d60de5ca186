"""A gateway's machine, pool and ledger as its session puts them together, without a socket: a test is the outside."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from spillway.gateway.admission import Facts, readmit
from spillway.gateway.ledger import Ledger
from spillway.routing import messages as m
from spillway.routing.facts import Route
from spillway.routing.hold import Pool
from spillway.routing.outcomes import Place
from spillway.routing.request import start, step
from spillway.routing.state import Phase, State
from spillway.routing.waiting import Held


@dataclass
class Live:
    """One request, and all that it was told to do and did not yet hear of."""

    facts: Facts
    state: State
    commands: deque[m.Command]
    events: deque[m.Event] = field(default_factory=deque)
    asked: int = 0
    held: Held | None = None
    at: tuple[Place, str] | None = None
    reserving: m.Reserve | None = None
    reserved: dict[str, int] = field(default_factory=dict)
    billed: dict[str, int] = field(default_factory=dict)
    """What a cloud charges for an attempt that ended, by key; told by the test."""
    settled: list[tuple[str, int]] = field(default_factory=list)
    dispatched: m.Dispatch | None = None
    left: bool = False
    record: m.Record | None = None
    is_draining: bool = False

    @property
    def phase(self) -> Phase:
        return self.state.phase


class Whole:
    """One gateway process: what `Session` and `Desk` do with machine and pool, step by step."""

    def __init__(self, route: Route, name: str, ledger: Ledger, now: Callable[[], float]) -> None:
        self.pool = Pool(route, name)
        self.pool.targets.replace(route.targets)
        self.ledger = ledger
        self.live: dict[str, Live] = {}
        self.slots: Counter[tuple[Place, str]] = Counter()
        self._now = now
        self._is_pumping = False

    @property
    def route(self) -> Route:
        return self.pool.route

    @route.setter
    def route(self, route: Route) -> None:
        self.pool.route = route
        self.pool.targets.replace(route.targets)
        for live in list(self.live.values()):
            if live.phase is Phase.HOLDING:
                self._drain(live)
        self.pump()

    def arrive(self, facts: Facts) -> Live:
        state, commands = start(facts.request)
        live = self.live[facts.request.request_id] = Live(facts, state, deque(commands))
        self._drain(live)
        self.pump()
        return live

    def feed(self, live: Live, event: m.Event) -> None:
        live.events.append(event)
        if not live.is_draining:
            self._drain(live)
            self.pump()

    def pump(self) -> None:
        if self._is_pumping:
            return
        self._is_pumping = True
        while (found := self.pool.next(self._now())) is not None:
            live = self.live[found[0]]
            self.feed(live, m.Decided(live.asked, found[1]))
        self._is_pumping = False

    def _drain(self, live: Live) -> None:
        live.is_draining = True
        self._look_at_route(live)
        while live.commands or live.events:
            while live.commands:
                self._execute(live, live.commands.popleft())
            if live.events:
                self._look_at_route(live)
                self._step(live, live.events.popleft())
        live.is_draining = False

    def _look_at_route(self, live: Live) -> None:
        if self.route is not live.facts.route and live.record is None:
            live.facts = readmit(live.facts, self.route, lambda _: True)
            self._step(live, m.TermsChanged(live.facts.request))

    def _step(self, live: Live, event: m.Event) -> None:
        live.state, commands = step(live.state, event, self._now())
        live.commands.extend(commands)

    def _execute(self, live: Live, command: m.Command) -> None:
        assert live.record is None, "nothing is done after the record"
        match command:
            case m.Ask():
                self._ask(live, command)
            case m.Withdraw():
                self.pool.withdraw(live.facts.request.request_id)
            case m.Reserve():
                assert live.reserving is None
                live.reserving = command
            case m.Settle(_, key, micros):
                assert live.billed.get(key, 0) <= micros <= live.reserved[key], (
                    "what was billed, within what was reserved"
                )
                del live.reserved[key]
                live.settled.append((key, micros))
            case m.Release(_, key):
                assert not live.billed.get(key), "nothing of it was served"
                del live.reserved[key]
                live.settled.append((key, -1))
            case m.Occupy(place, backend):
                self._occupy(live, place, backend)
            case m.Vacate():
                self._vacate(live, command)
            case m.Prefilled(replica):
                self.pool.prefilled(live.facts.request.request_id, replica, self._now())
            case m.Dispatch():
                self._dispatch(live, command)
            case m.Record():
                assert live.at is None, "its slot is free"
                assert not live.reserved, "its money is resolved"
                live.record = command
            case _:
                pass  # timers and answers: of no matter here

    def _ask(self, live: Live, command: m.Ask) -> None:
        live.asked = command.attempt
        intake = live.facts.intake
        live.held = Held(
            request_id=live.facts.request.request_id,
            arrived=live.facts.arrived,
            prompt_tokens=intake.prompt_bytes,
            output_tokens=intake.max_output_tokens,
            streams=intake.stream,
            targets=command.targets,
            stays_because=command.stays_because,
            excluded_replicas=command.excluded_replicas,
            after_failure=command.after_failure,
        )
        self.pool.ask(live.held)

    def _occupy(self, live: Live, place: Place, backend: str) -> None:
        assert live.at is None
        live.at = place, backend
        self.slots[live.at] += 1
        if place is Place.LOCAL:
            assert live.held is not None
            self.pool.occupy(live.held, backend, self._now())
        else:
            self.pool.targets.occupy(live.facts.request.request_id, backend)

    def _vacate(self, live: Live, command: m.Vacate) -> None:
        assert live.at == (command.place, command.backend), "each slot is given back once, by whom it was given to"
        self.slots[live.at] -= 1
        live.at = None
        request_id, now = live.facts.request.request_id, self._now()
        if command.place is Place.LOCAL:
            trouble, abandoned, full = command.trouble, command.abandoned, command.full
            self.pool.vacate(request_id, command.backend, now, trouble=trouble, abandoned=abandoned, full=full)
        else:
            self.pool.targets.vacate(request_id, command.backend, now, trouble=command.trouble)

    def _dispatch(self, live: Live, command: m.Dispatch) -> None:
        live.dispatched = command
        if command.place is not Place.CLOUD:
            return
        route, facts = self.route, live.facts
        assert facts.classified.data_class in route.may_leave, "its class may leave, as things are now"
        assert command.backend in {target.name for target in route.targets}
        assert not route.is_shadow
        assert live.state.key in live.reserved, "its money is set aside"

    def check(self) -> None:
        """What must hold whenever nothing is half done."""
        lives = [live for live in self.live.values() if live.record is None]
        assert self.pool.held == sum(live.phase is Phase.HOLDING for live in lives)
        occupied = Counter(live.at for live in lives if live.at is not None)
        assert occupied == +self.slots
        assert self.pool.in_flight == sum(count for (place, _), count in occupied.items() if place is Place.LOCAL)
        reserved = sum(len(live.reserved) for live in lives)
        unresolved = sum(len(live.settled) for live in self.live.values())
        assert self.ledger.open_reservations == reserved + unresolved

    def forget_money(self) -> dict[str, int]:
        """What is open, when the process dies."""
        return {key: micros for live in self.live.values() for key, micros in live.reserved.items()}
