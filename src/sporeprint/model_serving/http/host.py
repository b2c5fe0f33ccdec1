"""The host that a request names: whether it was sent to this machine by one of its own names."""

import functools
import re

#: Names of this machine.
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_HOST = re.compile(r"(?:\[(?P<bracketed>[0-9a-f:.]+)\]|(?P<name>[^\[\]:/@\s]+))(?::[0-9]{1,5})?")


@functools.lru_cache(maxsize=256)
def is_loopback(host: bytes) -> bool:
    """Whether a Host header, with a port or without, names this machine."""
    match = _HOST.fullmatch(host.decode("latin-1").lower())
    return match is not None and (match["bracketed"] or match["name"]) in LOOPBACK
