from __future__ import annotations

import datetime as dt

import pytest

from spillway.api.v1alpha1 import LastFailure
from spillway.controller.failures import failure_of, last_failure
from spillway.controller.workload import Pod

THEN = "2026-11-21T12:00:00Z"
NOT_SCHEDULED = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            "lastTransitionTime": THEN,
        }
    ]
}


def pod(status, name="chat-1"):
    return Pod.model_validate({"metadata": {"name": name}, "status": status})


def waiting(reason, message="", **more):
    return {
        "containerStatuses": [{"name": "engine", "state": {"waiting": {"reason": reason, "message": message}}, **more}]
    }


def ended(reason, exit_code, message=""):
    return {"terminated": {"reason": reason, "exitCode": exit_code, "message": message, "finishedAt": THEN}}


def unscheduled(message):
    return {"conditions": [{**NOT_SCHEDULED["conditions"][0], "message": message}]}


# As vLLM 0.32.0 and PyTorch word it.
KV_CACHE = (
    "To serve at least one request with the model's max seq len (32768), (4.0 GiB KV cache is needed, which "
    "is larger than the available KV cache memory (0.8 GiB). Based on the available memory, the estimated maximum "
    "model length is 6240. Try increasing `gpu_memory_utilization` or decreasing `max_model_len`."
)
CUDA = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 130.00 MiB. GPU 0 has a total capacity of 22.05 GiB"
)
IN_USE = (
    "ValueError: Free memory on device cuda:0 (3.1/22.0 GiB) on startup is less than desired GPU memory utilization "
    "(0.9, 19.8 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
)
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("status", "reason", "exit_code", "message"),
    [
        pytest.param(NOT_SCHEDULED, "Unschedulable", None, "Insufficient nvidia.com/gpu", id="the scheduler's words"),
        pytest.param(
            waiting("ErrImagePull", "not found"), "ImagePullBackOff", None, "not found", id="the first failed pull"
        ),
        pytest.param(
            waiting("ImagePullBackOff", "Back-off pulling"), "ImagePullBackOff", None, "Back-off", id="later pulls"
        ),
        pytest.param(
            waiting("CrashLoopBackOff", "back-off 10s", lastState=ended("Error", 1, "ValueError: bad flag")),
            "CrashLoopBackOff",
            1,
            "ValueError: bad flag",
            id="a crash loop, with the engine's own last words",
        ),
        pytest.param(
            waiting("CrashLoopBackOff", "back-off 10s", lastState=ended("OOMKilled", 137)),
            "OOMKilled",
            137,
            "back-off",
            id="a crash loop for want of memory says so",
        ),
        pytest.param(
            {"containerStatuses": [{"name": "engine", "state": ended("OOMKilled", 137)}]},
            "OOMKilled",
            137,
            "",
            id="just killed for want of memory",
        ),
        pytest.param(
            {"containerStatuses": [{"name": "engine", "state": {"running": {}}, "lastState": ended("Error", 1, "x")}]},
            "Error",
            1,
            "x",
            id="running again after a crash, and not ready yet",
        ),
        pytest.param(
            {
                "initContainerStatuses": [{"name": "fetch", "state": ended("Error", 2, "401")}],
                **waiting("PodInitializing"),
            },
            "Error",
            2,
            "401",
            id="an init container failed",
        ),
        pytest.param(
            {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
            "Evicted",
            None,
            "low on memory",
            id="evicted",
        ),
        pytest.param(
            waiting("CrashLoopBackOff", lastState=ended("Error", 1, KV_CACHE)),
            "KVCacheTooSmall",
            1,
            "lower spec.contextLength to at most 6240, ",
            id="vLLM has too little memory for its cache",
        ),
        pytest.param(
            {"containerStatuses": [{"name": "engine", "state": ended("Error", 1, CUDA)}]},
            "CUDAOutOfMemory",
            1,
            "spec.quantization.method",
            id="the weights do not fit",
        ),
        pytest.param(
            {"containerStatuses": [{"name": "engine", "state": ended("Error", 1, IN_USE)}]},
            "GPUMemoryInUse",
            1,
            "another program",
            id="another program is on the GPU",
        ),
        pytest.param(
            waiting("CreateContainerConfigError", 'secret "hub" not found'),
            "SecretNotFound",
            None,
            'secret "hub" not found',
            id="a Secret is missing",
        ),
        pytest.param(
            waiting("CreateContainerConfigError", "couldn't find key token in Secret team/hub"),
            "SecretKeyNotFound",
            None,
            "name another in secretRef",
            id="a Secret has no such key",
        ),
        pytest.param(
            unscheduled('persistentvolumeclaim "models" not found'),
            "ClaimNotFound",
            None,
            "spec.model.uri",
            id="a claim is missing",
        ),
        pytest.param(
            waiting("odd reason!", "x"), "ContainerWaiting", None, "x", id="a reason that is no word is not passed on"
        ),
    ],
)
def test_a_pod_that_fails_says_why(status, reason, exit_code, message):
    failure = failure_of(pod(status))
    assert (failure.reason, failure.exit_code) == (reason, exit_code)
    assert message in failure.message
    assert failure.pod_name == "chat-1"


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({}, id="new"),
        pytest.param(waiting("ContainerCreating"), id="its container is being made"),
        pytest.param({"containerStatuses": [{"name": "engine", "state": {"running": {}}}]}, id="loading"),
        pytest.param(
            {"containerStatuses": [{"name": "init", "state": ended("Completed", 0)}]}, id="a container ended well"
        ),
        pytest.param(READY | waiting("CrashLoopBackOff"), id="ready"),
    ],
)
def test_a_pod_that_does_not_fail_says_nothing(status):
    assert failure_of(pod(status)) is None


def test_long_output_is_kept_from_its_end():
    failure = failure_of(
        pod({"containerStatuses": [{"name": "e", "state": ended("Error", 1, "a" * 5000 + "the end")}]})
    )
    assert len(failure.message) <= 1024
    assert failure.message.endswith("the end")


def test_the_first_wording_of_one_failure_stays():
    first = last_failure([pod(waiting("ErrImagePull", "rpc error: not found"))], None)
    again = last_failure([pod(waiting("ImagePullBackOff", "Back-off pulling image"))], first)
    assert again == first


def test_a_new_crash_replaces_the_one_before():
    before = last_failure([pod({"containerStatuses": [{"name": "e", "state": ended("Error", 1, "x")}]})], None)
    crash = ended("Error", 1, "y")
    crash["terminated"]["finishedAt"] = "2026-11-21T12:05:00Z"
    after = last_failure([pod({"containerStatuses": [{"name": "e", "state": crash}]})], before)
    assert (after.message, after.time) == ("y", dt.datetime(2026, 11, 21, 12, 5, tzinfo=dt.UTC))


def test_a_failure_stays_until_its_pod_is_ready_or_gone():
    failed = LastFailure(pod_name="chat-1", reason="OOMKilled")
    between_attempts = pod(waiting("ContainerCreating"))
    assert last_failure([between_attempts], failed) == failed
    assert last_failure([pod(READY)], failed) is None
    assert last_failure([pod({}, "chat-2")], failed) is None
    assert last_failure([], failed) is None


def test_the_first_failing_pod_is_shown():
    found = last_failure([pod(READY, "a"), pod(NOT_SCHEDULED, "b"), pod(waiting("CrashLoopBackOff"), "c")], None)
    assert found.pod_name == "b"
