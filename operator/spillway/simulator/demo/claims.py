"""What the demo claims, held against what was measured: one row each, "not shown" where the run could not show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from spillway.simulator.demo.tally import End, Seen

CENT: Final = Decimal("0.01")
EXHAUSTED: Final = "BudgetExhausted"


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, its figure, and whether it held; None when the run was too short to show it."""

    sentence: str
    figure: str
    held: bool | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured. The cloud's figures are the cloud's own: what it was sent and what it bills."""

    seen: Sequence[Seen]
    markers_in_cloud: frozenset[str]
    cloud_requests: int
    cloud_bill_usd: Decimal
    ledger_spent_usd: Decimal
    limit_usd: Decimal
    last_spill_seconds: float | None
    killed_pod: str | None
    killed_in_flight: int
    markers_in_logs: int
    log_bytes: int
    audit_lines: int


def judge(evidence: Evidence) -> tuple[Claim, ...]:
    """Every claim of the demo, in the order of its story."""
    return (
        _served(evidence),
        _spilled(evidence),
        _private(evidence),
        _within_budget(evidence),
        _stopped(evidence),
        _survived(evidence),
        _quiet(evidence),
    )


def _served(evidence: Evidence) -> Claim:
    ends = [one.end for one in evidence.seen]
    odd = ends.count(End.FAILED)
    figure = (
        f"{ends.count(End.ANSWERED)} answered, {ends.count(End.REFUSED)} refused with 503 and Retry-After, {odd} failed"
    )
    return Claim("Every request is answered, or told when to come back", figure, odd == 0 if ends else None)


def _spilled(evidence: Evidence) -> Claim:
    spilled = [one for one in evidence.seen if one.place == "cloud"]
    figure = f"{len(spilled)} of {len(evidence.seen)} requests, by the cloud's own count {evidence.cloud_requests}"
    return Claim("When the GPUs are saturated, what may leave spills", figure, len(spilled) > 0 or None)


def _private(evidence: Evidence) -> Claim:
    sensitive = [one for one in evidence.seen if one.planned.sensitive]
    leaked = [one for one in sensitive if one.planned.marker in evidence.markers_in_cloud or one.place == "cloud"]
    kinds = sorted({one.planned.kind.value for one in sensitive})
    figure = f"{len(leaked)} of {len(sensitive)} in the cloud's recording ({'; '.join(kinds)})"
    return Claim(
        "What is sensitive never leaves", figure, not leaked if sensitive and evidence.cloud_requests else None
    )


def _within_budget(evidence: Evidence) -> Claim:
    figure = (
        f"the cloud bills ${evidence.cloud_bill_usd:.6f}, the ledger says ${evidence.ledger_spent_usd:.6f}, "
        f"the limit is ${evidence.limit_usd:.2f}"
    )
    held = evidence.cloud_bill_usd <= evidence.ledger_spent_usd <= evidence.limit_usd
    return Claim("The cloud's bill stays within the budget", figure, held if evidence.cloud_requests else None)


def _stopped(evidence: Evidence) -> Claim:
    sentence = f"When the budget runs out, spilling stops with reason {EXHAUSTED}"
    exhausted = [one for one in evidence.seen if one.reason == EXHAUSTED]
    if not exhausted or evidence.last_spill_seconds is None:
        return Claim(sentence, f"${evidence.ledger_spent_usd:.2f} of ${evidence.limit_usd:.2f} spent", None)
    after = [one for one in exhausted if one.ended_seconds > evidence.last_spill_seconds]
    figure = (
        f"last spill {evidence.last_spill_seconds:.1f} s into the burst; "
        f"{len(after)} requests ended after it with that reason"
    )
    return Claim(sentence, figure, len(after) > 0)


def _survived(evidence: Evidence) -> Claim:
    sentence = "An engine pod is killed: no request fails that had not been sent a byte"
    if evidence.killed_pod is None:
        return Claim(sentence, "no pod was killed", None)
    failed = [one for one in evidence.seen if one.end is End.FAILED]
    broken = [one for one in evidence.seen if one.end is End.BROKEN]
    figure = (
        f"{evidence.killed_in_flight} in flight on {evidence.killed_pod}; "
        f"{len(failed)} failed before their first byte, {len(broken)} broke off after it"
    )
    return Claim(sentence, figure, not failed if evidence.killed_in_flight else None)


def _quiet(evidence: Evidence) -> Claim:
    figure = (
        f"{evidence.audit_lines} audit lines for {len(evidence.seen)} requests; "
        f"{evidence.markers_in_logs} prompts found in {evidence.log_bytes:,} bytes of logs"
    )
    held = evidence.markers_in_logs == 0 and evidence.audit_lines >= len(evidence.seen)
    return Claim("One audit line a request, and no prompt text in any log", figure, held if evidence.seen else None)
