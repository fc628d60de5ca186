"""One dispatch of a request: builds what is sent, relays the answer, and learns from it on the way to the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from spillway.errors import AddressRefused, CertificateNotTrusted, CredentialMissing, NothingSent
from spillway.gateway.admission import Facts, Timings
from spillway.gateway.answers import Answer
from spillway.gateway.client import Client
from spillway.gateway.desk import Desk
from spillway.gateway.observed import Observer
from spillway.gateway.relay import Plan, Relay
from spillway.gateway.upstream import Call, Upstreams
from spillway.routing import messages
from spillway.routing.faults import Fault, fault_of
from spillway.routing.health import Trouble
from spillway.routing.outcomes import Place
from spillway.routing.outgoing import cloud_body, local_body


class Owner(Protocol):
    """The session that an attempt belongs to."""

    timings: Timings

    def feed(self, event: messages.Event) -> None:
        """Tell the machine."""
        ...

    def committed(self, attempt: int) -> bool:
        """Whether the caller gets this attempt's answer."""
        ...

    def headers(self) -> Mapping[str, str]:
        """The x-spillway-* headers as they stand."""
        ...


class Attempt:
    """One dispatch, to a replica or to a target."""

    def __init__(
        self,
        command: messages.Dispatch,
        facts: Facts,
        desk: Desk,
        observer: Observer,
        upstreams: Upstreams,
        client: Client,
        owner: Owner,
    ) -> None:
        self._number = command.attempt
        self._place = command.place
        self._backend = command.backend
        self._facts = facts
        self._desk = desk
        self._observer = observer
        self._upstreams = upstreams
        self._client = client
        self._owner = owner
        self._relay: Relay | None = None

    @property
    def refusal(self) -> Answer | None:
        """The upstream's own answer, when it refused."""
        return self._relay.refusal if self._relay else None

    async def run(self) -> None:
        """From the call to the end of the answer."""
        call = self._call()
        if call is None:
            self._owner.feed(messages.ConnectFailed(self._number))
            return
        self._owner.timings = Timings(dispatched=self._desk.now())
        intake = self._facts.intake
        plan = Plan(self._number, call, stream=intake.stream, strip_usage=not intake.include_usage)
        self._relay = Relay(plan, self._upstreams, self._client, self)
        await self._relay.run()

    def committed(self, attempt: int) -> bool:
        """Whether the caller gets this attempt's answer."""
        return self._owner.committed(attempt)

    def headers(self) -> Mapping[str, str]:
        """The x-spillway-* headers as they stand."""
        return self._owner.headers()

    def feed(self, event: messages.Event) -> None:
        """Learn from an event, then tell the machine."""
        match event:
            case messages.FirstToken() | messages.BodyComplete():
                self._owner.timings.first_token = self._desk.now()
                self._learn_answer(event)
            case messages.UsageReported():
                self._learn_usage(event)
            case messages.UpstreamRefused(_, status) if self._place is Place.CLOUD:
                self._learn_refusal(status)
            case messages.ConnectFailed() if self._relay is not None and self._place is Place.CLOUD:
                self._tell_why_unreachable(self._relay.not_sent)
            case _:
                pass
        self._owner.feed(event)

    def _learn_answer(self, event: messages.FirstToken | messages.BodyComplete) -> None:
        if self._place is Place.CLOUD:
            self._observer.target_answered(self._backend, 200)
            self._desk.pool.targets.answered(self._facts.request.request_id, self._backend)
            dispatched = self._owner.timings.dispatched
            if isinstance(event, messages.FirstToken) and dispatched is not None:
                self._desk.pool.predictor.cloud_first_token(self._desk.now() - dispatched)
        elif isinstance(event, messages.BodyComplete):
            self._learn_usage(event)

    def _learn_refusal(self, status: int) -> None:
        self._observer.target_answered(self._backend, status)
        targets, request_id = self._desk.pool.targets, self._facts.request.request_id
        if fault_of(status) is Fault.REQUEST:
            targets.answered(request_id, self._backend)
        else:
            targets.refused(request_id, Trouble(status, self._relay.retry_after_seconds if self._relay else None))

    def _tell_why_unreachable(self, problem: NothingSent | None) -> None:
        if isinstance(problem, AddressRefused | CertificateNotTrusted):
            self._observer.target_unusable(self._backend, type(problem).__name__, str(problem))

    def _learn_usage(self, event: messages.UsageReported | messages.BodyComplete) -> None:
        if self._place is Place.LOCAL and event.usage is not None:
            usage, intake = event.usage, self._facts.intake
            request_id = self._facts.request.request_id
            self._desk.pool.fleet.answered(request_id, self._backend, intake.prompt_bytes, usage, self._desk.now())

    def _call(self) -> Call | None:
        """What to send; None when there is no way to send it."""
        facts = self._facts
        intake, request_id = facts.intake, facts.request.request_id
        if self._place is Place.LOCAL:
            address = self._desk.address(self._backend)
            if address is None:
                return None
            body = local_body(intake, facts.body, facts.route)
            return self._upstreams.engine_call(address, intake.endpoint, body, request_id, stream=intake.stream)
        if self._desk.route is not facts.route:
            return None  # compiled anew since this was decided: it may be that the request may leave no more
        target = next(target for target in facts.route.targets if target.name == self._backend)
        body = cloud_body(intake, target, facts.route)
        try:
            return self._upstreams.cloud_call(target, intake.endpoint, body, request_id, stream=intake.stream)
        except CredentialMissing as missing:
            self._observer.target_unusable(target.name, missing.reason, missing.message)
        except AddressRefused as refused:
            self._observer.target_unusable(target.name, "AddressRefused", str(refused))
        return None
