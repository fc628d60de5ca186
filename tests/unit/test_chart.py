from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_values import EVERY_VALUE, NEAR
from go_programs import version
from helm_program import CHART, ROOT, helm, rendered, template
from spillway import __version__
from spillway.api.v1alpha1 import parse_deployment
from spillway.gateway_pod import GatewayPod
from spillway.settings import OperatorSettings, read_settings
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import AcceleratorProfile, Toleration, default_profiles, load_profiles

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Helm keeps what it keeps."""
    return tmp_path_factory.mktemp("helm")


@pytest.fixture(scope="session")
def default(home: Path) -> Objects:
    """What the chart comes to with its own values, but for what `helm test` adds."""
    return by_name(rendered(home, "--no-hooks"))


def by_name(documents: list[dict[str, Any]]) -> Objects:
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def base() -> Objects:
    """What manifests/base has, in its files and those of the CRDs."""
    files = [*(ROOT / "manifests/base").glob("*.yaml"), *(ROOT / "crds").glob("spillway*.yaml")]
    documents = (document for file in files for document in yaml.safe_load_all(file.read_text()))
    return by_name([document for document in documents if document.get("kind", "Kustomization") != "Kustomization"])


def pod(objects: Objects) -> dict[str, Any]:
    return objects["Deployment", "spillway-operator"]["spec"]["template"]


def environment(objects: Objects) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in pod(objects)["spec"]["containers"][0]["env"]}


def profiles_text(objects: Objects) -> str:
    return objects["ConfigMap", "spillway-profiles"]["data"]["profiles.yaml"]


# Values that are mappings of whatever a person has.
WHOLE = {
    *("profiles", "monitoring.dashboard.labels"),
    *("operator.resources", "operator.podSecurityContext", "operator.containerSecurityContext"),
}


def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    """The path of each value that somebody sets: the profiles are one."""
    for key, value in values.items():
        here = f"{path}{key}"
        if isinstance(value, dict) and value and here not in WHOLE:
            yield from leaves(value, f"{here}.")
        else:
            yield here


def at(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values[key]
    return values


def substance(found: dict[str, Any]) -> dict[str, Any]:
    """An object without what Helm adds to it, and without the operator's settings, which have a test of their own."""
    thing = copy.deepcopy(found)
    labels = thing["metadata"].pop("labels", {})
    thing["metadata"].pop("annotations", None)
    aggregated = {key: value for key, value in labels.items() if key.startswith("rbac.authorization.k8s.io/")}
    if thing["kind"] == "Deployment":
        spec = thing["spec"]["template"].pop("spec")
        thing["spec"]["template"] = spec
        container = spec["containers"][0]
        container.pop("env", None)
        assert container.pop("imagePullPolicy", "IfNotPresent") == "IfNotPresent"
        for holder, key in ((container, "volumeMounts"), (spec, "volumes")):
            holder[key] = [volume for volume in holder[key] if volume["name"] != "profiles"]
    return {**thing, "labels": aggregated}


def test_helm_lint_finds_nothing_to_say(home: Path):
    done = helm("lint", "--strict", "--quiet", str(CHART), home=home)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout


def test_helm_3_makes_of_it_what_helm_4_makes(home: Path, default: Objects):
    # Helm's Makefile links in the Kubernetes of its client library; without that, Helm 3 takes a cluster to be of 1.20.
    kubernetes = "--kube-version=1.36.0"
    done = helm("lint", "--strict", "--quiet", kubernetes, str(CHART), home=home, tool="helm3")
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout
    assert by_name(rendered(home, kubernetes, "--no-hooks", tool="helm3")) == default
    assert rendered(home, kubernetes, values=EVERY_VALUE, tool="helm3") == rendered(home, values=EVERY_VALUE)
    refused = template(home, kubernetes, values={"crds": {"enable": False}}, tool="helm3")
    assert (refused.returncode, "additional properties 'enable' not allowed" in refused.stderr) == (1, True)


def test_the_defaults_are_manifests_base(default: Objects):
    wanted = {key: substance(found) for key, found in base().items() if key[0] != "Namespace"}
    got = {key: substance(found) for key, found in default.items() if key[0] != "ConfigMap"}
    assert got == wanted


def test_the_defaults_are_the_operators_own(default: Objects):
    settings = read_settings(environment(default))
    assert settings == OperatorSettings(profiles_file=Path("/etc/spillway/profiles.yaml"))
    assert dict(load_profiles(profiles_text(default))) == dict(default_profiles())


def test_every_setting_of_the_operator_is_a_value(home: Path):
    told = {name.removeprefix("SPILLWAY_").lower() for name in environment(by_name(rendered(home, values=EVERY_VALUE)))}
    settings = {field.name for field in dataclasses.fields(OperatorSettings)}
    assert settings - told == {"health_host", "health_port"}, "the probes ask where these are by default"


def test_it_installs_the_version_that_it_comes_with(default: Objects):
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    image = f"ghcr.io/spillway-dev/spillway:{__version__}"
    for objects in (default, base()):
        container = pod(objects)["spec"]["containers"][0]
        assert (container["image"], environment(objects)["SPILLWAY_IMAGE"]) == (image, image)


def test_every_value_reaches_what_it_is_for(home: Path):
    unchanged = [value for value in leaves(VALUES) if at(EVERY_VALUE, value) == at(VALUES, value)]
    assert unchanged == ["image.digest", "crds.enabled"], "those have tests of their own"
    objects = by_name(rendered(home, values=EVERY_VALUE))
    assert read_settings(environment(objects)) == OperatorSettings(
        image="registry.example/spillway:1.2.3",
        namespaces=("team-a", "team-b"),
        profiles_file=Path("/etc/spillway/profiles.yaml"),
        allowed_hosts=("llm.example.org",),
        unlabelled_namespace_may_leave="None",
        hub_endpoint="https://hub.example.org",
        s3_endpoint="http://minio.storage:9000",
        egress_cidrs=("203.0.113.0/24",),
        egress_proxy_url="http://proxy.corp.example:3128",
        dns_namespaces=("kube-system",),
        monitoring_namespaces=("prometheus",),
        gateway_replicas=3,
        gateway_pod=GatewayPod(
            resources={"requests": {"cpu": "0.5"}, "limits": {"memory": "1Gi"}},
            node_selector={"pool": "gateways"},
            tolerations=({"key": "gateways", "operator": "Exists", "tolerationSeconds": 300},),
            affinity={"nodeAffinity": NEAR},
            priority_class_name="higher",
            annotations={"example.org/team": 'it\'s "ours"'},
            image_pull_secrets=("mirror",),
        ),
        resync_seconds=86400,
        concurrency=3,
        log_format="JSON",
        log_level="Debug",
    )
    profiles = load_profiles(profiles_text(objects))
    assert (profiles["l4-24gb"].max_count, profiles["l4-24gb"].memory_gib) == (2, 22.0)
    assert set(profiles) == set(default_profiles()) - {"a100-80gb"} | {"tiny"}

    spec = pod(objects)["spec"]
    assert spec["containers"][0]["image"] == "registry.example/spillway:1.2.3"
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    assert spec["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert spec[key] == EVERY_VALUE["operator"][key]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert pod(objects)["metadata"]["annotations"]["example.org/note"] == "yes"
    assert pod(objects)["metadata"]["labels"]["example.org/team"] == "platform"
    assert {"name": "TZ", "value": "Europe/Berlin"} in spec["containers"][0]["env"]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["containers"][0]["securityContext"]["privileged"] is False
    assert objects["ServiceAccount", "spillway-operator"]["metadata"]["annotations"] == {"example.org/role": "spillway"}

    crds = [found for (kind, _), found in objects.items() if kind == "CustomResourceDefinition"]
    assert crds
    assert not any("annotations" in crd["metadata"] for crd in crds)
    assert "ClusterRole" not in {kind for kind, _ in objects}


def test_a_proxy_by_name_needs_the_networks_that_it_is_in(home: Path):
    named = "--set=egress.proxyURL=http://proxy.corp.example:3128"
    done = helm("template", "spillway", str(CHART), named, home=home)
    assert done.returncode != 0
    assert "egress.cidrs must say where the proxy is" in done.stderr
    address = by_name(rendered(home, "--set=egress.proxyURL=http://10.0.0.9:3128"))
    assert read_settings(environment(address)).egress_proxy_url == "http://10.0.0.9:3128"


def test_crds_are_kept_by_default_and_left_out_where_they_are_not_wanted(home: Path, default: Objects):
    crds = [found for (kind, _), found in default.items() if kind == "CustomResourceDefinition"]
    assert [crd["metadata"]["annotations"]["helm.sh/resource-policy"] for crd in crds] == ["keep", "keep"]
    objects = by_name(rendered(home, "--set=crds.enabled=false"))
    assert "CustomResourceDefinition" not in {kind for kind, _ in objects}


def test_a_digest_wins_over_the_tag(home: Path):
    digest = f"sha256:{'0' * 64}"
    objects = by_name(rendered(home, f"--set=image.digest={digest}", "--set=image.tag=1.2.3"))
    assert environment(objects)["SPILLWAY_IMAGE"] == f"ghcr.io/spillway-dev/spillway@{digest}"


def test_no_allowed_host_means_none_and_not_the_operators_list(home: Path):
    objects = by_name(rendered(home, "--set-json=egress.allowedHosts=[]"))
    assert read_settings(environment(objects)).allowed_hosts == ()


def test_other_profiles_start_a_new_pod(home: Path, default: Objects):
    changed = by_name(rendered(home, "--set=profiles.l4-24gb.maxCount=1"))
    assert pod(changed) != pod(default)


def test_for_listed_namespaces_it_is_the_namespaced_overlay_in_each_and_has_no_clusterrole(home: Path):
    files = [ROOT / "manifests/overlays/namespaced/namespace" / f"{name}.yaml" for name in ("roles", "rolebinding")]
    overlay = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    documents = rendered(home, "--no-hooks", "--set=watchNamespaces={team-a,team-b}")
    for team in ("team-a", "team-b"):
        own = [document for document in documents if document["metadata"].get("namespace") == team]
        assert without_metadata(own) == without_metadata(overlay)
    assert [document["kind"] for document in documents if document["kind"].startswith("ClusterRole")] == []


def without_metadata(documents: list[dict[str, Any]]) -> Objects:
    return {key: {**found, "metadata": None} for key, found in by_name(documents).items()}


def test_a_role_gives_what_the_clusterrole_gives_and_binds_a_role(home: Path):
    cluster, names = base(), ("spillway-operator", "spillway-gateway", "spillway-view", "spillway-edit")
    roles = by_name(rendered(home, "--set=watchNamespaces={team-a}"))
    for name in names:
        rules = copy.deepcopy(cluster["ClusterRole", name]["rules"])
        for rule in rules:
            if rule["verbs"] == ["bind"]:
                assert (rule["resources"], rule["resourceNames"]) == (["clusterroles"], ["spillway-gateway"])
                rule["resources"] = ["roles"]
        assert roles["Role", name]["rules"] == rules


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"a100-80gb": None, "h100-80gb": None, "l4-24gb": None},
        {"a100-80gb": None, "h100-80gb": None, "l4-24gb": None, "tiny": {"memoryGiB": 22}},
        {
            "a100-80gb": None,
            "h100-80gb": None,
            "l4-24gb": None,
            "cpu": None,
            "box": {"memoryGiB": 8, "resourceName": ""},
        },
    ],
    ids=["all", "no GPU", "another GPU", "another CPU"],
)
def test_what_the_notes_tell_to_apply_fits_the_profiles(home: Path, options: dict[str, Any]):
    file = home / "profiles.yaml"
    file.write_text(yaml.safe_dump({"profiles": options}))
    done = helm("install", "spillway", str(CHART), "--dry-run=client", f"--values={file}", home=home)
    assert done.returncode == 0, done.stderr
    example = yaml.safe_load(done.stdout.partition("<<EOF\n")[2].partition("EOF\n")[0])
    example["metadata"]["namespace"] = "team-a"
    profiles = load_profiles(profiles_text(by_name(rendered(home, f"--values={file}"))))
    plan_deployment(parse_deployment(example), profiles)


REFUSED = (
    # (values, part of what Helm says)
    ({"egres": {"allowedHosts": []}}, "additional properties 'egres' not allowed"),
    ({"crds": {"enable": False}}, "at '/crds': additional properties 'enable' not allowed"),
    ({"operator": {"log": {"colour": "red"}}}, "at '/operator/log': additional properties 'colour' not allowed"),
    ({"crds": {"keep": "no"}}, "at '/crds/keep': got string, want boolean"),
    ({"gateway": {"replicas": "two"}}, "at '/gateway/replicas': got string, want integer"),
    ({"gateway": {"replicas": 0}}, "at '/gateway/replicas': minimum: got 0, want 1"),
    ({"egress": {"allowedHosts": "api.openai.com"}}, "at '/egress/allowedHosts': got string, want array"),
    ({"egress": {"allowedHosts": ["https://api.openai.com"]}}, "at '/egress/allowedHosts/0'"),
    ({"egress": {"unlabelledNamespaceMayLeave": "Sensitive"}}, "value must be one of 'None', 'Public', 'Internal'"),
    ({"watchNamespaces": ["Team A"]}, "at '/watchNamespaces/0'"),
    ({"profiles": {"tiny": {"maxCount": 1}}}, "missing property 'memoryGiB'"),
    ({"profiles": {"tiny": {"memoryGiB": 4, "memory": 4}}}, "additional properties 'memory' not allowed"),
    ({"profiles": {"Tiny": {"memoryGiB": 4}}}, "Tiny"),
    ({"models": {"hubEndpoint": "hub.example.org"}}, "at '/models/hubEndpoint'"),
    ({"image": {"digest": "latest"}}, "at '/image/digest'"),
)


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=lambda part: part if isinstance(part, str) else "")
def test_a_value_that_cannot_be_meant_is_refused(home: Path, values: dict[str, Any], said: str):
    done = template(home, values=values)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_schema_knows_each_value_and_no_other():
    def properties(schema: dict[str, Any], path: str = "") -> Iterator[str]:
        for key, inner in schema["properties"].items():
            here = f"{path}{key}"
            if "properties" in inner and here not in {"operator.resources", "operator.affinity"}:
                yield from properties(inner, f"{here}.")
            else:
                yield here

    assert set(properties(SCHEMA)) - {"global"} == set(leaves(VALUES))


def test_the_schema_knows_each_fact_of_a_profile():
    def facts(model: type[AcceleratorProfile | Toleration]) -> set[str]:
        return set(model.model_json_schema(by_alias=True)["properties"])

    profile = SCHEMA["$defs"]["profile"]["properties"]
    assert set(profile) == facts(AcceleratorProfile) - {"name"}
    assert set(profile["tolerations"]["items"]["properties"]) == facts(Toleration)


def test_the_readme_says_what_it_was_tested_with():
    assert f"tested with\nHelm {version('helm')} and {version('helm3')}." in (CHART / "README.md").read_text()


def test_the_readmes_examples_are_values(home: Path):
    examples = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        objects = by_name(rendered(home, values=yaml.safe_load(example)))
        assert "a100-80gb" not in load_profiles(profiles_text(objects))


def test_the_readme_describes_each_value_and_each_fact_of_a_profile():
    readme = (CHART / "README.md").read_text()
    assert [value for value in leaves(VALUES) if f"\n| `{value}` | " not in readme] == []
    assert [fact for fact in SCHEMA["$defs"]["profile"]["properties"] if f"\n| `{fact}` | " not in readme] == []
