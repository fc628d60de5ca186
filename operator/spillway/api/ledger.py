"""`LLMLedger`: the money of one LLMDeployment and what its gateways saw. Gateways alone write its status.

The law of the ledger, `spent + sum(tranches.amount) <= spec.limit`, is kept by the API server itself, in integers: CEL
cannot add up quantities, but a decimal with at most six places is, with the suffix M, a whole number of micro-dollars.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from spillway.api.common import Dollars, ListType, Rule, SpecModel, StatusModel, text, whole
from spillway.api.deployment_status import TOKENS, Reason
from spillway.api.enums import BudgetWindow, FallbackState
from spillway.api.time_zone import UTC_NAME, ZONE_MESSAGE, ZONE_RULE, TimeZone, is_zone


class LLMLedgerSpec(SpecModel):
    """The budget that the operator copied from the LLMDeployment."""

    limit: Annotated[
        Decimal,
        Dollars("limit"),
        Field(description="Dollars that one window may cost; 0 while the LLMDeployment states no budget."),
    ]
    window: Annotated[BudgetWindow, Field(description="The calendar window in which the limit holds.")]
    time_zone: TimeZone = UTC_NAME

    rules: ClassVar[tuple[Rule, ...]] = (Rule(ZONE_RULE, ZONE_MESSAGE, lambda spec: is_zone(spec.time_zone)),)


class Tranche(StatusModel):
    """Dollars that one gateway has leased and may spend without asking again."""

    gateway: Annotated[str, text(253), Field(description="Name of the gateway's pod.")]
    amount: Annotated[
        Decimal, Dollars("amount", exact=True), Field(description="Dollars leased that are not yet in `spent`.")
    ]
    renewed: Annotated[AwareDatetime, Field(description="When the gateway last wrote here.")]


class ObservedTarget(StatusModel):
    """What a gateway saw of a target."""

    name: Annotated[str, text(63), Field(description="Name of the target.")]
    ready: Annotated[bool, Field(description="Whether a request would be sent to it.")]
    reason: Annotated[Reason | None, Field(description="Why not, one CamelCase word.")] = None
    message: Annotated[str | None, Field(max_length=1024, description="Why not, and what to do.")] = None


class ServedTokens(StatusModel):
    """What replicas served through one gateway in the last hour, of whole minutes."""

    requests: Annotated[int, TOKENS, Field(description="Requests whose tokens the engine reported.")]
    prompt_tokens: Annotated[int, TOKENS, Field(description="Tokens of their prompts.")]
    cached_prompt_tokens: Annotated[
        int, TOKENS, Field(description="Of these the tokens that the engine found in its cache.")
    ] = 0
    completion_tokens: Annotated[int, TOKENS, Field(description="Tokens of their answers.")]
    seconds: Annotated[
        int, whole(60, 3600), Field(description="How long this is of, in seconds: an hour, or since the gateway began.")
    ]
    until: Annotated[AwareDatetime, Field(description="When the last of its minutes ended.")]


class ObservedGateway(StatusModel):
    """What a gateway did for this model of late."""

    name: Annotated[str, text(253), Field(description="Name of the gateway's pod.")]
    state: Annotated[FallbackState, Field(description="Local, Shadow, Overflowing or Blocked.")]
    reason: Annotated[Reason | None, Field(description="Why, one CamelCase word.")] = None
    share_percent: Annotated[
        int, whole(0, 100), Field(description="Requests of the last minute that went to a target, in percent.")
    ] = 0
    since: Annotated[AwareDatetime | None, Field(description="When the state began.")] = None
    targets: Annotated[
        tuple[ObservedTarget, ...],
        ListType("map", most=16, key="name"),
        Field(description="What it saw of each target."),
    ] = ()
    served: Annotated[
        ServedTokens | None, Field(description="What replicas served through it in the last hour. Absent: nothing.")
    ] = None
    route_problem: Annotated[
        str | None,
        Field(
            max_length=1024,
            description="Why it cannot serve the LLMDeployment as it is now; it is served as it last could be. "
            "Absent: it can.",
        ),
    ] = None


class LLMLedgerStatus(StatusModel):
    """What was spent, who may spend, and what the gateways saw."""

    window_start: Annotated[AwareDatetime | None, Field(description="When the present window began.")] = None
    window_end: Annotated[AwareDatetime | None, Field(description="When the next window begins.")] = None
    spent: Annotated[
        Decimal | None,
        Dollars("spent", exact=True),
        Field(description="Dollars spent and settled in the present window."),
    ] = None
    tranches: Annotated[
        tuple[Tranche, ...],
        ListType("map", most=64, key="gateway"),
        Field(description="What gateways have leased of the limit."),
    ] = ()
    gateways: Annotated[
        tuple[ObservedGateway, ...],
        ListType("map", most=64, key="name"),
        Field(description="What each gateway saw."),
    ] = ()

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.tranches) || size(self.tranches) == 0 || has(self.spent)",
            "spent must be stated beside tranches",
            lambda status: not status.tranches or status.spent is not None,
        ),
        Rule(
            "has(self.windowStart) == has(self.spent) && has(self.windowEnd) == has(self.spent)",
            "spent, windowStart and windowEnd must be stated together",
            lambda status: (
                len({value is None for value in (status.spent, status.window_start, status.window_end)}) == 1
            ),
        ),
        # Transition rules: the API server alone can hold an old object against a new one.
        Rule(
            "!has(oldSelf.spent) || (has(self.spent) && (self.windowStart > oldSelf.windowStart"
            " || quantity(self.spent).compareTo(quantity(oldSelf.spent)) >= 0))",
            "spent may not fall within a window: it may be lower only with a later windowStart",
            lambda _: True,
        ),
    )


def _micros(of: str) -> str:
    """CEL for all micro-dollars, spent and leased, of the ledger that is called `of` in the rule."""
    spent = f"(has({of}.status.spent) ? quantity({of}.status.spent + 'M').asInteger() : 0)"
    leased = (
        f"(has({of}.status.tranches) ? {of}.status.tranches.map(t, quantity(t.amount + 'M').asInteger()).sum() : 0)"
    )
    return f"{spent} + {leased}"


LEDGER_RULES: tuple[Rule, ...] = (
    Rule(
        "!has(oldSelf.status) || has(self.status)",
        "status may not be taken away: it holds what was spent",
        lambda _: True,
    ),
    # A transition rule, so that a limit can be lowered below what is already spent: then the sum may only not rise.
    Rule(
        f"!has(self.status) || {_micros('self')} <= quantity(self.spec.limit + 'M').asInteger()"
        f" || (has(oldSelf.status) && {_micros('self')} <= {_micros('oldSelf')})",
        "spent and tranches together may not pass spec.limit",
        lambda _: True,
    ),
)
