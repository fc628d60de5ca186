"""Where LLMLedgers are kept, as the ledger sees it: read, and write if nobody wrote in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from spillway.gateway.account import Account


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An account with the version of the object that it was read from."""

    version: str
    account: Account


class LedgerStore(Protocol):
    """Where LLMLedgers are: the API server, or memory in tests."""

    async def read(self, name: str) -> Snapshot:
        """The account now. Raises LedgerUnreachable."""
        ...

    async def write(self, name: str, snapshot: Snapshot) -> Snapshot:
        """Store the account if the object is still at `snapshot.version`. Raises LedgerConflict, LedgerUnreachable."""
        ...
