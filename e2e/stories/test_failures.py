"""What goes wrong shows in `kubectl get llmdep` within half a minute, by its name, and goes when it is cured."""

from __future__ import annotations

from typing import Any

import pytest
from e2e.cluster import Object, until
from e2e.images.build import ENGINE
from e2e.stories.world import Team, deployment

QUICK = [{"name": "SPILLWAY_SIMULATED_LOAD_SECONDS", "value": "1"}]
CRASHES = [*QUICK, {"name": "SPILLWAY_SIMULATED_FAULT", "value": "crash-at-start"}]
NEEDS_SECRET = [*QUICK, {"name": "TOKEN", "secretRef": {"name": "absent", "key": "token"}}]


@pytest.mark.parametrize(
    ("reason", "wrong", "cure"),
    [
        ("ImagePullBackOff", {"engine": {"image": "spillway.local/none:e2e"}}, {"engine": {"image": ENGINE}}),
        ("KVCacheTooSmall", {"engine": {"env": CRASHES}}, {"engine": {"env": QUICK}}),
        ("SecretNotFound", {"engine": {"env": NEEDS_SECRET}}, {"engine": {"env": QUICK}}),
        # less than Python itself needs: the kernel ends it
        ("OOMKilled", {"resources": {"memory": "24Mi"}}, {"resources": {"memory": "512Mi"}}),
    ],
    ids=["a wrong image", "a crash loop", "a missing secret", "an OOM kill"],
)
def test_what_is_wrong_shows_and_clears_when_it_is_cured(
    team: Team, reason: str, wrong: dict[str, Any], cure: dict[str, Any]
) -> None:
    team.apply(deployment(**wrong))
    until("the engine's pod has failed", lambda: any(map(has_failed, team.pods("engine"))), 90)
    line = team.until_shown("chat", reason)
    assert "False" in line.split()
    team.patch("llmdep/chat", {"spec": cure})
    team.until_serving("chat")
    assert reason not in team.until_shown("chat", "True")
    assert team.ask("chat").seen[0]["done"]


def has_failed(pod: Object) -> bool:
    """Whether the kubelet says of a container that it ended or cannot begin."""
    for container in pod.get("status", {}).get("containerStatuses", []):
        waits_for = container["state"].get("waiting", {}).get("reason", "ContainerCreating")
        if waits_for != "ContainerCreating" or "terminated" in {**container["state"], **container["lastState"]}:
            return True
    return False
