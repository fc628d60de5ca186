"""Credentials and CA bundles of cloud targets: files that Kubernetes renews in place, read again when they changed."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from spillway.errors import CredentialMissing
from spillway.gateway.stamps import Stamp, stamp_of
from spillway.routing.facts import KeyRef, Target

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    stamp: Stamp
    value: T


class Credentials:
    """The directory of projected Secrets (`<secret>/<key>`) and that of CA bundles (`<configmap>/<key>`).

    `given` are keys that somebody handed over at the start: they stand before any file.
    """

    def __init__(self, credentials_dir: Path, ca_dir: Path, given: Mapping[KeyRef, str] | None = None) -> None:
        self._credentials_dir = credentials_dir
        self._ca_dir = ca_dir
        self._given = dict(given or {})
        self._keys: dict[Path, _Read[str]] = {}
        self._contexts: dict[Path, _Read[ssl.SSLContext]] = {}
        self._public: ssl.SSLContext | None = None

    def bearer(self, target: Target) -> str | None:
        """The target's key as it stands in its file now; None when the target takes none.

        Raises:
            CredentialMissing: the file is absent, empty, or no header could carry what it holds.
        """
        if target.credential is None:
            return None
        if target.credential in self._given:
            return self._given[target.credential]
        path = _inside(self._credentials_dir, target.credential)
        where = f"key {target.credential.key!r} of Secret {target.credential.name!r}"
        stamp = stamp_of(path)
        if stamp is None:
            raise CredentialMissing("SecretNotFound", f"{where} is not mounted: there is no {path}")
        known = self._keys.get(path)
        if known is None or known.stamp != stamp:
            known = self._keys[path] = _Read(stamp, _read_key(path, where))
        return known.value

    def version(self, target: Target) -> object:
        """What was last read for the target, as a value that differs when a file was renewed."""
        key = self._keys.get(_inside(self._credentials_dir, target.credential)) if target.credential else None
        bundle = self._contexts.get(_inside(self._ca_dir, target.ca_bundle)) if target.ca_bundle else None
        return key and key.stamp, bundle and bundle.stamp

    def tls(self, target: Target) -> ssl.SSLContext:
        """What the target's certificate is verified with: its own CA bundle alone, or the system's roots.

        Raises:
            CredentialMissing: the bundle is absent or holds no certificate.
        """
        if target.ca_bundle is None:
            if self._public is None:
                self._public = ssl.create_default_context()
            return self._public
        path = _inside(self._ca_dir, target.ca_bundle)
        where = f"key {target.ca_bundle.key!r} of ConfigMap {target.ca_bundle.name!r}"
        stamp = stamp_of(path)
        if stamp is None:
            raise CredentialMissing("CABundleNotFound", f"{where} is not mounted: there is no {path}")
        known = self._contexts.get(path)
        if known is None or known.stamp != stamp:
            known = self._contexts[path] = _Read(stamp, _read_bundle(path, where))
        return known.value


def _inside(directory: Path, ref: KeyRef) -> Path:
    path = directory / ref.name / ref.key
    if ".." in path.parts:
        raise CredentialMissing("InvalidReference", f"{ref.name}/{ref.key} is not a name")
    return path


def _read_key(path: Path, where: str) -> str:
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialMissing("SecretUnusable", f"{where} cannot be read as ASCII text") from error
    if not key or not key.isprintable():
        raise CredentialMissing("SecretUnusable", f"{where} is empty or holds control characters")
    return key


def _read_bundle(path: Path, where: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise CredentialMissing("CABundleUnusable", f"{where} holds no PEM certificate") from error
