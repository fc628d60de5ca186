from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from spillway.api.v1alpha1 import LLMDeployment, parse_deployment
from spillway.render import RenderSettings, render_deployment, render_namespace
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import default_profiles

DATA = Path(__file__).parents[1] / "data"
SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
STORIES = sorted(path.parent for path in DATA.glob("*/input.yaml"))
SETTINGS = RenderSettings(
    image="ghcr.io/spillway-dev/spillway:golden", allowed_hosts=("llm.corp.example.com", "api.openai.com")
)


def deployments(story: Path) -> list[LLMDeployment]:
    parsed = []
    for document in yaml.safe_load_all((story / "input.yaml").read_text()):
        name = document["metadata"]["name"]
        document["metadata"] |= {"namespace": "models", "uid": f"uid-of-{name}"}
        parsed.append(parse_deployment(document))
    return parsed


def everything(story: Path) -> str:
    objects: list[dict[str, Any]] = []
    inputs = deployments(story)
    for deployment in inputs:
        objects += render_deployment(deployment, plan_deployment(deployment, default_profiles()), SETTINGS)
    objects += render_namespace("models", inputs, SETTINGS)
    return yaml.safe_dump_all(objects, sort_keys=False, width=120)


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.name)
def test_golden(story: Path):
    golden = story / "output.yaml"
    rendered = everything(story)
    if os.environ.get("SPILLWAY_UPDATE_GOLDEN") == "1":
        golden.write_text(rendered)
    assert rendered == golden.read_text()


def test_every_story_is_told_in_the_readme():
    readme = (DATA / "README.md").read_text()
    assert len(STORIES) >= 12
    assert [story.name for story in STORIES if f"| {story.name} |" not in readme] == []


@pytest.mark.parametrize(
    ("sample", "story"), [("minimal", "single-gpu"), ("chat", "awq-with-fallback"), ("cached", "cached-on-a-claim")]
)
def test_the_samples_are_stories(sample: str, story: str):
    assert (SAMPLES / f"{sample}.yaml").read_text() == (DATA / story / "input.yaml").read_text()
