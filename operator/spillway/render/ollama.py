"""What runs for one LLMDeployment whose engine is Ollama.

Ollama serves what is in its store, and a store is filled through a server. So an init container starts one, lets it
make the store, with the model under the name that clients use, and ends it; the engine then serves that store, which it
mounts read-only. Where the model comes from:

- a cache: a Job has pulled it into a store on the claim, which pods mount read-only. Theirs has links to its blobs and
  copies of its manifests, so that each may have names of its own.
- no cache: the init container pulls. It alone needs to go out, but a NetworkPolicy knows pods, not containers: such
  pods are labelled, and they alone may reach registries (`network.py`).
- pvc://: the init container reads the GGUF file.

Measured with Ollama 0.17.4: a blob may be a symbolic link to a file of another volume that is mounted read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spillway.api.v1alpha1 import LLMDeployment
from spillway.render.model import MODELS_DIRECTORY, ModelCache, Step, engine_proxy_variables, model_cache
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest, render
from spillway.sizing.ollama import ollama_variant
from spillway.sizing.plan import Plan

OLLAMA_PORT = 11434
# Ollama cuts what is in flight at SIGTERM, so its pod waits before that for as long as vLLM would drain.
DRAIN_SECONDS = 120
# Without a limit Ollama starts a thread for each core of the node, and they spin while others run.
CPU_CORES = "2"

# Run in /bin/sh of the engine's image. Names come as variables: nothing of an object is in a script.
_SERVE = """\
set -eu
ollama serve &
until ollama list >/dev/null 2>&1; do kill -0 $!; sleep 0.2; done
"""
_END = """\
kill $!
wait
"""
_NAME = """\
[ "$SPILLWAY_MODEL" = "$SPILLWAY_SERVED_NAME" ] || ollama cp "$SPILLWAY_MODEL" "$SPILLWAY_SERVED_NAME"
"""
_PULL = f"""{_SERVE}ollama pull "$SPILLWAY_MODEL"
{_NAME}{_END}"""
_CREATE = f"""{_SERVE}echo "FROM $SPILLWAY_MODEL" > /tmp/Modelfile
ollama create "$SPILLWAY_SERVED_NAME" -f /tmp/Modelfile
{_END}"""
_LINK = f"""set -eu
mkdir -p "$OLLAMA_MODELS/blobs"
cp -R "$SPILLWAY_STORE/manifests" "$OLLAMA_MODELS/"
for blob in "$SPILLWAY_STORE"/blobs/*; do ln -sf "$blob" "$OLLAMA_MODELS/blobs/"; done
{_SERVE}{_NAME}{_END}"""
# Once: what is there is not asked for again, nor need the registry be there for it. The manifest is written last, so a
# pull that was cut has none. What it tells in the end is what `spillway fetch` tells.
_PULL_ONCE = f"""{_SERVE}ollama show "$SPILLWAY_MODEL" >/dev/null 2>&1 || ollama pull "$SPILLWAY_MODEL"
{_END}kib=$(du -sk "$OLLAMA_MODELS" | cut -f1)
digest=$(find "$OLLAMA_MODELS/manifests" -type f -exec cat {{}} + | sha256sum | cut -c1-12)
printf '{{"percent":100,"bytes":%s,"revision":"%s"}}' "$((kib * 1024))" "$digest" > "$SPILLWAY_TERMINATION_MESSAGE"
"""


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """What the init container makes the store of: a name to pull, a store on a claim, or a file of a claim."""

    source: str
    script: str
    claim: str = ""
    cache: ModelCache | None = None

    @property
    def is_pulled(self) -> bool:
        """Whether the engine's own pod has to go out for it."""
        return not self.claim


def render_ollama(
    values: Mapping[str, object], deployment: LLMDeployment, plan: Plan, settings: RenderSettings
) -> tuple[Manifest, ...]:
    """The Deployment and the Service of Ollama; `values` are what every engine's templates are given."""
    source = ollama_model_source(deployment)
    return (
        render(
            "ollama/deployment.yaml.j2",
            **(dict(values) | {"resources": ollama_resources(values["resources"], plan)}),
            image=deployment.spec.engine.image or settings.ollama_image,
            port=OLLAMA_PORT,
            model=source,
            proxy=engine_proxy_variables(deployment, settings) if source.is_pulled else {},
            drain_seconds=DRAIN_SECONDS,
        ),
        render("engine/service.yaml.j2", **values, port=OLLAMA_PORT),
    )


def ollama_model_source(deployment: LLMDeployment) -> OllamaModel:
    """Where the model of `deployment` comes from for the engine's pod."""
    scheme, place = deployment.spec.model.uri.split("://", 1)
    if scheme == "pvc":
        claim, _, path = place.partition("/")
        return OllamaModel(f"{MODELS_DIRECTORY}/{path}", _CREATE, claim)
    cache = model_cache(deployment)
    if cache is not None:
        return OllamaModel(registry_name(deployment), _LINK, cache.claim, cache)
    return OllamaModel(registry_name(deployment), _PULL)


def registry_name(deployment: LLMDeployment) -> str:
    """What is pulled; Ollama itself pulls GGUF files of the Hugging Face Hub.

    https://huggingface.co/docs/hub/ollama
    """
    scheme, place = deployment.spec.model.uri.split("://", 1)
    return f"hf.co/{place}:{ollama_variant(deployment).value}" if scheme == "hf" else place


def pull_steps(deployment: LLMDeployment, settings: RenderSettings) -> tuple[Step, ...]:
    """One container that pulls the model into a store on the claim; nothing where nothing is downloaded onto one.

    Ollama says nowhere in numbers how far a pull is, so it is one step.
    """
    cache = model_cache(deployment)
    if cache is None:
        return ()
    environment = {
        "OLLAMA_HOST": f"127.0.0.1:{OLLAMA_PORT}",
        "OLLAMA_MODELS": cache.directory,
        "OLLAMA_NO_CLOUD": "1",
        # what was pulled before a cut is not deleted by the server that goes on
        "OLLAMA_NOPRUNE": "1",
        "SPILLWAY_MODEL": registry_name(deployment),
        "SPILLWAY_TERMINATION_MESSAGE": "/dev/termination-log",
        **engine_proxy_variables(deployment, settings),
    }
    image = deployment.spec.engine.image or settings.ollama_image
    return (Step("pull", image, command=("/bin/sh", "-c", _PULL_ONCE), env=environment, takes_variables=True),)


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
