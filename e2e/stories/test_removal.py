"""What is left when objects, the release or the operator go, and what two namespaces know of each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from e2e import cluster, release
from e2e.cluster import until
from e2e.images.build import SPILLWAY
from e2e.stories.outside import CLOUD_NAMESPACE, open_hub
from e2e.stories.world import Team, condition, deployment, spilling

OURS = "app.kubernetes.io/managed-by=spillway"
KINDS = "deployments,services,networkpolicies,serviceaccounts,rolebindings,jobs,llmledgers"


def left(team: Team, kinds: str = KINDS) -> list[str]:
    """What Spillway made in the namespace and is still there."""
    return cluster.kubectl("get", kinds, "-n", team.name, "-l", OURS, "-o", "name").split()


@contextmanager
def no_operator() -> Iterator[None]:
    """The operator is away for a while."""
    where = ("-n", release.NAMESPACE, "deployment/spillway-operator")
    cluster.kubectl("scale", *where, "--replicas=0")
    try:
        until("the operator is gone", lambda: not cluster.items("pods", release.NAMESPACE))
        yield
    finally:
        cluster.kubectl("scale", *where, "--replicas=1")
        cluster.kubectl("rollout", "status", *where, "--timeout=120s")


def test_deletion_leaves_nothing(team: Team) -> None:
    team.apply(deployment(**spilling()))
    team.until_serving("chat")
    assert left(team)
    team.delete("llmdep/chat")
    until("nothing is left", lambda: not left(team), 60)


def test_a_model_on_a_claim_survives_pods_and_stays_when_it_is_to_be_retained(team: Team) -> None:
    kept = {"mode": "PersistentVolume", "size": "1Gi", "retentionPolicy": "Retain"}
    team.apply(deployment(cache=kept))
    team.until_serving("chat", seconds=300)  # a download of ten steps
    # without a hub the next pod can only have it from the claim
    cluster.kubectl("delete", "pod", "hub", "-n", CLOUD_NAMESPACE, "--now")
    try:
        old = team.pods("engine")[0]["metadata"]["name"]
        team.delete("pod", old)
        until("another pod is there", lambda: {pod["metadata"]["name"] for pod in team.pods("engine")} - {old})
        team.until_serving("chat")
        assert team.ask("chat").backends() == ["local"]
    finally:
        open_hub()
    team.delete("llmdep/chat")
    until("nothing is left but the claim", lambda: left(team, f"{KINDS},pvc") == ["persistentvolumeclaim/chat-models"])


def test_deletion_while_the_operator_is_down_leaves_the_gateway_until_it_is_back(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    with no_operator():
        team.delete("llmdep/chat")
        until("the engine is gone", lambda: not any("engine" in name for name in left(team, "deployments,services")))
    until("nothing is left", lambda: not left(team), 60)


def test_two_namespaces_do_not_see_each_other(team: Team, another_team: Team) -> None:
    another_team.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cloud"}, "stringData": {"api-key": "x"}}
    )
    for one in (team, another_team):
        one.apply(deployment(**spilling(), suspend=True))
    for one in (team, another_team):
        until("the gateway is ready", partial(_gateway_is_ready, one))
    # each spills with its own key and out of its own budget: that of the other is not the cloud's
    mine = team.ask("chat", count=3)
    assert mine.backends() == ["cloud"] * 3
    theirs = another_team.ask("chat", timeout=40)
    assert theirs.backends() != ["cloud"] or not theirs.seen[0]["done"]

    def spent(one: Team) -> float:
        found = one.get("llmdep", "chat") or {}
        return float(found["status"].get("budget", {}).get("spent") or 0)

    until("what was spent is told", lambda: spent(team) > 0)
    assert spent(another_team) == 0
    # and the account of one gateway may read nothing of the other's namespace
    account = f"system:serviceaccount:{team.name}:spillway-gateway"
    for what in ("secrets", "llmdeployments", "llmledgers", "pods"):
        asked = cluster.try_kubectl("auth", "can-i", "get", what, f"--as={account}", "-n", another_team.name)
        assert asked.stdout.strip() == "no"
    assert (
        cluster.try_kubectl("auth", "can-i", "get", "secrets", f"--as={account}", "-n", team.name).stdout.strip()
        == "no"
    )


def _gateway_is_ready(team: Team) -> bool:
    return any(condition(pod, "Ready").get("status") == "True" for pod in team.pods("gateway"))


def test_pods_meet_the_restricted_standard_and_nothing_else_runs(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    namespace = cluster.get("namespace", team.name)
    assert namespace
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    warned = cluster.try_kubectl(
        "label",
        "--dry-run=server",
        "--overwrite",
        "namespace",
        team.name,
        "pod-security.kubernetes.io/enforce=restricted",
    )
    assert "violate" not in warned.stderr
    assert {pod["spec"]["containers"][0]["image"] for pod in team.pods("gateway")} == {SPILLWAY}


def test_an_upgrade_keeps_engine_pods(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    before = [pod["metadata"]["uid"] for pod in team.pods("engine")]
    traffic = team.send("chat", seconds=20, parallel=2, pause=0.2)
    release.install("--set-string", "operator.podAnnotations.story=upgraded")
    until("the new operator has looked", lambda: _looked(team))
    assert traffic.end().lost() == []
    assert [pod["metadata"]["uid"] for pod in team.pods("engine")] == before
    release.install()


def _looked(team: Team) -> bool:
    found = team.get("llmdep", "chat") or {}
    return bool(found["status"]["observedGeneration"] == found["metadata"]["generation"])


def test_uninstalled_with_objects_present_engines_go_on(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    cluster.helm("uninstall", "spillway", "--namespace", release.NAMESPACE, "--wait")
    try:
        assert team.ask("chat", count=3).backends() == ["local"] * 3
        assert team.get("llmdep", "chat"), "the objects stay"
        # and an object that is deleted now takes its engine with it: nothing waits for an operator
        team.delete("llmdep/chat")
        until("the engine is gone", lambda: not team.items("deployments", "app.kubernetes.io/component=engine"))
    finally:
        release.install()
    until("nothing is left", lambda: not left(team), 60)
