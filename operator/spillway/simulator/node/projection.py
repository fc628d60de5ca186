"""What the files of a volume hold; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spillway.simulator.kubeapi import Object
from spillway.simulator.node.environment import Lookup, NotYetError, contents, field_value
from spillway.simulator.node.plan import UnsupportedError

_TOKEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A service account token that a volume asks for; an empty audience is the API server's."""

    audience: str
    expiration_seconds: int


@dataclass(frozen=True, slots=True)
class Sources:
    """Where content comes from: the pod itself, its namespace's Secrets and ConfigMaps, its tokens."""

    pod: Object
    lookup: Lookup
    token: Callable[[TokenRequest], str]


def is_projection(volume: Object) -> bool:
    """Whether the volume's files are written by the node, and kept current."""
    return any(kind in volume for kind in ("configMap", "secret", "projected", "downwardAPI"))


def references(volumes: Sequence[Object]) -> set[tuple[str, str]]:
    """The Secrets and ConfigMaps, as (kind, name), that volumes project."""
    return {(kind, name) for volume in volumes for source in _sources(volume) for kind, name in _reference(source)}


def token_requests(volumes: Sequence[Object]) -> set[TokenRequest]:
    """The tokens that volumes project."""
    wanted = (source.get("serviceAccountToken") for volume in volumes for source in _sources(volume))
    return {_token_request(token) for token in wanted if token}


def files(volume: Object, sources: Sources) -> dict[str, bytes]:
    """The volume's files by their path in it.

    Raises:
        NotYetError: a Secret, ConfigMap or key that is not optional is missing.
        UnsupportedError: a source that the node does not do.
    """
    result: dict[str, bytes] = {}
    for source in _sources(volume):
        result |= _files(source, sources)
    return result


def _sources(volume: Object) -> list[Object]:
    """A plain volume as the one source of a projected one, which spells the name differently."""
    if "projected" in volume:
        return list(volume["projected"].get("sources") or [])
    if secret := volume.get("secret"):
        return [{"secret": {**secret, "name": secret["secretName"]}}]
    return [{kind: volume[kind]} for kind in ("configMap", "downwardAPI") if kind in volume]


def _reference(source: Object) -> Iterator[tuple[str, str]]:
    for name, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
        if name in source:
            yield kind, source[name]["name"]


def _token_request(token: Object) -> TokenRequest:
    return TokenRequest(token.get("audience", ""), int(token.get("expirationSeconds") or _TOKEN_SECONDS))


def _files(source: Object, sources: Sources) -> dict[str, bytes]:
    if token := source.get("serviceAccountToken"):
        return {token["path"]: sources.token(_token_request(token)).encode()}
    if downward := source.get("downwardAPI"):
        return {item["path"]: _downward(item, sources.pod) for item in downward.get("items") or []}
    for kind, name in _reference(source):
        entry = source["secret" if kind == "Secret" else "configMap"]
        found = sources.lookup(kind, name)
        if found is None:
            if entry.get("optional"):
                return {}
            raise NotYetError(f'{kind.lower()} "{name}" not found')
        return _chosen(contents(found), entry, kind, name)
    raise UnsupportedError(f"a volume source of the kind {', '.join(sorted(source))}")


def _downward(item: Object, pod: Object) -> bytes:
    if "fieldRef" not in item:
        raise UnsupportedError("downwardAPI items without fieldRef")
    return field_value(pod, item["fieldRef"]["fieldPath"]).encode()


def _chosen(held: dict[str, bytes], entry: Object, kind: str, name: str) -> dict[str, bytes]:
    """All keys by their own names, or the keys that `items` lists by its paths."""
    if not (items := entry.get("items")):
        return held
    result = {}
    for item in items:
        if item["key"] in held:
            result[item["path"]] = held[item["key"]]
        elif not entry.get("optional"):
            raise NotYetError(f'references non-existent {kind.lower()} key: {item["key"]} of "{name}"')
    return result
