from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from crd_cases import DEPLOYMENT, REMOVED, changed
from spillway.api.v1alpha1 import LLMDeployment, parse_deployment
from spillway.render import RenderSettings, render_deployment, render_namespace
from spillway.render.template import render
from spillway.sizing.plan import Plan, plan_deployment
from spillway.sizing.profiles import by_name, default_profiles, load_profiles

DATA = Path(__file__).parents[1] / "data"
SETTINGS = RenderSettings(image="ghcr.io/spillway-dev/spillway:test", allowed_hosts=("b.example.com", "api.openai.com"))
META = {"metadata.namespace": "models", "metadata.uid": "8b1f", "spec.cache": {"mode": "Ephemeral"}}


def deployment(change: dict[str, Any] | None = None) -> LLMDeployment:
    return parse_deployment(changed(changed(DEPLOYMENT, META), change or {}))


def plan(of: LLMDeployment) -> Plan:
    return plan_deployment(of, default_profiles())


def rendered(change: dict[str, Any] | None = None, settings: RenderSettings = SETTINGS) -> tuple[Any, ...]:
    made = deployment(change)
    return render_deployment(made, plan(made), settings)


def engine(change: dict[str, Any] | None = None) -> dict[str, Any]:
    (found,) = [manifest for manifest in rendered(change) if manifest["kind"] == "Deployment"]
    return found


def gateway(*deployments: LLMDeployment, settings: RenderSettings = SETTINGS) -> dict[str, Any]:
    (found,) = [m for m in render_namespace("models", deployments, settings) if m["kind"] == "Deployment"]
    return found


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    return only


def flags(change: dict[str, Any] | None = None) -> dict[str, str]:
    arguments = (argument.partition("=") for argument in container(engine(change))["args"][1:])
    return {flag: value for flag, _, value in arguments}


def volumes(workload: dict[str, Any]) -> dict[str, Any]:
    return {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}


# What vLLM is started with


def test_every_rendered_flag_is_one_that_vllm_has():
    known = {line for line in (DATA / "vllm_flags.txt").read_text().splitlines() if line.startswith("--")}
    assert len(known) > 300
    used = {
        argument.split("=", 1)[0]
        for golden in DATA.glob("*/output.yaml")
        for manifest in yaml.safe_load_all(golden.read_text())
        if manifest["metadata"]["name"].endswith("-engine") and manifest["kind"] == "Deployment"
        if "vllm" in container(manifest)["image"]
        for argument in container(manifest)["args"][1:]
    }
    assert {"--quantization", "--kv-cache-dtype", "--tensor-parallel-size", "--revision"} <= used
    assert used - known == set()


@pytest.mark.parametrize(
    ("uri", "method", "asked"),
    [
        ("hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "Auto", None),
        ("hf://Qwen/Qwen2.5-7B-Instruct-AWQ", "AWQ", None),
        ("hf://Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "GPTQ", None),
        ("hf://Qwen/Qwen2.5-7B-Instruct", "FP8", "fp8"),
        ("hf://neuralmagic/Qwen2.5-7B-Instruct-FP8", "FP8", None),
        ("hf://Qwen/Qwen2.5-7B-Instruct", "None", None),
    ],
)
def test_only_what_is_quantised_while_loading_is_asked_for(uri: str, method: str, asked: str | None):
    made = flags(
        {"spec.model.uri": uri, "spec.quantization": {"method": method}, "spec.accelerator.profile": "h100-80gb"}
    )
    assert made.get("--quantization") == asked


def test_the_beginnings_that_prompts_share_are_kept():
    assert "--enable-prefix-caching" in flags()


def test_the_engine_takes_a_full_batch_and_what_may_wait_within_the_slo():
    slo = {"timeToFirstTokenMilliseconds": 1000, "timePerOutputTokenMilliseconds": 300}
    assert flags({"spec.slo": slo})["--max-num-queued-reqs"] == str(256 + 4)


def test_a_served_name_replaces_the_objects_own():
    assert flags()["--served-model-name"] == "chat"
    assert flags({"spec.model.servedName": "Qwen/Qwen2.5"})["--served-model-name"] == "Qwen/Qwen2.5"


def test_a_model_on_a_claim_is_mounted_read_only_and_never_looked_up():
    made = engine({"spec.model.uri": "pvc://store/qwen2.5-7b", "spec.cache": REMOVED})
    assert container(made)["args"][0] == "/models/qwen2.5-7b"
    assert volumes(made)["models"]["persistentVolumeClaim"] == {"claimName": "store", "readOnly": True}
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in container(made)["env"]


def test_a_hub_token_comes_from_its_secret_alone():
    assert "HF_TOKEN" not in {variable["name"] for variable in container(engine())["env"]}
    made = container(engine({"spec.model.secretRef": {"name": "hub", "key": "token"}}))
    (token,) = [variable for variable in made["env"] if variable["name"] == "HF_TOKEN"]
    assert token["valueFrom"] == {"secretKeyRef": {"name": "hub", "key": "token"}}


def test_a_profile_says_where_and_with_what_the_engine_runs():
    profiles = load_profiles(
        """
        - name: mi300x
          resourceName: amd.com/gpu
          memoryGiB: 191
          nodeSelector: {pool: amd}
          tolerations: [{key: amd, operator: Equal, value: "yes"}]
          runtimeClassName: amd
        """
    )
    made = deployment({"spec.accelerator": {"profile": "mi300x", "count": 2}})
    workload = render_deployment(made, plan_deployment(made, profiles), SETTINGS)[1]
    pod = workload["spec"]["template"]["spec"]  # type: ignore[index]
    assert pod["nodeSelector"] == {"pool": "amd"}
    assert pod["tolerations"] == [{"key": "amd", "value": "yes"}]
    assert pod["runtimeClassName"] == "amd"
    assert container(workload)["resources"]["limits"] == {"amd.com/gpu": "2"}


# Pods that start, drain and hold no more than they need


@pytest.mark.parametrize("workload", [engine(), gateway(deployment())], ids=["engine", "gateway"])
def test_a_pod_is_fit_for_a_restricted_namespace(workload: dict[str, Any]):
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    made = container(workload)
    assert made["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert made["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert "/tmp" in {mount["mountPath"] for mount in made["volumeMounts"]}


def test_all_that_vllm_writes_lies_on_a_volume():
    made = container(engine())
    mounts = tuple(mount["mountPath"] for mount in made["volumeMounts"])
    environment = {variable["name"]: variable["value"] for variable in made["env"]}
    written = {"HOME", "HF_HOME", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"}
    assert [name for name in written if not environment[name].startswith(mounts)] == []
    assert environment["VLLM_NO_USAGE_STATS"] == environment["DO_NOT_TRACK"] == "1"


def test_a_slow_load_is_no_failure_and_a_new_pod_waits_for_no_gpu():
    made = engine()
    probe = container(made)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 1800
    assert made["spec"]["progressDeadlineSeconds"] > probe["periodSeconds"] * probe["failureThreshold"]
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_an_engine_has_time_to_wait_and_to_drain_before_it_is_killed():
    made = engine()
    grace = made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > container(made)["lifecycle"]["preStop"]["sleep"]["seconds"] + int(flags()["--shutdown-timeout"])


# Ownership, labels, order


def test_what_belongs_to_an_object_is_owned_by_it():
    for manifest in rendered():
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert owner == {
            "apiVersion": "spillway.dev/v1alpha1",
            "kind": "LLMDeployment",
            "name": "chat",
            "uid": "8b1f",
            "controller": True,
            "blockOwnerDeletion": True,
        }
        assert manifest["metadata"]["labels"]["spillway.dev/deployment"] == "chat"


def test_what_belongs_to_the_namespace_is_owned_by_nobody():
    for manifest in render_namespace("models", [deployment()], SETTINGS):
        assert "ownerReferences" not in manifest["metadata"]
        assert manifest["metadata"]["name"] in {"spillway-gateway", "spillway-engine", "spillway-engine-egress"}
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "spillway-gateway"
    assert render_namespace("models", [], SETTINGS) == ()


def test_the_gateways_role_is_a_clusterrole_or_where_namespaces_are_listed_one_of_the_namespace():
    bindings = {}
    for namespaced in (False, True):
        settings = RenderSettings(image="spillway:test", namespaced=namespaced)
        (found,) = [m for m in render_namespace("models", [deployment()], settings) if m["kind"] == "RoleBinding"]
        bindings[namespaced] = found["metadata"]["name"], found["roleRef"]["kind"], found["roleRef"]["name"]
        assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "spillway-gateway"
    # under one name the API server would refuse the other kind: a roleRef cannot be changed
    assert bindings == {
        False: ("spillway-gateway", "ClusterRole", "spillway-gateway"),
        True: ("spillway-gateway-namespaced", "Role", "spillway-gateway"),
    }


def test_labels_and_annotations_of_the_parent_are_not_copied():
    made = deployment({"metadata.labels": {"argo": "x-mine"}, "metadata.annotations": {"track": "x-mine"}})
    everything = (*render_deployment(made, plan(made), SETTINGS), *render_namespace("models", [made], SETTINGS))
    assert "x-mine" not in json.dumps(everything)
    assert [manifest for manifest in everything if "annotations" in manifest["metadata"]] == []


def test_each_service_finds_its_pods_and_no_others():
    engine_labels = engine()["spec"]["template"]["metadata"]["labels"]
    gateway_labels = gateway(deployment())["spec"]["template"]["metadata"]["labels"]
    services = {
        manifest["metadata"]["name"]: manifest["spec"]
        for manifest in (*rendered(), *render_namespace("models", [deployment()], SETTINGS))
        if manifest["kind"] == "Service"
    }
    assert services.keys() == {"chat", "chat-engine", "spillway-gateway"}
    for name, spec in services.items():
        mine, other = (engine_labels, gateway_labels) if name == "chat-engine" else (gateway_labels, engine_labels)
        assert spec["selector"].items() <= mine.items()
        assert not spec["selector"].items() <= other.items()
    assert services["chat-engine"]["clusterIP"] == "None"
    assert services["chat"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]


def test_rendering_changes_none_of_its_arguments():
    made = deployment()
    sized = plan(made)
    before = copy.deepcopy((made, sized, SETTINGS))
    first = render_deployment(made, sized, SETTINGS)
    first[1]["spec"]["template"]["spec"]["nodeSelector"]["mine"] = "1"  # type: ignore[index]
    render_namespace("models", [made], SETTINGS)
    assert (made, sized, SETTINGS) == before
    assert render_deployment(made, sized, SETTINGS) != first


def test_neither_order_nor_what_a_gateway_reads_itself_changes_the_gateway():
    one, two = deployment(), deployment({"metadata.name": "other"})
    assert render_namespace("models", [one, two], SETTINGS) == render_namespace("models", [two, one], SETTINGS)
    richer = deployment(
        {"spec.budget.limit": "99", "spec.slo": {"timeToFirstTokenMilliseconds": 50}, "spec.replicas": 7}
    )
    assert render_namespace("models", [richer], SETTINGS) == render_namespace("models", [one], SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"spec.budget.limit": "99"},
        {"spec.queue": {"maxRequests": 7}},
        {"spec.dataPolicy.mayLeave": ["Public"]},
        {"spec.fallback.targets.0.model": "gpt-4o-mini"},
        {"spec.fallback.mode": "Disabled"},
        {"spec.replicas": 5},
        {"metadata.labels": {"a": "b"}},
    ],
    ids=str,
)
def test_what_the_engine_does_not_need_to_know_restarts_none(change: dict[str, Any]):
    assert engine(change)["spec"]["template"] == engine()["spec"]["template"]


# The gateway's files


def test_credentials_are_just_the_named_keys_and_all_optional():
    target = DEPLOYMENT["spec"]["fallback"]["targets"][0]
    many = [
        target | {"name": "b", "secretRef": {"name": "zeta", "key": "k"}},
        target | {"name": "a", "secretRef": {"name": "alpha", "key": "two"}},
        target | {"name": "c", "secretRef": {"name": "alpha", "key": "one"}},
        target | {"name": "d", "secretRef": {"name": "alpha", "key": "one"}},
    ]
    made = gateway(deployment({"spec.fallback.targets": many}))
    assert volumes(made)["credentials"]["projected"]["sources"] == [
        {
            "secret": {
                "name": "alpha",
                "optional": True,
                "items": [{"key": "one", "path": "alpha/one"}, {"key": "two", "path": "alpha/two"}],
            }
        },
        {"secret": {"name": "zeta", "optional": True, "items": [{"key": "k", "path": "zeta/k"}]}},
    ]


def test_a_disabled_fallback_mounts_no_credential():
    made = gateway(deployment({"spec.fallback.mode": "Disabled"}))
    assert "secret" not in json.dumps(volumes(made))
    assert volumes(made)["credentials"] == {"name": "credentials", "emptyDir": {}}


def test_a_ca_bundle_is_mounted_from_its_config_map():
    change = {
        "spec.fallback.targets.0.caBundleRef": {"name": "corp", "key": "ca.pem"},
    }
    assert volumes(gateway(deployment(change)))["ca"]["projected"]["sources"] == [
        {"configMap": {"name": "corp", "optional": True, "items": [{"key": "ca.pem", "path": "corp/ca.pem"}]}}
    ]


def test_the_gateway_is_told_where_it_is_and_where_it_may_go():
    made = container(gateway(deployment(), settings=SETTINGS))
    assert made["args"] == [
        "gateway",
        "--namespace=$(POD_NAMESPACE)",
        "--service-account-dir=/var/run/spillway/serviceaccount",
        "--credentials-dir=/var/run/spillway/credentials",
        "--ca-dir=/var/run/spillway/ca",
        "--journal-dir=/var/lib/spillway/journal",
        "--allowed-hosts=api.openai.com,b.example.com",
        "--unlabelled-namespace-may-leave=Internal",
    ]
    directories = {argument.partition("=")[2] for argument in made["args"] if "-dir=" in argument}
    assert directories <= {mount["mountPath"] for mount in made["volumeMounts"]}
    assert [variable["name"] for variable in made["env"]] == ["POD_NAMESPACE", "POD_NAME", "POD_UID"]


# The ledger


@pytest.mark.parametrize(
    ("change", "spec"),
    [
        ({}, {"limit": "50.00", "window": "Month", "timeZone": "Etc/UTC"}),
        (
            {"spec.budget": {"limit": "0.5", "window": "Day"}},
            {"limit": "0.5", "window": "Day", "timeZone": "Etc/UTC"},
        ),
    ],
)
def test_the_ledger_holds_the_budget(change: dict[str, Any], spec: dict[str, str]):
    ledger = rendered(change)[0]
    assert (ledger["kind"], ledger["metadata"]["name"], ledger["spec"]) == ("LLMLedger", "chat", spec)


def test_without_a_budget_the_ledger_stays_and_allows_nothing():
    document = changed(DEPLOYMENT, META | {"spec.fallback.mode": "Disabled"})
    del document["spec"]["budget"]
    made = parse_deployment(document)
    assert render_deployment(made, plan(made), SETTINGS)[0]["spec"] == {
        "limit": "0",
        "window": "Month",
        "timeZone": "Etc/UTC",
    }


# Values stay in their place

WEIRD = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    [
        '"',
        "'",
        "\n- x",
        "{{ 1 }}",
        "{% raw %}",
        "a: b",
        "# no",
        "\x85",
        "\u2028",
        "\ufeff",
        "no",
        "1e3",
        "\U0001f600",
        "\x00",
    ]
)
JSON = st.recursive(
    WEIRD | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WEIRD, inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_every_value_that_a_template_writes_stands_in_its_place(value: object):
    made = render("gateway/serviceaccount.yaml.j2", name=value, namespace="models")
    assert made["metadata"]["name"] == value
    assert made["metadata"]["namespace"] == "models"


@settings(deadline=None)
@given(image=WEIRD, namespace=WEIRD, hosts=st.lists(WEIRD, max_size=3))
def test_no_value_of_the_settings_breaks_out_of_its_place(image: str, namespace: str, hosts: list[str]):
    odd_settings = RenderSettings(image=image, allowed_hosts=tuple(hosts))
    usual = render_namespace("models", [deployment()], SETTINGS)
    odd = render_namespace(namespace, [deployment()], odd_settings)
    assert [shape(manifest) for manifest in odd] == [shape(manifest) for manifest in usual]
    (workload,) = [manifest for manifest in odd if manifest["kind"] == "Deployment"]
    assert container(workload)["image"] == image
    assert {manifest["metadata"]["namespace"] for manifest in odd} == {namespace}


@settings(deadline=None)
@given(name=WEIRD, uid=WEIRD, model=WEIRD, served=WEIRD)
def test_no_value_of_the_object_breaks_out_of_its_place(name: str, uid: str, model: str, served: str):
    """Even one that the CRD would never have let through."""
    made = deployment()
    odd = made.model_copy(
        update={
            "metadata": made.metadata.model_copy(update={"name": name, "uid": uid}),
            "spec": made.spec.model_copy(
                update={
                    "model": made.spec.model.model_copy(update={"uri": f"hf://{model}", "served_name": served or "x"})
                }
            ),
        }
    )
    manifests = render_deployment(odd, plan(made), SETTINGS)
    assert [shape(manifest) for manifest in manifests] == [shape(manifest) for manifest in rendered()]
    assert manifests[0]["metadata"]["name"] == name
    assert container(manifests[1])["args"][0] == model


def shape(value: object) -> object:
    """Keys and lengths, without the values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def test_a_name_that_a_template_does_not_know_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="budget"):
        render("ledger.yaml.j2", name="a", namespace="b", owner=[])


def test_only_plain_data_is_written():
    with pytest.raises(TypeError, match="not plain data"):
        render("gateway/serviceaccount.yaml.j2", name=default_profiles()["l4-24gb"], namespace="models")


def test_two_profiles_of_one_name_are_refused():
    one = default_profiles()["l4-24gb"]
    with pytest.raises(ValueError, match="l4-24gb is there twice"):
        by_name([one, one])
