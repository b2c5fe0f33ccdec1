"""How a CSV file is written: separator, encoding, newline, header, and whether its columns are those of the dataset."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from sporeprint.errors import DataError, nearest
from sporeprint.ingestion.file_scan import Scan
from sporeprint.schema import SCORES, DatasetSchema, code_text
from sporeprint.settings import CsvSettings

SEPARATORS = (";", ",", "\t", "|")
#: Longest line and longest quoted row, in bytes of UTF-8. What bounds the memory when a file is not what it says.
MAX_LINE = 1 << 20
#: Lines among which the one with the column names is looked for.
HEADER_LINES = 100
#: Characters of a name or row that a message shows.
MAX_TEXT = 200
#: Columns beside the dataset's that a message names.
MAX_NAMED = 20

BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

Newline = Literal["\n", "\r\n", "\r"]


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How a CSV file is written.

    Attributes:
        separator: one character.
        encoding: a Python encoding name: utf-8, utf-8-sig, utf-16, utf-16-le, utf-16-be, latin-1, cp1252, or the one set.
        header: whether the first line holds column names.
        newline: what ends the first line.
        columns: without a header, the names of the file's columns in its order; None: those of the schema.
        encoding_guessed: whether the encoding is only the likeliest of several: an 8-bit one that was not set.
    """

    separator: str
    encoding: str
    header: bool
    newline: Newline
    columns: tuple[str, ...] | None = None
    encoding_guessed: bool = False

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave and JSON made of it."""
        columns = raw.get("columns")
        return cls(**{**raw, "columns": None if columns is None else tuple(columns)})


# --- the dialect -----------------------------------------------------------------------------------------------------


def detect(
    path: Path, chosen: CsvSettings, schema: DatasetSchema, scan: Scan, *, where: str, labelled: bool = True, rows: bool = True
) -> CsvDialect:
    """Find out how a CSV file is written. What the settings say is taken as it is.

    Args:
        path: the file.
        chosen: the settings; `auto` is to be found out.
        schema: the contract: the right separator is the one that brings out its columns.
        scan: what a pass over the bytes counted.
        where: what the file is, for messages.
        labelled: whether the target (and the group column) must be there.
        rows: whether there must be rows, where they have to be labelled.

    Raises:
        DataError: if the file is empty, has no rows, or its header does not fit the schema.
    """
    encoding = _encoding(path, chosen.encoding, scan, where)
    head = read_head(path, encoding)
    if not head.strip():
        raise DataError(f"{where} is empty; it must hold {'a header and ' if chosen.header else ''}rows")
    newline = _newline(head)
    separator = _separator(head, newline, chosen, schema, where)
    guessed = chosen.encoding == "auto" and encoding in {"latin-1", "cp1252"}
    dialect = CsvDialect(separator, encoding, chosen.header, newline, chosen.columns, guessed)
    if not chosen.header and chosen.columns is None and labelled:
        _check_order(head, dialect, schema, where)
    _, used = header_columns(head, dialect, schema, where, labelled=labelled)
    if labelled and rows and not head[used:].strip() and len(head) < MAX_LINE:
        raise DataError(f"{where} has a header and no rows")
    return dialect


def detect_alike(path: Path, trained: CsvSettings, schema: DatasetSchema, scan: Scan, *, where: str, labelled: bool) -> CsvDialect:
    """Find out how a further file of a table is written, of which `trained` says how the first was read. Else as `detect`.

    The further file may be in UTF-8, have another separator, or a line of column names where the first had none.
    """
    encoding = "auto" if scan.utf8 else trained.encoding
    plain = CsvSettings(encoding=encoding)
    if trained.header or not (columns := trained.columns or schema.table_columns):
        return detect(path, plain, schema, scan, where=where, labelled=labelled)
    try:
        return detect(path, plain, schema, scan, where=where, labelled=labelled)
    except DataError:
        orders = [columns] if labelled else [columns, tuple(name for name in columns if name != schema.target.column)]
        for order in orders:
            with suppress(DataError):
                return detect(path, _headerless(plain, order), schema, scan, where=where, labelled=labelled)
        raise


def _headerless(plain: CsvSettings, order: Sequence[str]) -> CsvSettings:
    return plain.model_copy(update={"header": False, "columns": tuple(order)})


def header_names(path: Path, chosen: CsvSettings, schema: DatasetSchema, scan: Scan, *, where: str) -> tuple[str, ...]:
    """The names in the line of column names: of the first lines the one that names most columns of a schema.

    Raises:
        DataError: the file is empty or cannot be split into fields.
    """
    head = read_head(path, _encoding(path, "auto" if scan.utf8 else chosen.encoding, scan, where))
    if not head.strip():
        raise DataError(f"{where} is empty; it must hold a header and rows")
    newline = _newline(head)
    separator = _separator(head, newline, CsvSettings(), schema, where)
    return _header_record(head, separator, newline, schema, where)[0]


def _encoding(path: Path, chosen: str, scan: Scan, where: str) -> str:
    if chosen != "auto":
        return chosen
    with path.open("rb") as file:
        head = file.read(4096)
    for mark, encoding in BOMS.items():
        if head.startswith(mark):
            return encoding
    if wide := wide_encoding(head):
        return wide
    if scan.utf8:
        return "utf-8"
    with path.open("rb") as file:
        likely = likely_script(file.read(MAX_LINE))
    if likely is not None:
        raise DataError(
            f"{where}: the text is not UTF-8, and does not look like a Western language either; its encoding cannot be told for sure. "
            f"Set source.csv.encoding; the likeliest is {likely} (Cyrillic); others are cp1253 (Greek), cp1255 (Hebrew), "
            "cp1256 (Arabic), shift_jis, gb18030"
        )
    return "cp1252" if scan.high_control else "latin-1"


def likely_script(text: bytes) -> str | None:
    """The encoding of 8-bit text in the Cyrillic script; None for Latin text.

    In a Western language a word has some letters with accents; in another script every letter is outside ASCII. Of those scripts
    only the likeliest is named: Greek, Hebrew and Arabic cannot be told from it by their bytes.
    """
    words = [word for word in re.findall(rb"[A-Za-z\x80-\xff]{3,}", text[:MAX_LINE]) if not word.isascii()]
    foreign = sum(len(re.sub(rb"[A-Za-z]", b"", word)) > 0.6 * len(word) for word in words)
    if foreign < max(3, 0.5 * len(words)):
        return None
    # KOI8-R read as Windows-1251 swaps the cases: then most letters but the first would be capitals.
    sample = b" ".join(words[:2000]).decode("cp1251", "replace")
    return "cp1251" if sum(map(str.islower, sample)) >= sum(map(str.isupper, sample)) else "koi8-r"


def wide_encoding(head: bytes) -> str | None:
    """UTF-16 without a byte order mark: in mostly Western text every second byte is 0."""
    values = np.frombuffer(head[: len(head) // 2 * 2], np.uint8).reshape(-1, 2)
    if not len(values):
        return None
    first, second = (values == 0).mean(axis=0)
    if max(first, second) < 0.7 or min(first, second) > 0.1:
        return None
    return "utf-16-be" if first > second else "utf-16-le"


def read_head(path: Path, encoding: str) -> bytes:
    """The file's beginning as UTF-8: more than `MAX_LINE` bytes of it, unless the file is shorter."""
    head = b""
    for block, _ in blocks(path, encoding, MAX_LINE):
        head += block
        if len(head) > MAX_LINE:
            break
    return head


def _newline(head: bytes) -> Newline:
    plain = re.sub(rb'"[^"]*"', b"", head)
    end = plain.find(b"\n")
    if end < 0:
        return "\r" if b"\r" in plain else "\n"
    return "\r\n" if plain[:end].endswith(b"\r") else "\n"


def _separator(head: bytes, newline: Newline, chosen: CsvSettings, schema: DatasetSchema, where: str) -> str:
    if chosen.separator != "auto":
        return chosen.separator
    if not chosen.header:
        counts = {len(chosen.columns)} if chosen.columns is not None else {len(schema.table_columns), len(schema.columns)}
        return max(SEPARATORS, key=lambda separator: _rows_that_fit(head, separator, newline, counts))
    headers = {separator: _header_record(head, separator, newline, schema, where)[0] for separator in SEPARATORS}
    known = set(schema.table_columns)
    return max(SEPARATORS, key=lambda separator: (len(known.intersection(headers[separator])), len(headers[separator])))


def _rows_that_fit(head: bytes, separator: str, newline: Newline, counts: Collection[int], sample: int = 100) -> int:
    """How many of the first lines a separator splits into as many fields as there are columns."""
    lines = head.split(end_of(newline), sample)[:sample]
    rows = split_fields((line.decode("utf-8", "replace").strip("\r\n") for line in lines), separator)
    try:
        return sum(len(row) in counts for row in rows)
    except csv.Error:
        return 0


def end_of(newline: Newline) -> bytes:
    """The byte that ends a line; the carriage return before it is cut off later."""
    return newline[-1].encode()


# --- the header ------------------------------------------------------------------------------------------------------


def match_columns(names: Sequence[str], schema: DatasetSchema, where: str, *, labelled: bool = True) -> tuple[str | None, ...]:
    """For every column of a table its name in the schema, or None where it is to be ignored.

    Args:
        names: the table's column names.
        schema: the contract.
        where: what the table is, for the message.
        labelled: whether the target and the group column must be there. Rows without a label are there to be scored:
            every column is kept, the ones that are not in the schema too, underscores in a name stand for hyphens, and a feature that
            is not there was not observed.

    Raises:
        DataError: a column is missing, renamed, there twice, or not in the schema.
    """
    # A column without a name, or with one that is there twice, cannot be told from others: it is left out, where it is not needed.
    if not labelled:
        spelled = {name.replace("-", "_"): name for name in schema.columns}
        names = [spelled.get(name, name) for name in names]
    names = _own(names, schema, where, labelled=labelled)
    counts = Counter(names)
    if not labelled and "_row" in counts:
        raise DataError(f"{where}: the column '_row' has the name of one that is to be added; rename it")
    needed = schema.table_columns if labelled else tuple(schema.columns)
    needed_columns = frozenset(needed if labelled else (*needed, *(name for name, times in counts.items() if name and times == 1)))
    if twice := [name for name in needed if counts[name] > 1]:
        raise DataError(f"{where}: the column {twice[0]!r} is there {counts[twice[0]]} times; keep one")
    missing = [name for name in needed if name not in counts]
    extra = [name for name in counts if name and name not in needed_columns]
    if not labelled and missing and _may_lack(missing, names, schema):
        return tuple(name if name in needed_columns else None for name in names)
    if missing or (labelled and extra and schema.extra_columns == "reject"):
        message = f"{where}: the columns are not those of the dataset {schema.name!r}"
        raise DataError("\n".join([message, *_differences(missing, extra, schema), f"  the table has: {_named(names)}"]))
    return tuple(name if name in needed_columns else None for name in names)


def _own(names: Sequence[str], schema: DatasetSchema, where: str, *, labelled: bool) -> Sequence[str]:
    """The names with those of the table's own columns, where it was answered."""
    renamed = schema.as_table(names)
    if renamed and labelled and not {*SCORES, *schema.own_names.values()}.issubset(names):
        name, own = next((name, own) for name, own in schema.own_names.items() if own in names)
        raise DataError(
            f"{where}: beside the column {name!r} there is {own!r}, which is the name that {name!r} has where rows were answered; "
            f"rename or remove {own!r}"
        )
    return [renamed.get(name, name) for name in names] if renamed else names


def _named(names: Sequence[str]) -> str:
    """The first of a table's columns, for a message."""
    return ", ".join(repr(name[:40]) for name in names[:5]) + (", ..." if len(names) > 5 else "")


def _may_lack(missing: Sequence[str], names: Sequence[str], schema: DatasetSchema) -> bool:
    """Whether rows to be scored can do without these columns: then nobody observed them. Not where one is required, or misspelt."""
    others = [name for name in names if name not in schema.columns]
    misspelt = any(nearest(name[:MAX_TEXT], missing) for name in others[:MAX_NAMED])
    return len(missing) < len(schema.columns) and not misspelt and not any(schema.columns[name].required for name in missing)


def _differences(missing: Sequence[str], extra: Sequence[str], schema: DatasetSchema) -> Iterator[str]:
    for name in missing:
        yield f"  missing: {name!r}{' (the target)' if name == schema.target.column else ''}"
    for name in extra[:MAX_NAMED]:
        yield f"  not in the dataset: {name[:MAX_TEXT]!r}{nearest(name[:MAX_TEXT], missing)}"
    if len(extra) > MAX_NAMED:
        yield f"  and {len(extra) - MAX_NAMED:,} more that are not in the dataset"
    if extra:
        yield "  rename or remove it, declare it under dataset.columns, or set dataset.extra_columns: ignore"


def header_columns(
    head: bytes, dialect: CsvDialect, schema: DatasetSchema, where: str, *, labelled: bool
) -> tuple[tuple[str | None, ...], int]:
    """The schema's name for every field of a row, and how many bytes of the text the header takes."""
    if dialect.header:
        names, used = _header_record(head, dialect.separator, dialect.newline, schema, where)
    else:
        names, used = _first_record(head, dialect.separator, dialect.newline, where)
    where = f"{where}, read with the separator {dialect.separator!r}"
    if dialect.header:
        if len(names) == 1 and (labelled or len(schema.columns) > 1):
            others = ", ".join(repr(other) for other in SEPARATORS if other != dialect.separator)
            raise DataError(
                f"{where}: the header has one field, {names[0][:MAX_TEXT]!r}; is the separator another one?"
                f" Set source.csv.separator ({others}, ...), or name a table that has the columns of the dataset"
            )
        if len(names) == len(schema.table_columns) and not set(names).intersection(schema.table_columns):
            raise DataError(
                f"{where}: no line of the first {HEADER_LINES} names a column of the dataset; "
                "if the file has no header, set source.csv.header: false and source.csv.columns"
            )
        return match_columns(names, schema, where, labelled=labelled), used
    if dialect.columns is not None:
        if len(names) != len(dialect.columns):
            raise DataError(f"{where}: the first row has {len(names)} fields, source.csv.columns names {len(dialect.columns)}")
        return match_columns(dialect.columns, schema, where, labelled=labelled), 0
    orders = [schema.table_columns] if labelled else [schema.table_columns, tuple(schema.columns)]
    for order in orders:
        if len(names) == len(order):
            return order, 0
    raise DataError(
        f"{where} and without a header: the first row has {len(names)} fields,"
        f" the dataset has {len(schema.table_columns)} columns; check source.csv.separator and source.csv.header,"
        " or name the columns in the file's order: source.csv.columns"
    )


def _check_order(head: bytes, dialect: CsvDialect, schema: DatasetSchema, where: str) -> None:
    """Refuse a file without header in which another column than the first may be the target.

    Raises:
        DataError: naming the likeliest order.
    """
    lines = head.split(end_of(dialect.newline))[:HEADER_LINES]
    rows = [row for row in split_fields((line.decode("utf-8", "replace").strip("\r") for line in lines), dialect.separator) if row]
    width = len(schema.table_columns)
    codes = {*schema.target.values, *schema.target.aliases, ""}
    fitting = [
        place
        for place in range(width)
        if all(len(row) == width and code_text(row[place]) in codes for row in rows) and any(row[place].strip() for row in rows)
    ]
    if fitting in ([0], []):  # the target first, as without a header it has to be; or no row fits, which the check of rows says
        return
    features = [name for name in schema.table_columns if name != schema.target.column]
    order = [*features[: fitting[-1]], schema.target.column, *features[fitting[-1] :]]
    many = "several columns hold nothing but" if len(fitting) > 1 else f"column {fitting[0] + 1}, not the first, holds"
    raise DataError(
        f"{where} has no header, and {many} the classes of {schema.target.column!r}; say the order of its columns, "
        f"the likeliest is source.csv.columns: [{', '.join(order)}]"
    )


def _header_record(head: bytes, separator: str, newline: Newline, schema: DatasetSchema, where: str) -> tuple[tuple[str, ...], int]:
    """The fields of the line with the column names, and where it ends: of the first lines the one that names most columns."""
    known, best, used = set(schema.table_columns), _first_record(head, separator, newline, where), 0
    most = len(known.intersection(best[0]))
    for line in head.split(end_of(newline))[:HEADER_LINES]:
        used += len(line) + 1
        if most == len(known):
            break
        if separator.encode() not in line and len(known) > 1:
            continue
        fields = next(iter(split_fields(iter([line.decode("utf-8", "replace").strip("\r")]), separator)), [])
        names = tuple(name.strip() for name in fields)
        if len(known.intersection(names)) > most:
            best, most = (names, used), len(known.intersection(names))
    return best


def _first_record(head: bytes, separator: str, newline: Newline, where: str) -> tuple[tuple[str, ...], int]:
    """The fields of the first line that is not blank, and where it ends."""
    sizes: list[int] = []
    end = end_of(newline)
    lines = decoded_lines(head.split(end), 0, end, sizes, errors="replace")
    try:
        for fields in split_fields(lines, separator):
            if fields:
                return tuple(name.strip() for name in fields), sum(sizes)
    except csv.Error as error:
        raise DataError(f"{where}: the first line cannot be split into fields: {error}; is it a CSV file?") from None
    raise DataError(f"{where}: the first line is longer than {MAX_LINE:,} bytes; is it a CSV file?")


# --- text in blocks --------------------------------------------------------------------------------------------------


def _mark(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for bytes that are no text in the file's encoding: a byte that is none in UTF-8 either, so that the row shows."""
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff", error.end
    raise error


def _decoder(encoding: str) -> Callable[[bytes, bool], bytes]:
    if codecs.lookup(encoding).name in {"utf-8", "utf-8-sig"}:
        return lambda block, _final: block
    codecs.register_error("sporeprint.mark", _mark)
    decoder = codecs.getincrementaldecoder(encoding)("sporeprint.mark")
    return lambda block, final: decoder.decode(block, final).encode("utf-8", "sporeprint.mark")


def blocks(path: Path, encoding: str, size: int, part: tuple[int, int | None] = (0, None)) -> Iterator[tuple[bytes, int]]:
    """A file as UTF-8 text without byte order mark, each block with the number of the file's bytes it took.

    Args:
        path: the file.
        encoding: of its text.
        size: bytes of a block.
        part: which bytes are read: from, up to (None: all).

    Raises:
        DataError: if the file is in another encoding altogether.
        OSError: if it cannot be read.
    """
    decode = _decoder(encoding)
    begun, (place, end) = part[0] > 0, part
    try:
        with path.open("rb") as file:
            file.seek(place)
            while block := file.read(max(size, len(codecs.BOM_UTF8)) if end is None else min(size, end - place)):
                place += len(block)
                text = decode(block, False)
                if not begun:
                    begun = bool(text)
                    text = text.removeprefix(codecs.BOM_UTF8)
                yield text, len(block)
        yield decode(b"", True), 0
    except UnicodeError as error:
        raise DataError(f"{path} cannot be read as {encoding}: {error}; set source.csv.encoding") from error


def decoded_lines(lines: Sequence[bytes], first: int, newline: bytes, sizes: list[int], errors: str = "strict") -> Iterator[str]:
    """Lines from a place on, at most `MAX_LINE` bytes of them, each with its newline; its size in bytes is added to `sizes`."""
    total = 0
    for number in range(first, len(lines)):
        line = lines[number] + newline
        total += len(line)
        if total > MAX_LINE + len(newline):
            return
        sizes.append(len(line))
        yield line.decode("utf-8", errors)


def split_fields(lines: Iterator[str], separator: str, *, strict: bool = False) -> Iterator[list[str]]:
    """The csv module's reader. `strict` refuses text after a closing quote, and a quote that is never closed."""
    # The module's limit is one for the whole process, and below that of a line.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    return csv.reader(lines, delimiter=separator, strict=strict)
