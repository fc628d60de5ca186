from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crd_cases import DEPLOYMENT, DEPLOYMENT_CASES, DEPLOYMENT_CHANGES, LEDGER, LEDGER_CASES, Case, changed
from spillway.api import crd
from spillway.errors import ClusterError, Invalid, Unreachable
from spillway.simulator.controlplane import ControlPlane
from spillway.simulator.kubeapi import KubeAPI

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
DRY_RUN = "dryRun=All&fieldValidation=Strict"


@pytest.fixture
async def kinds(api: KubeAPI) -> KubeAPI:
    """The API server with our kinds, served."""
    for kind in crd.KINDS:
        await api.apply(crd.render_crd(kind))
    deadline = time.monotonic() + 20
    while not await served(api):
        assert time.monotonic() < deadline, "our kinds are not served"
        await asyncio.sleep(0.05)
    return api


async def served(api: KubeAPI) -> bool:
    try:
        found = [await api.find(f"/apis/spillway.dev/v1alpha1/{kind.plural}") for kind in crd.KINDS]
    except Unreachable:  # "storage is (re)initializing", for a moment after a new kind
        return False
    return None not in found


async def answer(api: KubeAPI, namespace: str, plural: str, document: dict[str, Any]) -> str:
    """What the API server says to a new object: empty when it takes it."""
    path = f"/apis/spillway.dev/v1alpha1/namespaces/{namespace}/{plural}?{DRY_RUN}"
    try:
        await api.post(path, document)
    except ClusterError as error:
        return str(error)
    return ""


def wrong(case: Case, said: str) -> str:
    if bool(said) == bool(case.refused) and case.refused in said:
        return ""
    return f"{case.title}: wanted {case.refused or 'to be accepted'!r}, got {said or 'accepted'!r}"


@pytest.mark.parametrize(
    ("plural", "valid", "cases"),
    [("llmdeployments", DEPLOYMENT, DEPLOYMENT_CASES), ("llmledgers", LEDGER, LEDGER_CASES)],
    ids=["LLMDeployment", "LLMLedger"],
)
async def test_the_api_server_keeps_every_rule_of_the_table(
    kinds: KubeAPI, namespace: str, plural: str, valid: dict[str, Any], cases: tuple[Case, ...]
):
    said = [(case, await answer(kinds, namespace, plural, changed(valid, case.change))) for case in cases]
    assert [line for line in (wrong(case, text) for case, text in said) if line] == []


async def test_the_api_server_keeps_every_rule_about_changes(kinds: KubeAPI, namespace: str):
    wrongly = []
    for number, change in enumerate(DEPLOYMENT_CHANGES):
        before = changed(DEPLOYMENT, {"metadata.namespace": namespace, "metadata.name": f"o{number}", **change.before})
        path = await kinds.path(await kinds.create(before))
        after = changed(before, change.after)["spec"]
        # a merge patch keeps what it does not name
        patch = {**dict.fromkeys(before["spec"]), **after}
        try:
            await kinds.patch(f"{path}?dryRun=All", {"spec": patch})
            said = ""
        except ClusterError as error:
            said = str(error)
        if bool(said) != bool(change.refused) or change.refused not in said:
            wrongly.append(f"{change.title}: wanted {change.refused or 'to be accepted'!r}, got {said or 'accepted'!r}")
    assert wrongly == []


async def test_the_api_server_calls_both_kinds_established_without_complaint(kinds: KubeAPI):
    for kind in crd.KINDS:
        live = await kinds.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.spillway.dev")
        conditions = {condition["type"]: condition for condition in live["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True"
        assert conditions.get("NonStructuralSchema", {"status": "False"})["status"] == "False", conditions


async def test_nothing_is_added_to_an_object_but_the_defaults_at_the_top(kinds: KubeAPI, namespace: str):
    document = changed(DEPLOYMENT, {"metadata.namespace": namespace})
    made = await kinds.create(document)
    defaults = {"replicas": 1, "startupTimeoutSeconds": 1800, "suspend": False, "memoryCheck": "Warn"}
    assert made["spec"] == document["spec"] | defaults


async def test_an_llmdeployment_is_scaled_by_its_scale_subresource(kinds: KubeAPI, namespace: str):
    made = await kinds.create(changed(DEPLOYMENT, {"metadata.namespace": namespace}))
    path = await kinds.path(made)
    await kinds.patch(f"{path}/scale", {"spec": {"replicas": 3}})
    assert (await kinds.get(path))["spec"]["replicas"] == 3


async def test_a_full_status_is_taken_as_it_is(kinds: KubeAPI, namespace: str):
    now = "2026-11-21T10:00:00Z"
    status = {
        "observedGeneration": 1,
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": now}
        ],
        "replicas": 2,
        "readyReplicas": 2,
        "selector": "app.kubernetes.io/instance=chat",
        "url": "http://chat/v1",
        "modelName": "chat",
        "engine": "VLLM",
        "plan": {
            "accelerators": 1,
            "tensorParallel": 1,
            "quantization": "AWQ",
            "memoryRequired": "7.7Gi",
            "memoryAvailable": "20.2Gi",
            "contextLength": 8192,
            "kvCacheTokens": 243248,
        },
        "policy": {"mayLeave": ["Internal"]},
        "lastFailure": {"podName": "chat-engine-0", "reason": "OOMKilled", "exitCode": 137, "message": "", "time": now},
        "fallback": {"state": "Overflowing", "reason": "Saturated", "sharePercent": 12, "since": now},
        "budget": {
            "spent": "1.234567",
            "reserved": "0.000000",
            "limit": "50.00",
            "windowStart": "2026-11-01T00:00:00Z",
            "windowEnd": "2026-12-01T00:00:00Z",
        },
        "cost": {
            "localPerMillionTokens": "0.233333",
            "cloudPerMillionTokens": "7.500000",
            "breakEvenTokensPerDay": 2_240_000,
            "utilizationPercent": 42,
            "recommendation": "KeepLocal",
            "measuredUntil": now,
        },
    }
    made = await kinds.create(changed(DEPLOYMENT, {"metadata.namespace": namespace}))
    assert (await kinds.patch_status(made, status))["status"] == status


NOVEMBER = {"windowStart": "2026-11-01T00:00:00Z", "windowEnd": "2026-12-01T00:00:00Z"}
DECEMBER = {"windowStart": "2026-12-01T00:00:00Z", "windowEnd": "2027-01-01T00:00:00Z"}
OCTOBER = {"windowStart": "2026-10-01T00:00:00Z", "windowEnd": "2026-11-01T00:00:00Z"}


def tranche(amount: str, gateway: str = "gateway-a") -> dict[str, str]:
    return {"gateway": gateway, "amount": amount, "renewed": "2026-11-21T10:00:00Z"}


START = NOVEMBER | {"spent": "10.000000", "tranches": [tranche("5.000000")]}

LEDGER_CHANGES = (
    # (title, spec before the change, status to write, part of the message)
    ("spend a tranche", {}, NOVEMBER | {"spent": "15.000000", "tranches": []}, ""),
    ("lease up to the limit", {}, START | {"tranches": [tranche("40.000000")]}, ""),
    (
        "lease past the limit",
        {},
        START | {"tranches": [tranche("40.000001")]},
        "spent and tranches together may not pass spec.limit",
    ),
    (
        "lease past the limit by two",
        {},
        START | {"tranches": [tranche("20.000000"), tranche("20.000001", "gateway-b")]},
        "spent and tranches together may not pass spec.limit",
    ),
    ("spend past the limit", {}, NOVEMBER | {"spent": "50.000001"}, "may not pass spec.limit"),
    ("spend less", {}, START | {"spent": "9.999999"}, "spent may not fall within a window"),
    ("begin the next window", {}, DECEMBER | {"spent": "0.000000", "tranches": []}, ""),
    ("go back a window", {}, OCTOBER | {"spent": "0.000000"}, "spent may not fall within a window"),
    ("go back a window with what was spent", {}, OCTOBER | {"spent": "10.000000"}, ""),
    ("settle under a lowered limit", {"limit": "12"}, NOVEMBER | {"spent": "15.000000", "tranches": []}, ""),
    (
        "lease under a lowered limit",
        {"limit": "12"},
        START | {"tranches": [tranche("5.000001")]},
        "spent and tranches together may not pass spec.limit",
    ),
    ("forget what was spent", {}, None, "status may not be taken away"),
    (
        "forget the window",
        {},
        {"spent": "10.000000", "tranches": []},
        "spent, windowStart and windowEnd must be stated together",
    ),
    ("lease without a sum", {}, {"tranches": [tranche("1.000000")]}, "spent must be stated beside tranches"),
    (
        "spend in cents",
        {},
        START | {"spent": "10.00"},
        "spent must be dollars, as a quoted decimal with exactly six places",
    ),
    (
        "lease in cents",
        {},
        START | {"tranches": [tranche("5.00")]},
        "amount must be dollars, as a quoted decimal with exactly six places",
    ),
    ("lease twice to one gateway", {}, START | {"tranches": [tranche("1.000000")] * 2}, "Duplicate value"),
)


@pytest.mark.parametrize(
    ("spec", "status", "refused"),
    [change[1:] for change in LEDGER_CHANGES],
    ids=[change[0] for change in LEDGER_CHANGES],
)
async def test_a_ledger_lets_nobody_spend_more_or_forget(
    kinds: KubeAPI, namespace: str, spec: dict[str, str], status: dict[str, Any] | None, refused: str
):
    made = await kinds.create(changed(LEDGER, {"metadata.namespace": namespace}))
    path = await kinds.path(made)
    await kinds.patch_status(made, START)
    if spec:
        await kinds.patch(path, {"spec": spec})
    old = (await kinds.get(path))["status"]
    # a merge patch that leaves exactly `status`: what it does not name is removed
    wanted = None if status is None else {**dict.fromkeys(old), **status}
    change = kinds.patch(f"{path}/status", {"status": wanted})
    if refused:
        with pytest.raises(Invalid) as caught:
            await change
        assert refused in str(caught.value)
    else:
        assert (await change)["status"] == status


@pytest.mark.parametrize("sample", sorted((ROOT / "manifests/samples").glob("*.yaml")), ids=lambda path: path.stem)
async def test_a_sample_is_accepted(control_plane: ControlPlane, kinds: KubeAPI, namespace: str, sample: Path):
    done = await asyncio.to_thread(
        control_plane.kubectl,
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", str(sample)),
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
async def installed(control_plane: ControlPlane, kinds: KubeAPI) -> AsyncIterator[None]:
    """`manifests/base` in the cluster; the operator's namespace goes again, so that no node runs a second operator."""
    done = await asyncio.to_thread(
        control_plane.kubectl, "apply", "--server-side", "--validate=strict", "-k", str(ROOT / "manifests/base")
    )
    assert done.returncode == 0, done.stderr
    yield
    await kinds.delete("/api/v1/namespaces/spillway-system")


MAY = (
    ("operator", "no", ("patch", "llmdeployments.spillway.dev", "-A")),
    ("operator", "yes", ("patch", "llmdeployments.spillway.dev", "--subresource=status", "-A")),
    ("operator", "yes", ("list", "storageclasses.storage.k8s.io")),
    ("operator", "no", ("create", "storageclasses.storage.k8s.io")),
    ("operator", "yes", ("create", "llmledgers.spillway.dev", "-A")),
    ("operator", "yes", ("bind", "clusterroles/spillway-gateway")),
    ("operator", "no", ("bind", "clusterroles/cluster-admin")),
    ("operator", "no", ("get", "secrets", "-A")),
    ("operator", "no", ("list", "secrets", "-n", "spillway-system")),
    ("operator", "no", ("patch", "llmledgers.spillway.dev", "--subresource=status", "-A")),
    ("operator", "no", ("update", "llmdeployments.spillway.dev", "-A")),
    ("operator", "no", ("delete", "pods", "-A")),
    ("operator", "yes", ("create", "jobs.batch", "-A")),
    ("operator", "yes", ("patch", "persistentvolumeclaims", "-A")),
    ("operator", "no", ("delete", "persistentvolumeclaims", "-A")),
    ("operator", "no", ("create", "pods", "--subresource=exec", "-A")),
    ("gateway", "yes", ("watch", "llmdeployments.spillway.dev")),
    ("gateway", "yes", ("patch", "llmledgers.spillway.dev", "--subresource=status")),
    ("gateway", "no", ("patch", "llmledgers.spillway.dev")),
    ("gateway", "no", ("delete", "pods")),
    ("gateway", "no", ("get", "secrets")),
    ("gateway", "no", ("list", "namespaces")),
    ("editor", "yes", ("create", "llmdeployments.spillway.dev")),
    ("editor", "yes", ("get", "llmledgers.spillway.dev")),
    ("editor", "no", ("patch", "llmledgers.spillway.dev")),
    ("editor", "no", ("patch", "llmledgers.spillway.dev", "--subresource=status")),
    ("editor", "no", ("patch", "llmdeployments.spillway.dev", "--subresource=status")),
)


async def test_the_base_gives_nobody_more_than_they_need(
    installed: None, control_plane: ControlPlane, kinds: KubeAPI, namespace: str
):
    def can(who: str, *asked: str) -> str:
        user = "system:serviceaccount:spillway-system:spillway-operator" if who == "operator" else who
        where = [] if who == "operator" else ["-n", namespace]
        return control_plane.kubectl("auth", "can-i", *asked, *where, f"--as={user}").stdout.strip()

    for user, role in (("editor", "edit"), ("gateway", "spillway-gateway")):
        await kinds.create(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": user, "namespace": namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            }
        )
    deadline = time.monotonic() + 20
    # the controller manager puts our rules into `edit` when it sees them
    while await asyncio.to_thread(can, "editor", "create", "llmdeployments.spillway.dev") != "yes":
        assert time.monotonic() < deadline, "edit was not extended"
    answers = [(who, asked, may, await asyncio.to_thread(can, who, *asked)) for who, may, asked in MAY]
    assert [answer for answer in answers if answer[2] != answer[3]] == []


async def test_the_table_of_kubectl_shows_the_columns(control_plane: ControlPlane, kinds: KubeAPI, namespace: str):
    await kinds.create(changed(DEPLOYMENT, {"metadata.namespace": namespace}))
    done = await asyncio.to_thread(control_plane.kubectl, "get", "llmdep", "-n", namespace, "-o", "wide")
    header, row = done.stdout.splitlines()
    always = ["NAME", "MODEL", "ENGINE", "READY", "REASON", "REPLICAS", "FALLBACK", "SPEND", "AGE"]
    assert header.split() == [*always, "URL", "QUANTIZATION", "GPUS", "LOCAL$/M", "CLOUD$/M", "COST"]
    assert row.split()[:2] == ["chat", "hf://Qwen/Qwen2.5-7B-Instruct-AWQ"]


@pytest.mark.parametrize(
    "story", sorted((ROOT / "tests/data").glob("*/output.yaml")), ids=lambda path: path.parent.name
)
async def test_what_is_rendered_is_accepted_without_a_warning_in_a_restricted_namespace(
    control_plane: ControlPlane, kinds: KubeAPI, namespace: str, story: Path
):
    level = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    await kinds.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": level}})
    text = (await asyncio.to_thread(story.read_text)).replace("namespace: models", f"namespace: {namespace}")
    done = await asyncio.to_thread(
        control_plane.kubectl,
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"),
        stdin=text,
    )
    assert (done.returncode, done.stderr) == (0, "")
