"""An object is applied, becomes Ready, and answers; what may leave spills when it is full."""

from __future__ import annotations

import pytest
import yaml
from e2e import cluster, release
from e2e.cluster import until
from e2e.shell import ROOT
from e2e.stories.outside import cloud_bill_micros, cloud_holds
from e2e.stories.world import Team, condition, deployment, spilling

LONG = "word " * 6000  # more than a second of a simulated L4's time


def test_an_object_becomes_ready_and_answers_by_the_name_of_its_service(team: Team) -> None:
    team.apply(*yaml.safe_load_all((ROOT / "e2e" / "chat.yaml").read_text()))  # which people are told to begin with
    team.until_serving("chat")
    answers = team.ask("chat", count=3)
    assert answers.backends() == ["local"] * 3
    streamed = team.ask("chat", stream=True)
    assert streamed.seen[0]["done"]
    assert streamed.seen[0]["pieces"] > 1
    # by its short name inside the namespace, and all models of the namespace under one name
    assert team.ask("chat", service="spillway-gateway").seen[0]["done"]
    url = cluster.kubectl("get", "llmdep", "chat", "-n", team.name, "-o", "jsonpath={.status.url}")
    assert f"chat.{team.name}" in url


def test_saturation_spills_to_the_cloud_and_stops_when_it_is_over(team: Team) -> None:
    # one long prompt is well within it, two behind each other are not
    team.apply(deployment(slo={"timeToFirstTokenMilliseconds": 2200}, **spilling()))
    team.until_serving("chat")
    before = cloud_bill_micros()
    crowd = team.ask("chat", LONG, count=24, parallel=12)
    assert crowd.lost() == []
    assert set(crowd.backends()) == {"local", "cloud"}
    assert "Saturated" in crowd.reasons()
    assert cloud_bill_micros() > before
    assert team.ask("chat", count=3).backends() == ["local"] * 3
    until("status shows what was spent", lambda: team.spent_usd("chat") > 0)


def test_a_budget_that_is_used_up_ends_spilling(team: Team) -> None:
    # a long prompt is bounded by its bytes: this is enough for one at a time, and after a few for none
    team.apply(
        deployment(slo={"timeToFirstTokenMilliseconds": 1000}, **spilling(limit="0.10"), queue={"maxWaitSeconds": 5})
    )
    team.until_serving("chat")
    before = cloud_bill_micros()
    crowd = team.ask("chat", LONG, count=24, parallel=24)
    assert crowd.lost() == []
    assert "BudgetExhausted" in crowd.reasons()
    assert cloud_bill_micros() - before <= 100_000


def test_a_sensitive_request_never_leaves(team: Team) -> None:
    team.apply(deployment(slo={"timeToFirstTokenMilliseconds": 1000}, queue={"maxWaitSeconds": 5}, **spilling()))
    team.until_serving("chat")
    marker = f"kept{team.name.replace('-', '')}"
    crowd = team.send("chat", LONG, count=24, parallel=12)
    by_content = team.ask("chat", f"{marker} 219-09-9999 {LONG}", count=6, parallel=6)
    by_label = team.ask("chat", f"{marker} {LONG}", count=6, parallel=6, headers={"x-spillway-data-class": "Sensitive"})
    assert "cloud" in crowd.end().backends()
    for asked in (by_content, by_label):
        assert asked.lost() == []
        assert set(asked.backends()) <= {"local", ""}
        assert {one["headers"]["x-spillway-data-class"] for one in asked.seen} == {"Sensitive"}
    assert not cloud_holds(marker)


def test_a_gateway_that_is_made_to_try_cannot_reach_the_cloud(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    """Which enforces: kindnetd on kind's own node, spillway-netpol on one that is made without a registry."""
    team.apply(deployment(**spilling()))
    team.until_serving("chat")
    enforcing = cluster.kubectl("get", "daemonsets", "-n", "kube-system", "-o", "name")
    with capsys.disabled():
        print("\nNetworkPolicies are enforced by", "spillway-netpol" if "netpol" in enforcing else "kindnetd")
    where = (release.CLOUD_HOST, release.CLOUD_PORT)

    def gateways_reach() -> set[bool]:
        return {team.can_connect(gateway, *where) for gateway in team.ready("gateway")}

    until("a target that is enabled is reached", lambda: gateways_reach() == {True})
    # without the fallback nothing may leave, whatever runs in the gateway's pod
    team.patch("llmdep/chat", {"spec": {"fallback": {"mode": "Disabled"}}})
    until("the way out is shut", lambda: gateways_reach() == {False})
    assert team.can_connect("caller", *where), "the cloud is there all the time"
    team.patch("llmdep/chat", {"spec": {"fallback": {"mode": "Enabled"}}})
    until("the way out is open again", lambda: gateways_reach() == {True})


def test_gpus_are_asked_for_and_what_runs_out_is_told(team: Team) -> None:
    spec = {"accelerator": {"profile": "l4-24gb", "count": 4}, "replicas": 2, **spilling()}
    team.apply(deployment(**spec))
    team.until_serving("chat", replicas=2)
    engine = team.pods("engine")[0]["spec"]
    assert engine["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert engine["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in engine["tolerations"]
    # all eight are taken: another object's replica finds none, is told so, and spills
    team.apply(deployment("more", **{**spec, "replicas": 1}))
    line = team.until_shown("more", "Unschedulable")
    assert "False" in line.split()
    found = team.get("llmdep", "more") or {}
    assert "nvidia.com/gpu" in condition(found, "Ready")["message"]
    # its ledger may be younger than what is told of its pod: until a gateway has money of it, nothing leaves
    until("it spills", lambda: team.ask("more").backends() == ["cloud"])
    assert team.ask("more").reasons() <= {"NoEndpoints", "Loading"}
    team.delete("llmdep/chat")
    team.until_serving("more")
    assert team.ask("more").backends() == ["local"]
