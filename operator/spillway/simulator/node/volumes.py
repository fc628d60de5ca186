"""The directories that stand for a pod's volumes."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spillway.simulator.kubeapi import KubeAPI, Object
from spillway.simulator.node import environment, projection
from spillway.simulator.node.environment import NotYetError
from spillway.simulator.node.plan import ContainerPlan, PodPlan, UnsupportedError
from spillway.simulator.node.projection import TokenRequest

_PATHS = {"Secret": "secrets", "ConfigMap": "configmaps"}
_RENEW_AT = 0.8  # of a token's life, as the kubelet does


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at: dt.datetime


class Volumes:
    """One pod's volumes below a directory, and the objects and tokens that they are made of."""

    def __init__(self, api: KubeAPI, plan: PodPlan, directory: Path) -> None:
        """Nothing is read or written before `refresh`."""
        self._api = api
        self._plan = plan
        self._directory = directory
        self._objects: dict[tuple[str, str], Object | None] = {}
        self._tokens: dict[TokenRequest, _Token] = {}
        self._claims: dict[str, Path] = {}

    async def refresh(self, pod: Object) -> None:
        """Read what the pod refers to, and bring every file up to date.

        Raises:
            NotYetError: something is missing that is not optional.
            UnsupportedError: a volume that the node does not do.
            ClusterError: the API server refuses or does not answer.
        """
        await self._read()
        sources = projection.Sources(pod, self.lookup, lambda wanted: self._tokens[wanted].text)
        for name, volume in self._plan.volumes.items():
            directory = self._directory / name
            if projection.is_projection(volume):
                await asyncio.to_thread(write, directory, projection.files(volume, sources))
            elif claim := volume.get("persistentVolumeClaim"):
                self._claims[name] = await self._claimed(claim["claimName"])
            elif "emptyDir" in volume:
                _made(directory)
            else:
                raise UnsupportedError(f"the volume {name!r} of the kind {', '.join(sorted(volume.keys() - {'name'}))}")

    def lookup(self, kind: str, name: str) -> Object | None:
        """A Secret or ConfigMap as last read."""
        return self._objects.get((kind, name))

    def paths(self, container: ContainerPlan) -> dict[str, str]:
        """Where the container's mount paths really lie."""
        return {mount.path: str(self._place(mount.volume) / mount.sub_path) for mount in container.mounts}

    def token_due(self, now: dt.datetime) -> bool:
        """Whether a token must be renewed."""
        return any(token.renew_at <= now for token in self._tokens.values())

    def _place(self, volume: str) -> Path:
        return self._claims.get(volume, self._directory / volume)

    async def _read(self) -> None:
        volumes = list(self._plan.volumes.values())
        containers = (*self._plan.init, *self._plan.containers)
        for kind, name in projection.references(volumes) | environment.references(containers):
            path = f"/api/v1/namespaces/{self._plan.namespace}/{_PATHS[kind]}/{name}"
            found = await self._api.find(path)
            self._objects[kind, name] = None if found is None else {**found, "kind": kind}
        now = dt.datetime.now(dt.UTC)
        for wanted in projection.token_requests(volumes):
            if wanted not in self._tokens or self._tokens[wanted].renew_at <= now:
                self._tokens[wanted] = await self._token(wanted, now)

    async def _token(self, wanted: TokenRequest, now: dt.datetime) -> _Token:
        """A token bound to the pod: it ends with it.

        https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
        """
        plan = self._plan
        bound = {"apiVersion": "v1", "kind": "Pod", "name": plan.name, "uid": plan.uid}
        spec: Object = {"expirationSeconds": wanted.expiration_seconds, "boundObjectRef": bound}
        if wanted.audience:
            spec["audiences"] = [wanted.audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{plan.namespace}/serviceaccounts/{plan.service_account}/token"
        status = (await self._api.post(path, body))["status"]
        expires = dt.datetime.fromisoformat(status["expirationTimestamp"])
        return _Token(status["token"], now + _RENEW_AT * (expires - now))

    async def _claimed(self, claim: str) -> Path:
        """The directory of the claim's volume."""
        found = await self._api.find(f"/api/v1/namespaces/{self._plan.namespace}/persistentvolumeclaims/{claim}")
        name = found and found["spec"].get("volumeName")
        if not name or found is None or found["status"].get("phase") != "Bound":
            raise NotYetError(f'persistentvolumeclaim "{claim}" not bound')
        volume = await self._api.get(f"/api/v1/persistentvolumes/{name}")
        if "hostPath" not in volume["spec"]:
            raise UnsupportedError(f"the volume of the claim {claim!r}: it is no hostPath")
        return _made(Path(volume["spec"]["hostPath"]["path"]))


def write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Make the directory hold exactly these files, changed all at once.

    As the kubelet does it: the files lie in a directory of their own, `..data` links to it, and what programs see are
    links through `..data`; exchanging that one link is atomic (pkg/volume/util/atomic_writer.go of Kubernetes).
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "..data"
    if data.exists() and _held(data) == files:
        return
    fresh = directory / f"..{secrets.token_hex(8)}"
    fresh.mkdir()
    for path, content in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        target.write_bytes(content)
    old = data.resolve() if data.exists() else None
    link = directory / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(data)
    names = {path.partition("/")[0] for path in files}
    for name in names:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    if old is not None:
        shutil.rmtree(old)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _held(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}
