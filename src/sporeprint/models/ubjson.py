"""Reads Universal Binary JSON (ubjson.org, draft 12) as XGBoost writes it: plain values, and arrays of numbers as NumPy arrays.

XGBoost's own reader needs the whole library, which takes longer to import than a server has to start, and ends the process on much
of what is no model.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

#: Type -> how a number of it is written, big end first.
_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_CONSTANTS = {"T": True, "F": False, "Z": None}
#: Deeper than any model: a file must not be able to use up the stack.
_DEEPEST = 64


def loads(data: bytes) -> Any:
    """Read one value.

    Returns:
        dict, list, str, int, float, bool or None; an array of numbers of one type as a NumPy array in the machine's own order.

    Raises:
        ValueError: if the bytes are not one whole value.
    """
    try:
        value, end = _value(data, 0, 0)
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"not UBJSON: {type(error).__name__}: {error}") from None
    if end != len(data):
        raise ValueError(f"not UBJSON: {len(data) - end:,} bytes are left after the value")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    return _of_type(chr(data[at]), data, at + 1, depth)


def _of_type(kind: str, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if kind in _NUMBERS:
        return _number(kind, data, at)
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], at
    if kind == "C":
        return chr(data[at]), at + 1
    if kind == "S":
        return _text(data, at)
    if depth >= _DEEPEST:
        raise ValueError(f"not UBJSON: more than {_DEEPEST} levels deep")
    return _CONTAINERS[kind](data, at, depth)


def _number(kind: str, data: bytes, at: int) -> tuple[Any, int]:
    dtype = np.dtype(_NUMBERS[kind])
    if at + dtype.itemsize > len(data):
        raise ValueError("not UBJSON: it ends within a number")
    return np.frombuffer(data, dtype, 1, at)[0].item(), at + dtype.itemsize


def _length(data: bytes, at: int) -> tuple[int, int]:
    value, at = _value(data, at, _DEEPEST)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0 or value > len(data):
        raise ValueError(f"not UBJSON: {value!r} is no length")
    return value, at


def _text(data: bytes, at: int) -> tuple[str, int]:
    length, at = _length(data, at)
    if at + length > len(data):
        raise ValueError("not UBJSON: it ends within a text")
    return data[at : at + length].decode(), at + length


def _array(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind, count, at = _heading(data, at)
    if kind in _NUMBERS and count is not None:
        dtype = np.dtype(_NUMBERS[kind])
        if at + count * dtype.itemsize > len(data):
            raise ValueError("not UBJSON: it ends within an array")
        return np.frombuffer(data, dtype, count, at).astype(dtype.newbyteorder("=")), at + count * dtype.itemsize
    found: list[Any] = []
    while not _ends(data, at, "]", count, len(found)):
        value, at = _value(data, at, depth + 1) if kind is None else _of_type(kind, data, at, depth + 1)
        found.append(value)
    return found, at + (count is None)


def _object(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    kind, count, at = _heading(data, at)
    found: dict[str, Any] = {}
    read = 0
    while not _ends(data, at, "}", count, read):
        key, at = _text(data, at)
        found[key], at = _value(data, at, depth + 1) if kind is None else _of_type(kind, data, at, depth + 1)
        read += 1
    return found, at + (count is None)


def _heading(data: bytes, at: int) -> tuple[str | None, int | None, int]:
    """What an array or object says of itself: the type of its values, and how many there are."""
    kind = None
    if data[at] == ord("$"):
        kind, at = chr(data[at + 1]), at + 2
        if data[at] != ord("#"):
            raise ValueError("not UBJSON: a type without a count")
    if data[at] != ord("#"):
        return kind, None, at
    count, at = _length(data, at + 1)
    return kind, count, at


def _ends(data: bytes, at: int, end: str, count: int | None, read: int) -> bool:
    return data[at] == ord(end) if count is None else read >= count


_CONTAINERS: dict[str, Callable[[bytes, int, int], tuple[Any, int]]] = {"[": _array, "{": _object}
