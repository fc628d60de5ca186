"""Requests to engines and clouds: what crosses over, to which address, with whose credential.

Nothing of the caller's headers crosses: a call is built from the body, an endpoint and our own facts. Redirects are not
followed and no proxy is taken from the environment, for both could send a prompt where nobody decided it. The
administrator's own proxy, if there is one, is for clouds alone: it is asked to CONNECT, and sees a host and a port.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp

from spillway.errors import AddressRefused, CertificateNotTrusted, NothingSent
from spillway.gateway.addresses import GuardedResolver, Network
from spillway.gateway.credentials import Credentials
from spillway.routing.facts import Endpoint, Target
from spillway.routing.providers import key_headers, surface_of, url_of

ENGINE_CONNECT_SECONDS: Final = 2.0
CLOUD_CONNECT_SECONDS: Final = 5.0
ENGINE_KEEPALIVE_SECONDS: Final = 4.0
"""Below uvicorn's 5 s (https://www.uvicorn.org/settings/#timeouts): else vLLM may hang up on a request just sent."""
CLOUD_KEEPALIVE_SECONDS: Final = 15.0
USER_AGENT: Final = "spillway"


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt, ready to be sent. The prompt and the credential are in no repr: one may get into a log."""

    url: str
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    connect_seconds: float
    tls: ssl.SSLContext | None = None
    billed_codes: frozenset[str] = frozenset()
    """Of refusals that are billed all the same."""


class Upstreams:
    """The clients of engines and of clouds, each with its own pool of connections.

    `named_hosts` and `networks` say where clouds may be (`GuardedResolver`). With `proxy_url`, such as
    http://10.0.0.9:3128, they are reached through it: then `networks` are where the proxy is, when its host is a name.
    """

    def __init__(
        self,
        credentials: Credentials,
        named_hosts: frozenset[str],
        networks: Iterable[Network] = (),
        proxy_url: str | None = None,
    ) -> None:
        self.credentials = credentials
        self._proxy_url = proxy_url
        self._resolver = GuardedResolver(named_hosts, networks)
        self._engines: aiohttp.ClientSession | None = None
        self._clouds: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._engines = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=ENGINE_KEEPALIVE_SECONDS))
        self._clouds = _session(
            aiohttp.TCPConnector(limit=0, keepalive_timeout=CLOUD_KEEPALIVE_SECONDS, resolver=self._resolver)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._engines, self._clouds):
            if session is not None:
                await session.close()

    async def post(self, call: Call) -> aiohttp.ClientResponse:
        """Send `call` and wait for the head of its answer; the caller closes the response.

        Raises:
            NothingSent: no connection came about; of its kinds AddressRefused when the address may not be called, and
                CertificateNotTrusted.
            aiohttp.ClientError, OSError, TimeoutError: it broke after something was sent.
        """
        session = self._clouds if call.tls else self._engines
        if session is None:
            raise RuntimeError("Upstreams is used outside of its context")
        timeout = aiohttp.ClientTimeout(total=None, connect=call.connect_seconds, sock_read=None)
        try:
            return await session.post(
                call.url,
                data=io.BytesIO(call.body),  # aiohttp writes a file in pieces, bytes in one that holds the loop up
                headers=call.headers,
                timeout=timeout,
                ssl=call.tls or True,
                allow_redirects=False,
                proxy=self._proxy_url if call.tls else None,
            )
        except aiohttp.ClientConnectorCertificateError as error:
            raise CertificateNotTrusted(f"{urlsplit(call.url).netloc}: {error.certificate_error}") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefused):
                raise error.os_error from error
            raise NothingSent(f"{urlsplit(call.url).netloc}: {error}") from error
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            raise NothingSent(f"{urlsplit(call.url).netloc}: {error}") from error

    def engine_call(self, address: str, endpoint: Endpoint, body: bytes, request_id: str, *, stream: bool) -> Call:
        """A call to an engine pod at `address` (host:port)."""
        return Call(f"http://{address}{endpoint.value}", body, _headers(request_id, stream), ENGINE_CONNECT_SECONDS)

    def cloud_call(self, target: Target, endpoint: Endpoint, body: bytes, request_id: str, *, stream: bool) -> Call:
        """A call to a cloud target, with its credential as it stands in the file now.

        Raises:
            CredentialMissing: the target's credential or CA bundle cannot be used.
            AddressRefused: the target's URL holds an address that may not be called.
        """
        self._resolver.check_literal(urlsplit(target.base_url).hostname or "")
        headers = _headers(request_id, stream) | key_headers(target, self.credentials.bearer(target))
        tls, billed_codes = self.credentials.tls(target), surface_of(target).billed_codes
        return Call(url_of(target, endpoint), body, headers, CLOUD_CONNECT_SECONDS, tls, billed_codes)


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
        max_line_size=65536,
        max_field_size=65536,
    )


def _headers(request_id: str, stream: bool) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        "accept-encoding": "identity",
        "user-agent": USER_AGENT,
        "x-request-id": request_id,
    }
