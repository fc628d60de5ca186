"""Runs in a pod of the cluster: sends requests as a client does, and prints what came back, one JSON object a request.

Its one argument is JSON: url, body, and optionally headers, count (how many), parallel (at the same time), pause (the
seconds from an answer to the next request), steady (go on until standard input ends, however many they become),
connect_again (how often to try again, as OpenAI's clients do, where no connection comes about).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from typing import Any

import aiohttp


async def ask(session: aiohttp.ClientSession, order: dict[str, Any], number: int) -> dict[str, Any]:
    """One request; what a caller sees of its answer."""
    begun = time.monotonic()
    seen: dict[str, Any] = {"number": number, "status": 0, "text": "", "done": False, "error": ""}
    try:
        async with await connected(session, order) as response:
            seen["status"] = response.status
            seen["headers"] = {name.lower(): value for name, value in response.headers.items()}
            if response.status == 200 and order["body"].get("stream"):
                async for line in response.content:
                    read_line(line.decode().strip(), seen, time.monotonic() - begun)
            else:
                answer = await response.text()
                seen["done"] = response.status == 200
                seen["text"] = text_of(answer) if seen["done"] else answer
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        seen["error"] = f"{type(error).__name__}: {error}"
    seen["seconds"] = round(time.monotonic() - begun, 3)
    return seen


async def connected(session: aiohttp.ClientSession, order: dict[str, Any]) -> aiohttp.ClientResponse:
    """The answer, once its head is there."""
    for left in reversed(range(order.get("connect_again", 0) + 1)):
        try:
            return await session.post(order["url"], json=order["body"], headers=order.get("headers"))
        except aiohttp.ClientConnectorError:
            if not left:
                raise
            await asyncio.sleep(0.5)
    raise AssertionError


def read_line(line: str, seen: dict[str, Any], seconds: float) -> None:
    """Take in one line of a stream."""
    if line == "data: [DONE]":
        seen["done"] = True
    elif line.startswith("data: "):
        for choice in json.loads(line.removeprefix("data: "))["choices"]:
            if text := choice.get("delta", {}).get("content"):
                seen.setdefault("first", round(seconds, 3))
                seen["text"] += text
                seen["pieces"] = seen.get("pieces", 0) + 1


def text_of(answer: str) -> str:
    """The text of an answer that is not streamed."""
    return str(json.loads(answer)["choices"][0]["message"]["content"])


async def main(order: dict[str, Any]) -> None:
    """Send all of it."""
    steady = order.get("steady", False)
    left = itertools.count() if steady else iter(range(order.get("count", 1)))
    told_to_stop = asyncio.create_task(asyncio.to_thread(sys.stdin.read)) if steady else None
    timeout = aiohttp.ClientTimeout(total=order.get("timeout", 120))
    # a connection for each request, as of callers that know nothing of each other
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

        async def one_after_another() -> None:
            for number in left:
                if told_to_stop and told_to_stop.done():
                    return
                seen = await ask(session, order, number)
                sys.stdout.write(json.dumps(seen) + "\n")
                sys.stdout.flush()
                await asyncio.sleep(order.get("pause", 0.0))

        await asyncio.gather(*(one_after_another() for _ in range(order.get("parallel", 1))))


asyncio.run(main(json.loads(sys.argv[1])))
