"""What is sure to keep a cluster from running is named before anything is started, and nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from e2e import __main__ as program
from e2e import docker, precondition

from spillway.errors import SetupError

ROOT = Path(__file__).parents[2]
NO_CGROUPS = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o ro none /sys/fs/cgroup; exec "$@"', "sh"]
NO_KERNEL_LOG = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev; mknod /dev/null c 1 3; exec "$@"', "sh"]


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "answers", lambda: False)


def asked(tmp_path: Path, *within: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """`python -m e2e obstacle` as a machine without a Docker answers it, `within` less than this machine gives."""
    variables = {"HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/none", "PATH": path, "PYTHONPATH": "tests"}
    return subprocess.run(
        [*within, sys.executable, "-m", "e2e", "obstacle"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.usefixtures("no_docker")
def test_who_is_not_root_and_has_no_docker_is_told_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert precondition.obstacle() == "no Docker answers this user, and only root can start one"


def test_docker_and_a_registry_are_enough_for_anybody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(docker, "answers", lambda: True)
    monkeypatch.setattr(docker, "registry_answers", lambda: True)
    assert precondition.obstacle() is None
    monkeypatch.setattr(docker, "registry_answers", lambda: False)
    assert "only root can make a node's image" in (precondition.obstacle() or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gets as far as these")
@pytest.mark.parametrize(
    ("within", "told"),
    [
        (["setpriv", "--bounding-set", "-sys_admin"], "no namespaces may be made: "),
        (["setpriv", "--bounding-set", "-net_admin"], "no network bridge can be made: "),
        (NO_CGROUPS, "no cgroup can be made: "),
        (NO_KERNEL_LOG, "a kubelet needs the kernel's log: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_machine_does_not_allow_is_told_in_one_line(tmp_path: Path, within: list[str], told: str):
    if (already := precondition.obstacle()) is not None:
        pytest.skip(f"no cluster can run here: {already}")
    done = asked(tmp_path, *within)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(told)
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.rglob("docker*")), "nothing was fetched or started"


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gets as far as this")
def test_a_machine_without_debians_programs_is_told_which(tmp_path: Path):
    done = asked(tmp_path, path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "this machine has no apt-get and no dpkg-deb and no unshare" in done.stdout


@pytest.mark.usefixtures("no_docker")
def test_nothing_is_started_where_something_is_in_the_way(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precondition, "obstacle", lambda: "no moon")
    monkeypatch.setattr(docker, "start", lambda: pytest.fail("Docker was started"))
    with pytest.raises(SetupError, match="no cluster can run here: no moon"):
        program.up()


@pytest.mark.skipif(shutil.which("bash") is None, reason=".ci/run is a bash script")
@pytest.mark.parametrize(
    ("answer", "code", "stories", "said"),
    [
        ("echo", 0, True, ""),
        ("echo no moon", 0, False, "make e2e is left out: no moon"),
        ("false", 1, False, ""),
    ],
    ids=["no obstacle", "an obstacle", "it could not be found out"],
)
def test_ci_leaves_the_stories_out_for_an_obstacle_alone(
    tmp_path: Path, answer: str, code: int, stories: bool, said: str
):
    """With a `make` that notes what it is asked for, and knows the obstacle."""
    make = tmp_path / "make"
    make.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\ncase "$*" in *e2e-obstacle*) {answer} || exit 2;; esac\n'
    )
    make.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci/run"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode != 0) == bool(code)
    targets = (tmp_path / "asked").read_text().splitlines()
    assert targets[:4] == ["setup", "check", "verify", "test"]
    assert ("e2e" in targets) == stories
    assert said in done.stdout
