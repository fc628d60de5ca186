"""The operator's only Kubernetes client: reads, applies and deletes plain objects, and says in our words what failed.

It is the official client's asynchronous core without its models and without discovery: paths are in the table below.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote
from urllib.request import getproxies_environment

import orjson
import yaml
from kubernetes.aio import client, config
from kubernetes.aio.client import rest

from spillway.controller.objects import FIELD_MANAGER, Object, Ref, at, ref_of, text_at
from spillway.errors import ClusterError, Conflict, Forbidden, Invalid, NotFound, SetupError, Unreachable

_REQUEST_SECONDS = 30.0


_SPILLWAY = "/apis/spillway.dev/v1alpha1"
_RESOURCES: Mapping[str, tuple[str, str]] = {
    "LLMDeployment": (_SPILLWAY, "llmdeployments"),
    "LLMLedger": (_SPILLWAY, "llmledgers"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Service": ("/api/v1", "services"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "StorageClass": ("/apis/storage.k8s.io/v1", "storageclasses"),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "Pod": ("/api/v1", "pods"),
    "Event": ("/api/v1", "events"),
    "Namespace": ("/api/v1", "namespaces"),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the API server, for the other client in this process (kopf's)."""

    server: str
    ca_path: str | None
    insecure: bool
    token: str | None
    certificate_path: str | None
    private_key_path: str | None


class Cluster:
    """One API server, seen with the rights of one account. Close it after use."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> Cluster:
        """The cluster that KUBECONFIG names; else the one that this pod runs in; else that of ~/.kube/config.

        Raises:
            SetupError: none of them is there, or it cannot be read.
        """
        configuration = client.Configuration()
        configuration.connection_pool_maxsize = 64
        # else its HTTP library looks for proxies and a netrc file anew at each request
        configuration.client_session_kwargs = {"trust_env": bool(getproxies_environment())}
        try:
            if not os.environ.get("KUBECONFIG") and os.environ.get("KUBERNETES_SERVICE_HOST"):
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # so published
            else:
                await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # so published
        # a kubeconfig that is no kubeconfig fails in the client wherever it first matters
        except (config.ConfigException, OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise SetupError(
                f"no Kubernetes cluster to connect to: {error}; set KUBECONFIG, or run with a service account"
            ) from error
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()  # type: ignore[no-untyped-call] # so published

    async def credentials(self) -> Credentials:
        """How this client reaches the API server, with a token that is fresh now."""
        configuration = self._api.configuration
        authorization = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return Credentials(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            token=authorization.split(" ", 1)[-1] if authorization else None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )

    async def get(self, ref: Ref) -> Object | None:
        """The object, None if there is none."""
        try:
            return await self._request("GET", path_of(ref.kind, ref.namespace, ref.name), str(ref))
        except NotFound:
            return None

    async def list(self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> list[Object]:
        """All objects of a kind, in one namespace or (empty) in all, that carry all of these labels."""
        query = {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items())} if labels else {}
        answer = await self._request("GET", path_of(kind, namespace), f"{kind}s of {namespace or 'all'}", query)
        items = answer.get("items")
        # a LIST leaves out of its items what it says once for all of them
        head = {"apiVersion": answer.get("apiVersion"), "kind": kind}
        return [{**head, **item} for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    async def list_owned(self, kinds: Sequence[str], namespace: str, labels: Mapping[str, str]) -> tuple[Object, ...]:
        """What carries these labels, of all these kinds: one LIST for each, at the same time."""
        lists = await asyncio.gather(*(self.list(kind, namespace, labels) for kind in kinds))
        return tuple(obj for objects in lists for obj in objects)

    async def apply(self, obj: Mapping[str, object]) -> Object:
        """Make the object what is said here, as field manager `spillway` and by force; what it is then."""
        return await self._apply(obj, "")

    async def apply_status(self, obj: Mapping[str, object]) -> Object:
        """Make the object's status what is said here, as field manager `spillway`; what the object is then."""
        return await self._apply(obj, "/status")

    async def delete(self, ref: Ref, uid: str = "") -> None:
        """Delete the object and, later, what it owns; with `uid` only if it still is that one. Gone is fine."""
        body: Object = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._request("DELETE", path_of(ref.kind, ref.namespace, ref.name), str(ref), body=body)
        except NotFound:
            return

    async def create(self, obj: Mapping[str, object]) -> Object:
        """Create the object; what it is then."""
        ref = ref_of(obj)
        return await self._request("POST", path_of(ref.kind, ref.namespace), str(ref), body=dict(obj))

    async def _apply(self, obj: Mapping[str, object], subresource: str) -> Object:
        ref = ref_of(obj)
        return await self._request(
            "PATCH",
            path_of(ref.kind, ref.namespace, ref.name) + subresource,
            str(ref),
            {"fieldManager": FIELD_MANAGER, "force": "true"},
            dict(obj),
            "application/apply-patch+yaml",
        )

    async def _request(
        self,
        method: str,
        path: str,
        about: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        asked = f"{method} {about}"
        try:
            _, url, headers, _, _ = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(method, url, headers, body=body, _request_timeout=_REQUEST_SECONDS)
            data: bytes = await response.read()  # type: ignore[no-untyped-call] # so published
        # the client lets the errors of its HTTP library through as they are, under the library's name
        except (OSError, TimeoutError, rest.aiohttp.ClientError) as error:  # type: ignore[attr-defined] # not re-exported
            raise Unreachable(f"{asked}: {type(error).__name__} {error}".strip()) from error
        answer = _parse(data)
        if response.status >= 400:
            _raise(response.status, answer, asked, data)
        return answer


def path_of(kind: str, namespace: str, name: str = "") -> str:
    """Where the API server has an object; without a name the collection, without a namespace that of all."""
    prefix, plural = _RESOURCES[kind]
    path = f"{prefix}/namespaces/{quote(namespace, safe='')}/{plural}" if namespace else f"{prefix}/{plural}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _parse(data: bytes) -> Object:
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _raise(status: int, answer: Object, asked: str, data: bytes) -> NoReturn:
    """Raise the error of ours that an HTTP error means; its body is a `Status` unless a proxy answered."""
    said = text_at(answer, "message") or data[:200].decode(errors="replace").strip()
    message = f"{asked}: {status} {said}"
    causes = at(answer, "details", "causes")
    field = text_at(causes[0], "field") if isinstance(causes, list) and causes else ""
    match status:
        case 404 | 410:
            raise NotFound(message)
        case 403 if _is_terminating(causes):
            raise NotFound(message)  # nothing can be made there any more, whatever our rights
        case 409:
            raise Conflict(message)
        case 400 | 415 | 422:
            raise Invalid(message, field)
        case 401 | 403:
            raise Forbidden(message)
        case 408 | 429 | 500 | 502 | 503 | 504:
            raise Unreachable(message)
        case _:
            raise ClusterError(message)


def _is_terminating(causes: object) -> bool:
    return isinstance(causes, list) and any(text_at(cause, "reason") == "NamespaceTerminating" for cause in causes)
