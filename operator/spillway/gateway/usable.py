"""Whether a target can be called at all, before a request asks where it may go."""

from __future__ import annotations

from spillway.gateway.credentials import Credentials
from spillway.gateway.routes import Served
from spillway.routing.facts import Target


def is_usable(served: Served, target: Target, credentials: Credentials) -> bool:
    """Whether the files that the target needs are there; one that was renewed makes the target as good as new."""
    if not served.observer.check_credential(target, credentials):
        return False
    served.desk.pool.targets.has_credential(target.name, credentials.version(target))
    return True
