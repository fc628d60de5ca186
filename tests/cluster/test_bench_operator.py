"""The operator's benchmark, in its smallest form: that it measures, not what."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]


def test_the_last_line_is_the_result_and_a_calm_operator_writes_nothing():
    made = subprocess.run(
        [sys.executable, "-m", "bench.operator", "--objects=4", "--samples=3", "--rest-seconds=5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout.splitlines()[-1])
    for latencies in (result["deployment_ms"], result["first_of_namespace_ms"], result["back_to_back_ms"]):
        assert 0 < latencies["p50"] <= latencies["p95"]
    assert result["thousand_seconds"] > 0
    assert (result["writes_per_second_at_rest"], result["writes_after_restart"]) == (0, 0)
    assert result["requests_per_second_at_rest"] < 5
    assert result["operator_cpu_seconds"] > 0
    assert result["operator_rss_mib"] > 10
