"""How long requests wait for a place, by load: M/M/c.

Requests arrive at random (Poisson, L a second) at c places, each of which is taken for S seconds on the average
(exponential). With a = L x S, the share of requests that wait at all is Erlang's C,

    C = B / (1 - a/c x (1 - B)),    B by B_0 = 1, B_k = a B_(k-1) / (k + a B_(k-1))

and the share that waits longer than t is C x exp(-(c - a) / S x t)  (A. K. Erlang 1917; any text on queues). Above
10,000 places C is that of Halfin and Whitt's limit, 1 / (1 + b P(b) / p(b)) with b = (c - a) / sqrt(a) and the normal
distribution's P and density p (https://doi.org/10.1287/opre.29.3.567), within 0.002 of it there. A place is
a sequence in a replica's batch, so c is what all replicas compute at once. Answers are less varied than an exponential
time and traffic is more so, which pull either way: an estimate, to be held against what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, inf, log, pi, sqrt
from typing import Final

_EXACT_PLACES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue in front of `places`, each taken for `service_seconds`, at `arrivals_per_second`."""

    arrivals_per_second: float
    service_seconds: float
    places: int

    @property
    def offered(self) -> float:
        """Places that are taken on the average, if there are enough."""
        return self.arrivals_per_second * self.service_seconds

    @property
    def stable(self) -> bool:
        """Whether there are enough places: else the queue grows for ever."""
        return self.offered < self.places

    @property
    def share_that_waits(self) -> float:
        """Share of requests, 0 to 1, that find every place taken; 1 if there are too few places."""
        if not self.stable:
            return 1.0
        if self.places > _EXACT_PLACES:
            return _halfin_whitt(self.offered, self.places)
        blocked = 1.0
        for place in range(1, self.places + 1):
            blocked = self.offered * blocked / (place + self.offered * blocked)
        return blocked / (1 - self.offered / self.places * (1 - blocked))

    def share_within(self, seconds: float) -> float:
        """Share of requests, 0 to 1, that wait at most so long."""
        if seconds < 0 or not self.stable:
            return 0.0
        return 1 - self.share_that_waits * exp(-self._drain_per_second * seconds)

    def percentile_seconds(self, percent: float) -> float:
        """The wait that `percent` of requests do not exceed; infinite if there are too few places."""
        if not self.stable:
            return inf
        rest = 1 - percent / 100
        return 0.0 if self.share_that_waits <= rest else log(self.share_that_waits / rest) / self._drain_per_second

    @property
    def _drain_per_second(self) -> float:
        return (self.places - self.offered) / self.service_seconds


def _halfin_whitt(offered: float, places: int) -> float:
    spare = (places - offered) / sqrt(offered)
    density = exp(-spare * spare / 2) / sqrt(2 * pi)
    if not density:
        return 0.0
    return 1 / (1 + spare * (1 + erf(spare / sqrt(2))) / 2 / density)
