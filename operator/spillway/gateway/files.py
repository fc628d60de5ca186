"""LLMDeployments from files, for a gateway without Kubernetes: read at the start, and again when one changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from spillway.api.documents import deployments_in
from spillway.api.v1alpha1 import LLMDeployment
from spillway.errors import InvalidSetting, SpillwayError
from spillway.gateway.stamps import Stamp, stamp_of

LOOK_EVERY_SECONDS: Final = 0.5
"""The least change of a file's time that all file systems tell is far below; nobody edits faster."""

_log: Final = structlog.get_logger("spillway.gateway.files")

Stamps = tuple[Stamp | None, ...]


def read_files(paths: Sequence[Path], namespace: str) -> tuple[LLMDeployment, ...]:
    """All LLMDeployments of the files, in `namespace` where they state none.

    A status or uid in a file is left out: it tells of another place.

    Raises:
        InvalidSetting: a file cannot be read or holds none, or two objects have one name.
        InvalidObject: a field of one cannot be used; the message begins with the object's name.
    """
    found: dict[str, Path] = {}
    deployments: list[LLMDeployment] = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise InvalidSetting(f"--file {path} cannot be read ({problem}); name a file of LLMDeployments") from None
        for deployment in deployments_in(text, f"--file {path}", namespace):
            name = deployment.metadata.name
            if name in found:
                raise InvalidSetting(f"--file {path}: the name {name!r} is taken by {found[name]}; give it another")
            found[name] = path
            identity = deployment.metadata.model_copy(update={"uid": ""})
            deployments.append(deployment.model_copy(update={"status": None, "metadata": identity}))
    return tuple(deployments)


async def follow_files(
    paths: Sequence[Path],
    namespace: str,
    seen: Stamps,
    take: Callable[[tuple[LLMDeployment, ...]], Awaitable[None]],
    refuse: Callable[[SpillwayError], None],
) -> None:
    """Hand the objects to `take` whenever a file changed since `seen`, for ever.

    An edit is taken whole or not at all: `refuse` is told why not (`take` may raise it too), and all stays as it was.
    """
    while True:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        now = await asyncio.to_thread(stamps, paths)
        if now == seen:
            continue
        seen = now
        try:
            await take(await asyncio.to_thread(read_files, paths, namespace))
        except SpillwayError as problem:
            refuse(problem)


def stamps(paths: Sequence[Path]) -> Stamps:
    """What changes when one of the files is written or replaced."""
    return tuple(stamp_of(path) for path in paths)
