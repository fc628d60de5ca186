"""What every story stands on, and what is told when one fails."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import pytest
from e2e import cluster, release
from e2e.shell import CommandFailed
from e2e.stories.outside import open_cloud, open_hub
from e2e.stories.world import Team, offer_gpus

GPUS = 8
_TEAMS: list[Team] = []


@pytest.fixture(scope="session", autouse=True)
def _stage() -> None:
    """A node that says that it has GPUs, and a cloud that records."""
    offer_gpus(GPUS)
    open_cloud()
    open_hub()


@pytest.fixture
def team() -> Iterator[Team]:
    """A namespace of the story's own."""
    team = Team()
    _TEAMS.append(team)
    team.open()
    yield team
    team.close()
    _TEAMS.remove(team)


@pytest.fixture
def another_team() -> Iterator[Team]:
    """A second namespace."""
    team = Team()
    _TEAMS.append(team)
    team.open()
    yield team
    team.close()
    _TEAMS.remove(team)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """When a story fails, put its objects, events and logs into the report, and say at once what failed."""
    report = yield
    if report.when == "call" and report.failed:
        for team in _TEAMS:
            report.sections.append((f"namespace {team.name}", _told_of(team.name)))
        report.sections.append(("operator", _log(release.NAMESPACE, "deployment/spillway-operator")))
    screen = item.config.pluginmanager.get_plugin("terminalreporter")
    if report.failed and screen is not None:
        screen.write_line(f"\n{report.longreprtext}")
    return report


def _told_of(namespace: str) -> str:
    asked: list[Callable[[], str]] = [
        lambda: cluster.kubectl("get", "llmdep,pods,deployments,jobs,pvc,llmledgers", "-n", namespace, "-o", "wide"),
        lambda: cluster.kubectl("get", "llmdep", "-n", namespace, "-o", "yaml"),
        lambda: cluster.kubectl("get", "events", "-n", namespace, "--sort-by=.lastTimestamp"),
        lambda: _log(namespace, "deployment/spillway-gateway"),
    ]
    told = []
    for ask in asked:
        try:
            told.append(ask())
        except CommandFailed as failed:
            told.append(str(failed))
    return "\n".join(told)


def _log(namespace: str, what: str) -> str:
    try:
        return cluster.kubectl("logs", "-n", namespace, what, "--tail=60")
    except CommandFailed as failed:
        return str(failed)
