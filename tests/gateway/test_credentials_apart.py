"""Whose credential is whose, over real sockets and whatever headers there are: none crosses the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import random
import string
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession, TCPConnector

from gateway.rig import API_KEY, COMPLETION, WHOLE, Rig, chat, cloud_of, engine, manifest, running, streams, unary
from spillway.simulator.cloud import Faults, RecordingCloud
from spillway.simulator.cloud.server import Pace

QUEUE = {"maxRequests": 100, "maxWaitSeconds": 1}
SECRET = "whose-but-the-callers"
OURS = frozenset({"host", "content-length", "content-type", "connection", "expect", "transfer-encoding"})
KNOWN = (
    *("authorization", "Authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"),
    *("openai-organization", "openai-project", "anthropic-version", "x-request-id", "x-forwarded-for", "forwarded"),
    *(
        "x-real-ip",
        "referer",
        "origin",
        "user-agent",
        "accept",
        "accept-encoding",
        "traceparent",
        "x-amz-security-token",
    ),
    *("te", "trailer", "via", "from", "x-spillway-backend", "x-spillway-reason", "x-spillway-request-id", "baggage"),
)
LETTERS = string.ascii_letters + string.digits + "-_"


def headers(dice: random.Random) -> list[tuple[str, str]]:
    """As many as eight, known and unknown, some of them twice."""
    made = []
    for _ in range(dice.randint(1, 8)):
        name = dice.choice(KNOWN) if dice.random() < 0.7 else "x-" + "".join(dice.choices(LETTERS, k=9))
        secret = f"{SECRET}-{dice.randrange(10**6)}"
        value = dice.choice((secret, f"Bearer {secret}", f"Basic {secret}", f"session={secret}; path=/"))
        if name.lower() not in OURS:
            made += [(name, value)] * dice.choice((1, 1, 1, 2))
    return made


async def ask(rig: Rig, http: ClientSession, dice: random.Random) -> str:
    """All that the caller is told."""
    body = chat(stream=dice.random() < 0.5, user=f"user-{dice.randrange(9)}", max_tokens=3)
    path = f"/v1/chat/completions?api-key={SECRET}&key={SECRET}"
    async with http.post(rig.url + path, json=body, headers=headers(dice)) as answer:
        told = f"{answer.status} {answer.raw_headers!r}"
        with contextlib.suppress(ClientPayloadError):  # an answer that breaks off is one of the ways to be told
            told += await answer.text()
        return told


def held_apart(rig: Rig, cloud: RecordingCloud, sent_to_engine: str, told: list[str]) -> None:
    assert SECRET not in sent_to_engine
    assert API_KEY not in sent_to_engine
    assert not cloud.contains(SECRET.encode())
    assert all(record.header("authorization") == f"Bearer {API_KEY}" for record in cloud.requests)
    assert not [text for text in told if API_KEY in text]
    assert API_KEY not in repr(rig.lines)
    assert SECRET not in repr(rig.lines)


@pytest.mark.parametrize("seed", range(2))
async def test_no_credential_crosses_whatever_headers_there_are(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    pace = Pace(first_token_seconds=0.01, jitter_seconds=0.0, tokens_per_second=2000.0)
    async with cloud_of(pace=pace) as cloud, running(tmp_path, cloud) as rig, engine(unary(COMPLETION)) as local:
        rig.apply(manifest(cloud, queue=QUEUE))
        told: list[str] = []
        async with ClientSession(connector=TCPConnector(limit=0)) as http:
            for faults in (Faults(), Faults(status=401), Faults(status=400), Faults(drop_after_tokens=1)):
                cloud.faults = faults
                told += await asyncio.gather(*(ask(rig, http, dice) for _ in range(10)))
                rig.gateway.table.remove("chat")
                rig.apply(manifest(cloud, queue=QUEUE))  # anew, so that what the last fault shut is open
            for answer in (unary(COMPLETION), streams(*WHOLE), unary({"error": {"message": "no"}}, status=400)):
                local.answer = answer
                rig.replicas(local.address)
                told += await asyncio.gather(*(ask(rig, http, dice) for _ in range(10)))
        assert len(cloud.requests) > 10
        assert len(local.requests) > 10
        held_apart(rig, cloud, repr(local.requests), told)
