"""The gateway's ledger of one engine pod: what it dispatched there, and what it knows that others did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from spillway.routing.outcomes import Reason

HEAD_PROGRESS_AT_MOST: Final = 0.9


@dataclass(slots=True)
class Stay:
    """One request on one replica, from its dispatch to its end."""

    prompt_tokens: int
    output_tokens: int
    arrived: float
    dispatched: float
    predicted_seconds: float
    streams: bool
    in_time: bool
    """Whether it was predicted to meet the SLO when it was dispatched: only such a one says anything about beta."""
    alone: bool
    """Whether only this gateway's work was on the replica: only then it says how fast one prompt is read."""
    step_seconds: float
    """The step under way when it came, which it had to wait for; 0 when others were to be read before it."""
    requests: int
    """How many were in flight there, itself included."""
    caller: str = ""
    first_token: float | None = None
    pending: bool = True
    abandoned: bool = False
    """Whether its caller left it, though the engine still reads its prompt to the end."""

    @property
    def resident_tokens(self) -> int:
        """What it takes of the KV cache, in the end."""
        return self.prompt_tokens + self.output_tokens

    def ends(self, step_seconds: float) -> float:
        """When its last token is to be expected, at so many seconds a token."""
        began = self.first_token if self.first_token is not None else self.dispatched + self.predicted_seconds
        return began + self.output_tokens * step_seconds


@dataclass(frozen=True, slots=True)
class Load:
    """Work on one replica: P prompt tokens pending, n requests in flight, K tokens resident in its KV cache."""

    pending_tokens: int
    requests: int
    resident_tokens: int

    def least(self, other: Load) -> Load:
        """Of each number the smaller one."""
        return Load(
            min(self.pending_tokens, other.pending_tokens),
            min(self.requests, other.requests),
            min(self.resident_tokens, other.resident_tokens),
        )


NO_LOAD: Final = Load(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Share:
    """Somebody else's work on a replica, as it was told at a moment (seconds)."""

    load: Load
    at: float


@dataclass(slots=True)
class Replica:
    """One engine pod. `elsewhere` is others' work there, by who told of it."""

    name: str
    tie: int = 0
    """A number by which gateways that share replicas order those that are equally free, each its own way."""
    ready: bool = True
    shunned_until: float = 0.0
    shunned_because: Reason = Reason.BACKEND_ERROR
    head_since: float = 0.0
    pending_tokens: int = 0
    resident_tokens: int = 0
    kv_capacity_tokens: int | None = None
    """As the engine says itself; None when it was not asked."""
    elsewhere: Mapping[str, Share] = field(default_factory=dict)
    unknown: Load = NO_LOAD
    """What the engine's metrics showed last beyond all that was known."""
    _stays: dict[str, Stay] = field(default_factory=dict)
    _pending: dict[str, Stay] = field(default_factory=dict)

    @property
    def stays(self) -> Mapping[str, Stay]:
        """This gateway's requests here, by id, in the order of their dispatch."""
        return self._stays

    @property
    def requests(self) -> int:
        """n: everybody's requests in flight."""
        own = len(self._stays)
        return own + sum(share.load.requests for share in self.elsewhere.values()) if self.elsewhere else own

    @property
    def all_resident_tokens(self) -> int:
        """K: tokens that the KV cache holds or will hold for everybody's requests in flight."""
        return self.resident_tokens + sum(share.load.resident_tokens for share in self.elsewhere.values())

    @property
    def pending_requests(self) -> int:
        """This gateway's requests whose prompts are not read, as far as it knows."""
        return len(self._pending)

    @property
    def own(self) -> Load:
        """This gateway's part, to tell others."""
        return Load(self.pending_tokens, len(self._stays), self.resident_tokens)

    def usable(self, now: float) -> bool:
        """Whether new work may go here."""
        return self.ready and now >= self.shunned_until

    def add(self, key: str, stay: Stay) -> None:
        """Count a request that is dispatched here now."""
        if not self._pending:
            self.head_since = stay.dispatched
        self._stays[key] = self._pending[key] = stay
        self.pending_tokens += stay.prompt_tokens
        self.resident_tokens += stay.resident_tokens

    def read(self, key: str, now: float) -> None:
        """Its prompt is through."""
        stay = self._pending.pop(key, None)
        if stay is not None:
            stay.pending = False
            stay.first_token = now
            self.pending_tokens -= stay.prompt_tokens
            self.head_since = now

    def remove(self, key: str, now: float) -> Stay:
        """It is gone."""
        stay = self._stays.pop(key)
        self.resident_tokens -= stay.resident_tokens
        if stay.pending:
            del self._pending[key]
            self.pending_tokens -= stay.prompt_tokens
            self.head_since = now
        return stay

    def abandon(self, key: str, ghost: str, now: float) -> None:
        """Its caller left, and the engine reads on: keep it as `ghost`, which nobody will report the end of."""
        stay = self.remove(key, now)
        head_since = self.head_since
        stay.abandoned, stay.streams, stay.output_tokens = True, False, 0
        self.add(ghost, stay)
        self.head_since = head_since

    def tell(self, who: str, share: Share | None) -> None:
        """Take in what somebody else has here; None: nothing."""
        known = {name: other for name, other in self.elsewhere.items() if name != who}
        self.elsewhere = known | {who: share} if share is not None else known

    def own_backlog_tokens(self, now: float, seconds_per_token: float) -> float:
        """W: this gateway's pending tokens, less what is read of the one at the head by now."""
        if not self._pending:
            return 0.0
        head = next(iter(self._pending.values())).prompt_tokens
        done = min((now - self.head_since) / seconds_per_token, head * HEAD_PROGRESS_AT_MOST)
        return max(0.0, self.pending_tokens - done)

    def backlog_tokens(self, now: float, seconds_per_token: float) -> float:
        """W of everybody. Others' tokens are read at their part of the rate from the moment they were told."""
        own = self.own_backlog_tokens(now, seconds_per_token)
        if not self.elsewhere:
            return own
        total = self.pending_tokens + sum(share.load.pending_tokens for share in self.elsewhere.values())
        for share in self.elsewhere.values():
            pending = share.load.pending_tokens
            if pending:
                own += max(0.0, pending - max(0.0, now - share.at) / seconds_per_token * pending / total)
        return own

    @property
    def shared(self) -> bool:
        """Whether somebody else's prompts are to be read here."""
        return any(share.load.pending_tokens for share in self.elsewhere.values())
