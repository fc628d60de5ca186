"""What is left when objects, the release or the operator go, and what two namespaces know of each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from e2e import cluster, release
from e2e.cluster import until
from e2e.images.build import SPILLWAY
from e2e.stories.outside import CLOUD_NAMESPACE, open_hub
from e2e.stories.world import OWNED, Team, deployment, spilling


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
    assert team.left()
    team.delete("llmdep/chat")
    until("nothing is left", lambda: not team.left(), 60)


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
    until("nothing is left but the claim", lambda: team.left(f"{OWNED},pvc") == ["persistentvolumeclaim/chat-models"])


def test_deletion_while_the_operator_is_down_leaves_the_gateway_until_it_is_back(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    with no_operator():
        team.delete("llmdep/chat")
        until("the engine is gone", lambda: not any("engine" in name for name in team.left("deployments,services")))
    until("nothing is left", lambda: not team.left(), 60)


def test_two_namespaces_do_not_see_each_other(team: Team, another_team: Team) -> None:
    another_team.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cloud"}, "stringData": {"api-key": "x"}}
    )
    for one in (team, another_team):
        one.apply(deployment(**spilling(), suspend=True, queue={"maxWaitSeconds": 5}))
    for one in (team, another_team):
        until("the gateway is ready", partial(one.ready, "gateway"), 120)
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
