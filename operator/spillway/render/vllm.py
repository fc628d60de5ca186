"""What runs for one LLMDeployment whose engine is vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from spillway.api.v1alpha1 import LLMDeployment
from spillway.render.files import ModelFiles
from spillway.render.flags import check_flags
from spillway.render.model import engine_proxy_variables
from spillway.render.settings import RenderSettings
from spillway.render.template import Manifest, render
from spillway.sizing.plan import GPU_MEMORY_UTILIZATION, Plan

VLLM_PORT = 8000
# How long vLLM lets requests finish after SIGTERM.
DRAIN_SECONDS = 120


def render_vllm(
    values: Mapping[str, object],
    deployment: LLMDeployment,
    plan: Plan,
    model: ModelFiles,
    settings: RenderSettings,
) -> tuple[Manifest, ...]:
    """The Deployment and the Service of vLLM; `values` are what every engine's templates are given.

    Raises:
        InvalidObject: `engine.args` holds what is no flag of the vLLM that this release comes with.
    """
    engine = deployment.spec.engine
    if engine.image is None:  # another image may be of another version
        check_flags(engine.args)
    return (
        render(
            "vllm/deployment.yaml.j2",
            **values,
            image=engine.image or settings.vllm_image,
            port=VLLM_PORT,
            model=model,
            proxy={} if model.is_cached else engine_proxy_variables(deployment, settings),
            max_requests=max_engine_requests(deployment, plan),
            drain_seconds=DRAIN_SECONDS,
            gpu_memory_utilization=GPU_MEMORY_UTILIZATION,
        ),
        render("engine/service.yaml.j2", **values, port=VLLM_PORT),
    )


def max_engine_requests(deployment: LLMDeployment, plan: Plan) -> int:
    """Requests that an engine takes, running and waiting, before it answers 503.

    The backstop behind the gateway's own count: a full batch, and as many waiting as there are steps in the time to the
    first token when a step takes all of the time per output token. Whoever stands further back is late for certain as
    soon as each prompt fills a step.
    """
    slo = deployment.spec.slo
    return plan.max_sequences + ceil(slo.time_to_first_token_milliseconds / slo.time_per_output_token_milliseconds)
