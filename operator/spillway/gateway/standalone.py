"""A gateway on its own: LLMDeployments from files, engines at given addresses, ledgers in a folder. No Kubernetes.

All that decides is the same; only where facts come from and where money is written down differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import structlog
import uvloop

from spillway.api.v1alpha1 import (
    BudgetWindow,
    EngineType,
    LLMDeployment,
    LLMDeploymentStatus,
    LLMLedgerSpec,
    ObservedTarget,
    PlanStatus,
)
from spillway.errors import InvalidSetting, SetupError, SpillwayError
from spillway.gateway.audit import to_standard_output
from spillway.gateway.credentials import Credentials
from spillway.gateway.endpoints import Addresses, Prober, assign, parse_endpoints
from spillway.gateway.files import follow_files, read_files, stamps
from spillway.gateway.ledger_file import FileLedgerStore
from spillway.gateway.settings import GatewaySettings
from spillway.gateway.start import Gateway, configure_log, serve_until
from spillway.gateway.upstream import Upstreams
from spillway.routing.compile import DEFAULT_CONTEXT_TOKENS
from spillway.routing.facts import KeyRef
from spillway.signals import told_to_end

JOURNAL: Final = "journal"
LOOK_AT_TARGETS_EVERY_SECONDS: Final = 2.0
_log: Final = structlog.get_logger("spillway.gateway.standalone")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandaloneSettings:
    """The options of `spillway gateway --file`.

    `endpoints` are URL or NAME=URL; `credential_variables` SECRET/KEY=VARIABLE, looked up in `environment`.
    `ollama_slots`: requests that an Ollama takes at once. `audit_log` None: standard output.
    """

    files: tuple[Path, ...]
    endpoints: tuple[str, ...]
    ollama_slots: int
    state_dir: Path
    credential_variables: tuple[str, ...]
    audit_log: Path | None
    gateway: GatewaySettings


def run(settings: StandaloneSettings, environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; exits with code 1 when a part of the gateway died.

    Raises:
        InvalidSetting, InvalidObject: an option, or a field of a file, cannot be used.
        SetupError: a folder or the address is in use, or cannot be used.
    """
    configure_log()
    if not uvloop.run(_run(settings, environment)):
        sys.exit(1)


async def _run(settings: StandaloneSettings, environment: Mapping[str, str]) -> bool:
    """Whether it ended because it was told to."""
    told, own = told_to_end(), settings.gateway
    seen = stamps(settings.files)
    deployments = read_files(settings.files, own.namespace)
    addresses = parse_endpoints(settings.endpoints)
    assign(addresses, [deployment.metadata.name for deployment in deployments])
    keys = keys_from(settings.credential_variables, environment)
    credentials = Credentials(own.credentials_dir, own.ca_dir, keys)
    hosts = frozenset(host.partition(":")[0] for host in own.allowed_hosts)
    with _audit(settings.audit_log) as write_audit:
        async with (
            FileLedgerStore(settings.state_dir) as store,
            Upstreams(credentials, hosts, own.egress_networks, own.egress_proxy_url) as upstreams,
        ):
            gateway = Gateway(replace(own, journal_dir=settings.state_dir / JOURNAL), store, upstreams, write_audit)
            desired = Desired(gateway, store, addresses, settings.ollama_slots)
            await desired.take(deployments)
            gateway.keep(desired.prober.run(desired.probed.set))
            gateway.keep(follow_files(settings.files, own.namespace, seen, desired.take, desired.refuse))
            gateway.keep(gateway.observe())
            gateway.keep(gateway.scraper.run())
            gateway.keep(_tell_of_targets(gateway))
            await desired.probed.wait()
            gateway.readiness.synced = True
            await serve_until(gateway, told)
    return not gateway.died.is_set()


class Desired:
    """What the files ask for, brought into the gateway: whole, or not at all."""

    def __init__(self, gateway: Gateway, store: FileLedgerStore, addresses: Addresses, ollama_slots: int) -> None:
        self._gateway = gateway
        self._store = store
        self._addresses = addresses
        self._ollama_slots = ollama_slots
        self._names: set[str] = set()
        self._gone: set[str] = set()
        table = gateway.table
        self.prober = Prober(lambda: [served.route for served in table.served], table.set_replicas)
        self.probed = asyncio.Event()
        """Set once every engine was asked whether it is ready."""

    async def take(self, deployments: Sequence[LLMDeployment]) -> None:
        """Serve these, and none other. What is in flight of one that is gone ends as it began.

        Raises:
            InvalidSetting: the engines that were named are not those of these objects, or one came back that was gone.
        """
        names = {deployment.metadata.name for deployment in deployments}
        assigned = assign(self._addresses, names)
        if back := names & self._gone:
            # its ledger may still settle what was in flight
            raise InvalidSetting(f"{min(back)} was taken out of the files; start the gateway again to serve it anew")
        await self._store.set_budgets({deployment.metadata.name: _budget(deployment) for deployment in deployments})
        self._gone |= self._names - names
        self._names = names
        table = self._gateway.table
        table.replace(manifest(deployment, self._ollama_slots) for deployment in deployments)
        for served in table.served:
            served.observer.route_problem = None
        self.prober.set_addresses(assigned)
        for name in sorted(names):
            if not assigned[name]:
                _log.warning("no engine", deployment=name, cure=f"start with --endpoint {name}=http://HOST:PORT")
        _log.info("serving what the files say", deployments=sorted(names))

    def refuse(self, problem: SpillwayError) -> None:
        """Say that an edit was not taken."""
        _log.error("an edit is not taken; all is served as it was", problem=str(problem))
        for served in self._gateway.table.served:
            served.observer.route_problem = str(problem)


def manifest(deployment: LLMDeployment, ollama_slots: int) -> dict[str, object]:
    """The object as a cluster would hold it: of an Ollama, which says nothing of its slots, a plan that counts them."""
    if deployment.spec.engine.type is EngineType.OLLAMA:
        context_length = deployment.spec.context_length or DEFAULT_CONTEXT_TOKENS
        plan = PlanStatus(accelerators=0, tensor_parallel=1, context_length=context_length, max_sequences=ollama_slots)
        deployment = deployment.model_copy(update={"status": LLMDeploymentStatus(plan=plan)})
    return deployment.model_dump(mode="json", exclude_unset=True)


def keys_from(options: Sequence[str], environment: Mapping[str, str]) -> dict[KeyRef, str]:
    """The API keys that SECRET/KEY=VARIABLE name, from the environment. No message holds a key.

    Raises:
        InvalidSetting: an option is not of that form, or its variable holds no key.
    """
    keys: dict[KeyRef, str] = {}
    for option in options:
        ref, _, variable = option.partition("=")
        secret, _, key = ref.partition("/")
        if not secret or not key or not variable:
            raise InvalidSetting(
                f"--credential-env {ref!r} is not SECRET/KEY=VARIABLE; name the Secret and key of a target's secretRef "
                "and the variable that holds the API key, such as openai/api-key=OPENAI_API_KEY"
            )
        value = environment.get(variable, "").strip()
        if not value or not value.isascii() or not value.isprintable():
            raise InvalidSetting(
                f"--credential-env {ref}={variable}: the variable {variable} is not set, or holds what is no key; "
                f"export {variable} before the gateway starts"
            )
        keys[KeyRef(secret, key)] = value
    return keys


@contextlib.contextmanager
def _audit(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Where audit lines go; to a file each as one write at its end."""
    if path is None:
        yield to_standard_output
        return
    try:
        file = path.open("ab", buffering=0)
    except OSError as problem:
        raise SetupError(f"--audit-log {path} cannot be written ({problem}); name a file that can") from problem
    with file:
        yield file.write


async def _tell_of_targets(gateway: Gateway) -> None:
    """Say what status would show: a target that cannot be used, before a request needs it, and when it can again."""
    known: dict[tuple[str, str], ObservedTarget] = {}
    while True:
        for served in gateway.table.served:
            for target in served.observer.report(served.route).targets:
                before = known.get((served.route.name, target.name))
                known[served.route.name, target.name] = target
                if target.ready and before is not None and not before.ready:
                    _log.info("a target can be used", deployment=served.route.name, target=target.name)
                elif not target.ready and before != target:
                    words = {"reason": target.reason, "problem": target.message}
                    _log.warning("a target cannot be used", deployment=served.route.name, target=target.name, **words)
        await asyncio.sleep(LOOK_AT_TARGETS_EVERY_SECONDS)


def _budget(deployment: LLMDeployment) -> LLMLedgerSpec:
    """What the operator would write into the LLMLedger's spec."""
    budget = deployment.spec.budget
    if budget is None:
        return LLMLedgerSpec(limit=Decimal(0), window=BudgetWindow.MONTH)
    return LLMLedgerSpec(limit=budget.limit, window=budget.window, time_zone=budget.time_zone)
