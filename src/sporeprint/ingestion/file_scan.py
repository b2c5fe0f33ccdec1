"""One pass over a file's bytes: its hash, its length in lines, and whether it is UTF-8."""

import codecs
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sporeprint.common.progress import Progress


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over a file's bytes finds.

    Attributes:
        size: bytes.
        sha256: of the bytes, in hex.
        utf8: whether the text is UTF-8. A stray other byte in text that was UTF-8 up to there makes a bad row, not another encoding.
        lines: lines ended by a line feed, plus an unfinished last one; None where they are not rows: quotes, blank lines.
        high_control: whether bytes 0x80 to 0x9F occur: letters in cp1252, control characters in Latin-1.
        cuts: where the file can be cut between lines, about one place a block: the byte, and the lines before it.
    """

    size: int
    sha256: str
    utf8: bool
    lines: int | None
    high_control: bool
    cuts: tuple[tuple[int, int], ...] = ()


def scan(path: Path, progress: Progress, *, block_bytes: int = 4 << 20, see: Callable[[bytes], None] | None = None) -> Scan:
    """Hash a file and look at its bytes; whoever else wants to see them is shown each block.

    Raises:
        OSError: if it cannot be read.
    """
    digest, text, lines = hashlib.sha256(), _Utf8Watch(), _LineCount()
    size, high_control = 0, False
    # The hash takes longer than all the rest: it is made beside it, and lets go of the interpreter lock.
    with path.open("rb") as file, ThreadPoolExecutor(1) as beside:
        while block := file.read(block_bytes):
            size += len(block)
            hashed = beside.submit(digest.update, block)
            lines.see(block)
            if see is not None:
                see(block)
            if not block.isascii():
                values = np.frombuffer(block, np.uint8)
                high_control = high_control or bool(np.any((values >= 0x80) & (values < 0xA0)))
            text.see(block)
            hashed.result()
            progress.advance(len(block))
    total = lines.total(size)
    cuts = () if total is None else tuple(lines.cuts)
    return Scan(size=size, sha256=digest.hexdigest(), utf8=text.is_utf8, lines=total, high_control=high_control, cuts=cuts)


@dataclass(slots=True)
class _Utf8Watch:
    """Whether bytes that come in blocks are UTF-8 text."""

    is_utf8: bool = True
    _decided: bool = False
    _seen: bool = False
    _cut: bool = False
    _decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")())

    def see(self, block: bytes) -> None:
        if self._decided or (block.isascii() and not self._cut):
            return
        try:
            self._seen = not self._decoder.decode(block).isascii() or self._seen
            self._cut = bool(self._decoder.getstate()[0])
        except UnicodeDecodeError as error:
            self.is_utf8 = self._seen or not bytes(error.object[: error.start]).isascii()
            self._decided = True


@dataclass(slots=True)
class _LineCount:
    """How many lines come in blocks, as long as a line is a row."""

    _count: int = 0
    _last: int = -1
    _plain: bool = True
    _size: int = 0
    cuts: list[tuple[int, int]] = field(default_factory=list)

    def see(self, block: bytes) -> None:
        if not self._plain:
            return
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + self._size
        # A line of at most two bytes is blank ("\n", "\r\n"): no row.
        if b'"' in block or (len(ends) and np.diff(ends, prepend=self._last).min() <= 2):
            self._plain = False
            return
        self._count += len(ends)
        if len(ends):
            self._last = int(ends[-1])
            self.cuts.append((self._last + 1, self._count))
        self._size += len(block)

    def total(self, size: int) -> int | None:
        return self._count + (self._last != size - 1) if self._plain else None
