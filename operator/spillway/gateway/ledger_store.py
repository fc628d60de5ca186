"""LLMLedgers on the API server, read and written by compare-and-swap on resourceVersion."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from spillway.api.v1alpha1 import API_VERSION, LLMLedger, LLMLedgerStatus, Tranche
from spillway.errors import ClusterError, Conflict, LedgerConflict, LedgerUnreachable
from spillway.gateway.account import Account, Lease
from spillway.gateway.kube import Json, KubeClient
from spillway.gateway.store import Snapshot
from spillway.routing.budget import micros, usd

FIELD_MANAGER: Final = "spillway-gateway"


class KubeLedgerStore:
    """The LLMLedgers of one namespace."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._path = f"/apis/{API_VERSION}/namespaces/{namespace}/llmledgers"

    async def read(self, name: str) -> Snapshot:
        """The account now. Raises LedgerUnreachable."""
        try:
            return _snapshot(await self._client.get(f"{self._path}/{name}"))
        except (ClusterError, ValidationError) as problem:
            raise LedgerUnreachable(str(problem)) from problem

    async def write(self, name: str, snapshot: Snapshot) -> Snapshot:
        """Store the account if the object is still at that version. Raises LedgerConflict, LedgerUnreachable."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "LLMLedger",
            "metadata": {"name": name, "resourceVersion": snapshot.version},
            "spec": {
                "limit": format(usd(snapshot.account.limit_micros), "f"),
                "window": snapshot.account.window.value,
                "timeZone": str(snapshot.account.time_zone),
            },
            "status": _status(snapshot.account).model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        try:
            return _snapshot(await self._client.put(f"{self._path}/{name}/status", body, fieldManager=FIELD_MANAGER))
        except Conflict as problem:
            raise LedgerConflict(str(problem)) from problem
        except (ClusterError, ValidationError) as problem:
            raise LedgerUnreachable(str(problem)) from problem


def _snapshot(obj: Json) -> Snapshot:
    ledger = LLMLedger.model_validate(obj)
    status = ledger.status or LLMLedgerStatus()
    account = Account(
        limit_micros=micros(ledger.spec.limit),
        window=ledger.spec.window,
        time_zone=ZoneInfo(ledger.spec.time_zone),
        window_start=status.window_start,
        window_end=status.window_end,
        spent_micros=micros(status.spent) if status.spent is not None else 0,
        leases={tranche.gateway: Lease(micros(tranche.amount), tranche.renewed) for tranche in status.tranches},
        gateways=status.gateways,
    )
    return Snapshot(version=ledger.metadata.resource_version or "", account=account)


def _status(account: Account) -> LLMLedgerStatus:
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
