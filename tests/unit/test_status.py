from __future__ import annotations

import datetime as dt

import pytest

from spillway.api.v1alpha1 import LastFailure, LLMDeploymentStatus
from spillway.controller.conditions import ConditionType, find
from spillway.controller.status import status_of
from spillway.errors import Forbidden
from status_facts import FACTS, LOADING_POD, NOW, SUSPENDED, UNKNOWN_PROFILE, facts, workload

LATER = NOW + dt.timedelta(minutes=5)


def said(status, kind):
    condition = find(status.conditions, kind)
    return f"{condition.status} {condition.reason}"


@pytest.mark.parametrize(
    ("given", "ready", "progressing", "stalled"),
    [
        pytest.param(facts(), "True Ready", "False Complete", "False NotStalled", id="all replicas answer"),
        pytest.param(
            facts(engine=None), "False NotCreated", "True NotCreated", "False NotStalled", id="nothing is applied yet"
        ),
        pytest.param(
            facts(engine=workload(ready=0, pods=0)),
            "False Pending",
            "True Pending",
            "False NotStalled",
            id="no pod exists yet",
        ),
        pytest.param(
            facts(engine=workload(ready=0), pods=(LOADING_POD,)),
            "False Loading",
            "True Loading",
            "False NotStalled",
            id="the model is being loaded",
        ),
        pytest.param(
            facts(engine=workload(ready=1), pods=(LOADING_POD,)),
            "True PartlyReady",
            "True PartlyReady",
            "False NotStalled",
            id="one of two answers: the model can be used",
        ),
        pytest.param(
            facts(engine=workload(ready=1, updated=1)),
            "True RollingOut",
            "True RollingOut",
            "False NotStalled",
            id="an old replica answers while the new one loads",
        ),
        pytest.param(
            facts(engine=workload(observed=0)),
            "True RollingOut",
            "True RollingOut",
            "False NotStalled",
            id="the Deployment's controller has not seen the change yet",
        ),
        pytest.param(
            facts(engine=workload(wanted=0, ready=0)),
            "False ScaledToZero",
            "False Complete",
            "False NotStalled",
            id="no replica is wanted",
        ),
        pytest.param(
            facts(engine=workload(wanted=0, ready=0), deployment=SUSPENDED),
            "False Suspended",
            "False Complete",
            "False NotStalled",
            id="nobody is to run it now",
        ),
        pytest.param(
            facts(gateway=None), "False GatewayMissing", "True GatewayMissing", "False NotStalled", id="no gateway yet"
        ),
        pytest.param(
            facts(gateway=workload(ready=0)),
            "False GatewayNotReady",
            "True GatewayNotReady",
            "False NotStalled",
            id="no gateway pod answers",
        ),
        pytest.param(
            facts(problem=UNKNOWN_PROFILE, plan=None, engine=None),
            "False UnknownProfile",
            "False UnknownProfile",
            "True UnknownProfile",
            id="the spec cannot be carried out",
        ),
        pytest.param(
            facts(problem=UNKNOWN_PROFILE, plan=None),
            "False UnknownProfile",
            "False UnknownProfile",
            "True UnknownProfile",
            id="the spec was changed to one that cannot be carried out: what ran before still does",
        ),
        pytest.param(
            facts(problem=Forbidden("exceeded quota: gpus"), engine=None),
            "False RefusedByCluster",
            "False RefusedByCluster",
            "True RefusedByCluster",
            id="the API server refuses what was rendered",
        ),
        pytest.param(
            facts(
                engine=workload(
                    ready=0,
                    conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
                ),
                pods=(LOADING_POD,),
            ),
            "False Loading",
            "False Loading",
            "True Loading",
            id="the rollout has passed its deadline",
        ),
        pytest.param(
            facts(
                engine=workload(
                    ready=0,
                    pods=0,
                    conditions=[
                        {
                            "type": "ReplicaFailure",
                            "status": "True",
                            "reason": "FailedCreate",
                            "message": "exceeded quota",
                        }
                    ],
                )
            ),
            "False FailedCreate",
            "True FailedCreate",
            "False NotStalled",
            id="pods may not be made",
        ),
    ],
)
def test_conditions_say_how_far_it_is(given, ready, progressing, stalled):
    status = status_of(given, NOW)
    assert said(status, ConditionType.READY) == ready
    assert said(status, ConditionType.PROGRESSING) == progressing
    assert said(status, ConditionType.STALLED) == stalled


def test_until_the_deployments_controller_looks_again_what_was_found_holds():
    ready = status_of(FACTS, NOW)
    annotated = facts(engine=workload(observed=0), previous=ready)
    assert status_of(annotated, LATER) == ready


def test_a_changed_spec_is_not_ready_by_what_was_found_before():
    ready = status_of(FACTS, NOW)
    changed = status_of(facts(engine=workload(observed=0), previous=ready, generation=4), LATER)
    assert said(changed, ConditionType.READY) == "True RollingOut"
    again = status_of(facts(engine=workload(observed=0), previous=changed, generation=4), LATER)
    assert said(again, ConditionType.PROGRESSING) == "True RollingOut"


def test_every_condition_is_there_from_the_first_visit_ready_first():
    status = status_of(facts(engine=None, gateway=None), NOW)
    assert [condition.type for condition in status.conditions] == [
        "Ready",
        "SpecValid",
        "ModelReady",
        "WorkloadReady",
        "RouteReady",
        "FallbackReady",
        "BudgetAvailable",
        "Progressing",
        "Stalled",
    ]
    assert {condition.observed_generation for condition in status.conditions} == {3}
    assert status.observed_generation == 3


def test_an_invalid_spec_names_field_value_and_cure():
    status = status_of(facts(problem=UNKNOWN_PROFILE, plan=None, model=None, engine=None), NOW)
    message = find(status.conditions, ConditionType.SPEC_VALID).message
    assert said(status, ConditionType.SPEC_VALID) == "False UnknownProfile"
    assert "spec.accelerator.profile" in message
    assert "'h999'" in message
    assert "l4-24gb" in message
    assert said(status, ConditionType.WORKLOAD_READY) == "Unknown NotRendered"
    assert said(status, ConditionType.MODEL_READY) == "Unknown NotRendered"


def test_status_holds_what_clients_and_autoscalers_need():
    status = status_of(facts(engine=workload(ready=1)), NOW)
    assert (status.replicas, status.ready_replicas, status.selector) == (2, 1, "app=chat")
    assert (status.url, status.model_name) == ("http://chat.team.svc/v1", "qwen")
    assert status.engine == "VLLM"
    assert status.plan.context_length == 8192


def test_what_may_leave_is_nothing_while_fallback_is_disabled():
    assert status_of(FACTS, NOW).policy.may_leave == ()


def test_a_time_moves_only_with_its_condition():
    first = status_of(facts(engine=workload(ready=0), pods=(LOADING_POD,)), NOW)
    second = status_of(facts(previous=first), LATER)
    times = {condition.type: condition.last_transition_time for condition in second.conditions}
    moved = {kind for kind, time in times.items() if time == LATER.replace(microsecond=0)}
    assert moved == {"Ready", "WorkloadReady", "Progressing"}
    assert times["SpecValid"] == NOW.replace(microsecond=0)


def test_the_same_facts_give_the_same_status_at_any_time():
    first = status_of(FACTS, NOW)
    assert status_of(facts(previous=first), LATER) == first


def test_a_new_reason_alone_moves_no_time():
    first = status_of(facts(engine=workload(ready=0, pods=0)), NOW)
    second = status_of(facts(engine=workload(ready=0), pods=(LOADING_POD,), previous=first), LATER)
    ready = find(second.conditions, ConditionType.READY)
    assert (ready.reason, ready.last_transition_time) == ("Loading", NOW.replace(microsecond=0))


def test_a_failure_is_forgotten_once_every_replica_answers():
    failed = LLMDeploymentStatus(last_failure=LastFailure(pod_name="chat-1", reason="OOMKilled"))
    still = facts(engine=workload(ready=0), pods=(LOADING_POD,), previous=failed)
    assert status_of(still, NOW).last_failure == failed.last_failure
    assert status_of(facts(pods=(LOADING_POD,), previous=failed), NOW).last_failure is None
