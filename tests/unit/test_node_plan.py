from __future__ import annotations

from typing import Any

import pytest

from spillway.simulator.node.images import Invocation, default_images, name_of
from spillway.simulator.node.plan import (
    Exec,
    HttpGet,
    Mount,
    Sleep,
    TcpSocket,
    UnsupportedError,
    back_off_seconds,
    parse,
    wants_restart,
)

PORTS = [{"name": "http", "containerPort": 8000}]


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "a", "ports": PORTS, **(container or {})}
    return {"metadata": {"namespace": "n", "name": "p", "uid": "u"}, "spec": {"containers": [main], **spec}}


def test_what_the_spec_leaves_out_is_kubernetes_default() -> None:
    plan = parse(pod())
    assert (plan.restart_policy, plan.grace_seconds, plan.service_account) == ("Always", 30.0, "default")
    [main] = plan.containers
    assert (main.message_path, main.message_from_logs, main.startup) == ("/dev/termination-log", False, None)


@pytest.mark.parametrize(
    ("handler", "action"),
    [
        ({"httpGet": {"port": "http"}}, HttpGet(8000)),
        ({"httpGet": {"port": 9, "path": "x", "scheme": "HTTPS"}}, HttpGet(9, "/x", "HTTPS")),
        (
            {"httpGet": {"port": "9", "path": "/", "httpHeaders": [{"name": "a", "value": "b"}]}},
            HttpGet(9, headers=(("a", "b"),)),
        ),
        ({"tcpSocket": {"port": "http"}}, TcpSocket(8000)),
        ({"exec": {"command": ["a", "b"]}}, Exec(("a", "b"))),
        ({"sleep": {"seconds": 3}}, Sleep(3.0)),
    ],
)
def test_each_kind_of_hook_is_read(handler: dict[str, Any], action: object) -> None:
    assert parse(pod({"lifecycle": {"preStop": handler}})).containers[0].pre_stop == action


def test_a_probe_has_kubernetes_defaults() -> None:
    probe = parse(pod({"readinessProbe": {"tcpSocket": {"port": 1}}})).containers[0].readiness
    assert probe is not None
    pace = (probe.initial_delay_seconds, probe.period_seconds, probe.timeout_seconds)
    assert (pace, probe.success_threshold, probe.failure_threshold) == ((0, 10, 1), 1, 3)


@pytest.mark.parametrize(
    ("container", "spec", "named"),
    [
        ({"livenessProbe": {"grpc": {"port": 1}, "periodSeconds": 1}}, {}, "of the kind grpc$"),
        ({"readinessProbe": {"httpGet": {"port": "admin"}}}, {}, "'admin'"),
        ({"lifecycle": {"postStart": {"exec": {}}}}, {}, "postStart"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "$(A)"}]}, {}, "subPathExpr"),
        ({}, {"initContainers": [{"name": "s", "image": "a", "restartPolicy": "Always"}]}, "sidecars"),
    ],
)
def test_what_the_node_does_not_do_is_refused_by_name(
    container: dict[str, Any], spec: dict[str, Any], named: str
) -> None:
    with pytest.raises(UnsupportedError, match=named):
        parse(pod(container, **spec))


def test_a_mount_path_has_no_slash_at_its_end() -> None:
    mounts = [{"name": "v", "mountPath": "/v/", "subPath": "s"}, {"name": "w", "mountPath": "/"}]
    assert parse(pod({"volumeMounts": mounts})).containers[0].mounts == (Mount("v", "/v", "s"), Mount("w", "/"))


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy_decides_by_exit_code(policy: str, code: int, again: bool) -> None:
    assert wants_restart(policy, code) is again


@pytest.mark.parametrize(
    ("pod_policy", "init_policy"), [("Always", "OnFailure"), ("OnFailure", "OnFailure"), ("Never", "Never")]
)
def test_init_containers_are_not_run_again_after_success(pod_policy: str, init_policy: str) -> None:
    assert parse(pod(restartPolicy=pod_policy)).init_restart_policy == init_policy


def test_the_back_off_is_the_kubelets() -> None:
    waits = [back_off_seconds(failures, 10.0, 300.0) for failures in range(1, 9)]
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert back_off_seconds(10_000, 10.0, 300.0) == 300


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("vllm/vllm-openai:v0.32.0", "vllm/vllm-openai"),
        ("vllm/vllm-openai", "vllm/vllm-openai"),
        ("registry:5000/a/b", "registry:5000/a/b"),
        ("registry:5000/a/b:1@sha256:00", "registry:5000/a/b"),
        ("a:1", "a"),
    ],
)
def test_an_image_is_known_by_its_name_before_tag_and_digest(image: str, name: str) -> None:
    assert name_of(image) == name


def test_spillways_image_runs_spillway_on_the_pods_address() -> None:
    run = default_images("NVIDIA-L4")["ghcr.io/spillway-dev/spillway"]
    for invocation in (
        Invocation((), ("gateway",), {}, "127.9.9.9"),
        Invocation(("spillway",), ("gateway",), {}, "127.9.9.9"),
    ):
        program = run(invocation)
        assert program.argv[1:] == ("-m", "spillway", "gateway")
        assert program.env["SPILLWAY_HOST"] == "127.9.9.9"


def test_an_engines_image_runs_its_simulator_with_its_own_flags() -> None:
    run = default_images("NVIDIA-L4", {"SPILLWAY_SIMULATED_LOAD_SECONDS": "2"})["vllm/vllm-openai"]
    program = run(Invocation((), ("--model", "m"), {}, "127.9.9.9"))
    assert program.argv[1:] == ("-m", "spillway.simulator.engine", "--model", "m")
    assert program.env["SPILLWAY_SIMULATED_HOST"] == "127.9.9.9"
    assert program.env["SPILLWAY_SIMULATED_ACCELERATOR"] == "NVIDIA-L4"
    assert program.env["SPILLWAY_SIMULATED_LOAD_SECONDS"] == "2"


@pytest.mark.parametrize(
    ("stated", "limit"), [(None, None), ("64Mi", 64 << 20), ("1.5Gi", 3 << 29), ("500M", 500_000_000), ("1024", 1024)]
)
def test_a_memory_limit_is_read_in_bytes(stated: str | None, limit: int | None) -> None:
    limits = {"memory": stated} if stated else {"nvidia.com/gpu": "1"}
    assert parse(pod({"resources": {"limits": limits}})).containers[0].memory_limit_bytes == limit


def test_a_memory_limit_in_a_unit_that_nobody_states_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"resources\.limits\.memory: 1Ei"):
        parse(pod({"resources": {"limits": {"memory": "1Ei"}}}))
