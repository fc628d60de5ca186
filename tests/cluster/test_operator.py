"""The operator's promises, against a real API server and its controllers; pods are played by the test."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys

import aiohttp
import pytest

from operator_process import KINDS, OperatorProcess, applies, install, until
from spillway.api.v1alpha1 import parse_deployment
from spillway.controller.cluster import path_of
from spillway.controller.objects import FIELD_MANAGER
from spillway.controller.projection import difference
from spillway.errors import Forbidden
from spillway.gateway_pod import parse_gateway_pod
from spillway.render import RenderSettings, render_namespace
from spillway.simulator.kubeapi import KubeAPI

pytestmark = pytest.mark.cluster

CHILDREN = {
    "deployments": ["chat-engine", "spillway-gateway"],
    "services": ["chat", "chat-engine", "spillway-gateway"],
    "llmledgers": ["chat"],
    "serviceaccounts": ["default", "spillway-gateway"],
    "rolebindings": ["spillway-gateway-namespaced", "spillway-operator"],
}
# An object made by the test, and its status by the operator.
THE_LATER_ONE = 2
PREFIX = {
    "deployments": "/apis/apps/v1",
    "llmledgers": KINDS,
    "llmdeployments": KINDS,
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
}


@pytest.fixture
async def kinds(api: KubeAPI, namespace: str) -> None:
    await install(api, namespace)


class Team:
    """The test's namespace: shorthand for what tests do in it."""

    def __init__(self, api: KubeAPI, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def path(self, resource: str, name: str = "") -> str:
        return f"{PREFIX.get(resource, '/api/v1')}/namespaces/{self.namespace}/{resource}" + (
            f"/{name}" if name else ""
        )

    async def apply(self, name="chat", *, profile="l4-24gb", **spec):
        return await self.api.apply(
            {
                "apiVersion": "spillway.dev/v1alpha1",
                "kind": "LLMDeployment",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"},
                    "accelerator": {"profile": profile},
                    "cache": {"mode": "Ephemeral"},
                    **spec,
                },
            }
        )

    async def get(self, resource, name):
        return await self.api.find(self.path(resource, name))

    async def names(self, resource):
        return sorted(item["metadata"]["name"] for item in await self.api.list(self.path(resource)))

    async def has(self, children=CHILDREN):
        return all([await self.names(resource) == names for resource, names in children.items()])

    async def condition(self, kind="Ready", name="chat"):
        body = await self.get("llmdeployments", name)
        conditions = {it["type"]: it for it in (body or {}).get("status", {}).get("conditions", [])}
        return f"{conditions[kind]['status']} {conditions[kind]['reason']}" if conditions else ""

    async def becomes(self, expected, kind="Ready", name="chat"):
        async def holds():
            return await self.condition(kind, name) == expected

        await until(f"{name} {kind} {expected}", holds)

    async def pods(self, component):
        return await self.api.list(self.path("pods"), labels=f"app.kubernetes.io/component={component}")

    async def play(self, component, **status):
        """Be the kubelet of all pods of a component."""
        await until(f"{component} pods", lambda: self.pods(component))
        for pod in await self.pods(component):
            await self.api.patch_status(pod, status)

    async def answer(self, component):
        conditions = [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]
        await self.play(component, phase="Running", conditions=conditions)

    async def make_ready(self):
        await self.apply()
        await until("all children", self.has)
        await self.answer("engine")
        await self.answer("gateway")
        await self.becomes("True Ready")

    async def versions(self):
        """When the operator last wrote what, in everything that is in the namespace."""
        return {
            (resource, item["metadata"]["name"]): [
                (entry["manager"], entry.get("subresource"), entry["time"])
                for entry in item["metadata"].get("managedFields", ())
                if entry["manager"] == "spillway" or entry["manager"].startswith("kopf")
            ]
            for resource in ("llmdeployments", *CHILDREN)
            for item in await self.api.list(self.path(resource))
        }


@pytest.fixture
def team(api, namespace):
    return Team(api, namespace)


async def test_an_object_becomes_children_and_ready_when_they_answer(operator, team):
    await team.apply(replicas=2)
    await until("all children", team.has)
    await team.becomes("False Unschedulable")
    for resource, name in (("deployments", "chat-engine"), ("services", "chat"), ("llmledgers", "chat")):
        owners = (await team.get(resource, name))["metadata"]["ownerReferences"]
        assert [(owner["kind"], owner["name"]) for owner in owners] == [("LLMDeployment", "chat")]
    await team.answer("engine")
    await team.becomes("False GatewayNotReady")
    await team.answer("gateway")
    await team.becomes("True Ready")
    body = await team.get("llmdeployments", "chat")
    status = body["status"]
    assert (status["replicas"], status["readyReplicas"], status["observedGeneration"]) == (2, 2, 1)
    assert status["plan"]["accelerators"] == 1
    assert "lastFailure" not in status
    assert "finalizers" not in body["metadata"]

    async def reasons() -> list[str]:
        events = await team.api.list(team.path("events"))
        return [event["reason"] for event in events if event["involvedObject"]["kind"] == "LLMDeployment"]

    async def told() -> bool:
        return "Ready" in await reasons()

    await until("the event, which follows the status", told)
    assert (await reasons()).count("Ready") == 1


async def test_a_pass_that_finds_nothing_to_do_writes_nothing(operator, team):
    await team.make_ready()
    before, counted = await team.versions(), await applies(team.api)
    # an event that asks for a pass over the object, and one for its namespace
    for name in ("chat-engine", "spillway-gateway"):
        await team.api.patch(team.path("deployments", name), {"metadata": {"annotations": {"example.com/seen": "1"}}})
    await team.api.patch(team.path("services", "chat"), {"metadata": {"labels": {"example.com/mine": "1"}}})
    await passes_over(team)
    assert await team.versions() == before
    assert await applies(team.api) - counted == THE_LATER_ONE


EVERY_WISH = {
    "nodeSelector": {"node-role.kubernetes.io/gateways": "", "pool": "gateways"},
    "tolerations": [{"key": "gateways", "value": "", "effect": "NoExecute", "tolerationSeconds": 60}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists", "values": []}]}]
            }
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "topologyKey": "zone",
                        "labelSelector": {"matchLabels": {"app.kubernetes.io/component": "gateway"}},
                        "namespaceSelector": {},
                    },
                }
            ]
        },
    },
    "priorityClassName": "system-cluster-critical",
    "imagePullSecrets": [{"name": "mirror"}, {"name": "another"}],
    "podAnnotations": {"example.com/team": "a"},
    "resources": {"requests": {"cpu": 0.5, "memory": "1024Mi"}, "limits": {"cpu": 1}},
}


WISHES = {"SPILLWAY_GATEWAY_POD": json.dumps(EVERY_WISH), "SPILLWAY_GATEWAY_REPLICAS": "2"}


@pytest.mark.parametrize("operator_environment", [WISHES], ids=["all"])
async def test_all_that_can_be_said_of_gateways_is_applied_once(operator, team):
    await team.apply()
    await until("all children", lambda: team.has(CHILDREN | {"poddisruptionbudgets": ["spillway-gateway"]}))
    gateway = await team.get("deployments", "spillway-gateway")
    spec = gateway["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == EVERY_WISH["nodeSelector"]
    assert [secret["name"] for secret in spec["imagePullSecrets"]] == ["mirror", "another"]
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    pod = parse_gateway_pod(json.dumps(EVERY_WISH))
    settings = RenderSettings(image=spec["containers"][0]["image"], gateway_pod=pod)
    body = await team.get("llmdeployments", "chat")
    desired = {it["kind"]: it for it in render_namespace(team.namespace, [parse_deployment(body)], settings)}
    desired["Deployment"]["spec"]["template"]["spec"]["containers"][0]["args"] = spec["containers"][0]["args"]
    assert difference(desired["Deployment"], gateway, manager=FIELD_MANAGER) is None
    budget = await team.get("poddisruptionbudgets", "spillway-gateway")
    assert difference(desired["PodDisruptionBudget"], budget, manager=FIELD_MANAGER) is None


async def passes_over(team):
    """Return once the operator has dealt with all that happened so far: an object made later has its status."""
    await team.apply("later", profile="none-such")
    await team.becomes("False UnknownProfile", name="later")
    await team.api.delete(team.path("llmdeployments", "later"))


async def test_what_others_write_on_the_engine_is_no_rollout(operator, team):
    await team.make_ready()
    body = await team.get("llmdeployments", "chat")
    # an annotation raises a Deployment's generation, which its controller takes a moment to observe
    await team.api.patch(team.path("deployments", "chat-engine"), {"metadata": {"annotations": {"example.com/x": "1"}}})
    await passes_over(team)
    assert (await team.get("llmdeployments", "chat"))["status"] == body["status"]


async def test_a_restart_writes_nothing(operator, team):
    await team.make_ready()
    await operator.stop()
    before, counted = await team.versions(), await applies(team.api)
    await operator.start()
    await until("a pass after the restart", lambda: _started(operator, 2))
    await passes_over(team)
    assert await team.versions() == before
    assert await applies(team.api) - counted == THE_LATER_ONE


async def _started(operator, times):
    return operator.log.count("operator watching") >= times


async def _replicas(team, number):
    return (await team.get("deployments", "chat-engine"))["spec"]["replicas"] == number


async def test_a_changed_or_deleted_child_is_restored(operator, team):
    await team.apply()
    await until("all children", team.has)
    engine = team.path("deployments", "chat-engine")
    image = (await team.api.get(engine))["spec"]["template"]["spec"]["containers"][0]["image"]
    container = {"name": "engine", "image": "example.com/evil:1"}
    await team.api.patch(engine, {"spec": {"replicas": 0, "template": {"spec": {"containers": [container]}}}})

    async def restored():
        spec = (await team.api.get(engine))["spec"]
        return spec["replicas"] == 1 and spec["template"]["spec"]["containers"][0]["image"] == image

    await until("the engine is as it was", restored)
    for resource, name in (("services", "chat"), ("deployments", "chat-engine"), ("llmledgers", "chat")):
        await team.api.delete(team.path(resource, name))
    await until("all children again", team.has)


async def test_fields_of_other_managers_are_theirs(operator, team):
    await team.apply()
    await until("all children", team.has)
    engine = team.path("deployments", "chat-engine")
    theirs = {"metadata": {"annotations": {"example.com/cost": "blue"}}, "spec": {"minReadySeconds": 7}}
    await team.api.patch(engine, theirs)
    await team.apply(replicas=2)
    await until("two replicas", lambda: _replicas(team, 2))
    live = await team.api.get(engine)
    assert live["metadata"]["annotations"]["example.com/cost"] == "blue"
    assert live["spec"]["minReadySeconds"] == 7


async def test_deletion_leaves_nothing(operator, team):
    await team.apply()
    await until("all children", team.has)
    await team.api.delete(team.path("llmdeployments", "chat"))
    installed = {"serviceaccounts": ["default"], "rolebindings": ["spillway-operator"]}
    gone = {resource: [] for resource in CHILDREN} | installed
    # the garbage collector looks for new kinds every 30 s
    await until("nothing is left", lambda: team.has(gone), seconds=90)
    assert await team.names("llmdeployments") == []


async def test_an_invalid_object_is_told_once_with_the_cure(operator, team):
    await team.apply(profile="h999")
    await team.becomes("False UnknownProfile")
    for kind, status in (("SpecValid", "False"), ("Stalled", "True"), ("Progressing", "False")):
        assert await team.condition(kind) == f"{status} UnknownProfile"
    status = (await team.get("llmdeployments", "chat"))["status"]
    message = next(it["message"] for it in status["conditions"] if it["type"] == "SpecValid")
    assert "spec.accelerator.profile" in message
    assert "'h999'" in message
    assert "l4-24gb" in message
    await team.becomes("False GatewayNotReady", "RouteReady")
    counted = await applies(team.api)
    await passes_over(team)
    assert await applies(team.api) - counted == THE_LATER_ONE
    assert await team.names("deployments") in ([], ["spillway-gateway"])
    assert "try again" not in operator.log
    await team.apply(profile="l4-24gb")
    await until("all children", team.has)
    await team.becomes("True Valid", "SpecValid")


async def test_the_ledgers_money_reaches_status(operator, team):
    await team.apply(
        budget={"limit": "50.00"},
        access={"mode": "None"},
        dataPolicy={"mayLeave": ["Public"]},
        fallback={
            "mode": "Enabled",
            "targets": [
                {
                    "name": "openai",
                    "provider": "OpenAI",
                    "model": "gpt-4o",
                    "secretRef": {"name": "openai", "key": "key"},
                    "price": {"inputPerMillionTokens": "1", "outputPerMillionTokens": "2"},
                }
            ],
        },
    )
    await until("all children", team.has)
    ledger = await team.get("llmledgers", "chat")
    assert ledger["spec"]["limit"] == "50.00"
    window = {"windowStart": "2026-01-01T00:00:00Z", "windowEnd": "2099-01-01T00:00:00Z"}
    blocked = {
        "name": "gw",
        "state": "Blocked",
        "reason": "BudgetExhausted",
        "sharePercent": 12,
        "targets": [{"name": "openai", "ready": False, "reason": "SecretNotFound", "message": "no Secret openai"}],
    }
    await team.api.patch_status(ledger, {"spent": "50.000000", **window, "gateways": [blocked]})
    await team.becomes("False BudgetExhausted", "BudgetAvailable")
    assert await team.condition("FallbackReady") == "False SecretNotFound"
    status = (await team.get("llmdeployments", "chat"))["status"]
    assert status["budget"] == {"spent": "50.000000", "reserved": "0.000000", "limit": "50.00", **window}
    assert status["fallback"] == {"state": "Blocked", "reason": "BudgetExhausted", "sharePercent": 12}


async def test_what_tokens_cost_is_in_status_to_the_cent_and_written_once_a_minute(operator, team):
    target = {"name": "openai", "provider": "OpenAI", "model": "gpt-4o", "secretRef": {"name": "openai", "key": "key"}}
    price = {"inputPerMillionTokens": "1", "outputPerMillionTokens": "2"}
    await team.apply(
        replicas=2,
        dataPolicy={"defaultClass": "Public", "mayLeave": ["Public"]},
        fallback={"mode": "Shadow", "targets": [target | {"price": price}]},
    )
    await until("all children", team.has)
    costs = []

    async def cost():
        found = (await team.get("llmdeployments", "chat"))["status"].get("cost")
        if found != (costs[-1] if costs else None):
            costs.append(found)
        return found

    await until("a cost before anything was measured", cost)
    # two L4 at 0.70 an hour are 33.60 dollars a day; a third prompt and two thirds answer are 5/3 dollars a million
    unmeasured = {"cloudPerMillionTokens": "1.666667", "breakEvenTokensPerDay": 20_160_000, "recommendation": "Unknown"}
    assert costs == [unmeasured]

    async def report(minute, share, *prompts):
        """Gateways that served prompts of so many tokens, and as many tokens of answer, in the hour until a minute."""
        gateways = [
            {
                "name": f"gw-{place}",
                "state": "Shadow",
                "sharePercent": share,
                "served": {
                    "requests": 1000,
                    "promptTokens": tokens,
                    "completionTokens": tokens,
                    "seconds": 3600,
                    "until": f"2026-11-21T12:0{minute}:00Z",
                },
            }
            for place, tokens in enumerate(prompts)
        ]
        await team.api.patch_status(await team.get("llmledgers", "chat"), {"gateways": gateways})

        async def told():
            await cost()
            status = (await team.get("llmdeployments", "chat"))["status"]
            return status.get("fallback", {}).get("sharePercent") == share

        await until(f"{share} % in status", told)

    await report(1, 10, 1_000_000)
    for share, tokens in ((20, 2_000_000), (30, 3_000_000)):
        await report(1, share, 1_000_000, tokens)  # others report of the same minute
    measured = {"cloudPerMillionTokens": "1.500000", "breakEvenTokensPerDay": 22_400_000}
    first = {
        "localPerMillionTokens": "0.700000",
        "recommendation": "KeepLocal",
        "measuredUntil": "2026-11-21T12:01:00Z",
    }
    (told,) = costs[1:]
    assert told == {**measured, **first, "utilizationPercent": told["utilizationPercent"]}
    await report(2, 40, 100_000, 100_000)
    (told,) = costs[2:]
    assert told["localPerMillionTokens"] == "3.500000"
    assert (told["recommendation"], told["measuredUntil"]) == ("PreferCloud", "2026-11-21T12:02:00Z")


async def test_a_failing_pod_is_told_and_forgotten_when_it_recovers(operator, team):
    await team.apply()
    await until("all children", team.has)
    pulling = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    failing = {
        "name": "engine",
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": pulling,
    }
    await team.play("engine", phase="Pending", containerStatuses=[failing])
    await team.becomes("False ImagePullBackOff")
    status = (await team.get("llmdeployments", "chat"))["status"]
    assert status["lastFailure"]["containerName"] == "engine"
    running = {**failing, "ready": True, "state": {"running": {}}}
    await team.play("engine", phase="Running", containerStatuses=[running])
    await team.answer("engine")
    await team.becomes("True Ready", "WorkloadReady")
    assert "lastFailure" not in (await team.get("llmdeployments", "chat"))["status"]


async def test_its_account_cannot_read_secrets(control_plane, kinds, team, tmp_path):
    made = control_plane.kubectl("create", "token", "spillway-operator", "--namespace=spillway-system")
    async with KubeAPI(control_plane.server, ca_file=control_plane.ca_file, token=made.stdout.strip()) as account:
        assert await account.list(team.path("pods")) == []
        with pytest.raises(Forbidden):
            await account.list(team.path("secrets"))
        with pytest.raises(Forbidden):
            await account.get(team.path("secrets", "any"))


async def test_its_account_changes_no_binding_and_no_policy_of_others(control_plane, kinds, team):
    made = control_plane.kubectl("create", "token", "spillway-operator", "--namespace=spillway-system")
    others = (
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "spillway-gateway"},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
        },
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {"maxUnavailable": 1}},
    )
    async with KubeAPI(control_plane.server, ca_file=control_plane.ca_file, token=made.stdout.strip()) as account:
        for body in others:
            there, absent = ({"name": name, "namespace": team.namespace} for name in ("theirs", "spillway-gateway"))
            await team.api.apply({**body, "metadata": there})
            with pytest.raises(Forbidden):
                await account.apply({**body, "metadata": {**there, "labels": {"mine": "now"}}})
            with pytest.raises(Forbidden):
                await account.delete(path_of(body["kind"], **there))
            await account.apply({**body, "metadata": absent})
            await account.delete(path_of(body["kind"], **absent))


async def test_killed_at_any_moment_it_converges(control_plane, kinds, team, tmp_path):
    operator = OperatorProcess(control_plane, tmp_path, f"--namespaces={team.namespace}")
    names = [f"chat-{number}" for number in range(4)]
    await operator.start()
    await until("it is up", lambda: _started(operator, 1))
    for name in names:
        await team.apply(name)
    wanted = {
        "deployments": sorted([*(f"{name}-engine" for name in names), "spillway-gateway"]),
        "services": sorted([*names, *(f"{name}-engine" for name in names), "spillway-gateway"]),
        "llmledgers": names,
    }
    for enough in (1, 4, 8):
        await until(f"{enough} children", lambda enough=enough: _children(team, enough))
        await operator.kill()
        started = operator.log.count("operator watching")
        await operator.start()
    await until("the last one is up", lambda: _started(operator, started + 1))
    await until("everything is there", lambda: team.has(wanted), seconds=30)
    for name in names:
        await team.becomes("True Valid", "SpecValid", name)
    assert await operator.stop() == 0
    assert "Traceback" not in operator.log


async def _children(team, enough):
    names = [await team.names(resource) for resource in ("deployments", "services", "llmledgers")]
    return sum(map(len, names)) >= enough


async def test_clusterwide_it_follows_the_namespaces_label(control_plane, kinds, team, tmp_path):
    operator = OperatorProcess(control_plane, tmp_path)
    await operator.start()
    try:
        await team.apply(
            dataPolicy={"mayLeave": ["Internal", "Public"]},
            access={"mode": "None"},
            budget={"limit": "1"},
            fallback={
                "mode": "Enabled",
                "targets": [
                    {
                        "name": "t",
                        "provider": "OpenAI",
                        "model": "m",
                        "secretRef": {"name": "s", "key": "k"},
                        "price": {"inputPerMillionTokens": "1", "outputPerMillionTokens": "1"},
                    }
                ],
            },
        )
        await until("all may leave", lambda: _may_leave(team, ["Internal", "Public"]))
        for label, left in (("Public", ["Public"]), ("None", []), ("Internal", ["Internal", "Public"])):
            await team.api.patch(
                f"/api/v1/namespaces/{team.namespace}", {"metadata": {"labels": {"spillway.dev/may-leave": label}}}
            )
            await until(f"the ceiling is {label}", lambda left=left: _may_leave(team, left))
    finally:
        assert await operator.stop() == 0
    assert "Forbidden" not in operator.log


async def _may_leave(team, classes):
    body = await team.get("llmdeployments", "chat")
    # an empty list is nobody's field: applying it takes the list away
    return "status" in body and body["status"].get("policy", {}).get("mayLeave", []) == classes


@pytest.mark.parametrize("said", ["operator starting", "operator watching"])
async def test_told_to_end_while_it_begins_it_ends_without_an_error(control_plane, kinds, team, tmp_path, said):
    operator = OperatorProcess(control_plane, tmp_path, f"--namespaces={team.namespace}")
    await operator.start()
    await until(f"it says {said!r}", lambda: _said(operator, said))
    assert await operator.stop() == 0, operator.log
    assert "operator stopped" in operator.log


async def _said(operator, text):
    return text in operator.log


async def test_it_says_that_it_is_alive_and_ends_within_seconds(control_plane, kinds, team, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    operator = OperatorProcess(control_plane, tmp_path, f"--namespaces={team.namespace}", f"--health-port={port}")
    await operator.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:

        async def alive():
            try:
                async with client.get("/healthz") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await until("/healthz", alive)
    await team.apply()
    # kopf itself takes five seconds where its watches have not begun yet
    await until("all children", team.has)
    begun = asyncio.get_running_loop().time()
    assert await operator.stop() == 0
    assert asyncio.get_running_loop().time() - begun < 5, "kopf waits so long for tasks that nobody ended"


async def test_without_a_cluster_it_says_so_in_one_line(tmp_path):
    (tmp_path / "kubeconfig").write_text("nothing of use")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spillway", "operator"),
        env={**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig")},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"no Kubernetes cluster to connect to" in errors
    assert b"Traceback" not in errors
