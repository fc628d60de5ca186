"""`make prove` in its short form: everything is broken once, and every invariant holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
BROKEN = (
    *("gateway killed with -9", "gateway drained by SIGTERM", "API server away", "engine killed", "all engines killed"),
    *("ceiling lowered and raised", "mayLeave emptied and restored", "target removed and restored"),
    *("mode Shadow and Enabled", "cloud 429", "cloud breaks off", "cloud without usage", "cloud refuses connections"),
)


def test_every_invariant_holds_while_everything_breaks():
    made = subprocess.run(
        [sys.executable, "-m", "bench.prove", "--requests=2000", "--seed=5", "--minutes=0.4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert made.stdout, made.stderr
    result = json.loads(made.stdout.splitlines()[-1])
    assert made.returncode == 0, f"{result}\n{made.stderr}"
    assert result["requests"] > 300
    assert result["sent_to_clouds"] > 20
    assert all(result["faults"][name] >= 1 for name in BROKEN)
    invariants = (
        "sensitive_sent",
        "unsettled",
        "unaudited",
        "failed_that_could_be_saved",
        "credentials_crossed",
        "bugs",
    )
    assert {name: result[name] for name in invariants} == dict.fromkeys(invariants, 0)
    assert float(result["overshoot_usd"]) == 0
