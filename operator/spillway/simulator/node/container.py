"""One container: its program, its restarts, its probes, its end."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from spillway.simulator.kubeapi import Object
from spillway.simulator.node import environment, images, memory, tasks
from spillway.simulator.node.environment import NotYetError
from spillway.simulator.node.images import Images, Invocation, Program
from spillway.simulator.node.plan import (
    ContainerPlan,
    PodPlan,
    Sleep,
    UnsupportedError,
    back_off_seconds,
    wants_restart,
)
from spillway.simulator.node.probes import Prober
from spillway.simulator.node.status import Running, Snapshot, Terminated, Waiting
from spillway.simulator.node.volumes import Volumes
from spillway.simulator.process import Child, Keeper

_LOG = logging.getLogger("spillway.simulator.node")
_LEAST_GRACE_SECONDS = 2.0  # what the kubelet leaves after a preStop hook that took all
_RESET_SECONDS = 600.0  # a container that ran this long has no failures behind it
_CONFIG_RETRY_SECONDS = 1.0
_MESSAGE_BYTES = 4096
_LOG_TAIL_BYTES, _LOG_TAIL_LINES = 2048, 80


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all containers of a pod share; `pod` gives the newest state of its object, `changed` asks for a report."""

    plan: PodPlan
    pod: Callable[[], Object]
    changed: Callable[[], None]
    pod_ip: str
    directory: Path
    logs: Path
    volumes: Volumes
    keeper: Keeper
    session: aiohttp.ClientSession
    images: Images
    service_env: Mapping[str, str]
    back_off: tuple[float, float]


class Container:
    """Runs one container of a pod until it is over by its restart policy or the pod is stopped."""

    def __init__(self, plan: ContainerPlan, around: Surroundings, *, init: bool = False) -> None:
        """An init container is run once, until it succeeds."""
        self.plan = plan
        self._around = around
        self._init = init
        self._policy = around.plan.init_restart_policy if init else around.plan.restart_policy
        waiting = "PodInitializing" if around.plan.init else "ContainerCreating"
        self._snapshot = Snapshot(plan.name, plan.image, Waiting(waiting))
        self._directory = around.directory / plan.name
        self._stopping = asyncio.Event()
        self._child: Child | None = None
        self._out_of_memory = False
        self._environment: dict[str, str] = {}
        self._rewrite: Callable[[str], str] = str
        self._prober = Prober(around.session, around.pod_ip, self._execute)

    @property
    def snapshot(self) -> Snapshot:
        """How it is now."""
        return self._snapshot

    @property
    def log(self) -> Path:
        """The output of the current or last run."""
        return self.log_of(self._snapshot.restarts)

    def log_of(self, restarts: int) -> Path:
        """The output of one run."""
        return self._around.logs / f"{self.plan.name}-{restarts}.log"

    async def run(self) -> None:
        """Start it, restart it as its policy says, return when it is over."""
        failures = 0
        while not self._stopping.is_set():
            program = await self._start_when_possible()
            if program is None:
                return
            ended = await self._once(program)
            if self._stopping.is_set() or not wants_restart(self._policy, ended.exit_code):
                return
            ran_seconds = (ended.finished_at - ended.started_at).total_seconds()
            failures = 1 if ran_seconds > _RESET_SECONDS else failures + 1
            delay = back_off_seconds(failures, *self._around.back_off)
            if delay:
                self._set(
                    replace(
                        self._snapshot, state=Waiting("CrashLoopBackOff", self._back_off_message(delay)), last=ended
                    )
                )
                if not await self._pause(delay):
                    return
            self._set(replace(self._snapshot, restarts=self._snapshot.restarts + 1, last=ended))

    async def stop(self, grace_seconds: float) -> None:
        """The preStop hook, SIGTERM, and SIGKILL when the grace is over; no restart after this."""
        self._stopping.set()
        await self._end(grace_seconds)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to its processes, as an accident would; the restart policy applies."""
        if self._child is not None and self._child.returncode is None:
            self._child.signal(number)

    async def _start_when_possible(self) -> Program | None:
        """The program to run, once everything that it refers to is there; None when stopped meanwhile."""
        failures = 0
        while True:
            failures += 1
            try:
                return self._program()
            except KeyError:
                first = failures == 1
                reason, message = (
                    ("ErrImagePull", self._pull_message())
                    if first
                    else ("ImagePullBackOff", f'Back-off pulling image "{self.plan.image}"')
                )
                # The kubelet tries at once, then 10 s later, and shows the back-off in between.
                delay = 0.5 if first else back_off_seconds(failures, *self._around.back_off)
            except (NotYetError, UnsupportedError) as error:
                reason, message, delay = "CreateContainerConfigError", str(error), _CONFIG_RETRY_SECONDS
                with contextlib.suppress(NotYetError, UnsupportedError):
                    await self._around.volumes.refresh(self._around.pod())
            self._set(replace(self._snapshot, state=Waiting(reason, message)))
            if not await self._pause(delay):
                return None

    def _program(self) -> Program:
        """What to run. Raises KeyError for an image that the table lacks, NotYetError and UnsupportedError."""
        around, plan = self._around, self.plan
        image = around.images[images.name_of(plan.image)]
        declared = environment.variables(plan, around.pod(), around.service_env, around.volumes.lookup)
        paths = around.volumes.paths(plan) | {plan.message_path: str(self._message_file)}
        self._rewrite = environment.rewriter(paths)
        command = environment.arguments(plan.command, declared, self._rewrite)
        args = environment.arguments(plan.args, declared, self._rewrite)
        variables = {name: self._rewrite(value) for name, value in declared.items()}
        program = image(Invocation(command, args, variables, around.pod_ip))
        self._environment = self._base_environment() | dict(program.env) | variables
        return program

    async def _once(self, program: Program) -> Terminated:
        """Run the program until it ends."""
        started = dt.datetime.now(dt.UTC)
        container_id = f"spillway-simulated://{secrets.token_hex(32)}"
        self._message_file.write_bytes(b"")
        try:
            child = await self._around.keeper.start(
                program.argv, log=self.log, env=self._environment, cwd=self._working_directory()
            )
        except OSError as error:
            # The words of a container runtime whose image lacks the program; 128 is its exit code then.
            self.log.write_text(f"{error}\n")
            return self._ended(128, started, container_id, f"failed to create containerd task: {error}")
        self._child = child
        self._set(
            replace(self._snapshot, state=Running(started), container_id=container_id, ready=False, started=False)
        )
        probing = tasks.start(self._probe(), f"probes of {self._describe()}")
        limiting = tasks.start(self._limit_memory(child), f"memory limit of {self._describe()}")
        try:
            code = await child.wait()
        finally:
            await tasks.cancel(probing)
            await tasks.cancel(limiting)
        return self._ended(128 - code if code < 0 else code, started, container_id, None)

    async def _limit_memory(self, child: Child) -> None:
        """Kill it, as the kernel does, when it holds more than its limit."""
        limit, self._out_of_memory = self.plan.memory_limit_bytes, False
        if limit is not None:
            await memory.until_above(limit, child.pid)
            self._out_of_memory = True
            child.signal(signal.SIGKILL)

    def _ended(self, code: int, started: dt.datetime, container_id: str, message: str | None) -> Terminated:
        text = self._termination_message(code) if message is None else message
        ended = Terminated(code, started, dt.datetime.now(dt.UTC), container_id, text, self._out_of_memory)
        # Kubernetes calls a completed init container ready.
        self._set(replace(self._snapshot, state=ended, ready=code == 0 and self._init, started=False))
        return ended

    async def _probe(self) -> None:
        """Startup first; then readiness and liveness side by side."""
        plan = self.plan
        if plan.startup is not None:
            await self._prober.verdicts(plan.startup, self._started_or_end)
        self._set(replace(self._snapshot, started=True, ready=plan.readiness is None))
        async with asyncio.TaskGroup() as group:
            if plan.readiness is not None:
                group.create_task(self._prober.verdicts(plan.readiness, self._set_ready))
            if plan.liveness is not None:
                group.create_task(self._prober.verdicts(plan.liveness, self._end_if_dead))

    async def _started_or_end(self, success: bool) -> bool:
        if not success:
            _LOG.info("startup probe of %s failed, container will be restarted", self._describe())
            await self._end(self._around.plan.grace_seconds)
        return True

    async def _set_ready(self, success: bool) -> bool:
        self._set(replace(self._snapshot, ready=success))
        return False

    async def _end_if_dead(self, success: bool) -> bool:
        if success or self._stopping.is_set():
            return False
        _LOG.info("liveness probe of %s failed, container will be restarted", self._describe())
        await self._end(self._around.plan.grace_seconds)
        return True

    async def _end(self, grace_seconds: float) -> None:
        child = self._child
        if child is None or child.returncode is not None:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_seconds
        if (hook := self.plan.pre_stop) is not None and grace_seconds > 0:
            trying = asyncio.ensure_future(self._prober.attempt(hook, grace_seconds))
            gone = asyncio.ensure_future(child.wait())
            await asyncio.wait([trying, gone], return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            trying.cancel()
            if trying.done() and not trying.cancelled() and not trying.result() and not isinstance(hook, Sleep):
                _LOG.info("preStop hook of %s failed", self._describe())
        await child.stop(max(deadline - loop.time(), _LEAST_GRACE_SECONDS if grace_seconds else 0.0))

    async def _execute(self, command: tuple[str, ...], timeout_seconds: float) -> bool:
        """Run a command as `exec` in the container would; its output goes beside the container's log."""
        argv = [self._rewrite(word) for word in command]
        log = self._around.logs / f"{self.plan.name}-exec.log"
        child = await self._around.keeper.start(argv, log=log, env=self._environment, cwd=self._working_directory())
        try:
            async with asyncio.timeout(timeout_seconds):
                return await child.wait() == 0
        finally:
            await child.stop(0)

    async def _pause(self, seconds: float) -> bool:
        """Wait; False when the pod is stopped meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return not self._stopping.is_set()

    def _set(self, snapshot: Snapshot) -> None:
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            self._around.changed()

    @property
    def _message_file(self) -> Path:
        return self._directory / "termination-log"

    def _base_environment(self) -> dict[str, str]:
        """What any image brings: nothing of ours but the way to programs."""
        for directory in (self._directory, self._directory / "tmp"):
            directory.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self._directory),
            "TMPDIR": str(self._directory / "tmp"),
            "HOSTNAME": self._around.plan.name,
            "LANG": "C.UTF-8",
        }

    def _working_directory(self) -> Path:
        """The spec's working directory where that lies in a volume; the image's own does not exist here."""
        wanted = self._rewrite(self.plan.working_dir)
        return Path(wanted) if wanted and wanted != self.plan.working_dir else self._directory

    def _termination_message(self, code: int) -> str:
        """What the program left in its message file, else, where the spec says so, the end of its log."""
        text = ""
        with contextlib.suppress(OSError):
            text = self._message_file.read_bytes()[:_MESSAGE_BYTES].decode(errors="replace")
        if not text and code != 0 and self.plan.message_from_logs:
            with contextlib.suppress(OSError):
                tail = self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
                text = "".join(tail.splitlines(keepends=True)[-_LOG_TAIL_LINES:])
        return text

    def _describe(self) -> str:
        plan = self._around.plan
        return f"{self.plan.name} in {plan.namespace}/{plan.name}"

    def _back_off_message(self, delay: float) -> str:
        plan = self._around.plan
        pod = f"{plan.name}_{plan.namespace}({plan.uid})"
        return f"back-off {delay:g}s restarting failed container={self.plan.name} pod={pod}"

    def _pull_message(self) -> str:
        known = ", ".join(sorted(self._around.images))
        image = self.plan.image
        return (
            f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": not found '
            f"(a simulated node: it has programs for {known})"
        )
