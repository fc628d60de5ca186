"""The burst's client: the official OpenAI SDK, streaming, one request as its caller sees it."""

from __future__ import annotations

import time
from typing import Final

import openai

from spillway.simulator.demo.plan import Kind, Planned
from spillway.simulator.demo.tally import End, Seen

REQUEST_SECONDS: Final = 120.0


class BurstClient:
    """Sends planned requests to a gateway and reports what came back. Times are seconds since `began` (monotonic)."""

    def __init__(self, gateway_url: str, model: str, began: float) -> None:
        # No retries of the SDK's own: what fails here has to be seen.
        self._sdk = openai.AsyncOpenAI(
            base_url=f"{gateway_url}/v1", api_key="none", max_retries=0, timeout=REQUEST_SECONDS
        )
        self._model = model
        self._began = began

    async def close(self) -> None:
        """Close its connections."""
        await self._sdk.close()

    async def send(self, planned: Planned) -> Seen:
        """Send one request and read its answer to the end."""
        sent = time.monotonic()
        headers = {"x-spillway-data-class": "Sensitive"} if planned.kind is Kind.LABELLED else {}
        first: float | None = None
        place = reason = ""
        try:
            raw = await self._sdk.chat.completions.with_raw_response.create(
                model=self._model,
                messages=[{"role": "user", "content": planned.prompt}],
                max_tokens=planned.output_tokens,
                stream=True,
                extra_headers=headers,
            )
            place, reason = _place(raw.headers.get("x-spillway-backend", "")), raw.headers.get("x-spillway-reason", "")
            finished = False
            async for chunk in raw.parse():
                for choice in chunk.choices:
                    if first is None and choice.delta.content:
                        first = time.monotonic() - sent
                    finished = finished or choice.finish_reason is not None
            end, detail = (End.ANSWERED, "") if finished else (End.BROKEN, "no finish_reason")
        except openai.APIStatusError as error:
            reason = error.response.headers.get("x-spillway-reason", "")
            told = error.status_code == 503 and "retry-after" in error.response.headers
            place, end, detail = "none", End.REFUSED if told else End.FAILED, f"{error.status_code} {error.message}"
        except (openai.APIError, OSError) as error:
            end, detail = End.BROKEN if first is not None else End.FAILED, f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001 (the SDK lets its transport's own errors through while it streams)
            end, detail = End.BROKEN if first is not None else End.FAILED, f"{type(error).__name__}: {error}"
        return Seen(
            planned=planned,
            sent_seconds=sent - self._began,
            ended_seconds=time.monotonic() - self._began,
            end=end,
            place=place or "none",
            reason=reason,
            first_token_seconds=first,
            detail=detail,
        )


def _place(backend: str) -> str:
    return backend.partition("/")[0]
