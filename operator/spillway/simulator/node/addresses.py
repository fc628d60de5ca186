"""An address in 127.0.0.0/8 that no other pod or node on this machine has."""

from __future__ import annotations

import random
import socket

from spillway.errors import SetupError

_TRIES = 200
# Above the ports that Linux takes by itself (ip_local_port_range ends at 60999), so nobody holds it by chance.
_CLAIM_PORT = 61250


class HeldAddress:
    """A loopback address, ours until it is closed or the process ends, whatever way it ends.

    The claim is a bound socket that never listens: the kernel lets one process bind an address and port, for all runs
    of all users of the machine, and drops the claim with the process. Linux answers on all of 127.0.0.0/8 unasked.
    """

    def __init__(self, rng: random.Random) -> None:
        """Claim one of 127.64.0.1 to 127.127.255.254, far from 127.0.0.1 and what distributions use.

        Raises:
            SetupError: none is to be had: this is not Linux, or someone holds the claim port on every address.
        """
        problem: OSError | None = None
        for _ in range(_TRIES):
            address = f"127.{rng.randint(64, 127)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
            claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                claim.bind((address, _CLAIM_PORT))
            except OSError as error:
                claim.close()
                problem = error
            else:
                self._claim = claim
                self.ip = address
                return
        raise SetupError(f"no address of 127.64.0.0/10 could be claimed on port {_CLAIM_PORT}: {problem}") from problem

    def close(self) -> None:
        """Give the address back."""
        self._claim.close()
