"""One plain file of whatever holds a table on this machine: compressed files, zips, JSON, folders and patterns of files."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sporeprint.errors import DataError, StorageError
from sporeprint.ingestion.conversion import convert, files_of, is_convertible, join
from sporeprint.ingestion.file_formats import kind_of
from sporeprint.ingestion.zip_archive import unpack

#: Most that one table may take unpacked, in MB, where no setting says so.
MAX_MB = 8192.0


@contextmanager
def plain_table(path: Path, folder: Path, *, max_mb: float = MAX_MB) -> Iterator[Path]:
    """The table at a path as one plain CSV or Parquet file, for as long as the block runs.

    Args:
        path: a file, folder or pattern of files.
        folder: where it may be unpacked meanwhile; made if it is not there.
        max_mb: largest size accepted, unpacked.

    Raises:
        DataError: there is nothing, it is damaged or too large, or holds no table.
        StorageError: it cannot be unpacked there.
    """
    try:
        files = files_of(str(path))
        if files is None:
            if not path.is_file():
                raise DataError(f"no such file: {path}" if not path.exists() else f"{path} is no file; name a table")
            if not is_convertible(path) and kind_of(path, str(path)) != "zip":
                yield path
                return
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder, ignore_cleanup_errors=True)
    except OSError as error:
        raise StorageError(f"cannot unpack {path} in {folder}: {error.strerror or error}") from error
    with place as name:
        try:
            plain = join(files, Path(name), max_mb=max_mb) if files is not None else _unpacked(path, Path(name), max_mb)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        yield plain


def _unpacked(path: Path, place: Path, max_mb: float) -> Path:
    if is_convertible(path):
        return convert(path, place, max_mb=max_mb)
    (table,) = unpack(path, place / "unpacked", set(), max_mb=max_mb, where=str(path)).values()
    return convert(table, place, max_mb=max_mb) if is_convertible(table) else table
