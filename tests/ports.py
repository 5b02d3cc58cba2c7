"""Ports of 127.0.0.1 for programs that tests start.

A port that the system has just given away and taken back may be the next connection's before the program has it. So they
come from below the range that the system gives away, and each process of a run has a share of its own.
"""

from __future__ import annotations

import os
import random
import socket

_FIRST, _SHARE, _SHARES = 15_000, 1_000, 16
_next = random.SystemRandom().randrange(_SHARE)


def free_port() -> int:
    """A TCP port that nobody listens on, and that this process has not named for a long time."""
    global _next
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    for _ in range(_SHARE):
        port = _FIRST + worker * _SHARE + _next % _SHARE
        _next += 1
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError("no port is free")
