"""What goes wrong shows in `kubectl get llmdep` within half a minute, by its name, and goes when it is cured."""

from __future__ import annotations

import time

from e2e import cluster
from e2e.cluster import Object, until
from e2e.images.build import ENGINE
from e2e.stories.world import Team, deployment

SHOWN_WITHIN_SECONDS = 30.0
QUICK = [{"name": "SPILLWAY_SIMULATED_LOAD_SECONDS", "value": "1"}]
CRASHES = [*QUICK, {"name": "SPILLWAY_SIMULATED_FAULT", "value": "none that there is"}]
NO_CACHE = [*QUICK, {"name": "SPILLWAY_SIMULATED_FAULT", "value": "crash-at-start"}]
NEEDS_SECRET = [*QUICK, {"name": "TOKEN", "secretRef": {"name": "absent", "key": "token"}}]
# an object's name: (the reason that it shows, what is wrong, what cures it)
WRONG: dict[str, tuple[str, Object, Object]] = {
    "image": ("ImagePullBackOff", {"engine": {"image": "spillway.local/none:e2e"}}, {"engine": {"image": ENGINE}}),
    "crash-loop": ("CrashLoopBackOff", {"engine": {"env": CRASHES}}, {"engine": {"env": QUICK}}),
    # what vLLM says before it ends is told instead, where it is known
    "cache": ("KVCacheTooSmall", {"engine": {"env": NO_CACHE}}, {"engine": {"env": QUICK}}),
    "secret": ("SecretNotFound", {"engine": {"env": NEEDS_SECRET}}, {"engine": {"env": QUICK}}),
    # less than Python itself needs: the kernel ends it
    "memory": ("OOMKilled", {"resources": {"memory": "24Mi"}}, {"resources": {"memory": "512Mi"}}),
}


def test_each_thing_that_is_wrong_shows_by_its_reason_and_clears_when_it_is_cured(team: Team) -> None:
    team.apply(*(deployment(name, **wrong) for name, (_, wrong, _) in WRONG.items()))
    failed: dict[str, float] = {}
    told: dict[str, float] = {}

    def all_are_told() -> bool:
        for name in WRONG.keys() - failed.keys():
            if any(map(has_failed, engines(team, name))):
                failed[name] = time.monotonic()
        for name, line in lines_of(team).items():
            if name not in told and {"False", WRONG[name][0]} <= set(line.split()):
                told[name] = time.monotonic()
        return told.keys() == failed.keys() == WRONG.keys()

    until("each has failed and shows its reason", all_are_told, 150)
    assert {name for name in WRONG if told[name] - failed[name] > SHOWN_WITHIN_SECONDS} == set()
    print(cluster.kubectl("get", "llmdep", "-n", team.name))
    for name, (_, _, cure) in WRONG.items():
        team.patch(f"llmdep/{name}", {"spec": cure})
    for name, (reason, _, _) in WRONG.items():
        team.until_serving(name)
        line = lines_of(team)[name].split()
        assert "True" in line
        assert reason not in line
        assert team.ask(name).seen[0]["done"]


def lines_of(team: Team) -> dict[str, str]:
    """What `kubectl get llmdep` prints of each object."""
    lines = cluster.kubectl("get", "llmdep", "-n", team.name, "--no-headers").splitlines()
    return {line.split()[0]: line for line in lines}


def engines(team: Team, name: str) -> list[Object]:
    """The engine's pods of one object."""
    return [pod for pod in team.pods("engine") if pod["metadata"]["name"].startswith(f"{name}-engine-")]


def has_failed(pod: Object) -> bool:
    """Whether the kubelet says of a container that it ended or cannot begin."""
    for container in pod.get("status", {}).get("containerStatuses", []):
        waits_for = container["state"].get("waiting", {}).get("reason", "ContainerCreating")
        if waits_for != "ContainerCreating" or "terminated" in {**container["state"], **container["lastState"]}:
            return True
    return False
