"""The words for what was decided and what came of it: one vocabulary for headers, metrics, audit lines and status."""

from __future__ import annotations

from enum import StrEnum


class Place(StrEnum):
    """Where a request was served."""

    LOCAL = "local"
    CLOUD = "cloud"
    NONE = "none"


class Reason(StrEnum):
    """Why a request went where it went, or why it was refused."""

    DEFAULT = "Default"
    """A replica serves it within its SLO."""
    SATURATED = "Saturated"
    """No replica would make its SLO, or every target that it may go to is full; of what may go nowhere, that its turn
    did not come."""
    NO_ENDPOINTS = "NoEndpoints"
    """There is no replica at all."""
    LOADING = "Loading"
    """Replicas are there, and none is ready yet."""
    BACKEND_ERROR = "BackendError"
    """A replica or target failed before its first byte, or all that it may go to are left alone after failures."""
    SENSITIVE = "Sensitive"
    """It is Sensitive, so it stayed, though no replica makes its SLO."""
    BUDGET_EXHAUSTED = "BudgetExhausted"
    """The window's budget has not as much left as it could cost at most, so it stayed."""
    LEDGER_UNAVAILABLE = "LedgerUnavailable"
    """The ledger or the journal cannot be written: nothing may be spent, though there may be money."""
    POLICY_DENIED = "PolicyDenied"
    """Its class may not leave here, it holds what no target may be sent, or its deployment was changed meanwhile."""


class Outcome(StrEnum):
    """How a request ended; every request ends in exactly one of these."""

    COMPLETED = "Completed"
    """The whole answer was relayed."""
    REJECTED = "Rejected"
    """The upstream answered that the request itself is wrong; its words were relayed."""
    REFUSED = "Refused"
    """Nobody could serve it in time; 503 with Retry-After."""
    FAILED = "Failed"
    """Every attempt failed before the first byte; 502."""
    BROKEN = "Broken"
    """The answer broke off after its first byte."""
    TURNED_AWAY = "TurnedAway"
    """It was no request that a model of ours could be asked: malformed, too large, of an unknown model or path."""
    CLIENT_GONE = "ClientGone"
    """The client left before the end."""
