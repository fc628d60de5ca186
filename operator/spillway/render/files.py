"""Where an engine finds its model."""

from __future__ import annotations

from dataclasses import dataclass

from spillway.api.v1alpha1 import LLMDeployment
from spillway.render.model import MODELS_DIRECTORY, ModelCache, model_cache


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where the engine finds the model: `argument` is what it is started with.

    Without a `claim` that holds the files, the engine's pod fetches them itself, for which it may go out.
    """

    argument: str
    revision: str = ""
    claim: str = ""
    cache: ModelCache | None = None
    """Of a model that was downloaded onto the claim."""

    @property
    def is_cached(self) -> bool:
        """Whether the files are there before the engine starts, so that it has to ask nobody for them."""
        return bool(self.claim)


def model_files(deployment: LLMDeployment) -> ModelFiles:
    """Where the engine finds the model of `deployment`."""
    cache = model_cache(deployment)
    if cache is not None:
        return ModelFiles(argument=cache.directory, claim=cache.claim, cache=cache)
    scheme, place = deployment.spec.model.uri.split("://", 1)
    if scheme == "hf":
        return ModelFiles(argument=place, revision=deployment.spec.model.revision or "")
    claim, _, path = place.partition("/")
    return ModelFiles(argument=f"{MODELS_DIRECTORY}/{path}".rstrip("/"), claim=claim)
