"""What is left when objects, the release or the operator go, and what two namespaces know of each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from e2e import cluster, release
from e2e.cluster import until
from e2e.images.build import ENGINE, SPILLWAY
from e2e.stories.outside import CLOUD_NAMESPACE, open_hub
from e2e.stories.world import OWNED, Team, deployment, spilling

PEERS_PORT = 8082


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
        # with its model on the claim an engine reaches nothing, though what it is tried with is there
        engine = team.pods("engine")[0]["metadata"]["name"]
        cloud = cluster.items("pods", CLOUD_NAMESPACE, "app=cloud")[0]["status"]["podIP"]
        assert team.can_connect("caller", cloud, release.CLOUD_PORT)
        assert not team.can_connect(engine, cloud, release.CLOUD_PORT)
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
        assert team.ready("gateway")
    until("nothing is left", lambda: not team.left(), 60)


def test_two_namespaces_do_not_see_each_other(team: Team, another_team: Team) -> None:
    another_team.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cloud"}, "stringData": {"api-key": "x"}}
    )
    for one in (team, another_team):
        one.apply(deployment(**spilling(), suspend=True, queue={"maxWaitSeconds": 5}))
    gateways = [until("both gateways are ready", partial(both_gateways, one), 120) for one in (team, another_team)]
    # each spills with its own key and out of its own budget: that of the other is not the cloud's
    mine = team.ask("chat", count=3)
    assert mine.backends() == ["cloud"] * 3
    theirs = another_team.ask("chat", timeout=40)
    assert theirs.backends() != ["cloud"] or not theirs.seen[0]["done"]

    until("what was spent is told", lambda: team.spent_usd("chat") > 0)
    assert another_team.spent_usd("chat") == 0
    # nor does the account of one gateway read anything of the other's namespace, and Secrets of none
    assert may_get("llmdeployments", team, team)
    assert not any(may_get(what, team, another_team) for what in ("secrets", "llmdeployments", "llmledgers", "pods"))
    assert not may_get("secrets", team, team)
    # and gateways tell each other what they sent within their namespace alone
    (here, _), (there, peer) = gateways
    address = (another_team.get("pods", peer) or {})["status"]["podIP"]
    assert another_team.can_connect(there, address, PEERS_PORT)
    assert not team.can_connect(here, address, PEERS_PORT)


def both_gateways(team: Team) -> list[str]:
    """The names of a namespace's two gateways, nothing until both are ready."""
    ready = sorted(team.ready("gateway"))
    return ready if len(ready) == 2 else []


def may_get(what: str, team: Team, of: Team) -> bool:
    """Whether the gateway's account of one namespace may read something of another, or of its own."""
    account = f"--as=system:serviceaccount:{team.name}:spillway-gateway"
    told = cluster.try_kubectl("auth", "can-i", "get", what, account, "-n", of.name).stdout.strip()
    assert told in {"yes", "no"}
    return told == "yes"


def test_pods_meet_the_restricted_standard_and_nothing_else_runs(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    # what it is held to is enforced here: another pod is refused
    refused = cluster.try_kubectl("run", "root", "-n", team.name, f"--image={ENGINE}", "--privileged")
    assert 'violates PodSecurity "restricted' in refused.stderr
    assert {pod["spec"]["containers"][0]["image"] for pod in team.pods("gateway")} == {SPILLWAY}
