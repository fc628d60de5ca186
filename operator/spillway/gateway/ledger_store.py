"""LLMLedgers on the API server, read and written by compare-and-swap on resourceVersion."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from spillway.api.v1alpha1 import API_VERSION, LLMLedger
from spillway.errors import ClusterError, Conflict, LedgerConflict, LedgerUnreachable
from spillway.gateway.kube import Json, KubeClient
from spillway.gateway.ledger_object import account_of, status_of
from spillway.gateway.store import Snapshot
from spillway.routing.budget import usd

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
            "status": status_of(snapshot.account).model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        try:
            return _snapshot(await self._client.put(f"{self._path}/{name}/status", body, fieldManager=FIELD_MANAGER))
        except Conflict as problem:
            raise LedgerConflict(str(problem)) from problem
        except (ClusterError, ValidationError) as problem:
            raise LedgerUnreachable(str(problem)) from problem


def _snapshot(obj: Json) -> Snapshot:
    ledger = LLMLedger.model_validate(obj)
    return Snapshot(version=ledger.metadata.resource_version or "", account=account_of(ledger.spec, ledger.status))
