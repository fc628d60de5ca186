"""What runs for one LLMDeployment whose engine is Ollama.

Ollama serves what is in its store, and a store is filled through a server. So an init container starts one, lets it
pull the model (or read the GGUF file of a claim) under the name that clients use, and ends it; the engine then serves
that store, which it mounts read-only. Only the init container needs to go out, but a NetworkPolicy knows pods alone:
the pods of a model that is pulled are labelled, and they alone may reach registries (`network.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spillway.api.v1alpha1 import LLMDeployment
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest, render
from spillway.sizing.ollama import ollama_variant
from spillway.sizing.plan import Plan

OLLAMA_PORT = 11434
# Ollama cuts what is in flight at SIGTERM, so its pod waits before that for as long as vLLM would drain.
DRAIN_SECONDS = 120
# Without a limit Ollama starts a thread for each core of the node, and they spin while others run.
CPU_CORES = "2"

# Runs in /bin/sh of the engine's image. The model and its name come as variables: nothing of an object is in a script.
_PULL = """\
set -eu
ollama serve &
until ollama list >/dev/null 2>&1; do kill -0 $!; sleep 0.2; done
ollama pull "$SPILLWAY_MODEL"
[ "$SPILLWAY_MODEL" = "$SPILLWAY_SERVED_NAME" ] || ollama cp "$SPILLWAY_MODEL" "$SPILLWAY_SERVED_NAME"
kill $!
wait
"""
_CREATE = """\
set -eu
ollama serve &
until ollama list >/dev/null 2>&1; do kill -0 $!; sleep 0.2; done
echo "FROM $SPILLWAY_MODEL" > /tmp/Modelfile
ollama create "$SPILLWAY_SERVED_NAME" -f /tmp/Modelfile
kill $!
wait
"""


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """What the init container makes the store of: a name to pull, or a file of a claim."""

    source: str
    script: str
    claim: str = ""

    @property
    def is_pulled(self) -> bool:
        """Whether the pod has to go out for it."""
        return not self.claim


def render_ollama(
    values: Mapping[str, object], deployment: LLMDeployment, plan: Plan, settings: RenderSettings
) -> tuple[Manifest, ...]:
    """The Deployment and the Service of Ollama; `values` are what every engine's templates are given."""
    return (
        render(
            "ollama/deployment.yaml.j2",
            **(dict(values) | {"resources": ollama_resources(values["resources"], plan)}),
            image=deployment.spec.engine.image or settings.ollama_image,
            port=OLLAMA_PORT,
            model=ollama_model_source(deployment),
            drain_seconds=DRAIN_SECONDS,
        ),
        render("engine/service.yaml.j2", **values, port=OLLAMA_PORT),
    )


def ollama_model_source(deployment: LLMDeployment) -> OllamaModel:
    """Where the model of `deployment` comes from; Ollama itself pulls GGUF files of the Hugging Face Hub.

    https://huggingface.co/docs/hub/ollama
    """
    scheme, place = deployment.spec.model.uri.split("://", 1)
    if scheme == "pvc":
        claim, _, path = place.partition("/")
        return OllamaModel(f"/models/{path}", _CREATE, claim)
    if scheme == "hf":
        return OllamaModel(f"hf.co/{place}:{ollama_variant(deployment).value}", _PULL)
    return OllamaModel(place, _PULL)


def ollama_resources(common: object, plan: Plan) -> dict[str, dict[str, str]]:
    """`common` requests and limits, with cores as a limit too, which is what Ollama takes its threads from.

    On a processor the plan's memory is kept for it unless another amount is stated.
    """
    assert isinstance(common, dict)
    limits, requests = dict(common["limits"]), dict(common["requests"])
    if not plan.profile.has_accelerator:
        requests.setdefault("cpu", CPU_CORES)
        if plan.memory_required_bytes is not None:
            requests.setdefault("memory", f"{-(-plan.memory_required_bytes // 1024**2)}Mi")
    if "cpu" in requests:
        limits["cpu"] = requests["cpu"]
    return {"limits": limits, "requests": requests}
