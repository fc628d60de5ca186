"""What brings a model onto a claim: the claim, and the Job that downloads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spillway.api.v1alpha1 import CacheAccessMode, CacheMode, EngineType, LLMDeployment, RetentionPolicy
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest, render
from spillway.settings import HUB_ENDPOINT, S3_ENDPOINT
from spillway.sizing.ollama import ollama_variant

MODELS_DIRECTORY = "/models"
SECRETS_DIRECTORY = "/var/run/spillway/secrets"
STEPS = tuple(range(10, 100, 10))
"""Percentages at which a container of the Job ends, so that the kubelet tells how far it is (`spillway.fetch`)."""


@dataclass(frozen=True, slots=True)
class ModelCache:
    """Where a downloaded model is; all of it follows from the object alone."""

    source: str
    """Digest of what is downloaded: uri, revision, and the variant where a repository has several."""
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
    wanted = f"{spec.model.uri}\0{spec.model.revision or ''}"
    if spec.engine.type is EngineType.OLLAMA:
        wanted += f"\0{ollama_variant(deployment).value}"
    source = hashlib.sha256(wanted.encode()).hexdigest()[:10]
    readable = re.sub("[^a-z0-9.]+", "-", spec.model.uri.rsplit("/", 1)[-1].lower())[:60].strip("-.")
    return ModelCache(
        source=source,
        job=f"{name}-model-{source}",
        claim=spec.cache.claim_name or f"{name}-models",
        directory=f"{MODELS_DIRECTORY}/{readable}-{source}",
        on_one_node=spec.cache.access_mode is CacheAccessMode.READ_WRITE_ONCE,
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One container of the Job; without a `command` it is the image's own program."""

    name: str
    image: str
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    takes_variables: bool = False
    """Whether the variables that the object states are for it as well."""


def render_model(
    values: Mapping[str, object], deployment: LLMDeployment, steps: Sequence[Step], settings: RenderSettings
) -> tuple[Manifest, ...]:
    """The claim, where one is made, and the Job of `steps`; nothing where nothing is downloaded onto a claim."""
    cache = model_cache(deployment)
    if cache is None:
        return ()
    made = deployment.spec.cache.mode is CacheMode.PERSISTENT_VOLUME
    retained = deployment.spec.cache.retention_policy is RetentionPolicy.RETAIN
    return (
        *((render("model/claim.yaml.j2", **values, cache=cache, retained=retained),) if made else ()),
        render(
            "model/job.yaml.j2",
            **{**values, "pull_secrets": pull_secrets(deployment, steps, settings)},
            cache=cache,
            steps=steps,
            models_directory=MODELS_DIRECTORY,
            secrets_directory=SECRETS_DIRECTORY,
        ),
    )


def pull_secrets(
    deployment: LLMDeployment, steps: Sequence[Step], settings: RenderSettings
) -> list[Mapping[str, object]]:
    """What the images of `steps` are pulled with: the object's Secrets, and for Spillway's own the administrator's."""
    own = settings.gateway_pod.image_pull_secrets if any(step.image == settings.image for step in steps) else ()
    names = dict.fromkeys((*(secret.name for secret in deployment.spec.engine.image_pull_secrets), *own))
    return [{"name": name} for name in names]


def fetch_steps(deployment: LLMDeployment, settings: RenderSettings) -> tuple[Step, ...]:
    """`spillway fetch`, a container for each tenth; nothing where nothing is downloaded onto a claim."""
    cache = model_cache(deployment)
    if cache is None:
        return ()
    return tuple(_fetch_step(deployment, cache, settings, percent) for percent in (*STEPS, 100))


def _fetch_step(deployment: LLMDeployment, cache: ModelCache, settings: RenderSettings, percent: int) -> Step:
    model = deployment.spec.model
    arguments = ["fetch", model.uri, f"--directory={cache.directory}", "--termination-message=/dev/termination-log"]
    if model.uri.startswith("hf://"):
        is_public = settings.hub_endpoint == HUB_ENDPOINT
        arguments.append(f"--hub-endpoint={settings.hub_endpoint}")
        if model.revision:
            arguments.append(f"--revision={model.revision}")
    else:
        is_public = settings.s3_endpoint == S3_ENDPOINT
        arguments.append(f"--s3-endpoint={settings.s3_endpoint}")
    if model.secret_ref:
        arguments.append(f"--secret-file={SECRETS_DIRECTORY}/{model.secret_ref.name}/{model.secret_ref.key}")
    name = "fetch"
    if percent < 100:
        name, arguments = f"fetch-{percent}", [*arguments, f"--until-percent={percent}"]
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    return Step(name, settings.image, tuple(arguments), env=quiet | (proxy_variables(settings) if is_public else {}))


def proxy_variables(settings: RenderSettings) -> dict[str, str]:
    """What tells a download from a public hub or store to go through the administrator's proxy."""
    return {"HTTPS_PROXY": settings.egress_proxy_url} if settings.egress_proxy_url else {}


def engine_proxy_variables(deployment: LLMDeployment, settings: RenderSettings) -> dict[str, str]:
    """The same for containers that take the variables of the object as well: what that states itself is left to it."""
    stated = {variable.name for variable in deployment.spec.engine.env}
    return {name: value for name, value in proxy_variables(settings).items() if name not in stated}
