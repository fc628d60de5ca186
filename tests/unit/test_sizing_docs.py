"""What docs/sizing.md prints is what the code says now; SPILLWAY_UPDATE_GOLDEN=1 writes it anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spillway.api.v1alpha1 import parse_deployment
from spillway.cli import app
from spillway.errors import DoesNotFit
from spillway.sizing.formats import format_table
from spillway.sizing.hardware import hardware_rows, hardware_table
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import default_profiles

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "sizing.md"
SAMPLE = "manifests/samples/chat.yaml"


def plan_block() -> str:
    printed = CliRunner().invoke(app, ["plan", str(ROOT / SAMPLE)]).output
    lines = [line.rstrip() for line in printed.splitlines()]
    return "\n".join(["```console", f"$ spillway plan {SAMPLE}", *lines]).rstrip() + "\n```\n"


def misfit_block() -> str:
    spec = {
        "model": {"uri": "hf://meta-llama/Llama-3.1-8B-Instruct"},
        "contextLength": 65536,
        "memoryCheck": "Enforce",
        "accelerator": {"profile": "l4-24gb", "count": 1},
    }
    kind = {"apiVersion": "spillway.dev/v1alpha1", "kind": "LLMDeployment", "metadata": {"name": "long"}}
    with pytest.raises(DoesNotFit) as caught:
        plan_deployment(parse_deployment(kind | {"spec": spec}), default_profiles())
    said = str(caught.value).replace(": weights", ":\nweights").replace("; ", ";\n").replace(", or ", ",\nor ")
    return f"```\n{said}\n```\n"


@pytest.mark.parametrize(
    ("block", "now"),
    [("plan", plan_block), ("formats", format_table), ("misfit", misfit_block), ("hardware", hardware_table)],
)
def test_the_page_prints_what_the_code_says(block, now):
    page, written = PAGE.read_text(), now()
    pattern = re.compile(rf"(?s)(?<=<!-- {block} -->\n).*?(?=<!-- end -->)")
    if os.environ.get("SPILLWAY_UPDATE_GOLDEN") == "1":
        PAGE.write_text(pattern.sub(lambda _: written, page, count=1))
    assert pattern.findall(PAGE.read_text()) == [written]


@pytest.mark.parametrize(
    ("size", "stored", "gigabytes"),
    [("7B", "4 bits", 6), ("7B", "16 bits", 16), ("13B", "4 bits", 10), ("70B", "4 bits", 40), ("70B", "16 bits", 140)],
)
def test_the_rule_of_thumb_is_the_weights_rounded_up_to_a_device(size: str, stored: str, gigabytes: int):
    (row,) = [row for row in hardware_rows() if (row.size, row.stored) == (size, stored)]
    assert row.rule_gigabytes == gigabytes
    assert row.alone.devices == 1
    assert row.alone.device_gigabytes == pytest.approx(gigabytes, rel=0.1)
    assert row.alone.weight_bytes < row.alone.device_gigabytes * 1e9


def test_a_plan_needs_more_than_the_weights_and_no_more_than_there_is():
    for row in hardware_rows():
        assert row.needed_bytes > row.alone.weight_bytes * 1.1
        assert row.needed_bytes <= row.count * row.profile.memory_gib * 2**30 * 0.92
