"""The chart's own suites, which `helm unittest charts/spillway` runs where that plugin is."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

from go_programs import go_program
from helm_program import CHART, helm

SUITES = sorted((CHART / "tests").glob("*_test.yaml"))


def test_the_charts_suites_pass():
    done = subprocess.run(
        [go_program("helm-unittest"), "--strict", CHART], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    found = re.search(r"Test Suites: (\d+) passed, (\d+) total", done.stdout)
    assert found, done.stdout
    assert found.groups() == (str(len(SUITES)), str(len(SUITES)))


def test_the_packaged_chart_has_what_helm_test_runs_and_not_its_suites(tmp_path: Path):
    done = helm("package", str(CHART), f"--destination={tmp_path}", home=tmp_path)
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("spillway-*.tgz")
    with tarfile.open(package) as archive:
        names = archive.getnames()
    assert "spillway/templates/tests/chat.yaml" in names
    assert [name for name in names if name.startswith("spillway/tests")] == []
    assert {name.partition("/")[2].partition("/")[0] for name in names} == {
        ".helmignore",
        "Chart.yaml",
        "README.md",
        "files",
        "templates",
        "values.schema.json",
        "values.yaml",
    }
