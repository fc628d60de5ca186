"""A download goes through the proxy that its variables name, and asks it for the hub's or the store's own host."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from huggingface_hub import close_session

from spillway.errors import FetchError
from spillway.fetch.bucket import BucketSource
from spillway.fetch.hub import HubSource
from spillway.fetch.source import Listing


class Refusing:
    """A proxy that refuses everything, and keeps the first line that it was asked."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(65536).partition(b"\r\n")[0].decode())
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refusing]:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    refusing = Refusing()
    monkeypatch.setenv("HTTPS_PROXY", refusing.url)
    close_session()  # it is one for the whole process, and reads the variables when it is made
    yield refusing
    close_session()
    refusing.close()


def hub() -> Listing:
    return HubSource("acme/model", "", "", "https://hub.example").resolve()


def bucket() -> Listing:
    return BucketSource("models", "a", None, "https://store.example").resolve()


@pytest.mark.parametrize(("resolve", "host"), [(hub, "hub.example"), (bucket, "store.example")])
def test_a_download_asks_the_proxy_for_the_host_that_it_wants(resolve, host: str, proxy: Refusing) -> None:
    with pytest.raises(FetchError):
        resolve()
    assert any(line.startswith(f"CONNECT {host}:443 ") for line in proxy.asked)
