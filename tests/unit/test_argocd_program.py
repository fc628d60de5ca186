"""What is offered to Argo CD, by Argo CD's own code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from argocd_health import CASES, Case
from go_programs import go_program

ARGOCD = Path(__file__).parents[2] / "manifests" / "argocd"
MANIFESTS = (ARGOCD / "application.yaml", ARGOCD / "applicationset.yaml")


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Argo CD's settings with what we tell people to patch into them."""
    folder = tmp_path_factory.mktemp("argocd")
    (folder / "home").mkdir()
    (folder / "argocd-cm.yaml").write_text((ARGOCD / "argocd-cm.yaml").read_text())
    return folder


def argocd(folder: Path, *args: str) -> str:
    done = subprocess.run(
        [go_program("argocd"), *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(folder / "home")},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_argo_cd_sees_the_health_of_an_object(settings: Path, case: Case):
    file = ARGOCD / "testdata" / f"{case.name}.yaml"
    options = f"--argocd-cm-path={settings / 'argocd-cm.yaml'}"
    said = argocd(settings, "admin", "settings", "resource-overrides", "health", str(file), options)
    assert said == f"STATUS: {case.status}\nMESSAGE: {case.message}\n"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_argo_cd_knows_every_field_of_what_we_offer(path: Path):
    subprocess.run([go_program("argocd-read", "argocd"), path], check=True, timeout=60)


def test_a_field_that_argo_cd_does_not_know_is_found(tmp_path: Path):
    file = tmp_path / "application.yaml"
    file.write_text((ARGOCD / "application.yaml").read_text().replace("selfHeal", "selfHeals"))
    done = subprocess.run(
        [go_program("argocd-read", "argocd"), file], check=False, timeout=60, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "selfHeals" in done.stderr
