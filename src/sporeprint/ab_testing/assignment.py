"""Which arm a unit belongs to: a hash of the test's salt and the unit's id. Every worker, in any language, finds the same.

    digest = SHA-256(salt + ":" + unit id), both as UTF-8
    arm b if the first 8 bytes of the digest, as an unsigned big-endian number, are below floor(traffic_split * 2^64), otherwise a

Nothing has to be remembered. Salts are drawn per test, so that two tests split their units independently. Test vectors: salt, unit id,
number, arm at a split of 0.5 and of 0.1.

    salt-1  u1        8701097543013482034  b  a
    salt-1  u2        7194197381673670944  b  a
    salt-1  4           12249191097987063  b  b
    salt-1  42       15166761575917056558  a  a
    salt-2  42        4770760845758102683  b  a
    salt-1  Zürich   18033666004917786144  a  a
    salt-1  (empty)   3039802805290974502  b  a
"""

import hashlib
from typing import Literal

Arm = Literal["a", "b"]
#: With it begins the id of a unit without a name, which is its row.
ROW_PREFIX = "row-"
_BYTES = 8


class Assignment:
    """The arms of one test. Making one takes some microseconds, asking it about one.

    Args:
        salt: of the test; never changed.
        traffic_split: share of the units that go to b, between 0 and 1.
    """

    __slots__ = ("_below", "_salted")

    def __init__(self, salt: str, traffic_split: float) -> None:
        self._salted = hashlib.sha256(f"{salt}:".encode())
        # A float times a power of 2 is exact.
        self._below = int(traffic_split * 2 ** (8 * _BYTES)).to_bytes(_BYTES, "big")

    def arm(self, unit_id: str) -> Arm:
        """The arm of a unit."""
        digest = self._salted.copy()
        digest.update(unit_id.encode("utf-8", "surrogatepass"))
        # Big-endian numbers of the same length are ordered as their bytes are.
        return "b" if digest.digest()[:_BYTES] < self._below else "a"


def number(salt: str, unit_id: str) -> int:
    """The number that decides, 0 to 2^64 - 1: to check another implementation against."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{unit_id}".encode("utf-8", "surrogatepass")).digest()[:_BYTES], "big")
