"""Arrays as the bytes of an .npz archive and back: nothing pickled, equal arrays give equal bytes."""

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

#: What reading bytes that are no archive, or a damaged one, may raise.
_UNREADABLE = (
    *(KeyError, OSError, EOFError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def to_npz(arrays: Mapping[str, npt.NDArray[Any]], *, compressed: bool = False) -> bytes:
    """Write arrays by name."""
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, allow_pickle=False, **arrays)
    return file.getvalue()


def from_npz(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Read what `to_npz` wrote.

    Raises:
        ValueError: if the bytes are no such archive.
    """
    try:
        archive = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise TypeError("a single array")
        with archive:
            return dict(archive)
    except _UNREADABLE as error:
        raise ValueError(f"no archive of arrays: {error}") from error
