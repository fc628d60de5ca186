from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.rig import Rig, cloud_of, manifest, running
from spillway.simulator.cloud.server import Pace, RecordingCloud


@pytest.fixture
async def cloud() -> AsyncIterator[RecordingCloud]:
    """A quick cloud that records and bills."""
    async with cloud_of(pace=Pace(first_token_seconds=0.02, jitter_seconds=0.0, tokens_per_second=2000.0)) as cloud:
        yield cloud


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A gateway that serves `chat`, with no replicas yet and nowhere to spill."""
    async with running(tmp_path) as rig:
        rig.apply(manifest())
        yield rig


@pytest.fixture
async def spilling(tmp_path: Path, cloud: RecordingCloud) -> AsyncIterator[Rig]:
    """A gateway whose `chat` may spill to the cloud."""
    async with running(tmp_path, cloud) as rig:
        rig.apply(manifest(cloud))
        yield rig
