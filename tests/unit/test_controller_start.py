"""How the operator's process starts."""

from __future__ import annotations

import asyncio
import getpass
from typing import NoReturn

import kopf
import pytest

from spillway.controller.start import _watch, make_policy
from spillway.settings import OperatorSettings


async def test_it_starts_as_a_user_that_has_no_name(monkeypatch: pytest.MonkeyPatch):
    def nobody() -> NoReturn:
        raise OSError("No username set in the environment")

    class Begun(Exception):
        pass

    async def begin(*_: object, **given: object) -> NoReturn:
        raise Begun(str(given["identity"]))

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr("kopf._core.reactor.running.spawn_tasks", begin)
    with pytest.raises(Begun, match="spillway-operator"):
        await _watch(kopf.Memo(), OperatorSettings(health_port=0), asyncio.Event())  # type: ignore[arg-type]


@pytest.mark.parametrize(("namespaces", "namespaced"), [((), False), (("team-a",), True)])
def test_with_listed_namespaces_gateways_get_roles_of_theirs(namespaces: tuple[str, ...], namespaced: bool):
    assert make_policy(OperatorSettings(namespaces=namespaces)).render.namespaced == namespaced
