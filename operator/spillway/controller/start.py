"""`spillway operator`: this process is the operator until SIGTERM."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import kopf
import structlog
import uvloop

from spillway.controller.cluster import Cluster
from spillway.controller.desire import Policy
from spillway.controller.handlers import registry
from spillway.controller.logs import configure_logs
from spillway.controller.operator import Operator
from spillway.errors import InvalidObject, SetupError
from spillway.render import RenderSettings
from spillway.routing.facts import CompileSettings
from spillway.settings import OperatorSettings
from spillway.signals import told_to_end
from spillway.sizing.profiles import Profiles, default_profiles, load_profiles

logger = structlog.get_logger()


def run(settings: OperatorSettings) -> None:
    """Run the operator until SIGTERM or SIGINT; then it ends within seconds and leaves everything that it made.

    Raises:
        SetupError: there is no cluster to connect to, its CRDs are missing, or the profiles file cannot be used.
        ClusterError: the cluster cannot be read at the start.
    """
    configure_logs(settings.log_format, settings.log_level)
    policy = make_policy(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, policy))


def make_policy(settings: OperatorSettings) -> Policy:
    """What the settings come to for every object."""
    return Policy(
        profiles=_profiles(settings),
        render=RenderSettings.of(settings),
        routes=CompileSettings(
            allowed_hosts=frozenset(settings.allowed_hosts),
            unlabelled_may_leave=settings.unlabelled_namespace_may_leave,
        ),
    )


def _profiles(settings: OperatorSettings) -> Profiles:
    if settings.profiles_file is None:
        return default_profiles()
    try:
        return load_profiles(settings.profiles_file.read_text(encoding="utf-8"))
    except (OSError, InvalidObject) as error:
        raise SetupError(f"{settings.profiles_file}: {error}") from error


async def _serve(settings: OperatorSettings, policy: Policy) -> None:
    told = told_to_end()  # kopf listens to signals only once it runs
    logger.info("operator starting", namespaces=list(settings.namespaces) or "all", image=settings.image)
    operator = Operator(await Cluster.connect(), policy, settings)
    try:
        await _unless(told, operator.start())
        if not told.is_set():
            await _watch(operator, settings, told)
    finally:
        await operator.close()
    logger.info("operator stopped")


async def _unless(told: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Do `work`, or leave it as soon as `told` is set."""
    working, waiting = asyncio.create_task(work), asyncio.create_task(told.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait((working,))
    if not working.cancelled():
        working.result()


async def _watch(operator: Operator, settings: OperatorSettings, told: asyncio.Event) -> None:
    """Run kopf until a signal, or until a watch is lost for good: then the process ends, and its pod begins anew."""
    health = f"http://{settings.health_host}:{settings.health_port}/healthz" if settings.health_port else None
    await kopf.operator(
        registry=registry(clusterwide=not settings.namespaces),
        # Else kopf names itself after its user, and ends where /etc/passwd has none: in its own container.
        identity="spillway-operator",  # type: ignore[arg-type]  # kopf keeps this kind of string to itself
        memo=kopf.Memo(operator=operator, told_to_end=told),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        liveness_endpoint=health,
        stop_flag=told,
    )
