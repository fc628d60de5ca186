"""A TCP port on 127.0.0.1 that no parallel run can take."""

from __future__ import annotations

import socket


class HeldPort:
    """A free port, held until it is closed.

    We bind it with SO_REUSEPORT and never listen. A server of the same user that sets the same option
    (kube-apiserver --permit-port-sharing) binds it too and gets every connection, while the kernel hands the number
    to nobody else in the meantime, so there is no moment at which it could be lost (socket(7)).
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
