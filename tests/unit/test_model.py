"""What the pods of a download tell, as ModelReady and status.model say it."""

from __future__ import annotations

import json

import pytest

from spillway.api.v1alpha1 import LLMDeploymentStatus, ModelStatus, QuantizationMethod, parse_deployment
from spillway.controller.desire import Desires, Policy
from spillway.controller.model import model_of
from spillway.controller.objects import ref_of
from spillway.render import RenderSettings
from spillway.render.model import STEPS, model_cache
from spillway.routing.facts import CompileSettings
from spillway.sizing.profiles import default_profiles

POLICY = Policy(
    default_profiles(), RenderSettings(image="spillway"), CompileSettings(frozenset(), unlabelled_may_leave="Internal")
)
CONFIG = {
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "max_position_embeddings": 16384,
    "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128},
}
COMPLETE = {"revision": "abc", "bytes": 5 << 30, "percent": 100, "weight_bytes": 5 << 30, "config": CONFIG}
RETRIED = "; it is tried again with growing pauses"


def body(uri="hf://acme/model-7b", status=None, **cache):
    spec = {"model": {"uri": uri}, "accelerator": {"profile": "l4-24gb"}}
    spec |= {"cache": {"mode": "PersistentVolume", **cache}} if cache or uri.startswith("hf") else {}
    metadata = {"name": "chat", "namespace": "team", "uid": "u"}
    made = {"apiVersion": "spillway.dev/v1alpha1", "kind": "LLMDeployment", "metadata": metadata, "spec": spec}
    return made | ({"status": status} if status else {})


DEPLOYMENT = parse_deployment(body())
CACHE = model_cache(DEPLOYMENT)


def ended(code=0, message=None, reason=None):
    text = json.dumps(message) if isinstance(message, dict) else message or ""
    return {"terminated": {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), "message": text}}


RUNNING = {"running": {}}
NOT_YET = {"waiting": {"reason": "PodInitializing"}}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}


def pod(*states, last=None, phase="Pending", name="p", conditions=()):
    """A pod of the Job: `states` of its first containers, the others not started; `last` is the last one's last end."""
    statuses = []
    for index, step in enumerate((*STEPS, 100)):
        state = states[index] if index < len(states) else NOT_YET
        before = last if last and index == len(states) - 1 else {}
        statuses.append({"name": f"fetch-{step}", "state": state, "lastState": before})
    labels = {"app.kubernetes.io/component": "model", "batch.kubernetes.io/job-name": CACHE.job}
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {
            "phase": phase,
            "startTime": "2026-11-21T10:00:00Z",
            "conditions": list(conditions),
            "initContainerStatuses": statuses[:-1],
            "containerStatuses": statuses[-1:],
        },
    }


def job(condition=None, **more):
    conditions = [{"type": condition, "status": "True", **more}] if condition else []
    metadata = {"name": CACHE.job, "namespace": "team"}
    return {"kind": "Job", "metadata": metadata, "status": {"conditions": conditions}}


def step(percent):
    return ended(0, {"percent": percent, "bytes": percent << 20, "totalBytes": 100 << 20})


UNAUTHORIZED = ended(10, {"reason": "Unauthorized", "message": "name a token"})
LOST = ended(14, {"reason": "ConnectionLost", "message": "cut"})
SUCCEEDED = pod(*[step(percent) for percent in STEPS], ended(0, COMPLETE), phase="Succeeded")
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}


@pytest.mark.parametrize(
    ("pods", "children", "says"),
    [
        pytest.param((), (), "False Pending: the download has not begun", id="nothing is there"),
        pytest.param((pod(RUNNING),), (job(),), "False Downloading: 0 % is there", id="the first step"),
        pytest.param(
            (pod(step(11), step(22), RUNNING),), (job(),), "False Downloading: 22 % of 100 MiB is there", id="a step on"
        ),
        pytest.param(
            (pod(step(11), BACK_OFF, last=UNAUTHORIZED),),
            (job(),),
            f"False Unauthorized: name a token{RETRIED}",
            id="a refused token, between two tries",
        ),
        pytest.param(
            (pod(RUNNING, last=UNAUTHORIZED),),
            (job(),),
            f"False Unauthorized: name a token{RETRIED}",
            id="a refused token, tried again",
        ),
        pytest.param(
            (pod(BACK_OFF, last=LOST),), (job(),), f"False ConnectionLost: cut{RETRIED}", id="a lost connection"
        ),
        pytest.param(
            (pod(RUNNING, last=LOST),), (job(),), "False Downloading: 0 % is there", id="a connection found again"
        ),
        pytest.param(
            (pod(BACK_OFF, last=ended(137, reason="OOMKilled")),),
            (job(),),
            f"False OOMKilled: exit code 137{RETRIED}",
            id="an end in the kubelet's words",
        ),
        pytest.param((pod(conditions=(UNSCHEDULABLE,)),), (job(),), "False Unschedulable: 0/1 nodes", id="no node"),
        pytest.param(
            (pod(conditions=(UNSCHEDULABLE | {"message": UNBOUND},)),),
            (job(),),
            "False Pending: the claim chat-models has no volume yet",
            id="no volume yet",
        ),
        pytest.param(
            (pod({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}),),
            (job(),),
            "False ImagePullBackOff: no such image",
            id="no image",
        ),
        pytest.param(
            (pod(NOT_YET, conditions=[UNSCHEDULABLE]),), (job(),), "False Unschedulable: 0/1 nodes", id="no node"
        ),
        pytest.param(
            (SUCCEEDED,),
            (job("Complete"),),
            "True Downloaded: revision abc, 5.0 GiB; all replicas are kept on one node, for the claim is ReadWriteOnce",
            id="all of it",
        ),
        pytest.param(
            (),
            (job("Failed", reason="DeadlineExceeded", message="too long"),),
            "False DeadlineExceeded: too long; delete the Job to try again",
            id="a Job that was ended",
        ),
    ],
)
def test_the_condition_says_how_far_the_download_is(pods, children, says):
    finding = model_of(DEPLOYMENT, children, pods, LLMDeploymentStatus()).finding
    assert f"{finding.status} {finding.reason}: {finding.message}" == says


def test_the_model_is_there_before_the_job_is_called_complete():
    found = model_of(DEPLOYMENT, (job(),), (SUCCEEDED,), LLMDeploymentStatus())
    assert (found.is_there, found.job_is_done, found.finding.status) == (True, False, "True")
    assert found.facts.layers == 28


def test_percent_does_not_fall_when_a_pod_begins_again():
    first = model_of(DEPLOYMENT, (job(),), (pod(step(11), step(22), RUNNING),), LLMDeploymentStatus())
    again = model_of(DEPLOYMENT, (job(),), (pod(RUNNING),), LLMDeploymentStatus(model=first.status))
    assert (first.status.percent, again.status.percent) == (22, 22)


def test_what_the_pods_told_outlives_them():
    told = model_of(DEPLOYMENT, (job("Complete"),), (SUCCEEDED,), LLMDeploymentStatus())
    later = model_of(DEPLOYMENT, (job("Complete"),), (), LLMDeploymentStatus(model=told.status))
    assert (later.is_there, later.status, later.facts) == (True, told.status, told.facts)
    assert told.facts.layers == 28


def test_what_was_told_of_another_model_is_not_taken_for_this_one():
    other = ModelStatus(source="another", percent=100, revision="old", config=json.dumps(CONFIG))
    found = model_of(DEPLOYMENT, (job("Complete"),), (), LLMDeploymentStatus(model=other))
    assert (found.is_there, found.status.revision, found.facts) == (True, None, None)


@pytest.mark.parametrize("told", ["no JSON", "[]", '{"percent": "99", "bytes": -1, "config": 3, "revision": ""}', "{}"])
def test_a_message_that_is_none_of_ours_tells_nothing(told):
    found = model_of(DEPLOYMENT, (job(),), (pod(ended(0, told), RUNNING),), LLMDeploymentStatus())
    assert (found.status.percent, found.status.bytes, found.facts) == (0, None, None)


@pytest.mark.parametrize(
    ("deployment", "reason"),
    [(body("pvc://models/x-7b"), "OnClaim"), (body(mode="Ephemeral"), "Ephemeral")],
    ids=["on a claim", "ephemeral"],
)
def test_what_nobody_downloads_is_there(deployment, reason):
    found = model_of(parse_deployment(deployment), (), (), LLMDeploymentStatus())
    assert (found.finding.status, found.finding.reason, found.is_there, found.status) == ("True", reason, True, None)


def kinds(desired):
    return sorted(ref_of(child).kind for child in desired.children)


def test_the_engine_waits_for_its_model():
    assert kinds(Desires(POLICY).of(body(), None)) == [
        "Job",
        "LLMLedger",
        "PersistentVolumeClaim",
        "Service",
        "Service",
    ]
    done = Desires(POLICY).of(body(), None, (job("Complete"),), (SUCCEEDED,))
    assert kinds(done) == ["Deployment", "LLMLedger", "PersistentVolumeClaim", "Service", "Service"]


def test_what_runs_of_an_earlier_model_is_kept_until_the_next_is_there():
    engine = {"kind": "Deployment", "metadata": {"name": "chat-engine", "namespace": "team"}}
    desired = Desires(POLICY).of(body(), None, (engine,))
    assert ref_of(engine) in desired.kept


def test_the_plan_rests_on_what_was_downloaded():
    before = Desires(POLICY).of(body(), None)
    after = Desires(POLICY).of(body(), None, (job("Complete"),), (SUCCEEDED,))
    assert before.plan.quantization is QuantizationMethod.NONE
    assert after.plan.quantization is QuantizationMethod.AWQ, "as config.json says, which no name told"


def test_a_model_of_unknown_size_is_downloaded_and_then_sized():
    unknown = body("hf://acme/nameless")
    before = Desires(POLICY).of(unknown, None)
    assert (before.problem, before.plan) == (None, None)
    assert "Job" in kinds(before)
    assert "Deployment" not in kinds(before)
    source = model_cache(parse_deployment(unknown)).source
    there = ModelStatus(source=source, percent=100, config=json.dumps(CONFIG), weight_bytes=5 << 30)
    done = job("Complete")
    done["metadata"]["name"] = f"chat-model-{source}"
    status = LLMDeploymentStatus(model=there).model_dump(mode="json", by_alias=True, exclude_none=True)
    after = Desires(POLICY).of(unknown | {"status": status}, None, (done,))
    assert after.problem is None
    assert (after.plan.accelerators, after.plan.quantization) == (1, QuantizationMethod.AWQ)
    assert "Deployment" in kinds(after)


def test_a_model_of_unknown_size_that_nobody_downloads_is_refused():
    ephemeral = body("hf://acme/nameless", mode="Ephemeral")
    assert Desires(POLICY).of(ephemeral, None).problem.reason == "UnknownModel"


def test_a_claim_is_never_deleted_and_a_complete_job_never_changed():
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "old-models", "namespace": "team"}}
    desired = Desires(POLICY).of(body(), None, (claim, job("Complete")), (SUCCEEDED,))
    assert {ref_of(claim), ref_of(job())} <= desired.kept


def test_a_job_that_would_be_another_now_makes_room_for_it():
    desired = Desires(POLICY).of(body(), None, (job(),))
    assert ref_of(job()) not in {ref_of(child) for child in desired.children} | desired.kept
