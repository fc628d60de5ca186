"""What every story stands on, and what is told when one fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
from e2e import cluster, release
from e2e.stories.outside import CLOUD_NAMESPACE, open_all
from e2e.stories.world import Team

_TEAMS: list[Team] = []
_SHOWN = "llmdep,pods,deployments,services,networkpolicies,jobs,pvc,llmledgers"


@pytest.fixture(scope="session", autouse=True)
def _stage() -> None:
    open_all()


@pytest.fixture
def team() -> Iterator[Team]:
    """A namespace of the story's own."""
    with _opened() as team:
        yield team


@pytest.fixture
def another_team() -> Iterator[Team]:
    """A second namespace."""
    with _opened() as team:
        yield team


@contextmanager
def _opened() -> Iterator[Team]:
    team = Team()
    _TEAMS.append(team)
    team.open()  # where it fails, the namespace stays for the report
    try:
        yield team
    finally:
        team.close()
        _TEAMS.remove(team)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """When a story fails, put objects, events and logs into the report, and say at once what failed."""
    report = yield
    if report.failed:
        for team in _TEAMS:
            report.sections.append((f"namespace {team.name}", _told_of(team.name)))
        for namespace in (release.NAMESPACE, CLOUD_NAMESPACE):
            report.sections.append((f"namespace {namespace}", _told_of(namespace)))
        report.sections.append(("node", _told("describe", "nodes")))
    screen = item.config.pluginmanager.get_plugin("terminalreporter")
    if report.failed and screen is not None:
        screen.write_line(f"\n{report.longreprtext}")
    return report


def _told_of(namespace: str) -> str:
    """Its objects, its events and the ends of all its logs."""
    here = ("-n", namespace)
    told = [
        _told("get", _SHOWN, *here, "-o", "wide"),
        _told("get", "llmdep", *here, "-o", "yaml"),
        _told("get", "events", *here, "--sort-by=.lastTimestamp"),
    ]
    for pod in cluster.try_kubectl("get", "pods", *here, "-o", "name").stdout.split():
        told += [f"-- {pod}", _told("logs", *here, pod, "--all-containers", "--tail=60")]
        told += [_told("logs", *here, pod, "--all-containers", "--tail=20", "--previous")]
    return "\n".join(told)


def _told(*arguments: str) -> str:
    done = cluster.try_kubectl(*arguments)
    return done.stdout or done.stderr
