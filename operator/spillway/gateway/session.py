"""The shell of one request's machine: carries its commands out and feeds back what came of them.

`feed` is synchronous and never re-entered: an event that a command brings about waits in line. What takes time runs in
a task that feeds its own event. An exception that nobody foresaw stops this request alone: what may have been served is
charged, what is occupied is freed, the caller gets a 500.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Final

import structlog

from spillway.errors import BudgetExhausted, LedgerUnreachable
from spillway.gateway import answers
from spillway.gateway.admission import Facts, Timings
from spillway.gateway.answers import Answer
from spillway.gateway.attempt import Attempt
from spillway.gateway.client import Client
from spillway.gateway.desk import Desk
from spillway.gateway.ledger import Ledger
from spillway.gateway.observed import Observer
from spillway.gateway.upstream import Upstreams
from spillway.routing import messages
from spillway.routing.facts import Intake, Route
from spillway.routing.messages import Record
from spillway.routing.outcomes import Outcome, Place, Reason
from spillway.routing.request import start, step
from spillway.routing.verdicts import Verdict
from spillway.routing.waiting import Held

CALLER_AT_MOST: Final = 64

_log: Final = structlog.get_logger("spillway.gateway.session")


class Session:
    """One request from its first question to its record."""

    def __init__(
        self,
        facts: Facts,
        desk: Desk,
        observer: Observer,
        ledger: Ledger,
        upstreams: Upstreams,
        client: Client,
        record: Callable[[Facts, Record, Timings], None],
        readmit: Callable[[Facts, Route], Facts],
    ) -> None:
        """`readmit` gives the facts under a route that was compiled since."""
        self._facts = facts
        self._readmit = readmit
        self._desk = desk
        self._observer = observer
        self._ledger = ledger
        self._upstreams = upstreams
        self._client = client
        self._record = record
        self._events: deque[messages.Event] = deque()
        self._draining = False
        self._held: Held | None = None
        self._asked = 0
        self._committed: int | None = None
        self._cost_micros: int | None = None
        self._attempts: dict[int, Attempt] = {}
        self._occupied: tuple[Place, str] | None = None
        self._reserved: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Task[None], int | None] = {}
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.timings = Timings()
        self.answer: Answer | None = None
        """What the handler still has to send, unless an attempt has answered itself."""
        self._state, commands = start(facts.request)
        self._commands: deque[messages.Command] = deque(commands)

    async def run(self) -> None:
        """Carry the request to its end. When the caller leaves (the handler is cancelled) the machine ends it too."""
        self._drain()
        try:
            await asyncio.shield(self._finished)
        except asyncio.CancelledError:
            self.feed(messages.ClientGone())
            await self._finished
            raise
        finally:
            while self._tasks:
                await asyncio.wait(set(self._tasks))

    def feed(self, event: messages.Event) -> None:
        """Tell the machine, and do what it says."""
        self._events.append(event)
        if not self._draining:
            self._drain()

    def decided(self, verdict: Verdict) -> None:
        """The pool's answer to the last question."""
        self.feed(messages.Decided(self._asked, verdict))

    def route_changed(self) -> None:
        """The deployment was compiled anew."""
        if not self._draining:
            self._drain()

    def committed(self, attempt: int) -> bool:
        """Whether the caller gets this attempt's answer."""
        return self._committed == attempt and not self._finished.done()

    def headers(self) -> dict[str, str]:
        """The x-spillway-* headers as they stand."""
        state = self._state
        headers = {
            answers.REQUEST_ID: self._facts.request.request_id,
            answers.REASON: state.reason.value,
            answers.DATA_CLASS: self._facts.classified.data_class.value,
        }
        if state.dispatches:
            headers[answers.BACKEND] = f"{state.place.value}/{state.backend}"
        if self._cost_micros is not None:
            headers[answers.COST] = answers.dollars(self._cost_micros)
        elif state.offer is not None:
            headers[answers.COST_RESERVED] = answers.dollars(state.reservation_micros)
        return headers

    def _drain(self) -> None:
        """Carry out what is asked, take events in, until both are done; then let the pool speak."""
        self._draining = True
        try:
            self._look_at_route()
            while self._commands or self._events:
                while self._commands:
                    self._execute(self._commands.popleft())
                if self._events:
                    self._look_at_route()
                    self._state, commands = step(self._state, self._events.popleft(), self._desk.now())
                    self._commands.extend(commands)
        except Exception as bug:  # noqa: BLE001 (whatever it is, it must not take other requests or money with it)
            self._stop(bug)
        finally:
            self._draining = False
        self._desk.pump()

    def _look_at_route(self) -> None:
        """Before the machine decides anything, let it know what is open by the deployment as it is compiled now."""
        if self._desk.route is self._facts.route or self._finished.done():
            return
        self._facts = self._readmit(self._facts, self._desk.route)
        self._state, commands = step(self._state, messages.TermsChanged(self._facts.request), self._desk.now())
        self._commands.extend(commands)

    def _execute(self, command: messages.Command) -> None:  # noqa: C901 (one arm a command; nothing is decided here)
        now, request_id, pool = self._desk.now(), self._facts.request.request_id, self._desk.pool
        match command:
            case messages.Ask():
                self._ask(command)
            case messages.Withdraw():
                self._desk.withdraw(request_id)
            case messages.Reserve():
                self._spawn(self._reserve(command))
            case messages.Settle():
                self._spawn(self._settle(command))
            case messages.Release():
                self._spawn(self._release(command))
            case messages.Occupy(place, backend):
                self._occupied = place, backend
                if place is Place.LOCAL:
                    pool.occupy(self._question(), backend, now)
                else:
                    pool.targets.occupy(request_id, backend)
            case messages.Prefilled(replica):
                pool.prefilled(request_id, replica, now)
            case messages.Vacate(_, _, trouble, abandoned, full):
                self._vacate(trouble=trouble, abandoned=abandoned, full=full)
            case messages.Dispatch():
                self._dispatch(command)
            case messages.SetTimer(attempt, at):
                self._set_timer(at - now, messages.TimerFired(attempt))
            case messages.CancelTimer():
                self._cancel_timer()
            case messages.Commit(attempt, cost_micros):
                self._committed, self._cost_micros = attempt, cost_micros
            case messages.PassThrough(attempt):
                self.answer = self._attempts[attempt].refusal
            case messages.Respond(status, reason, retry_after_seconds):
                self.answer = answers.refusal(status, reason, retry_after_seconds)
            case messages.AbortUpstream(attempt):
                self._abort(attempt)
            case messages.CloseClient():
                self._client.cut()
            case Record():
                self._finish(command)
            case _:
                raise RuntimeError(f"unknown command {command!r}")

    def _ask(self, command: messages.Ask) -> None:
        facts = self._facts
        self._asked = command.attempt
        self._held = Held(
            request_id=facts.request.request_id,
            arrived=facts.arrived,
            prompt_tokens=self._desk.pool.predictor.prompt_tokens(facts.intake.prompt_bytes),
            output_tokens=facts.intake.max_output_tokens,
            streams=facts.intake.stream,
            targets=command.targets,
            stays_because=command.stays_because,
            excluded_replicas=command.excluded_replicas,
            after_failure=command.after_failure,
            caller=_caller(facts.intake),
        )
        self._desk.ask(self._held, self)

    def _vacate(self, *, trouble: bool, abandoned: bool, full: bool = False) -> None:
        if self._occupied is None:
            raise RuntimeError("vacated what was not occupied")
        (place, backend), self._occupied = self._occupied, None
        if place is Place.LOCAL:
            request_id, now = self._facts.request.request_id, self._desk.now()
            self._desk.pool.vacate(request_id, backend, now, trouble=trouble, abandoned=abandoned, full=full)
        else:
            self._desk.pool.targets.vacate(self._facts.request.request_id, backend, self._desk.now(), trouble=trouble)

    def _question(self) -> Held:
        if self._held is None:
            raise RuntimeError("occupied before it was asked")
        return self._held

    def _dispatch(self, command: messages.Dispatch) -> None:
        attempt = Attempt(command, self._facts, self._desk, self._observer, self._upstreams, self._client, self)
        self._attempts[command.attempt] = attempt
        self._spawn(attempt.run(), command.attempt)

    async def _reserve(self, command: messages.Reserve) -> None:
        try:
            await self._ledger.reserve(command.key, command.micros)
        except (BudgetExhausted, LedgerUnreachable) as refusal:
            _log.debug("not reserved", key=command.key, because=str(refusal))
            exhausted = isinstance(refusal, BudgetExhausted)
            reason = Reason.BUDGET_EXHAUSTED if exhausted else Reason.LEDGER_UNAVAILABLE
            self._observer.blocked(reason)
            self.feed(messages.ReserveRefused(command.attempt, reason))
            return
        if self._finished.done():
            await self._ledger.release(command.key)  # stopped meanwhile, so nothing was sent
            return
        self._reserved[command.key] = command.micros
        self.feed(messages.Reserved(command.attempt))

    async def _settle(self, command: messages.Settle) -> None:
        del self._reserved[command.key]
        await self._ledger.settle(command.key, command.micros)
        self.feed(messages.Settled(command.attempt))

    async def _release(self, command: messages.Release) -> None:
        del self._reserved[command.key]
        await self._ledger.release(command.key)

    def _set_timer(self, delay_seconds: float, event: messages.TimerFired) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, delay_seconds), self.feed, event)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abort(self, attempt: int) -> None:
        for task, of in self._tasks.items():
            if of == attempt and task is not asyncio.current_task():  # it that reports its own end needs no push
                task.cancel()

    def _finish(self, record: Record) -> None:
        self._cancel_timer()
        self._record(self._facts, record, self.timings)
        self._finished.set_result(None)

    def _spawn(self, work: Coroutine[None, None, None], attempt: int | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = attempt
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._stop(bug)

    def _stop(self, bug: BaseException) -> None:
        """Something nobody foresaw: end this request, and leave nothing of it behind."""
        request_id, state = self._facts.request.request_id, self._state
        _log.error("a bug stopped this request", request_id=request_id, exc_info=bug)
        self._events.clear()
        self._commands.clear()
        if self._finished.done():
            return
        self._desk.withdraw(request_id)
        for attempt in self._attempts:
            self._abort(attempt)
        if self._occupied is not None:
            self._vacate(trouble=False, abandoned=True)
        charged = sum(self._reserved.values())
        for key, micros in self._reserved.items():
            self._spawn(self._ledger.settle(key, micros))
        self._reserved = {}
        if self._client.response is None:
            self.answer = answers.error(500, "The gateway failed on this request.", code="internal_error")
        else:
            self._client.cut()
        self._finish(
            Record(
                outcome=Outcome.FAILED,
                place=state.place if state.dispatches else Place.NONE,
                backend=state.backend,
                reason=state.reason,
                status=500,
                dispatches=state.dispatches,
                reserved_micros=state.reserved_micros,
                cost_micros=state.charged_micros + charged,
                usage=state.usage,
            )
        )


def _caller(intake: Intake) -> str:
    """Who asks, as the body says it: its answers' lengths are learnt together. Empty when it says nothing."""
    named = intake.payload.get("user")
    return named[:CALLER_AT_MOST] if isinstance(named, str) else ""
