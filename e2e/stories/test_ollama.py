"""A real Ollama, with a model of random weights from a claim."""

from __future__ import annotations

import pytest
from e2e.cluster import until
from e2e.images import ollama_program
from e2e.stories.world import Team, deployment, on_ollama, put_model, spilling

pytestmark = pytest.mark.skipif(not ollama_program.can_be_had(), reason=ollama_program.NOT_HERE)


def test_a_real_ollama_answers_streams_is_saturated_and_spills(team: Team) -> None:
    put_model(team)
    team.apply(deployment(**on_ollama(slo={"timeToFirstTokenMilliseconds": 1000}, **spilling())))
    team.until_serving("chat")
    answer = team.ask("chat", max_tokens=12).seen[0]
    assert answer["done"]
    assert answer["headers"]["x-spillway-backend"].startswith("local/")
    streamed = team.ask("chat", max_tokens=12, stream=True).seen[0]
    assert streamed["done"]
    assert streamed["pieces"] > 1
    # on a fast machine as on a slow one, so many cannot all begin in a second
    crowd = team.ask("chat", max_tokens=200, count=64, parallel=64, stream=True, timeout=240)
    assert crowd.lost() == []
    assert set(crowd.backends()) == {"local", "cloud"}
    assert "Saturated" in crowd.reasons()
    until("spilling stops", lambda: team.ask("chat").backends() == ["local"], 120)


def test_a_switch_from_vllm_to_ollama_prunes_what_vllm_left(team: Team) -> None:
    put_model(team)
    # where a model is kept cannot be changed, so both are on the claim; the simulated vLLM takes any folder for a model
    team.apply(deployment(model={"uri": "pvc://models/qwen2.5-7b-instruct-awq"}, cache=None))
    team.until_serving("chat")
    before = {pod["metadata"]["name"] for pod in team.pods("engine")}
    team.patch("llmdep/chat", {"spec": on_ollama()})
    until("vLLM's pods are gone", lambda: not before & {pod["metadata"]["name"] for pod in team.pods("engine")})
    team.until_serving("chat")
    service = team.get("service", "chat-engine")
    assert service
    assert [port["port"] for port in service["spec"]["ports"]] == [11434]
    assert len(team.items("deployments", "app.kubernetes.io/component=engine")) == 1
    answer = team.ask("chat").seen[0]
    assert answer["done"]
    assert answer["headers"]["x-spillway-backend"].startswith("local/")
