"""The image, as far as it can be held without building it: its parts are there, pinned, and fit what runs it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from spillway import __version__

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "operator/Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = ROOT / "operator/requirements.lock"


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def locked(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes of each package of a lock file."""
    entries = re.split(r"\n(?=\S)", path.read_text())
    found = (re.match(r"([\w.-]+)==(\S+)", entry) for entry in entries)
    pairs = [(match, entry) for match, entry in zip(found, entries, strict=True) if match]
    return {match[1]: (match[2], frozenset(re.findall(r"sha256:\w{64}", entry))) for match, entry in pairs}


def normal(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def test_what_is_copied_is_there_and_nothing_else_is_sent_to_the_builder():
    copied = {source for line in instructions("COPY") if not line.startswith("--from") for source in line.split()[:-1]}
    assert [source for source in copied if not (ROOT / source).exists()] == []
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied


def test_it_runs_as_the_user_that_the_pods_name():
    (user,) = instructions("USER")
    pod = yaml.safe_load((ROOT / "manifests/base/operator.yaml").read_text())["spec"]["template"]["spec"]
    context = pod["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert user.split(":")[0] != "0"


def test_what_it_runs_is_the_program_and_no_shell():
    (entrypoint,) = instructions("ENTRYPOINT")
    assert json.loads(entrypoint) == ["spillway"]
    assert "spillway" in PROJECT["scripts"]
    assert all(isinstance(json.loads(line), list) for line in instructions("RUN"))


def test_its_base_is_one_version():
    (image,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", image)
    assert "ARG BUILD_IMAGE=${PYTHON_IMAGE}" in DOCKERFILE, "built on the same, but where the wheels are brought along"
    assert {line.split()[0] for line in instructions("FROM")} == {"${PYTHON_IMAGE}", "${BUILD_IMAGE}"}
    assert f":{__version__} ." in DOCKERFILE


def test_it_holds_what_the_program_depends_on_as_tested_and_no_tool():
    tested, shipped = locked(ROOT / "requirements.lock"), locked(LOCK)
    cure = "make lock, or: .venv/bin/uv pip compile --generate-hashes --universal --python-version 3.11 pyproject.toml"
    cure = f"{cure} --constraint requirements.lock -o operator/requirements.lock"
    assert {normal(line) for line in PROJECT["dependencies"]} <= set(shipped), cure
    assert {name: found for name, found in shipped.items() if tested.get(name) != found} == {}, cure
    assert {"pytest", "mypy", "ruff", "hypothesis", "openai"} & set(shipped) == set()


@pytest.mark.parametrize("path", sorted((ROOT / "operator").glob("*.lock")), ids=lambda path: path.name)
def test_everything_that_is_installed_is_pinned_by_hash(path: Path):
    packages = locked(path)
    assert packages
    assert [name for name, (_, hashes) in packages.items() if not hashes] == []
    installs = [line for line in instructions("RUN") if path.name in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)
