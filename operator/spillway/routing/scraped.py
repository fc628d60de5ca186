"""What an engine says of its load itself, and what of it this gateway did not know: bytes in, values out.

Names as in vLLM 0.32.0. `running` counts partly read prompts too, and nothing says how much of them is read: so the
engine's numbers only add what nobody here dispatched, they never take away what was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from spillway.routing.replica import NO_LOAD, Load

_SAMPLE: Final = re.compile(
    rb"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc)(?:\{[^}\n]*\})? ([0-9.eE+-]+)$",
    re.MULTILINE,
)
_CAPACITY: Final = re.compile(rb'^vllm:cache_config_info\{[^\n]*\bkv_cache_size_tokens="(\d{1,15})"', re.MULTILINE)
MOST: Final = 1e9
"""No engine has more of anything that is counted here: a larger number is a mistake."""


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """One engine at one moment."""

    running: int
    waiting: int
    kv_share: float
    kv_capacity_tokens: int | None

    def beyond(self, known: Load, known_pending: int, mean_prompt_tokens: float) -> Load:
        """What is there beyond `known`: by others, or by this gateway before it was started anew.

        `known_pending` are the requests known to be unread. An engine counts those that wait, not their tokens: each
        beyond them has nothing of its prompt read, and is taken to have one of mean length.
        """
        requests = max(0, self.running + self.waiting - known.requests)
        if not requests:
            return NO_LOAD
        waiting = min(requests, max(0, self.waiting - known_pending))
        used = round(self.kv_share * (self.kv_capacity_tokens or 0))
        return Load(round(waiting * mean_prompt_tokens), requests, max(0, used - known.resident_tokens))


def parse(text: bytes) -> EngineLoad | None:
    """The load in an exposition of vLLM's metrics; None when it is not one, or holds what cannot be.

    Several engines behind one port (data parallel) are added up; their caches are alike, so the fullest speaks.
    """
    found: dict[bytes, list[float]] = {}
    for name, value in _SAMPLE.findall(text):
        try:
            found.setdefault(name, []).append(float(value))
        except ValueError:
            return None
    running, waiting = found.get(b"num_requests_running"), found.get(b"num_requests_waiting")
    shares = found.get(b"kv_cache_usage_perc")
    if not running or not waiting or not shares:
        return None
    if not all(0 <= value <= MOST for value in (*running, *waiting)) or not all(0 <= share <= 1 for share in shares):
        return None
    capacities = [int(tokens) for tokens in _CAPACITY.findall(text)]
    capacity = sum(capacities) or None
    return EngineLoad(round(sum(running)), round(sum(waiting)), max(shares), capacity)
