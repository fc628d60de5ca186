"""What brings a model onto a claim: the claim, and the Job that downloads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from spillway.api.v1alpha1 import CacheAccessMode, CacheMode, LLMDeployment, RetentionPolicy
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest, render

MODELS_DIRECTORY = "/models"
SECRETS_DIRECTORY = "/var/run/spillway/secrets"
STEPS = tuple(range(10, 100, 10))
"""Percentages at which a container of the Job ends, so that the kubelet tells how far it is (`spillway.fetch`)."""


@dataclass(frozen=True, slots=True)
class ModelCache:
    """Where a downloaded model is; all of it follows from the object alone."""

    source: str
    """Digest of uri and revision."""
    job: str
    claim: str
    directory: str
    """The model's folder, as every container sees it."""
    on_one_node: bool
    """Whether only the pods of one node can use the claim at a time."""

    @property
    def label(self) -> str:
        """What all pods that use the claim carry, so that they find one another; a name may be longer than a label."""
        return self.claim if len(self.claim) <= 63 else hashlib.sha256(self.claim.encode()).hexdigest()[:40]


def model_cache(deployment: LLMDeployment) -> ModelCache | None:
    """Where the model of `deployment` is downloaded to; None if nothing is downloaded onto a claim."""
    spec, name = deployment.spec, deployment.metadata.name
    if spec.cache.mode is CacheMode.EPHEMERAL or spec.model.uri.startswith("pvc://"):
        return None
    source = hashlib.sha256(f"{spec.model.uri}\0{spec.model.revision or ''}".encode()).hexdigest()[:10]
    readable = re.sub("[^a-z0-9.]+", "-", spec.model.uri.rsplit("/", 1)[-1].lower())[:60].strip("-.")
    return ModelCache(
        source=source,
        job=f"{name}-model-{source}",
        claim=spec.cache.claim_name or f"{name}-models",
        directory=f"{MODELS_DIRECTORY}/{readable}-{source}",
        on_one_node=spec.cache.access_mode is CacheAccessMode.READ_WRITE_ONCE,
    )


def render_model(
    values: Mapping[str, object], deployment: LLMDeployment, settings: RenderSettings
) -> tuple[Manifest, ...]:
    """The claim, where one is made, and the Job; nothing where nothing is downloaded onto a claim."""
    cache = model_cache(deployment)
    if cache is None:
        return ()
    made = deployment.spec.cache.mode is CacheMode.PERSISTENT_VOLUME
    retained = deployment.spec.cache.retention_policy is RetentionPolicy.RETAIN
    return (
        *((render("model/claim.yaml.j2", **values, cache=cache, retained=retained),) if made else ()),
        render(
            "model/job.yaml.j2",
            **values,
            cache=cache,
            image=settings.image,
            steps=[_step(deployment, cache, settings, percent) for percent in (*STEPS, 100)],
            models_directory=MODELS_DIRECTORY,
            secrets_directory=SECRETS_DIRECTORY,
        ),
    )


def _step(deployment: LLMDeployment, cache: ModelCache, settings: RenderSettings, percent: int) -> Mapping[str, object]:
    """One container: its name, and what `spillway` is started with in it."""
    model = deployment.spec.model
    arguments = ["fetch", model.uri, f"--directory={cache.directory}", "--termination-message=/dev/termination-log"]
    if model.uri.startswith("hf://"):
        arguments.append(f"--hub-endpoint={settings.hub_endpoint}")
        if model.revision:
            arguments.append(f"--revision={model.revision}")
    else:
        arguments.append(f"--s3-endpoint={settings.s3_endpoint}")
    if model.secret_ref:
        arguments.append(f"--secret-file={SECRETS_DIRECTORY}/{model.secret_ref.name}/{model.secret_ref.key}")
    if percent < 100:
        return {"name": f"fetch-{percent}", "args": [*arguments, f"--until-percent={percent}"]}
    return {"name": "fetch", "args": arguments}
