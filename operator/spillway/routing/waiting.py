"""Who waits, in order: sorted lines, so that each step of the pool costs little however many wait.

Requests for which the same places are open form a group: whether they may overflow now, and to where, is one answer
for all of them. A request's moments are fixed when it comes, from what is known then.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from spillway.routing.outcomes import Reason


@dataclass(frozen=True, slots=True)
class Held:
    """A request as the pool sees it.

    `targets` are those still open to it, in order: empty when it may not leave, for `stays_because`. `caller` is empty
    when nobody knows who asked.
    """

    request_id: str
    arrived: float
    prompt_tokens: int
    output_tokens: int | None
    streams: bool
    targets: tuple[str, ...]
    stays_because: Reason
    excluded_replicas: frozenset[str] = frozenset()
    after_failure: bool = False
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Moments:
    """When a request's slack for a spill is used, when it misses its SLO, when it must have been answered."""

    slack_ends: float
    expires: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One that waits; `serial` grows with every one that comes."""

    serial: int
    held: Held
    moments: Moments


Line = list[tuple[float, int, Entry]]


@dataclass(slots=True)
class Group:
    """Requests with the same places open to them, in three orders."""

    targets: tuple[str, ...]
    after_failure: bool
    excluded_replicas: frozenset[str]
    by_slack: Line = field(default_factory=list)
    by_expiry: Line = field(default_factory=list)
    by_deadline: Line = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.by_slack)


class Waiting:
    """All that wait."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._groups: dict[tuple[tuple[str, ...], bool, frozenset[str]], Group] = {}
        self._serial = 0
        self.prompt_tokens = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def groups(self) -> Iterator[Group]:
        """Every group that somebody is in."""
        return iter(self._groups.values())

    def add(self, held: Held, moments: Moments) -> Entry:
        """Let one in."""
        self._serial += 1
        entry = Entry(self._serial, held, moments)
        self._entries[held.request_id] = entry
        self.prompt_tokens += held.prompt_tokens
        key = (held.targets, held.after_failure, held.excluded_replicas)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(*key)
        for line, moment in _places(group, entry):
            insort(line, (moment, entry.serial, entry))
        return entry

    def remove(self, request_id: str) -> None:
        """Let one go, if it is here."""
        entry = self._entries.pop(request_id, None)
        if entry is None:
            return
        held = entry.held
        self.prompt_tokens -= held.prompt_tokens
        key = (held.targets, held.after_failure, held.excluded_replicas)
        group = self._groups[key]
        for line, moment in _places(group, entry):
            del line[_place(line, moment, entry.serial)]
        if not group:
            del self._groups[key]

    def find(self, request_id: str) -> Entry | None:
        """One that waits."""
        return self._entries.get(request_id)

    def ahead_of(self, entry: Entry) -> tuple[int, int]:
        """How many will be served before it, earliest expiry first, and their prompt tokens."""
        requests = tokens = 0
        for group in self._groups.values():
            place = _place(group.by_expiry, entry.moments.expires, entry.serial)
            requests += place
            tokens += sum(other.held.prompt_tokens for _, _, other in group.by_expiry[:place])
        return requests, tokens


def _place(line: Line, moment: float, serial: int) -> int:
    return bisect_left(line, (moment, serial), key=lambda place: place[:2])


def _places(group: Group, entry: Entry) -> tuple[tuple[Line, float], tuple[Line, float], tuple[Line, float]]:
    moments = entry.moments
    return (
        (group.by_slack, moments.slack_ends),
        (group.by_expiry, moments.expires),
        (group.by_deadline, moments.deadline),
    )
