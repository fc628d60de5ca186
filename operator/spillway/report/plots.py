"""The numbers of the plots for programs; the page's tables are made of the same. Dollars are strings, to the cent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spillway.advisor.costs import shown_usd
from spillway.advisor.curves import Curves, FormatMemory, PlaceTime, SetupCost
from spillway.advisor.figures import Bill
from spillway.sizing.memory import GIB

Row = Mapping[str, object]


def plots(found: Curves) -> Mapping[str, Sequence[Row]]:
    """Each plot's rows by its name."""
    return {
        "byVolume": [_bill(bill) for bill in found.by_volume],
        "bySetup": [_setup(each) for each in found.by_setup],
        "byPlace": [_place(each) for each in found.by_place],
        "byFormat": [_format(each) for each in found.by_format],
    }


def _bill(bill: Bill) -> Row:
    return {
        "tokensPerMonth": bill.tokens,
        "apiUsd": shown_usd(bill.api_usd),
        "selfHostUnits": bill.units,
        "selfHostUsd": shown_usd(bill.self_host_usd),
        "hybridUnits": bill.hybrid_units,
        "hybridUsd": shown_usd(bill.hybrid_usd),
    }


def _setup(each: SetupCost) -> Row:
    cost = each.cost
    return {
        "setup": each.setup,
        "units": each.units,
        "rooflineUnits": each.roofline_units,
        "hardwareUsd": None if cost is None else shown_usd(cost.hardware),
        "powerUsd": None if cost is None else shown_usd(cost.power),
        "peopleUsd": None if cost is None else shown_usd(cost.people),
        "totalUsd": None if cost is None else shown_usd(cost.total),
        "usdPerMillionTokens": shown_usd(each.usd_per_million),
    }


def _place(each: PlaceTime) -> Row:
    return {
        "place": each.place,
        "roundTripMilliseconds": round(each.round_trip, 1),
        "queueMilliseconds": round(each.queue, 1),
        "modelMilliseconds": round(each.model, 1),
        "firstTokenMilliseconds": round(each.to_first_token, 1),
        "lastTokenMilliseconds": round(each.to_last_token, 1),
        "basis": each.basis,
    }


def _format(each: FormatMemory) -> Row:
    return {
        "stored": each.stored,
        "weightGiB": gib(each.weight_bytes),
        "engineGiB": gib(each.engine_bytes),
        "cacheGiB": gib(each.cache_bytes),
        "totalGiB": gib(each.total_bytes),
        "accelerators": each.accelerators,
    }


def gib(amount: int) -> float:
    """Bytes as GiB, to two places."""
    return round(amount / GIB, 2)
