"""`spillway plan`: read, plan, render, print."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson
import yaml

from spillway.advisor.running import Running, running, usual_mix
from spillway.api.documents import named
from spillway.api.v1alpha1 import LLMDeployment, MemoryCheck
from spillway.errors import DoesNotFit, InvalidObject, InvalidSetting
from spillway.preview.cost import cost_mapping, cost_table
from spillway.preview.files import read_deployments
from spillway.preview.words import mapping, table
from spillway.render import Manifest, RenderSettings, render_deployment, render_namespace
from spillway.settings import OperatorSettings
from spillway.sizing.plan import Plan, plan_deployment
from spillway.sizing.profiles import Profiles, default_profiles, load_profiles
from spillway.terminal import console


class Output(StrEnum):
    """What is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def read_output(word: str) -> Output:
    """The output that `word` names; raises InvalidSetting with the choices."""
    try:
        return Output(word)
    except ValueError:
        raise InvalidSetting(f"--output: {word!r} is not one of {', '.join(Output)}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSettings:
    """What `spillway plan` is asked for. `requests`: of full length, for which there is to be room at once."""

    path: Path
    output: Output
    manifests: bool
    namespace: str
    requests: int
    operator: OperatorSettings


def run(settings: PreviewSettings) -> None:
    """Print what would come of the file.

    Raises:
        InvalidSetting, InvalidObject: the file or a field of it cannot be used.
        DoesNotFit: a model does not fit and its memoryCheck is Enforce; raised after everything is printed.
    """
    deployments = read_deployments(settings.path, settings.namespace)
    profiles = _profiles(settings.operator.profiles_file)
    planned = [_plan(deployment, profiles, settings.requests) for deployment in deployments]
    if settings.output is Output.TABLE:
        shown = console()
        for deployment, (plan, _) in zip(deployments, planned, strict=True):
            shown.print(table(deployment, plan), cost_table(_running(deployment, plan)), "")
    if settings.output is Output.JSON:
        plans = [
            {**mapping(deployment, plan), "cost": cost_mapping(_running(deployment, plan))}
            for deployment, (plan, _) in zip(deployments, planned, strict=True)
        ]
        print(orjson.dumps(plans, option=orjson.OPT_INDENT_2).decode())  # noqa: T201 - what the command is for
    refusal = next((problem for _, problem in planned if problem is not None), None)
    if refusal is None and (settings.manifests or settings.output is Output.YAML):
        plans_alone = [plan for plan, _ in planned]
        sys.stdout.write(yaml.safe_dump_all(manifests(deployments, plans_alone, settings.operator), sort_keys=False))
    if refusal is not None:
        raise refusal


def manifests(
    deployments: Sequence[LLMDeployment], plans: Sequence[Plan], settings: OperatorSettings
) -> Iterator[Manifest]:
    """What would be applied: of each object its own, then of each namespace what its objects share."""
    render = RenderSettings.of(settings)
    for deployment, plan in zip(deployments, plans, strict=True):
        try:
            yield from render_deployment(deployment, plan, render)
        except InvalidObject as problem:
            raise named(deployment.metadata.name, problem) from problem
    for namespace in dict.fromkeys(deployment.metadata.namespace for deployment in deployments):
        members = [deployment for deployment in deployments if deployment.metadata.namespace == namespace]
        yield from render_namespace(namespace, members, render)


def _plan(deployment: LLMDeployment, profiles: Profiles, requests: int) -> tuple[Plan, InvalidObject | None]:
    """The plan, and the refusal that memoryCheck Enforce makes of a model that does not fit."""
    name = deployment.metadata.name
    try:
        return plan_deployment(deployment, profiles, requests=requests), None
    except DoesNotFit as problem:
        spec = deployment.spec.model_copy(update={"memory_check": MemoryCheck.DISABLED})
        shown = plan_deployment(deployment.model_copy(update={"spec": spec}), profiles, requests=requests)
        return shown, named(name, problem)
    except InvalidObject as problem:
        raise named(name, problem) from problem


def _running(deployment: LLMDeployment, plan: Plan) -> Running:
    return running(deployment, plan, deployment.spec.replicas, usual_mix(plan.context_length))


def _profiles(path: Path | None) -> Profiles:
    if path is None:
        return default_profiles()
    try:
        return load_profiles(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"--profiles-file: {path} cannot be read ({error}); name a YAML file") from error
