"""The main job, from kubectl apply to an answer, as `make demo` runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.cluster

CLAIMS = 7


def test_the_demo_holds_what_it_claims_and_leaves_nothing_running() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spillway", "demo", "--seconds", "20", "--budget", "0.15"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    rows = [line.split("│")[1].strip() for line in done.stdout.splitlines() if line.startswith("│")]
    verdicts = [word for word in rows if word]
    assert len(verdicts) == CLAIMS, done.stdout + done.stderr
    assert "NO" not in verdicts, done.stdout
    assert done.returncode == (0 if set(verdicts) == {"yes"} else 1)
    assert "This is Spillway's engine simulator" not in done.stdout  # logs are for files
    assert "Simulated, and said so" in done.stdout
    told = [line for line in done.stdout.splitlines() if "ModelReady: Downloading: " in line]
    assert len(told) >= 3, "the download is told in percent"
    assert "ModelReady: Downloaded: revision " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    (directory,) = {line.split()[-1] for line in done.stdout.splitlines() if "files of this run" in line}
    running = subprocess.run(["pgrep", "-f", directory], capture_output=True, text=True, check=False).stdout
    assert not running, "a process of the demo outlived it"
