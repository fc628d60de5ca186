"""What gateways that share replicas tell each other: P, n and K of each, as versioned JSON; bounded, and checked.

    {"version": 1, "instance": "4f1c...", "models": {"<name>": {"<replica>": [P, n, K]}}}

Only models and replicas with work are told. What a peer says is added to what is known, so it can make a gateway more
careful and never frees anything; what is not of this form is ignored as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from spillway.errors import MalformedShares
from spillway.routing.replica import Load

VERSION: Final = 1
MOST: Final = 1_000_000_000
MOST_ENTRIES: Final = 20_000
_INSTANCE_AT_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Work:
    """One gateway's work for one model, by replica; `replicas` may be empty while requests wait for one."""

    replicas: Mapping[str, Load]


@dataclass(frozen=True, slots=True)
class Shares:
    """All of one gateway's work, by model. `instance` is new with every start of its process."""

    instance: str
    models: Mapping[str, Work]


def encode(shares: Shares) -> dict[str, object]:
    """As it travels."""
    models = {
        name: {
            replica: [load.pending_tokens, load.requests, load.resident_tokens]
            for replica, load in work.replicas.items()
            if load.requests
        }
        for name, work in shares.models.items()
    }
    return {"version": VERSION, "instance": shares.instance, "models": models}


def decode(document: object) -> Shares:
    """What a peer told.

    Raises:
        MalformedShares: it is not of this form or version.
    """
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise MalformedShares("not a document of version 1")
    instance, models = document.get("instance"), document.get("models")
    if not isinstance(instance, str) or not 0 < len(instance) <= _INSTANCE_AT_MOST or not isinstance(models, dict):
        raise MalformedShares("instance and models must be there")
    if sum(1 + len(work) for work in models.values() if isinstance(work, dict)) > MOST_ENTRIES:
        raise MalformedShares(f"more than {MOST_ENTRIES} entries")
    return Shares(instance, {name: _work(name, work) for name, work in models.items()})


def _work(name: object, work: object) -> Work:
    if not isinstance(work, dict):
        raise MalformedShares(f"models.{name} must be an object")
    return Work({replica: _load(replica, numbers) for replica, numbers in work.items()})


def _load(replica: object, numbers: object) -> Load:
    if not isinstance(numbers, list) or len(numbers) != 3:
        raise MalformedShares(f"{replica} must have three numbers")
    for number in numbers:
        if type(number) is not int or not 0 <= number <= MOST:
            raise MalformedShares(f"{replica}: {number!r} must be a whole number from 0 to {MOST}")
    pending, requests, resident = numbers
    return Load(pending, requests, resident)
