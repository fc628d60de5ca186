"""The gateway's process: put the parts together, serve until told to end, drain, leave nothing leased."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Final

import structlog
import uvloop
from aiohttp import web

from spillway.errors import SetupError
from spillway.gateway.audit import Audit, to_standard_output
from spillway.gateway.credentials import Credentials
from spillway.gateway.desk import Desk
from spillway.gateway.journal import Books, Journal, MemoryBooks
from spillway.gateway.kube import KubeClient
from spillway.gateway.ledger import Ledger
from spillway.gateway.ledger_store import KubeLedgerStore
from spillway.gateway.metrics import Metrics
from spillway.gateway.observed import Observer
from spillway.gateway.peers import GATEWAY_PODS, Peers, PeerSink
from spillway.gateway.retold import Retold
from spillway.gateway.routes import RouteTable, Served
from spillway.gateway.scrape import Scraper
from spillway.gateway.server import Readiness, build_app
from spillway.gateway.settings import GatewaySettings
from spillway.gateway.store import LedgerStore
from spillway.gateway.upstream import Upstreams
from spillway.gateway.watch import ENGINE_PODS, PodSink, deployments_path, follow, follow_namespace, pods_path
from spillway.routing.facts import Route
from spillway.signals import told_to_end

_log: Final = structlog.get_logger("spillway.gateway")
RETURN_LEASES_WITHIN_SECONDS: Final = 5.0
OBSERVE_EVERY_SECONDS: Final = 1.0


def run(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; exits with code 1 when a part of the gateway died."""
    configure_log()
    if not uvloop.run(_run(settings)):
        sys.exit(1)


def configure_log() -> None:
    """Our own log as JSON on standard error; standard output is the audit's alone."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[Retold()], level=logging.WARNING)


class Gateway:
    """All parts of one gateway, and the tasks that keep them current."""

    def __init__(
        self,
        settings: GatewaySettings,
        store: LedgerStore,
        upstreams: Upstreams,
        write_audit: Callable[[bytes], object] = to_standard_output,
    ) -> None:
        self.settings = settings
        self.readiness = Readiness()
        self._store = store
        self._credentials = upstreams.credentials
        self._books: Books = (
            MemoryBooks(settings.name) if settings.journal_dir is None else Journal(settings.journal_dir, settings.name)
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._ledgers: dict[tuple[str, str], Ledger] = {}
        self.died = asyncio.Event()
        self.table = RouteTable(settings.compile_settings, self._serve, lambda served: served.ledger.retire())
        self.metrics = Metrics(time.monotonic)
        self.peers = Peers(settings.name, self._desks, time.monotonic, self.metrics.exchanged)
        self.scraper = Scraper(self._desks, time.monotonic, self.metrics.scraped)
        self.app = build_app(
            self.table,
            upstreams,
            Audit(settings.namespace, write_audit, time.monotonic),
            self.metrics,
            self.readiness,
            time.monotonic,
        )

    def keep(self, work: Coroutine[None, None, None]) -> None:
        """Run a part of the gateway; when it fails, the process ends too: a half-dead gateway helps nobody."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def observe(self) -> None:
        """Keep what status shows of us current: a target without its key is seen before a request needs it."""
        credentials = self._credentials
        while True:
            for served in self.table.served:
                route, observer = served.route, served.observer
                spills = route.is_shadow or route.budget_limit_micros is not None
                for target in route.targets:
                    observer.check_credential(target, credentials)
                seen = observer.report(route)
                if spills or seen.served or seen.route_problem or served.ledger.is_told:
                    served.ledger.observe(seen)
            await asyncio.sleep(OBSERVE_EVERY_SECONDS)

    def _desks(self) -> list[Desk]:
        return [served.desk for served in self.table.served]

    async def close(self) -> None:
        """Stop the parts, then report what was spent and give the rest back."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(ledger.close() for ledger in self._ledgers.values()))
        self._books.close()

    def _serve(self, route: Route) -> Served:
        purse = self._books.purse(f"{route.name}/{route.uid}")
        ledger = Ledger(route.name, self._store, purse, _now, time.monotonic, self._books.commit)
        observer = Observer(self.settings.name, time.monotonic, _now)
        self._ledgers[route.name, route.uid] = ledger
        self.keep(ledger.run())
        return Served(Desk(route, time.monotonic, self.settings.name), observer, ledger)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a part of the gateway died", exc_info=error)
            self.died.set()


async def _run(settings: GatewaySettings) -> bool:
    """Whether it ended because it was told to."""
    told = told_to_end()
    credentials = Credentials(settings.credentials_dir, settings.ca_dir)
    hosts = frozenset(host.partition(":")[0] for host in settings.allowed_hosts)
    async with (
        KubeClient(settings.service_account_dir) as client,
        Upstreams(credentials, hosts, settings.egress_networks, settings.egress_proxy_url) as upstreams,
    ):
        gateway = Gateway(settings, KubeLedgerStore(client, settings.namespace), upstreams)
        _watch_all(gateway, client)
        gateway.keep(gateway.observe())
        gateway.keep(gateway.scraper.run())
        gateway.keep(gateway.peers.run())
        await serve_until(gateway, told)
    return not gateway.died.is_set()


def _watch_all(gateway: Gateway, client: KubeClient) -> None:
    namespace, table = gateway.settings.namespace, gateway.table
    missing = {"namespace", "deployments", "pods"}

    def synced(part: str) -> None:
        missing.discard(part)
        gateway.readiness.synced = not missing

    gateway.keep(follow_namespace(client, namespace, table, lambda: synced("namespace")))
    gateway.keep(follow(client, deployments_path(namespace), table, lambda: synced("deployments")))
    gateway.keep(
        follow(client, pods_path(namespace), PodSink(table), lambda: synced("pods"), labelSelector=ENGINE_PODS)
    )
    peers = PeerSink(gateway.peers)
    # Not waited for: without peers a gateway predicts from what it knows itself.
    gateway.keep(follow(client, pods_path(namespace), peers, lambda: None, labelSelector=GATEWAY_PODS))


async def listen(gateway: Gateway) -> web.AppRunner:
    """Accept requests; `cleanup` of what is returned ends that and waits for those in flight.

    Raises:
        SetupError: the address cannot be listened on.
    """
    settings = gateway.settings
    # handler_cancellation: a caller that leaves ends its request at once, which aiohttp does not do by default.
    runner = web.AppRunner(
        gateway.app, handler_cancellation=True, access_log=None, shutdown_timeout=settings.drain_seconds
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
    except OSError as problem:
        await runner.cleanup()
        raise SetupError(
            f"--host {settings.host} --port {settings.port} cannot be listened on ({problem.strerror}); "
            "choose another with --port"
        ) from problem
    return runner


async def listen_to_peers(gateway: Gateway) -> web.AppRunner | None:
    """Answer other gateways, on a port that clients do not reach; None where there are none."""
    if gateway.settings.peers_port is None:
        return None
    runner = web.AppRunner(gateway.peers.app(), access_log=None, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, gateway.settings.host, gateway.settings.peers_port).start()
    return runner


async def serve_until(gateway: Gateway, told: asyncio.Event) -> None:
    """Serve until `told` is set or a part dies; then finish what is in flight, at most for the drain's time."""
    settings = gateway.settings
    runner, peers = await listen(gateway), await listen_to_peers(gateway)
    host, port = runner.addresses[0][:2]
    models = [route.model_name for route in gateway.table.models()]
    _log.info("listening", host=host, port=port, namespace=settings.namespace, models=models)
    waiting = [asyncio.ensure_future(event.wait()) for event in (told, gateway.died)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for waiter in waiting:
        waiter.cancel()
    gateway.readiness.draining = True
    _log.info("draining")
    await runner.cleanup()
    if peers is not None:
        await peers.cleanup()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(RETURN_LEASES_WITHIN_SECONDS):
            await gateway.close()
    _log.info("ended")


def _now() -> datetime:
    return datetime.now(UTC)
