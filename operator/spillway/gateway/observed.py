"""What this gateway saw of one deployment of late, for status: its share of spills, its targets' health, its tokens."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from spillway.api.v1alpha1 import FallbackState, ObservedGateway, ObservedTarget
from spillway.errors import CredentialMissing
from spillway.gateway.credentials import Credentials
from spillway.gateway.served import ServedHour
from spillway.routing.facts import Route, Target
from spillway.routing.messages import Record
from spillway.routing.outcomes import Outcome, Place, Reason

SHARE_OVER_SECONDS: Final = 60.0
_KEY_REFUSED: Final = frozenset({401, 403})


@dataclass(slots=True)
class _Second:
    at: int
    total: int = 0
    cloud: int = 0
    spilled_because: Reason | None = None
    blocked_because: Reason | None = None


class Observer:
    """Counts by the second; `monotonic` counts seconds, `now` is the wall clock."""

    def __init__(self, pod_name: str, monotonic: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._pod_name = pod_name
        self._monotonic = monotonic
        self._now = now
        self._seconds: deque[_Second] = deque()
        self._unusable: dict[str, tuple[str, str]] = {}
        self._state = FallbackState.LOCAL
        self._since = now()
        self._served = ServedHour(now)
        self.route_problem: str | None = None
        """Why the object as it is now cannot be served, while it is served as it last could be; None when it is."""

    def ended(self, record: Record) -> None:
        """Take in how one request ended. What would have left counts as what left does."""
        self._served.ended(record)
        second = self._this_second()
        second.total += record.outcome is not Outcome.CLIENT_GONE or record.place is not Place.NONE
        if record.place is Place.CLOUD or record.shadow is not None:
            second.cloud += 1
            second.spilled_because = record.shadow.reason if record.shadow else record.reason

    def blocked(self, reason: Reason) -> None:
        """Take in that a request was to spill and may not, for `reason`."""
        self._this_second().blocked_because = reason

    def target_answered(self, name: str, status: int) -> None:
        """Take in the status of a target's answer: only a refused key makes a target unusable, a success cures it."""
        if status in _KEY_REFUSED:
            self.target_unusable(name, "CredentialRefused", f"the target answered {status}: its key is not accepted")
        elif status < 400:
            self._unusable.pop(name, None)

    def target_unusable(self, name: str, reason: str, message: str) -> None:
        """Take in why a target cannot be used."""
        self._unusable[name] = (reason, message)

    def check_credential(self, target: Target, credentials: Credentials) -> bool:
        """Whether the files that the target needs are there; remembers what is missing."""
        try:
            credentials.bearer(target)
            credentials.tls(target)
        except CredentialMissing as missing:
            self.target_unusable(target.name, missing.reason, missing.message)
            return False
        if self._unusable.get(target.name, ("", ""))[0] not in {
            "CredentialRefused",
            "AddressRefused",
            "CertificateNotTrusted",
        }:
            self._unusable.pop(target.name, None)
        return True

    def report(self, route: Route) -> ObservedGateway:
        """For the ledger's status."""
        self._forget_old()
        total = sum(second.total for second in self._seconds)
        cloud = sum(second.cloud for second in self._seconds)
        spilled = next((second.spilled_because for second in reversed(self._seconds) if second.spilled_because), None)
        blocked = next((second.blocked_because for second in reversed(self._seconds) if second.blocked_because), None)
        state, reason = FallbackState.LOCAL, None
        if blocked is not None:
            state, reason = FallbackState.BLOCKED, blocked
        elif spilled is not None:
            state, reason = FallbackState.OVERFLOWING, spilled
        if route.is_shadow:
            state, reason = FallbackState.SHADOW, spilled
        if state is not self._state:
            self._state, self._since = state, self._now().replace(microsecond=0)
        return ObservedGateway(
            name=self._pod_name,
            state=state,
            reason=reason.value if reason else None,
            share_percent=min(100, math.ceil(100 * cloud / total)) if total else 0,
            since=self._since,
            targets=self._targets(route),
            served=self._served.report(),
            route_problem=self.route_problem[:1024] if self.route_problem else None,
        )

    def _targets(self, route: Route) -> tuple[ObservedTarget, ...]:
        refused = {target.name: (target.reason, target.message) for target in route.refused_targets}
        unusable = self._unusable | refused
        names = [target.name for target in route.targets] + list(refused)
        return tuple(
            ObservedTarget(name=name, ready=False, reason=unusable[name][0], message=unusable[name][1][:1024])
            if name in unusable
            else ObservedTarget(name=name, ready=True)
            for name in names
        )

    def _this_second(self) -> _Second:
        at = int(self._monotonic())
        if not self._seconds or self._seconds[-1].at != at:
            self._seconds.append(_Second(at))
            self._forget_old()
        return self._seconds[-1]

    def _forget_old(self) -> None:
        while self._seconds and self._seconds[0].at < self._monotonic() - SHARE_OVER_SECONDS:
            self._seconds.popleft()
