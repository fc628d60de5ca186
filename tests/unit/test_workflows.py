"""The workflows of GitHub Actions, by actionlint; the release workflow has never run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from go_programs import go_program, version
from helm_program import ROOT
from spillway import __version__

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = (ROOT / ".github/workflows/release.yml").read_text()


def actionlint(path: Path) -> subprocess.CompletedProcess[str]:
    # shellcheck and pyflakes are not on every machine
    options = ["-no-color", "-shellcheck=", "-pyflakes="]
    return subprocess.run(
        [go_program("actionlint"), *options, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actionlint_finds_nothing_to_say(path: Path):
    done = actionlint(path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_wrong_is_found(tmp_path: Path):
    file = tmp_path / "release.yml"
    file.write_text(RELEASE.replace("needs.version.outputs.version", "needs.version.outputs.versoin"))
    done = actionlint(file)
    assert done.returncode == 1
    assert "versoin" in done.stdout


def test_the_release_looks_for_the_version_where_it_is():
    patterns = re.findall(r'grep -qx? "(.+)" (\S+)', RELEASE)
    assert len(patterns) == 5
    for pattern, file in patterns:
        looked_for = pattern.replace("$version", __version__).replace('\\"', '"').replace("\\$", "$")
        if file != "CHANGELOG.md":  # its heading is written when a release is made
            assert re.search(f"(?m){looked_for}", (ROOT / file).read_text()), file


def test_the_release_takes_the_helm_that_the_chart_is_tested_with():
    assert f"version: {version('helm')}" in RELEASE
