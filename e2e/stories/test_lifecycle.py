"""What is changed, killed and removed while requests are under way: nothing is lost that could be saved."""

from __future__ import annotations

from e2e import cluster, release
from e2e.cluster import until
from e2e.stories.outside import cloud_bill_micros
from e2e.stories.world import CALLERS, Team, deployment, spilling


def test_replicas_go_up_and_down_and_nothing_is_lost(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    traffic = team.send_steadily("chat")
    team.patch("llmdep/chat", {"spec": {"replicas": 3}})
    team.until_serving("chat", replicas=3)
    traffic.until_answered(20)
    team.patch("llmdep/chat", {"spec": {"replicas": 1}})
    team.until_serving("chat", replicas=1)
    traffic.until_answered(20)
    answers = traffic.end()
    assert len(answers.seen) > 50
    assert answers.unanswered() == []
    assert len({one["headers"]["x-spillway-backend"] for one in answers.seen}) > 1


def test_the_operator_is_killed_and_requests_go_on(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    traffic = team.send_steadily("chat")
    for pod in cluster.items("pods", release.NAMESPACE, "app.kubernetes.io/component=operator"):
        name = pod["metadata"]["name"]
        cluster.kubectl("delete", "pod", name, "-n", release.NAMESPACE, "--grace-period=0", "--force")
    team.patch("llmdep/chat", {"spec": {"replicas": 2}})
    team.until_serving("chat", replicas=2)
    traffic.until_answered(20)
    assert traffic.end().unanswered() == []


def test_the_gateways_are_deleted_and_requests_under_way_are_finished(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    old = {pod["metadata"]["name"] for pod in team.pods("gateway")}
    long = team.send("chat", max_tokens=400, count=8, parallel=8, stream=True)
    until("answers are under way", lambda: team.in_flight() >= 8)
    team.delete("pods", *old)
    assert [one["done"] for one in long.end().seen] == [True] * 8
    team.until_others_ready("gateway", len(old), old)
    assert team.ask("chat").seen[0]["done"]


def test_an_engine_pod_is_deleted_and_what_it_works_on_is_finished(team: Team) -> None:
    team.apply(deployment(replicas=2))
    team.until_serving("chat", replicas=2)
    traffic = team.send_steadily("chat", max_tokens=32)
    for pod in team.ready("engine"):
        team.delete("pod", pod)
        team.until_others_ready("engine", 2, {pod})
        traffic.until_answered(8)
    assert traffic.end().unanswered() == []


def test_an_engine_pod_is_killed_and_what_was_not_begun_goes_elsewhere(team: Team) -> None:
    team.apply(deployment(replicas=2))
    team.until_serving("chat", replicas=2)
    traffic = team.send_steadily("chat", max_tokens=32, stream=True)
    victim, *_ = team.ready("engine")
    cluster.kubectl("exec", "-n", team.name, victim, "--", "python", "-c", "import os; os.kill(1, 15)")
    cluster.kubectl("delete", "pod", victim, "-n", team.name, "--grace-period=0", "--force")
    team.until_others_ready("engine", 2, {victim})
    traffic.until_answered(20)
    lost = traffic.end().unanswered()
    assert all(one.get("first") for one in lost), "only streams that had begun may break off"


def test_a_gateway_is_killed_and_only_what_was_on_it_breaks_off(team: Team) -> None:
    """Everything goes to the cloud, so all of it is paid for: what the cloud billed is counted, whoever died."""
    team.apply(deployment(**spilling(), suspend=True, queue={"maxWaitSeconds": 5}))
    until("both gateways are ready", lambda: len(team.ready("gateway")) == 2, 120)
    before = cloud_bill_micros()
    until("there is money", lambda: team.ask("chat").backends() == ["cloud"])
    traffic = team.send_steadily("chat", max_tokens=32, connect_again=10)
    victim = min(team.ready("gateway"))
    cluster.kill_9("gateway", victim)
    until("it was started again", lambda: team.restarts(victim) == 1 and victim in team.ready("gateway"))
    answered = traffic.answered()
    traffic.until_answered(20)
    seen = traffic.end().seen
    assert all(one["done"] for one in seen[answered:])
    assert len([one for one in seen if not one["done"]]) <= CALLERS, "each caller had one request under way"
    billed = cloud_bill_micros() - before
    until("what was billed is counted", lambda: team.spent_usd("chat") * 1_000_000 >= billed, 30)


def test_all_pods_are_deleted_at_once_and_everything_comes_back(team: Team) -> None:
    team.apply(deployment())
    team.until_serving("chat")
    old = team.ready("gateway") | team.ready("engine")
    long = team.send("chat", max_tokens=400, count=8, parallel=8, stream=True)
    until("answers are under way", lambda: team.in_flight() >= 8)
    cluster.kubectl("delete", "pods", "-n", release.NAMESPACE, "--all", "--wait=false")
    team.delete("pods", *old)
    assert [one["done"] for one in long.end().seen] == [True] * 8
    team.until_others_ready("gateway", 2, old)
    team.until_serving("chat")
    assert team.ask("chat", count=3).backends() == ["local"] * 3
