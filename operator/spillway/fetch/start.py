"""`spillway fetch`: from a URI to a complete folder, in one process or in as many steps as one likes."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from spillway.errors import ChecksumMismatch, DiskFull, FetchError, InvalidSetting, ModelNotFound, SecretMissing
from spillway.fetch.bucket import BucketSource, parse_keys
from spillway.fetch.checksums import digest
from spillway.fetch.download import FULL, Download
from spillway.fetch.folder import Folder
from spillway.fetch.hub import HubSource
from spillway.fetch.report import (
    Reporter,
    Result,
    complete_message,
    failure_message,
    step_message,
)
from spillway.fetch.source import Listing, Source
from spillway.settings import HUB_ENDPOINT, S3_ENDPOINT
from spillway.sizing.config import essence

_CONFIG_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """What one process of `spillway fetch` is to do."""

    uri: str
    """hf://organisation/name or s3://bucket/folder."""
    directory: Path
    revision: str = ""
    """Branch, tag or commit of a repository; empty: main."""
    until_percent: int = 100
    """End when so much is there; 100: when everything is there and verified."""
    secret_file: Path | None = None
    """The hub's token, or an AWS credentials file; None: nobody in particular asks."""
    hub_endpoint: str = HUB_ENDPOINT
    s3_endpoint: str = S3_ENDPOINT
    termination_message: Path | None = None
    """Where the last word goes, for the kubelet."""


def run(settings: FetchSettings, clock: Callable[[], float] = time.monotonic) -> int:
    """Download; 0 when all that was asked for is there, else the exit code of the error, which is told.

    Raises:
        InvalidSetting: the URI is none that can be downloaded.
    """
    reporter = Reporter(settings.termination_message)
    try:
        reporter.end(_fetch(settings, reporter, clock))
    except FetchError as error:
        reporter.end(failure_message(error))
        return error.exit_code
    return 0


def run_to_exit(settings: FetchSettings) -> NoReturn:
    """Download as the only thing that this process does: SIGTERM ends it at once, for what has arrived is on disk."""
    # the first process of a container ignores every signal that it has no handler for
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    sys.exit(run(settings))


def _fetch(settings: FetchSettings, reporter: Reporter, clock: Callable[[], float]) -> str:
    folder = Folder(settings.directory)
    try:
        with folder.locked():
            if (done := folder.result) is not None:
                reporter.line("already complete", revision=done.revision)
                return complete_message(done)
            source = source_of(settings)
            listing = _listing(source, folder, reporter)
            return _download(source, folder, listing, settings, reporter, clock)
    except OSError as error:
        if isinstance(error, FetchError):
            raise
        if error.errno in FULL:
            raise DiskFull(f"{error.strerror}; make spec.cache.size larger") from error
        raise FetchError(f"the claim cannot be used: {error}") from error


def source_of(settings: FetchSettings) -> Source:
    """Where the model of these settings is downloaded from.

    Raises:
        InvalidSetting: the URI is none that can be downloaded.
        SecretMissing: the file with the token or keys is not there, or holds none.
    """
    scheme, _, place = settings.uri.partition("://")
    secret = _secret(settings.secret_file)
    if scheme == "hf" and place:
        return HubSource(place, settings.revision, secret.strip(), settings.hub_endpoint)
    if scheme == "s3" and place:
        bucket, _, prefix = place.partition("/")
        return BucketSource(bucket, prefix, parse_keys(secret) if secret else None, settings.s3_endpoint)
    raise InvalidSetting(f"{settings.uri!r}: must be hf://organisation/name or s3://bucket/folder")


def _secret(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text.strip():
        # the file is <Secret>/<key>
        name, key = path.parent.name, path.name
        raise SecretMissing(
            f"the Secret {name!r} is not there, or holds nothing under the key {key!r}: make it in this namespace, or "
            "name another in spec.model.secretRef"
        )
    return text


def _listing(source: Source, folder: Folder, reporter: Reporter) -> Listing:
    """What an earlier step resolved; else what is there now, and what the folder holds of an older one is removed."""
    listing = folder.listing
    if listing is None:
        listing = source.resolve()
        for file in listing.files:
            path = folder.final(file)
            if path.is_file() and not (
                folder.is_there(file) and file.checksum and digest(path, file.checksum) == file.checksum.value
            ):
                path.unlink()
        folder.pin(listing)
    reporter.line("resolved", revision=listing.revision, files=len(listing.files), totalBytes=listing.size)
    return listing


def _download(
    source: Source,
    folder: Folder,
    listing: Listing,
    settings: FetchSettings,
    reporter: Reporter,
    clock: Callable[[], float],
) -> str:
    download = Download(source, folder, listing, reporter, clock)
    try:
        download.run(listing.size * settings.until_percent // 100)
    except (ModelNotFound, ChecksumMismatch):
        folder.unpin()  # what was resolved is not there any more: the next attempt looks again
        raise
    if settings.until_percent < 100:
        return step_message(download.arrived, listing.size)
    result = Result(
        revision=listing.revision,
        bytes=listing.size,
        files=len(listing.files),
        weight_bytes=sum(file.size for file in listing.files if file.path.endswith((".safetensors", ".bin", ".gguf"))),
        unverified=sum(file.checksum is None for file in listing.files),
        config=_config(folder.path / "config.json"),
    )
    folder.complete(result)
    return complete_message(result)


def _config(path: Path) -> dict[str, object]:
    """What config.json says of the model's shape; nothing if there is none."""
    try:
        if path.stat().st_size > _CONFIG_BYTES:
            return {}
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return essence(config) if isinstance(config, dict) else {}
