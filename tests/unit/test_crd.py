from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from crd_cases import DEPLOYMENT, DEPLOYMENT_CASES, DEPLOYMENT_CHANGES, LEDGER, LEDGER_CASES, Case, changed
from spillway.api import crd
from spillway.api.v1alpha1 import LLMDeployment, LLMLedger, parse_deployment
from spillway.errors import InvalidObject

ROOT = Path(__file__).parents[2]
CRDS = {kind.plural: crd.render_crd(kind) for kind in crd.KINDS}


def version(plural: str) -> dict[str, Any]:
    return CRDS[plural]["spec"]["versions"][0]


def schema(plural: str) -> dict[str, Any]:
    return version(plural)["schema"]["openAPIV3Schema"]


def nodes(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")


NODES = [(plural, path, node) for plural in CRDS for path, node in nodes(schema(plural), plural)]


def test_every_field_says_what_it_is():
    silent = {path for _, path, node in NODES if not node.get("description") and not path.endswith("[]")}
    assert silent == {f"{plural}.metadata" for plural in CRDS}  # the API server allows none there


def test_every_list_is_bounded_and_says_how_it_merges():
    lists = [(path, node) for _, path, node in NODES if node.get("type") == "array"]
    assert len(lists) > 5
    assert [path for path, node in lists if "maxItems" not in node or "x-kubernetes-list-type" not in node] == []
    for path, node in lists:
        if node["x-kubernetes-list-type"] == "map":
            (key,) = node["x-kubernetes-list-map-keys"]
            assert key in node["items"]["required"], path


def test_every_string_is_bounded():
    strings = [(path, node) for _, path, node in NODES if node.get("type") == "string"]
    assert [path for path, node in strings if "maxLength" not in node and "enum" not in node] == []


def test_every_integer_is_bounded_and_nothing_is_a_float():
    assert [path for _, path, node in NODES if node.get("type") == "number"] == []
    integers = [(path, node) for _, path, node in NODES if node.get("type") == "integer"]
    assert [path for path, node in integers if not {"minimum", "maximum", "format"} <= node.keys()] == []


def test_every_node_has_one_type_and_nothing_that_is_not_structural():
    kept = {"type", "properties", "items", "required", "default", *crd._KEPT}
    for _, path, node in NODES:
        assert isinstance(node["type"], str), path
        assert node.keys() <= kept, path


def test_defaults_stand_on_scalars_at_the_top_of_spec_alone():
    defaults = {path: node["default"] for _, path, node in NODES if "default" in node}
    assert defaults == {
        "llmdeployments.spec.memoryCheck": "Warn",
        "llmdeployments.spec.replicas": 1,
        "llmdeployments.spec.startupTimeoutSeconds": 1800,
        "llmdeployments.spec.suspend": False,
        "llmledgers.spec.timeZone": "Etc/UTC",
    }


def test_field_names_keep_acronyms_in_one_case():
    names = {path.rsplit(".", 1)[-1] for _, path, _ in NODES}
    assert {"baseURL", "kvCacheDType"} <= names
    assert {name for name in names if "Url" in name or "Dtype" in name} == set()


def test_crds_stay_small_enough_for_client_side_apply():
    assert sum(len(text.encode()) for text in crd.render_crds().values()) < 100_000


def test_the_generated_files_are_current(tmp_path: Path):
    for written in crd.write(tmp_path):
        committed = ROOT / "crds" / written.name
        assert committed.read_text() == written.read_text(), "run: make generate"


def test_the_generated_files_say_so_and_hold_the_crds():
    for name, text in crd.render_crds().items():
        assert "do not edit" in text.splitlines()[0]
        document = yaml.safe_load(text)
        assert f"{document['spec']['group']}_{document['spec']['names']['plural']}.yaml" == name


def test_an_llmdeployment_can_be_scaled_and_listed_by_its_short_name():
    made = CRDS["llmdeployments"]["spec"]
    assert made["names"]["shortNames"] == ["llmdep"]
    assert made["names"]["categories"] == ["spillway"]
    assert version("llmdeployments")["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def test_every_column_reads_a_field_that_exists():
    for plural in CRDS:
        paths = {path.removeprefix(plural) for _, path, _ in NODES if path.startswith(plural)}
        for column in version(plural)["additionalPrinterColumns"]:
            field = column["jsonPath"].split("[?")[0]
            assert field in paths | {".metadata.creationTimestamp"}, column


def test_columns_are_those_that_the_api_page_promises():
    columns = version("llmdeployments")["additionalPrinterColumns"]
    assert [c["name"] for c in columns if not c.get("priority")] == [
        "Model",
        "Engine",
        "Ready",
        "Reason",
        "Replicas",
        "Fallback",
        "Spend",
        "Age",
    ]
    assert [c["name"] for c in columns if c.get("priority")] == [
        "URL",
        "Quantization",
        "GPUs",
        "Local$/M",
        "Cloud$/M",
        "Cost",
    ]


def ids(cases: tuple[Case, ...]) -> list[str]:
    return [case.title for case in cases]


@pytest.mark.parametrize("case", DEPLOYMENT_CASES, ids=ids(DEPLOYMENT_CASES))
def test_the_python_model_takes_what_the_crd_takes(case: Case):
    document = changed(DEPLOYMENT, case.change)
    if not case.refused:
        parse_deployment(document)
        return
    with pytest.raises(InvalidObject) as caught:
        parse_deployment(document)
    if " must " in case.refused and "have at most" not in case.refused:
        assert case.refused in str(caught.value)


@pytest.mark.parametrize("case", LEDGER_CASES, ids=ids(LEDGER_CASES))
def test_the_python_ledger_takes_what_the_crd_takes(case: Case):
    document = changed(LEDGER, case.change)
    if not case.refused:
        LLMLedger.model_validate(document)
        return
    with pytest.raises(ValidationError):
        LLMLedger.model_validate(document)


def test_every_rule_has_a_case_that_it_refuses():
    rules = {
        rule["message"]
        for plural, path, node in NODES
        for rule in node.get("x-kubernetes-validations", ())
        if (plural == "llmdeployments" and ".status" not in path) or (plural == "llmledgers" and ".spec" in path)
    }
    refused = [case.refused for case in (*DEPLOYMENT_CASES, *LEDGER_CASES, *DEPLOYMENT_CHANGES) if case.refused]
    assert len(rules) > 15
    assert {message for message in rules if not any(part in message for part in refused)} == set()


def test_money_keeps_every_digit():
    deployment = parse_deployment(changed(DEPLOYMENT, {"spec.budget.limit": "123456789.123456"}))
    assert deployment.spec.budget is not None
    assert str(deployment.spec.budget.limit) == "123456789.123456"
    assert deployment.model_dump(mode="json", exclude_unset=True)["spec"]["budget"]["limit"] == "123456789.123456"


def test_what_an_api_server_adds_to_metadata_and_status_is_ignored():
    document = changed(
        DEPLOYMENT,
        {
            "metadata.managedFields": [{}],
            "metadata.uid": "u",
            "metadata.generation": 3,
            "status": {"conditions": [], "someday": {"x": 1}},
        },
    )
    deployment = LLMDeployment.model_validate(document)
    assert (deployment.metadata.uid, deployment.metadata.generation) == ("u", 3)
    assert deployment.status is not None


def test_a_status_from_a_later_version_does_not_make_an_object_unreadable():
    document = changed(DEPLOYMENT, {"status": {"fallback": {"state": "Dreaming"}}})
    assert parse_deployment(document).status is None
    with pytest.raises(InvalidObject, match=r"spec\.replicas"):
        parse_deployment(changed(document, {"spec.replicas": -1}))


def test_absent_parts_of_spec_are_there_with_their_defaults():
    spec = parse_deployment(
        changed(DEPLOYMENT, {"spec": {"model": {"uri": "hf://a/b"}, "accelerator": {"profile": "x"}}})
    ).spec
    assert spec.data_policy.default_class == "Sensitive"
    assert spec.data_policy.may_leave == ()
    assert spec.data_policy.detectors == ("PII", "Secrets")
    assert (spec.slo.time_to_first_token_milliseconds, spec.slo.time_per_output_token_milliseconds) == (2000, 100)
    assert (spec.queue.max_requests, spec.queue.max_wait_seconds) == (100, 30)
    assert spec.fallback.mode == "Disabled"
    assert len(spec.fallback.reasons) == 4
    assert (spec.replicas, spec.budget, spec.access) == (1, None, None)


@pytest.mark.parametrize("served_name", [None, "Qwen/Qwen2.5"])
def test_the_model_is_called_as_stated_or_as_its_object(served_name: str | None):
    change = {} if served_name is None else {"spec.model.servedName": served_name}
    assert parse_deployment(changed(DEPLOYMENT, change)).model_name == (served_name or "chat")
