"""What a query brings from a database, streamed into a Parquet file as text, so that its rows are checked like a CSV file's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, create_engine, exc, make_url

from sporeprint.common.optional_dependencies import Lazy
from sporeprint.common.progress import Progress
from sporeprint.common.redaction import redacted
from sporeprint.errors import DataError, SourceUnavailableError
from sporeprint.ingestion.csv_dialect import match_columns
from sporeprint.schema import DatasetSchema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa, pq = Lazy("pyarrow"), Lazy("pyarrow.parquet")

#: Rows of a result held at a time.
ROWS = 20_000
#: What MySQL and MariaDB answer when trying again does not help: access denied, no such database.
REFUSALS = frozenset({1044, 1045, 1049, 1698})


def database(url: str) -> URL:
    """A database address that can be connected to.

    Raises:
        DataError: it is no such address, its driver is not installed, or its SQLite file is missing.
    """
    shown = re.sub(r"://([^:@/]*):.*@", r"://\1:***@", url)
    try:
        address = make_url(url)
        address.get_dialect().import_dbapi()
    except (exc.ArgumentError, ValueError):
        kinds = "http(s)://, mysql+pymysql://, sqlite:///"
        raise DataError(f"{shown!r} is neither a file nor an address that can be read; expected a path, {kinds}") from None
    except ModuleNotFoundError as error:
        raise DataError(f"{shown!r} needs the Python package {error.name!r}, which is not installed") from None
    if address.get_backend_name() == "sqlite" and address.database and not Path(address.database).is_file():
        raise DataError(f"no such SQLite file: {address.database}")  # connecting would make an empty one
    return address


def shown_address(address: URL) -> str:
    """An address without its secrets."""
    return redacted(address.render_as_string(hide_password=True))


def read_query(address: URL, query: str, path: Path, schema: DatasetSchema | None, progress: Progress, *, labelled: bool = True) -> None:
    """Write what a query brings into a Parquet file: the schema's columns (all, without one), each as text, an empty text as null.

    Memory is bounded by `ROWS`, where the driver has cursors on the server's side (PyMySQL, SQLite).

    Raises:
        SourceUnavailableError: the database does not answer.
        DataError: it refuses, the query is wrong, or its columns are not those of the dataset.
        OSError: the file cannot be written.
    """
    with _connected(address) as connection:
        # As the driver has it: in the query, '%' and ':' mean nothing to anyone but the database.
        options = connection.execution_options(stream_results=True, max_row_buffer=ROWS, no_parameters=True)
        result = options.exec_driver_sql(query)
        if not result.returns_rows:
            raise DataError(f"source.query brings no rows from {shown_address(address)}; expected a SELECT")
        keys = tuple(result.keys())
        if schema is None:
            names = list(dict.fromkeys(keys))
        else:
            match_columns(keys, schema, shown_address(address), labelled=labelled)
            names = [name for name in schema.table_columns if name in keys]
        places = [keys.index(name) for name in names]
        table_schema = pa.schema([(name, pa.string()) for name in names])
        with pq.ParquetWriter(path, table_schema) as writer:
            for rows in result.partitions(ROWS):
                columns = [pa.array([_text(row[place]) for row in rows], pa.string()) for place in places]
                writer.write_batch(pa.record_batch(columns, schema=table_schema))
                progress.advance(len(rows))


@contextmanager
def _connected(address: URL) -> Iterator[Connection]:
    shown, engine = shown_address(address), create_engine(address)
    try:
        try:
            connection = engine.connect()
        except exc.OperationalError as error:
            refused = error.orig is not None and error.orig.args[:1] and error.orig.args[0] in REFUSALS
            kind = DataError if refused else SourceUnavailableError
            raise kind(f"cannot connect to {shown}: {_message(error, address)}") from None
        with connection:
            yield connection
    except exc.DBAPIError as error:
        raise DataError(f"{shown} cannot answer source.query: {_message(error, address)}") from None
    finally:
        engine.dispose()


def _message(error: exc.DBAPIError, address: URL) -> str:
    """What the driver says, without the statement, its parameters or the password."""
    text = str(error.orig)
    return text.replace(address.password, "***") if address.password else text


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace") or None
    return None if value is None else str(value) or None
