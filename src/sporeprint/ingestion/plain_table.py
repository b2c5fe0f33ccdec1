"""One plain file of whatever holds a table: compressed files, zips, JSON, folders, patterns of files, addresses of object stores."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sporeprint.common.progress import SilentProgress
from sporeprint.errors import DataError, StorageError
from sporeprint.ingestion.conversion import convert, files_of, is_convertible, join
from sporeprint.ingestion.file_formats import kind_of
from sporeprint.ingestion.object_store import fetch_all, is_store, local_path
from sporeprint.ingestion.zip_archive import unpack

#: Most that one table may take unpacked, in MB, where no setting says so.
MAX_MB = 8192.0


@contextmanager
def plain_table(source: str, folder: Path, *, max_mb: float = MAX_MB) -> Iterator[Path]:
    """The table at a path or address as one plain CSV or Parquet file, for as long as the block runs.

    Args:
        source: a file, folder, pattern of files, or address of an object store.
        folder: where it may be unpacked meanwhile; made if it is not there.
        max_mb: largest size accepted, unpacked.

    Raises:
        DataError: there is nothing, it is damaged or too large, or holds no table.
        SourceUnavailableError: the object store does not answer.
        StorageError: it cannot be unpacked there.
    """
    try:
        files = None if is_store(source) else local_files(local_path(source))
        if files is not None and len(files) == 1 and not is_convertible(files[0]) and kind_of(files[0], str(files[0])) != "zip":
            yield files[0]
            return
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror or error}") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder, ignore_cleanup_errors=True)
    except OSError as error:
        raise StorageError(f"cannot unpack {source} in {folder}: {error.strerror or error}") from error
    with place as name:
        try:
            files = files or fetch_all(source, Path(name), SilentProgress())[0]
            (unpacked := Path(name) / "unpacked").mkdir()
            plain = _unpacked(files[0], unpacked, max_mb) if len(files) == 1 else join(files, unpacked, max_mb=max_mb)
        except OSError as error:
            raise DataError(f"cannot read {source}: {error.strerror or error}") from error
        yield plain


def local_files(named: str) -> Sequence[Path]:
    """The files of a table on this machine: a file, or those of a folder or pattern. Raises: DataError: there is none."""
    path = Path(named)
    files = files_of(named)
    if files is None and "://" in named:  # not shown whole: it may hold a password
        raise DataError(
            f"{named.partition('://')[0]}:// is nothing that rows are read from here; expected a file, folder, pattern, or an address "
            "in an object store (s3://, gs://, abfs://, hdfs://): download a page, and write what a database holds to a file"
        )
    if files is None and not path.is_file():
        raise DataError(
            f"no such file: {path}; name a CSV or Parquet file that is there" if not path.exists() else f"{path} is no file; name a table"
        )
    return files or (path,)


def _unpacked(path: Path, place: Path, max_mb: float) -> Path:
    if is_convertible(path):
        return convert(path, place, max_mb=max_mb)
    if kind_of(path, str(path)) != "zip":
        return path
    (table,) = unpack(path, place / "zip", set(), max_mb=max_mb, where=str(path)).values()
    return convert(table, place, max_mb=max_mb) if is_convertible(table) else table
