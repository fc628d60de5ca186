"""The arithmetic of one LLMLedger, pure: integers in micro-dollars, frozen values in and out.

The law: spent + sum of leases <= limit. A lease is money that one gateway may spend without asking; to everybody else
it is as good as spent. What a gateway did spend moves from its lease to `spent` in one write, so the sum never rises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from spillway.api.v1alpha1 import BudgetWindow, ObservedGateway

LEASE_LOST_AFTER: Final = timedelta(hours=1)
"""A lease that was not renewed for this long is nobody's: it counts as spent for good. Its holder stopped spending from
it long before (`ledger.LEASE_VALID_SECONDS`), with a margin wider than clocks are apart."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What one gateway holds, and when it last wrote."""

    amount_micros: int
    renewed: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """One LLMLedger as it was read, or as it should be written."""

    limit_micros: int
    window: BudgetWindow
    time_zone: tzinfo = UTC
    window_start: datetime | None = None
    window_end: datetime | None = None
    spent_micros: int = 0
    leases: Mapping[str, Lease] = field(default_factory=dict)
    gateways: tuple[ObservedGateway, ...] = ()

    @property
    def leased_micros(self) -> int:
        """The sum of all leases."""
        return sum(lease.amount_micros for lease in self.leases.values())

    @property
    def available_micros(self) -> int:
        """What nobody has spent or leased; below zero after the limit was lowered."""
        return self.limit_micros - self.spent_micros - self.leased_micros

    def others_micros(self, identity: str) -> int:
        """The sum of all leases but that of `identity`."""
        return sum(lease.amount_micros for holder, lease in self.leases.items() if holder != identity)


def holder(pod_name: str, incarnation: str) -> str:
    """Who holds a lease: one journal, so that no container takes a lease for its own of which it knows nothing."""
    return f"{pod_name}:{incarnation}"


def pod_of(identity: str) -> str:
    """The pod of a holder."""
    return identity.partition(":")[0]


def advance(account: Account, identity: str, now: datetime) -> Account:
    """The account at `now`: the leases of the dead are spent, and the window is the one in which `now` is.

    A lease goes on into the next window, as what it pays for may still be billed there.
    """
    gone = {name for name, lease in account.leases.items() if name != identity and _is_dead(name, lease, identity, now)}
    account = write_off(account, *gone)
    if account.window_start is None or account.window_end is None:
        start, end = window_bounds(account.window, now.astimezone(account.time_zone))
        return replace(account, window_start=start, window_end=end)
    if now < account.window_end:
        return account
    start, end = window_bounds(account.window, now.astimezone(account.time_zone))
    # After a change from Day to Month the calendar month began before the day that just ended: a start never goes back.
    return replace(account, window_start=max(start, account.window_end), window_end=end, spent_micros=0)


def exchange(account: Account, identity: str, settled_micros: int, amount_micros: int, renewed: datetime) -> Account:
    """The account after `identity` reports what it spent and holds `amount_micros` from now on.

    An entry of 0 stays: it tells a lost reply from a lost write.
    Where the report would pass the limit (an upstream that billed more than the most it could), spent is cut at it.
    What was leased before the limit was lowered is reported all the same: it is owed, and the limit may rise again.
    """
    most = max(account.limit_micros, account.spent_micros + account.leased_micros)
    room = most - account.others_micros(identity) - amount_micros
    spent = min(account.spent_micros + settled_micros, max(account.spent_micros, room))
    leases = dict(account.leases) | {identity: Lease(amount_micros, renewed)}
    return replace(account, spent_micros=spent, leases=leases)


def write_off(account: Account, *identities: str) -> Account:
    """The account after all that these hold is taken for spent."""
    lost = sum(account.leases[name].amount_micros for name in identities)
    leases = {name: lease for name, lease in account.leases.items() if name not in identities}
    return replace(account, spent_micros=account.spent_micros + lost, leases=leases)


def leave(account: Account, identity: str) -> Account:
    """The account without the lease of `identity`, when it ends and owes nothing."""
    return replace(account, leases={name: lease for name, lease in account.leases.items() if name != identity})


def breach(before: Account, after: Account) -> str | None:
    """Which law the step from one account to the next would break, in words; None when it keeps them all.

    The API server holds LLMLedgers to the same (`api/ledger.py`). Where there is none, whoever stores them has to.
    """
    if before.window_start is not None:
        if after.window_start is None or after.window_start < before.window_start:
            return "a window may not begin before the one that it follows"
        if after.window_start == before.window_start and after.spent_micros < before.spent_micros:
            return "spent may not fall within a window"
    total = after.spent_micros + after.leased_micros
    if total > after.limit_micros and total > before.spent_micros + before.leased_micros:
        return "spent and leases together may not pass the limit"
    return None


def window_bounds(window: BudgetWindow, now: datetime) -> tuple[datetime, datetime]:
    """The calendar day or month around `now`, in the time zone of `now`: its start and the start of the next, in UTC.

    Midnights are those of the wall: the day on which clocks change has 23 or 25 hours, and a window none of another.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if window is BudgetWindow.DAY:
        start, end = midnight, midnight + timedelta(days=1)
    else:
        start = midnight.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
    return start.astimezone(UTC), end.astimezone(UTC)


def _is_dead(name: str, lease: Lease, identity: str, now: datetime) -> bool:
    return pod_of(name) == pod_of(identity) or now - lease.renewed > LEASE_LOST_AFTER
