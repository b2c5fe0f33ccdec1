"""Ports for servers that tests start."""

import itertools
import os
import random
import socket

#: Below the ports that the system gives to connections: one of those may be taken before the server listens. The processes of a run have
#: each a part of them.
FIRST, EACH, PARTS = 10_000, 2_000, 11
_PART = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PARTS
# Several runs on one machine begin at different places.
_PLACES = itertools.count(random.randrange(EACH))


def free_port() -> int:
    """A port on which nobody listens, given once."""
    for place in itertools.islice(_PLACES, EACH):
        port = FIRST + _PART * EACH + place % EACH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no port from {FIRST + _PART * EACH} on is free")
