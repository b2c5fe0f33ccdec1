"""Bodies that are compressed (Content-Encoding), unpacked part by part, never beyond a limit."""

import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

from sporeprint.model_serving.http.problems import HttpProblemError, Problem, too_large, too_much

#: Bytes that are unpacked at a time.
PIECE = 1 << 18
#: How often its size a body may unpack to, beyond what anybody may: tables unpack to 5 to 50 times their size, bombs to 1,000 and more.
MOST_RATIO, FREE_BYTES = 200, 16 << 20
#: Largest window of zstd, bytes: what a frame may make a reader hold.
ZSTD_WINDOW = 8 << 20
DAMAGED = Problem(
    400, "not-compressed", "The body is not compressed as it says", "the body cannot be unpacked; is it damaged, or not compressed?"
)


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def feed(self, data: bytes, most: int) -> tuple[bytes, bytes]: ...


class _Zlib:
    def __init__(self, bits: int) -> None:
        self._object = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def feed(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        return self._object.decompress(data, most), self._object.unconsumed_tail


class _Zstd:
    def __init__(self) -> None:
        self._object = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def feed(self, data: bytes, most: int) -> tuple[bytes, bytes]:  # noqa: ARG002 -- it has no such limit: little goes in at a time
        return self._object.decompress(data[:ZSTD_PIECE]), data[ZSTD_PIECE:]


#: Bytes of zstd that are unpacked at a time: a block unpacks to 128 KiB at the most, from four bytes.
ZSTD_PIECE = 256
ENCODINGS: dict[str, Callable[[], _Unpacker]] = {
    "gzip": lambda: _Zlib(31),
    "x-gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
    "zstd": _Zstd,
}


class BoundedUnpacker:
    """Unpacks a body that comes in parts.

    Attributes:
        size: bytes unpacked so far.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        """Begin.

        Args:
            encoding: one of `ENCODINGS`.
            limit: most bytes unpacked.
        """
        self._encoding, self._limit, self.size, self._packed = encoding, limit, 0, 0
        self._unpacker = ENCODINGS[encoding]()
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """Unpack a further part.

        Raises:
            HttpProblemError: if it is damaged, or there is more than the limit.
        """
        unpacked: list[bytes] = []
        self._packed += len(data)
        while data:
            if self._unpacker.eof:  # what follows is a further member
                self._unpacker = ENCODINGS[self._encoding]()
            part, data = self._fed(data)
            self.size += len(part)
            if self.size > self._limit:
                raise HttpProblemError(too_large(self._limit))
            if self.size > FREE_BYTES + MOST_RATIO * self._packed:
                raise HttpProblemError(too_much(f"the body unpacks to more than {MOST_RATIO} times its size"))
            if part:
                unpacked.append(part)
        return unpacked

    def _fed(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            part, left = self._unpacker.feed(data, PIECE)
        except (zlib.error, zstandard.ZstdError):
            if self._encoding == "deflate" and not self._begun:  # as some send it: without the header of zlib
                self._begun, self._unpacker = True, _Zlib(-15)
                return self._fed(data)
            raise HttpProblemError(DAMAGED) from None
        self._begun = True
        return part, self._unpacker.unused_data + left if self._unpacker.eof else left

    def finish(self) -> None:
        """Raises: HttpProblemError, if the end is missing."""
        if not self._begun or not self._unpacker.eof:
            raise HttpProblemError(DAMAGED)


def unpack(encoding: str | None, data: bytes, limit: int) -> bytes:
    """A body, unpacked.

    Raises:
        HttpProblemError: if it is damaged, or larger than the limit.
    """
    if encoding is None:
        return data
    unpacker = BoundedUnpacker(encoding, limit)
    parts = unpacker.feed(data)
    unpacker.finish()
    return b"".join(parts)
