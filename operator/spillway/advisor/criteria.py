"""The criteria: what each figure says for or against an API, self-hosting or both, and how much it weighs.

Weights: 3 for what decides most cases (the dollars, the law, the SLO), 2 for what often does, 1 for a rule of thumb.
Thresholds are those of "When to Self-Host LLMs vs. Use APIs"; they weigh little, since the dollars are the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

from spillway.advisor.costs import DAYS_A_MONTH, cents, roughly_equal
from spillway.advisor.decision import Force, Reason, Recommendation, decide
from spillway.advisor.figures import Figures
from spillway.advisor.flowchart import TRIGGER_FIRST_TOKEN_MILLISECONDS
from spillway.advisor.latency import CLOUD_ROUND_TRIP_MILLISECONDS
from spillway.advisor.needs import DataResidency, Needs
from spillway.advisor.people import CERTIFICATIONS, SETUP_HOURS, SKILLS, WEEKLY_HOURS, missing, people, team_scale

API_BELOW_TOKENS: Final = 500_000_000
SELF_HOST_ABOVE_TOKENS: Final = 1_000_000_000
HARDLY_ANY_TOKENS: Final = 10_000_000
SPIKY_PEAK_TO_AVERAGE: Final = Decimal(3)
PLAN_AT_USD: Final = Decimal(5_000)
SWITCH_AT_USD: Final = Decimal(10_000)
SELF_HOST_FIRST_TOKEN_MILLISECONDS: Final = 200

_API, _SELF_HOST, _HYBRID = Recommendation.API, Recommendation.SELF_HOST, Recommendation.HYBRID


def reasons(needs: Needs, figures: Figures) -> tuple[Reason, ...]:
    """All criteria that have something to say, what binds first, then by weight."""
    found = [reason for judge in _CRITERIA for reason in judge(needs, figures)]
    found.append(_cost(figures, decide(found).excluded))
    return tuple(sorted(found, key=lambda reason: (reason.force is Force.WEIGHS, -reason.weight)))


def _data(needs: Needs, _: Figures) -> Iterator[Reason]:
    match needs.data:
        case DataResidency.MUST_STAY:
            yield Reason(
                criterion="data",
                figure=needs.data,
                says=_SELF_HOST,
                weight=3,
                text="no request may leave, so no API may answer one, whatever it costs",
                force=Force.LAW,
                excludes=frozenset({_API, _HYBRID}),
            )
        case DataResidency.PART_MUST_STAY:
            yield Reason(
                criterion="data",
                figure=needs.data,
                says=_HYBRID,
                weight=3,
                text="some requests may not leave, so they need a model here; the others may go",
                force=Force.LAW,
                excludes=frozenset({_API}),
            )
        case DataResidency.VARIES:
            text = "requests differ in how sensitive they are, so they can be told apart and sent where each may go"
            yield Reason(criterion="data", figure=needs.data, says=_HYBRID, weight=3, text=text)
        case DataResidency.MAY_LEAVE:
            text = "a provider's usual terms are enough"
            yield Reason(criterion="data", figure=needs.data, says=_API, weight=1, text=text)


def _offline(needs: Needs, _: Figures) -> Iterator[Reason]:
    if needs.offline:
        yield Reason(
            criterion="offline",
            figure="no connection",
            says=_SELF_HOST,
            weight=3,
            text="there is no connection, so there is no API",
            force=Force.LAW,
            excludes=frozenset({_API, _HYBRID}),
        )


def _cost(figures: Figures, excluded: frozenset[Recommendation]) -> Reason:
    """Which is cheapest of those that are not ruled out; of all, where one alone is left: that is its price."""
    dollars = {_API: figures.api_usd, _SELF_HOST: figures.self_host_usd, _HYBRID: figures.hybrid_usd}
    figure = ", ".join(f"{answer} ${cents(usd):,}" for answer, usd in dollars.items()) + " a month"
    ranked = sorted(dollars, key=lambda answer: dollars[answer])
    left = [answer for answer in ranked if answer not in excluded]
    first, second = left[:2] if len(left) > 1 else ranked[:2]
    before = "" if first is ranked[0] else f"{ranked[0]} would cost least, but is ruled out; "
    if roughly_equal(dollars[first], dollars[second]):
        text = f"{before}{first} and {second} cost roughly the same (within a tenth)"
        return Reason(criterion="cost", figure=figure, says=None, weight=0, text=text)
    share = 100 * (1 - dollars[first] / dollars[second])
    text = f"{before}{first} costs {share:.0f} % less than {second}"
    return Reason(criterion="cost", figure=figure, says=first, weight=3, text=text)


def _volume(needs: Needs, _: Figures) -> Iterator[Reason]:
    tokens = needs.tokens_per_month
    figure = f"{tokens / 1e6:,.4g}M tokens a month, {tokens / DAYS_A_MONTH / 1e6:,.3g}M a day"
    if tokens < HARDLY_ANY_TOKENS:
        text = "below 10M a month hardly anything of one's own pays"
        yield Reason(criterion="volume", figure=figure, says=_API, weight=2, text=text)
    elif tokens < API_BELOW_TOKENS:
        text = "below 500M a month APIs are the rule"
        yield Reason(criterion="volume", figure=figure, says=_API, weight=1, text=text)
    elif tokens > SELF_HOST_ABOVE_TOKENS:
        text = "above 1B a month self-hosting is the rule"
        yield Reason(criterion="volume", figure=figure, says=_SELF_HOST, weight=1, text=text)
    else:
        text = "between 500M and 1B a month it may be either"
        yield Reason(criterion="volume", figure=figure, says=None, weight=0, text=text)


def _bill(_: Needs, figures: Figures) -> Iterator[Reason]:
    bill = figures.api_usd
    if bill >= PLAN_AT_USD:
        text = "be ready to switch" if bill >= SWITCH_AT_USD else "begin to plan hosting of your own"
        mark = SWITCH_AT_USD if bill >= SWITCH_AT_USD else PLAN_AT_USD
        yield Reason(
            criterion="bill",
            figure=f"the API would cost ${cents(bill):,} a month",
            says=None,
            weight=0,
            text=f"past the mark of ${mark:,}: {text}",
        )


def _traffic(needs: Needs, figures: Figures) -> Iterator[Reason]:
    peak = needs.traffic.peak_to_average
    if peak >= SPIKY_PEAK_TO_AVERAGE:
        yield Reason(
            criterion="traffic",
            figure=f"the peak is {peak.normalize():f} times the average: {figures.units} units for it, "
            f"{figures.hybrid_units} for what a hybrid keeps",
            says=_HYBRID,
            weight=2,
            text="own GPUs for the base and an API for the peaks cost less than GPUs that idle between them",
        )
    if needs.traffic.always_on:
        text = "steady load around the clock is what hardware of one's own is paid for"
        yield Reason(criterion="traffic", figure="around the clock", says=_SELF_HOST, weight=1, text=text)


def _latency(needs: Needs, figures: Figures) -> Iterator[Reason]:
    local, cloud, wished = figures.local, figures.cloud, needs.first_token
    if cloud is None or wished is None:
        return
    limit = wished.limit_milliseconds
    here = "it does not fit here" if local is None else f"here {100 * local.share_in_time:.3g} % are"
    figure = (
        f"first token within {limit} ms for {wished.percentile:g} %: at the cloud "
        f"{100 * cloud.share_in_time:.3g} % are, {here}"
    )
    if cloud.kept:
        text = "the cloud keeps it, so it decides nothing"
        yield Reason(criterion="latency", figure=figure, says=None, weight=0, text=text)
        return
    kept = local is not None and local.kept
    missed = "" if kept else "; this model on this hardware does not keep it either"
    if limit <= TRIGGER_FIRST_TOKEN_MILLISECONDS:
        low, high = CLOUD_ROUND_TRIP_MILLISECONDS
        yield Reason(
            criterion="latency",
            figure=figure,
            says=_SELF_HOST,
            weight=3,
            text=f"the network alone takes {low:.0f} to {high:.0f} ms to a cloud{missed}",
            force=Force.EXCLUDES,
            excludes=frozenset({_API, _HYBRID}),
        )
        return
    below = limit <= SELF_HOST_FIRST_TOKEN_MILLISECONDS
    says = _SELF_HOST if kept else None
    text = "the cloud does not keep it" + (", as is the rule below 200 ms" if below else "") + missed
    yield Reason(criterion="latency", figure=figure, says=says, weight=(3 if below else 2) if kept else 0, text=text)


def _quality(needs: Needs, _: Figures) -> Iterator[Reason]:
    share = needs.frontier_percent
    if not share:
        return
    figure = f"{share.normalize():f} % of requests need a frontier model"
    if share == 100:
        yield Reason(
            criterion="quality",
            figure=figure,
            says=_API,
            weight=3,
            text="their weights are not to be had, so an API is the only way",
            force=Force.EXCLUDES,
            excludes=frozenset({_SELF_HOST, _HYBRID}),
        )
        return
    yield Reason(
        criterion="quality",
        figure=figure,
        says=_HYBRID,
        weight=2,
        text="these go to an API, whose weights are not to be had; an open model can do the rest",
        force=Force.EXCLUDES,
        excludes=frozenset({_SELF_HOST}),
    )


def _customisation(needs: Needs, _: Figures) -> Iterator[Reason]:
    if needs.custom_weights:
        text = "one's own weights are served where one serves them"
        yield Reason(criterion="customisation", figure="own weights", says=_SELF_HOST, weight=3, text=text)


def _pace(needs: Needs, _: Figures) -> Iterator[Reason]:
    if needs.still_experimenting:
        text = "prompts and models still change, and an API changes with a word"
        yield Reason(criterion="pace", figure="still experimenting", says=_API, weight=1, text=text)
    if needs.time_to_market:
        text = "an API is there today"
        yield Reason(criterion="pace", figure="time to market counts", says=_API, weight=1, text=text)


def _people(needs: Needs, _: Figures) -> Iterator[Reason]:
    scale = team_scale(needs.tokens_per_month, needs.models)
    asked = f"at least {people(scale.minimum)}, better {people(scale.recommended)}"
    figure = f"{people(needs.team)}; {scale.scale} asks for {asked}"
    lacking = people(missing(needs.team, scale.minimum))
    if lacking != "nobody":
        hours = f"{SETUP_HOURS[0]}-{SETUP_HOURS[1]} h to set up, {WEEKLY_HOURS[0]}-{WEEKLY_HOURS[1]} h a week"
        text = f"{lacking} missing; it asks for {', '.join(SKILLS)}, and for one server {hours}"
        yield Reason(criterion="people", figure=figure, says=_API, weight=2, text=text)
    else:
        text = "there are enough people to run it"
        yield Reason(criterion="people", figure=figure, says=_SELF_HOST, weight=1, text=text)


def _certification(needs: Needs, _: Figures) -> Iterator[Reason]:
    for asked in needs.certifications:
        held = CERTIFICATIONS[asked]
        text = f"providers: {held.by_provider}; here: {held.here}"
        says, weight = (None, 0) if held.by_self_hosting else (_API, 2)
        yield Reason(criterion="certification", figure=asked, says=says, weight=weight, text=text)


_CRITERIA: Final[tuple[Callable[[Needs, Figures], Iterator[Reason]], ...]] = (
    _data,
    _offline,
    _latency,
    _quality,
    _customisation,
    _traffic,
    _people,
    _certification,
    _volume,
    _pace,
    _bill,
)
