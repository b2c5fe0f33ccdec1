"""The footer of a Parquet file, read and written: a tree of numbered fields in Thrift's compact protocol.

By hand, because a server has Polars alone: PyArrow, which could do it, takes 170 MiB, and Polars shows no CRC and joins no parts.
"""

from io import BytesIO
from typing import IO, Any

MAGIC = b"PAR1"
#: Types of the compact protocol.
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
#: Fields of the footer; of a row group; of a column's name and description, and of a note.
SCHEMA, ROW_COUNT, GROUPS, NOTES = 2, 3, 4, 5
COLUMNS, GROUP_ROWS = 1, 3
NAME, CHILDREN = 4, 5
#: Largest footer that is read, bytes, and how deep it may be.
LARGEST, DEEPEST = 16 << 20, 12

#: Field -> (type, value). A list is (type of its items, items), a structure again such a dictionary.
Struct = dict[int, tuple[int, Any]]


class DamagedFileError(ValueError):
    """The bytes are not those that were written, or no Parquet file."""


def footer_of(file: IO[bytes]) -> tuple[Struct, int]:
    """The footer of an open file, and where it begins.

    Raises:
        DamagedFileError: there is none.
    """
    end = file.seek(0, 2)
    file.seek(max(0, end - 8))
    tail = file.read(8)
    size = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or size > end - 12:
        raise DamagedFileError("it does not end like one")
    if size > LARGEST:
        raise DamagedFileError(f"its footer has {size:,} bytes; at most {LARGEST:,} are read")
    file.seek(end - 8 - size)
    try:
        return _read_struct(BytesIO(file.read(size)), 0), end - 8 - size
    except IndexError:
        raise DamagedFileError("its footer ends too soon") from None


def _read_struct(source: BytesIO, depth: int) -> Struct:
    if depth > DEEPEST:
        raise DamagedFileError("its footer is too deep")
    fields: Struct = {}
    field = 0
    while head := source.read(1)[0]:
        kind = head & 15
        field = field + (head >> 4) if head >> 4 else _signed(_read_varint(source))
        fields[field] = (kind, _read_value(source, kind, depth))
    return fields


def _read_value(source: BytesIO, kind: int, depth: int) -> Any:
    match kind:
        case 1 | 2:
            return kind == TRUE
        case 3:
            return bytes([source.read(1)[0]])
        case 4 | 5 | 6:
            return _signed(_read_varint(source))
        case 7:
            return source.read(8)
        case 8:
            return source.read(_read_varint(source))
        case 9 | 10:
            head = source.read(1)[0]
            size, inner = head >> 4, head & 15
            size = _read_varint(source) if size == 15 else size
            return inner, [
                bytes([source.read(1)[0]]) if inner in (TRUE, FALSE) else _read_value(source, inner, depth + 1) for _ in range(size)
            ]
        case 12:
            return _read_struct(source, depth + 1)
        case _:
            raise DamagedFileError(f"a field of type {kind} in the footer of a Parquet file")


def _read_varint(source: BytesIO) -> int:
    number = shift = 0
    while (byte := source.read(1)[0]) > 127:
        if shift > 63:
            raise DamagedFileError("a number in its footer is too large")
        number |= (byte & 127) << shift
        shift += 7
    return number | byte << shift


def _signed(number: int) -> int:
    return number >> 1 ^ -(number & 1)


def to_bytes(struct: Struct) -> bytes:
    """A tree of fields, as it is written."""
    data, last = bytearray(), 0
    for field in sorted(struct):
        kind, value = struct[field]
        step = field - last
        data += bytes([step << 4 | kind]) if step < 16 else bytes([kind]) + _varint(field << 1)
        data += b"" if kind in (TRUE, FALSE) else _written_value(kind, value)
        last = field
    return bytes(data) + b"\0"


def _written_value(kind: int, value: Any) -> bytes:
    match kind:
        case 4 | 5 | 6:
            return _varint(value << 1 ^ value >> 63)
        case 8:
            return _varint(len(value)) + bytes(value)
        case 9 | 10:
            inner, items = value
            head = bytes([len(items) << 4 | inner]) if len(items) < 15 else bytes([240 | inner]) + _varint(len(items))
            return head + b"".join(item if inner in (TRUE, FALSE) else _written_value(inner, item) for item in items)
        case 12:
            return to_bytes(value)
        case _:  # as it was read
            return bytes(value)


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)
