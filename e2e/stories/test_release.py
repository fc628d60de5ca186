"""What Helm does with the release while objects are there."""

from __future__ import annotations

import json

from e2e import cluster, release
from e2e.cluster import until
from e2e.images.build import SPILLWAY, UPGRADED
from e2e.stories.world import Team, deployment


def test_helms_test_chats_with_a_model_that_is_ready(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    # it takes the first that is Ready, and another story's may be on its way out
    until("this object is the only one", lambda: _namespaces_with_objects() == [team.name])
    said = cluster.helm("test", "spillway", "--namespace", release.NAMESPACE, "--logs", "--timeout", "120s")
    assert "chat, by local/chat-engine-" in said


def test_an_upgrade_keeps_engine_pods(team: Team) -> None:
    """Operator and gateways are replaced by those of another version."""
    team.apply(deployment())
    team.until_serving("chat")
    (engine,) = [pod["metadata"]["uid"] for pod in team.pods("engine")]
    traffic = team.send_steadily("chat")
    release.install(UPGRADED)
    try:
        until("gateways are of the new version", lambda: team.images("gateway") == [UPGRADED] * 2, 120)
        # and the new operator takes over what is there
        team.patch("llmdep/chat", {"spec": {"replicas": 2}})
        team.until_serving("chat", replicas=2)
        traffic.until_answered(20)
        assert traffic.end().unanswered() == []
        assert engine in [pod["metadata"]["uid"] for pod in team.pods("engine")]
    finally:
        release.install()


def test_uninstalled_with_objects_present_engines_go_on(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    release.uninstall()
    try:
        assert team.ask("chat", count=3).backends() == ["local"] * 3
        assert team.get("llmdep", "chat"), "the objects stay"
        # and an object that is deleted now takes its engine with it: nothing waits for an operator
        team.delete("llmdep/chat")
        until("the engine is gone", lambda: not team.items("deployments", "app.kubernetes.io/component=engine"))
    finally:
        release.install()
    until("nothing is left", lambda: not team.left(), 60)


def test_helm_3_installs_upgrades_and_uninstalls_as_helm_4_does(team: Team) -> None:
    release.uninstall()
    try:
        release.install(UPGRADED, helm=3)
        team.apply(deployment())
        team.until_serving("chat")
        release.install(helm=3)
        until("gateways are of the new version", lambda: team.images("gateway") == [SPILLWAY] * 2, 120)
        team.delete("llmdep/chat")
        until("nothing is left", lambda: not team.left(), 60)
        release.uninstall(helm=3)
    finally:
        release.install()


def _namespaces_with_objects() -> list[str]:
    found = json.loads(cluster.kubectl("get", "llmdep", "--all-namespaces", "-o", "json"))["items"]
    return [one["metadata"]["namespace"] for one in found]
