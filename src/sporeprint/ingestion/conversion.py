"""Files that hold a table in another form: compressed, JSON lines, aligned columns, folders of files. Converted into one plain file."""

import bz2
import gzip
import lzma
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sporeprint.errors import DataError
from sporeprint.ingestion.file_formats import kind_of, unlike_headers

#: Ending of the note that lies beside a simulated table.
SIMULATED_NOTE = ".simulated.json"
#: Bytes copied at a time.
BLOCK = 4 << 20
#: Bytes from which it is told what a file is.
HEAD = 1 << 16
#: Ending of a name -> what goes with it.
ENDINGS = (".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd")


def _zstd(path: Path) -> Any:
    import pyarrow as pa

    return pa.input_stream(str(path), compression="zstd")


#: First bytes of a compressed file -> what opens it.
_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _zstd,
}


def is_convertible(path: Path) -> bool:
    """Whether a file is compressed, of JSON, or of columns that blanks align."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return any(head.startswith(start) for start in _COMPRESSED) or _is_json(head) or _is_aligned(head)


def _is_json(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _is_aligned(head: bytes) -> bool:
    """Whether the fields of every line stand apart by blanks, several of them somewhere: what UCI's older tables look like."""
    if any(sign in head for sign in b'\0",;|\t') or b"  " not in head:
        return False
    lines = [line.split() for line in head.splitlines()[: -1 if len(head) == HEAD else None] if line.strip()]
    return len(lines) > 1 and len(lines[0]) > 1 and all(len(line) == len(lines[0]) for line in lines)


def convert(path: Path, folder: Path, *, max_mb: float) -> Path:
    """The table of a compressed, JSON or aligned file, as a plain file in a folder.

    Args:
        path: the file.
        folder: an existing folder.
        max_mb: largest size accepted, unpacked.

    Raises:
        DataError: it is damaged, too large, or holds no table.
        OSError: the file cannot be written.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    opener = next((opener for start, opener in _COMPRESSED.items() if head.startswith(start)), None)
    if opener is not None:
        name = path.name
        for ending in ENDINGS:
            name = name.removesuffix(ending)
        plain = folder / (name if name != path.name else f"{path.name}.unpacked")
        _unpack(path, opener, plain, max_mb)
        return convert(plain, folder, max_mb=max_mb) if is_convertible(plain) else plain
    return _from_json(path, folder) if _is_json(head) else _from_aligned(path, folder)


def _unpack(path: Path, opener: Callable[[Path], Any], plain: Path, max_mb: float) -> None:
    size = 0
    try:
        with opener(path) as source, plain.open("wb") as target:
            while block := source.read(BLOCK):
                size += len(block)
                if size > max_mb * 1e6:
                    raise DataError(f"{path} holds more than {max_mb:g} MB; source.download.max_mb allows no more")
                target.write(block)
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or cut: {error}") from error


def _from_json(path: Path, folder: Path) -> Path:
    try:
        frame = pl.read_ndjson(path, infer_schema_length=None)
    except pl.exceptions.PolarsError:
        try:
            frame = pl.read_json(path, infer_schema_length=None)
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{path} is JSON, and neither one object a line nor a list of objects: {str(error).partition(chr(10))[0]}"
            ) from error
    if not frame.width or not frame.height:
        raise DataError(f"{path} holds no rows")
    plain = folder / f"{path.stem}.parquet"
    frame.write_parquet(plain)
    return plain


def _from_aligned(path: Path, folder: Path) -> Path:
    plain = folder / f"{path.stem}.tsv"
    with path.open("rb") as source, plain.open("wb") as target:
        target.writelines(b"\t".join(line.split()) + b"\n" for line in source if line.strip())
    return plain


def _is_data(name: str) -> bool:
    """Whether a file in a folder is one of the table: no marker of a writer, no note beside a simulated table."""
    return not name.startswith((".", "_")) and not name.endswith(SIMULATED_NOTE)


def files_of(named: str) -> tuple[Path, ...] | None:
    """The files of a folder or pattern, in the order of their names; None where it is neither.

    Raises:
        DataError: there are none.
    """
    path = Path(named)
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.is_file() and _is_data(each.name))
        if not files:
            raise DataError(f"{path} is a folder without files; name a table")
        return tuple(files)
    if path.exists() or not any(sign in named for sign in "*?["):
        return None
    if not (files := sorted(each for each in path.parent.glob(path.name) if each.is_file() and _is_data(each.name))):
        if not any(sign in named for sign in "*?"):  # brackets stand in names of files, too
            return None
        raise DataError(f"no file is called {named}; name a table")
    return tuple(files)


def join(files: Sequence[Path], folder: Path, *, max_mb: float) -> Path:
    """Several files of one table, one below the other, as one file in a folder.

    Raises:
        DataError: they are of several forms, or their columns differ; named.
        OSError: the file cannot be written.
    """
    plain = []
    for number, path in enumerate(files):
        place = folder / f"part{number}"
        place.mkdir(exist_ok=True)
        plain.append(convert(path, place, max_mb=max_mb) if is_convertible(path) else path)
    kinds = [kind_of(path, str(path)) for path in plain]
    if len(set(kinds)) > 1:
        other = next(place for place, kind in enumerate(kinds) if kind != kinds[0])
        raise DataError(f"{files[0]} is {kinds[0]}, {files[other]} is {kinds[other]}; expected files of one form")
    return _joined_parquet(plain, files, folder) if kinds[0] == "parquet" else _joined_text(plain, files, folder)


def _joined_parquet(plain: Sequence[Path], files: Sequence[Path], folder: Path) -> Path:
    joined = folder / "joined.parquet"
    names = [pl.read_parquet_schema(path).keys() for path in plain]
    for each, path in zip(names, files, strict=True):
        if set(each) != set(names[0]):
            differing = min(set(each) ^ set(names[0]))
            raise DataError(f"{path} has other columns than {files[0]}: {differing!r} is in one of them only")
    try:
        pl.concat([pl.scan_parquet(path, glob=False).select(list(names[0])) for path in plain], how="vertical_relaxed").sink_parquet(joined)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the files of {files[0].parent} are not of one table: {str(error).partition(chr(10))[0]}") from error
    return joined


def _joined_text(plain: Sequence[Path], files: Sequence[Path], folder: Path) -> Path:
    joined = folder / "joined.csv"
    with joined.open("wb") as target:
        first: bytes | None = None
        for path, named in zip(plain, files, strict=True):
            with path.open("rb") as source:
                line = source.readline()
                header = line.removeprefix(b"\xef\xbb\xbf").strip()
                if first is None:
                    first = header
                    target.write(line)
                elif header != first:
                    raise unlike_headers(str(named), header, str(files[0]), first)
                shutil.copyfileobj(source, target, BLOCK)
                _end_line(target, path)
    return joined


def _end_line(target: Any, path: Path) -> None:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        if file.read(1) not in (b"\n", b"\r", b""):
            target.write(b"\n")
