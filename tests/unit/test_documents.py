"""LLMDeployments of files are held to what the API server would say of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from crd_cases import DEPLOYMENT, DEPLOYMENT_CASES, REMOVED, Case, changed
from spillway.api.documents import deployments_in
from spillway.errors import InvalidObject, InvalidSetting
from spillway.gateway.files import read_files

CHAT = yaml.safe_dump(DEPLOYMENT)


@pytest.mark.parametrize("case", DEPLOYMENT_CASES, ids=[case.title for case in DEPLOYMENT_CASES])
def test_a_file_is_refused_where_the_api_server_refuses_the_object(case: Case, tmp_path: Path):
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump(changed(DEPLOYMENT, case.change)))
    if not case.refused:
        (read,) = read_files([file], "default")
        assert read.metadata.namespace == "default"
        return
    with pytest.raises(InvalidObject) as caught:
        read_files([file], "default")
    if " must " in case.refused and "have at most" not in case.refused:
        assert case.refused in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "FILE holds no object of kind LLMDeployment; write one"),
        ("kind: Pod", "FILE holds no object of kind LLMDeployment"),
        ("a: [", "FILE is no YAML"),
        (CHAT.replace("limit: '50.00'", "limit: '50.00'\n    limit: '5000.00'"), "the key 'limit' stands twice"),
        (yaml.safe_dump(changed(DEPLOYMENT, {"apiVersion": REMOVED})), "chat: apiVersion: is missing; write"),
        (CHAT.replace("limit: '50.00'", "limit: 50.00"), "chat: spec.budget.limit: budget.limit must be dollars"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_cure(text: str, said: str):
    with pytest.raises((InvalidSetting, InvalidObject)) as caught:
        deployments_in(text, "FILE", "default")
    assert said in str(caught.value)


def test_a_part_that_several_objects_share_is_no_key_that_stands_twice():
    text = "kind: Note\nbase: &b {a: 1, c: 3}\nmore: &m {<<: *b, a: 2}\nmost: {<<: *m, a: 4}\n---\n" + CHAT
    (read,) = deployments_in(text, "FILE", "default")
    assert read.metadata.name == "chat"


def test_two_objects_of_one_name_are_refused(tmp_path: Path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(CHAT)
    with pytest.raises(InvalidSetting, match=r"b\.yaml: the name 'chat' is taken by .*a\.yaml; give it another"):
        read_files([tmp_path / "a.yaml", tmp_path / "b.yaml"], "default")


def test_what_a_cluster_said_of_an_object_does_not_count_elsewhere(tmp_path: Path):
    told = {"metadata.uid": "u", "status": {"plan": {"accelerators": 8, "contextLength": 99}}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(changed(DEPLOYMENT, told)))
    (read,) = read_files([tmp_path / "a.yaml"], "default")
    assert (read.metadata.uid, read.status) == ("", None)
