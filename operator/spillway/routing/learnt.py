"""What is learnt of the engines of one deployment: how fast they read, how long a step takes, how long answers get."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

PRIOR_TOKENS_PER_SECOND: Final = 4000.0
PRIOR_BASE_SECONDS: Final = 0.05
PRIOR_STEP_SECONDS: Final = 0.03
PRIOR_SEQUENCE_SECONDS: Final = 0.0001
PRIOR_WEIGHT: Final = 4.0
"""A prior weighs as much as four observations: ten real ones outweigh it."""
MEMORY: Final = 0.98
"""Each observation takes 2 % off the weight of those before it: the last fifty or so count."""
PRIOR_OUTPUT_TOKENS: Final = 100.0
OUTPUT_GAIN: Final = 0.05
CALLER_GAIN: Final = 0.2
"""A caller's own mean moves faster than the model's: there is less of it, and it is of one kind."""
CALLERS_AT_MOST: Final = 1000
UPPER_DEVIATIONS: Final = 1.0


class Line:
    """Exponentially weighted least squares of `y = base + slope * x`, with a prior to begin from."""

    def __init__(self, prior: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """`prior` is two points (x, y) of the line that is believed at first."""
        self._n = self._x = self._y = self._xx = self._xy = 0.0
        self.slope = self.base = 0.0
        for x, y in prior:
            self._add(x, y, PRIOR_WEIGHT / 2)
        self._solve()

    def observe(self, x: float, y: float) -> None:
        """Take in one point."""
        self._n *= MEMORY
        self._x *= MEMORY
        self._y *= MEMORY
        self._xx *= MEMORY
        self._xy *= MEMORY
        self._add(x, y, 1.0)
        self._solve()

    def _add(self, x: float, y: float, weight: float) -> None:
        self._n += weight
        self._x += weight * x
        self._y += weight * y
        self._xx += weight * x * x
        self._xy += weight * x * y

    def _solve(self) -> None:
        # Points of one x say little of either: the slope is at least a tenth of the mean rate, the base at least zero.
        spread = self._xx - self._x * self._x / self._n
        slope = (self._xy - self._x * self._y / self._n) / spread if spread > 1.0 else 0.0
        self.slope = max(slope, self._y / self._x * 0.1)
        self.base = max(0.0, (self._y - self.slope * self._x) / self._n)


class PrefillModel:
    """`seconds = base + tokens / R` of a prompt that is read alone."""

    def __init__(self) -> None:
        self._line = Line(
            (
                (100.0, PRIOR_BASE_SECONDS + 100.0 / PRIOR_TOKENS_PER_SECOND),
                (4000.0, PRIOR_BASE_SECONDS + 4000.0 / PRIOR_TOKENS_PER_SECOND),
            )
        )
        self.observations = 0

    def observe(self, tokens: int, seconds: float) -> None:
        """Take in that a prompt of `tokens` was prefilled in `seconds`."""
        self.observations += 1
        self._line.observe(float(tokens), seconds)

    @property
    def seconds_per_token(self) -> float:
        """1 / R."""
        return self._line.slope

    @property
    def base_seconds(self) -> float:
        """What a prefill takes however short it is."""
        return self._line.base


class StepModel:
    """`d(n)`: seconds of one step of the engine while it works on n requests; nothing waits for a step of none."""

    def __init__(self) -> None:
        self._line = Line(
            (
                (1.0, PRIOR_STEP_SECONDS + PRIOR_SEQUENCE_SECONDS),
                (64.0, PRIOR_STEP_SECONDS + 64.0 * PRIOR_SEQUENCE_SECONDS),
            )
        )

    def observe(self, requests: float, seconds: float) -> None:
        """Take in the mean time per output token of an answer that was one of `requests`, on average."""
        self._line.observe(max(1.0, requests), seconds)

    def seconds(self, requests: int) -> float:
        """d(n)."""
        return self._line.base + self._line.slope * requests if requests > 0 else 0.0


class OutputLengths:
    """How many tokens an answer gets: mean and mean deviation, of the model and of each caller that is known."""

    def __init__(self) -> None:
        self._model = (PRIOR_OUTPUT_TOKENS, PRIOR_OUTPUT_TOKENS / 2)
        self._callers: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def observe(self, caller: str, tokens: int) -> None:
        """Take in an answer's length; `caller` is empty when nobody knows who asked."""
        self._model = _moved(self._model, tokens, OUTPUT_GAIN)
        if not caller:
            return
        self._callers[caller] = _moved(self._callers.pop(caller, self._model), tokens, CALLER_GAIN)
        if len(self._callers) > CALLERS_AT_MOST:
            self._callers.popitem(last=False)

    def expected(self, caller: str) -> int:
        """The mean."""
        return round(self._of(caller)[0])

    def upper(self, caller: str) -> int:
        """What most answers stay under: mean and one mean deviation, for what a KV cache has to hold."""
        mean, deviation = self._of(caller)
        return round(mean + UPPER_DEVIATIONS * deviation)

    def _of(self, caller: str) -> tuple[float, float]:
        return self._callers.get(caller, self._model)


def _moved(known: tuple[float, float], value: float, gain: float) -> tuple[float, float]:
    """Mean and mean deviation after one more value (https://www.rfc-editor.org/rfc/rfc6298)."""
    mean, deviation = known
    return mean + gain * (value - mean), deviation + gain * (abs(value - mean) - deviation)
