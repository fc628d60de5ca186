"""An LLMLedger and the account that it holds: one becomes the other, wherever the object is kept."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from spillway.api.v1alpha1 import LLMLedgerSpec, LLMLedgerStatus, Tranche
from spillway.gateway.account import Account, Lease
from spillway.routing.budget import micros, usd


def account_of(spec: LLMLedgerSpec, status: LLMLedgerStatus | None) -> Account:
    """The account that a ledger's spec and status make up."""
    status = status or LLMLedgerStatus()
    return Account(
        limit_micros=micros(spec.limit),
        window=spec.window,
        time_zone=ZoneInfo(spec.time_zone),
        window_start=status.window_start,
        window_end=status.window_end,
        spent_micros=micros(status.spent) if status.spent is not None else 0,
        leases={tranche.gateway: Lease(micros(tranche.amount), tranche.renewed) for tranche in status.tranches},
        gateways=status.gateways,
    )


def status_of(account: Account) -> LLMLedgerStatus:
    """The status by which a ledger says what the account holds."""
    return LLMLedgerStatus(
        window_start=account.window_start,
        window_end=account.window_end,
        spent=usd(account.spent_micros),
        tranches=tuple(
            Tranche(gateway=holder, amount=usd(lease.amount_micros), renewed=lease.renewed)
            for holder, lease in account.leases.items()
        ),
        gateways=account.gateways,
    )
