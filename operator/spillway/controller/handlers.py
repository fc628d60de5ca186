"""The kopf edge, in one table at the end: what triggers what. Handlers only pass on what happened.

- They return nothing and never touch kopf's `patch`: status has one writer, `reconcile`.
- Events alone, for our own objects too: kopf's create, resume and update keep what they handled in an annotation, a
  write and an event more for each change of each object, and a right to patch objects that nothing else needs. Which
  changes matter is seen by `metadata.generation`; retries are the queue's.
- No timers, daemons or deletion handlers: each puts a finalizer on the object, which then cannot be deleted while
  the operator is away (https://github.com/nolar/kopf/issues/833).
- An `on.event` handler is never retried, and watches lose deletions when they break: the resync is the net under both.
"""

from __future__ import annotations

import kopf

from spillway.controller.kopf_storage import NoProgress, NothingToCompare
from spillway.controller.objects import GROUP, MANAGED_BY, MANAGED_BY_LABEL, MAY_LEAVE_LABEL, OWNER_LABEL
from spillway.controller.operator import Operator

OBJECTS = (GROUP, "v1alpha1", "llmdeployments")
LEDGERS = (GROUP, "v1alpha1", "llmledgers")
DEPLOYMENTS = ("apps", "v1", "deployments")
JOBS = ("batch", "v1", "jobs")
SERVICES = ("", "v1", "services")
PODS = ("", "v1", "pods")
NAMESPACES = ("", "v1", "namespaces")


async def startup(settings: kopf.OperatorSettings, **_: object) -> None:
    """Set kopf up. Everything else is started and stopped around kopf (start.py): here errors are retried for ever."""
    configure(settings)


async def cleanup(memo: kopf.Memo, **_: object) -> None:
    """Stop all passes, and kopf's own wait for its stop flag: tasks that are left have five seconds to end."""
    memo.told_to_end.set()
    await _operator(memo).stop()


async def login(memo: kopf.Memo, **_: object) -> kopf.ConnectionInfo:
    """Let kopf reach the API server as our own client does; asked again whenever the server answers 401."""
    credentials = await _operator(memo).cluster.credentials()
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=credentials.ca_path,
        insecure=credentials.insecure,
        token=credentials.token,
        certificate_path=credentials.certificate_path,
        private_key_path=credentials.private_key_path,
    )


async def probe(memo: kopf.Memo, **_: object) -> str:
    """What /healthz rests on. Any error but a PermanentError would make the request hang."""
    if not _operator(memo).is_alive:
        raise kopf.PermanentError("the resync has ended")
    return "alive"


async def object_event(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """An LLMDeployment was created, has changed, is gone, or was there when we started."""
    if event["type"] == "DELETED":
        _operator(memo).object_deleted(event["object"])
    else:
        _operator(memo).object_seen(event["object"])


async def child_event(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Something that we made, or a pod of it, changed."""
    _operator(memo).child_changed(event["object"], is_gone=event["type"] == "DELETED")


async def namespace_event(event: kopf.RawEvent, name: str, labels: kopf.Labels, memo: kopf.Memo, **_: object) -> None:
    """A namespace is there, has changed or is gone."""
    if event["type"] == "DELETED":
        _operator(memo).namespace_deleted(name)
    else:
        _operator(memo).namespace_seen(name, labels.get(MAY_LEAVE_LABEL))


def configure(settings: kopf.OperatorSettings) -> None:
    """Kopf's own settings, each with its reason."""
    # finalizers are never set, and must not look like another operator's
    settings.persistence.finalizer = f"{GROUP}/operator"
    settings.persistence.diffbase_storage = NothingToCompare()
    settings.persistence.progress_storage = NoProgress()
    # CRDs are there (the start has listed objects) and namespaces are as configured: no rights to watch for either
    settings.scanning.disabled = True
    # events are ours (events.py): kopf's would say what its handlers do, not what became of the object
    settings.posting.enabled = False
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    # only what is ours crosses the wire: the API server filters
    ours = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
    for kind in (DEPLOYMENTS, JOBS, SERVICES, LEDGERS):
        settings.watching.label_selectors[kind] = ours
    settings.watching.label_selectors[PODS] = f"{ours},{OWNER_LABEL}"
    # SIGTERM ends within seconds: a pass that is cut is begun anew by the next process
    settings.queueing.exit_timeout = 1.0
    settings.process.ultimate_exiting_timeout = 20.0


def registry(*, clusterwide: bool) -> kopf.OperatorRegistry:
    """The table of decorators; a namespaced operator may not watch Namespaces and learns of labels at the resync."""
    table = kopf.OperatorRegistry()
    kopf.on.startup(registry=table)(startup)
    kopf.on.cleanup(registry=table)(cleanup)
    kopf.on.login(registry=table)(login)
    kopf.on.probe(registry=table, id="resync", errors=kopf.ErrorsMode.PERMANENT)(probe)
    kopf.on.event(*OBJECTS, registry=table)(object_event)
    kopf.on.event(*DEPLOYMENTS, registry=table)(child_event)
    kopf.on.event(*JOBS, registry=table)(child_event)
    kopf.on.event(*SERVICES, registry=table)(child_event)
    kopf.on.event(*LEDGERS, registry=table)(child_event)
    kopf.on.event(*PODS, registry=table)(child_event)
    if clusterwide:
        kopf.on.event(*NAMESPACES, registry=table)(namespace_event)
    return table


def _operator(memo: kopf.Memo) -> Operator:
    operator = memo.operator
    assert isinstance(operator, Operator)
    return operator
