"""Asks an embedded warehouse: DuckDB in memory, which can open the files of one manifest and nothing else."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from sporeprint.errors import StorageError, StorageUnavailableError, UsageError
from sporeprint.storage.warehouse import star_schema, views
from sporeprint.storage.warehouse.manifest import WarehouseManifest
from sporeprint.storage.warehouse.protocol import TRAINING, QueryResult, plain
from sporeprint.storage.warehouse.star_schema import StarTable


class DuckDBReader:
    """DuckDB in memory with a view for each table. Once they are made it can open the files of the manifest, and nothing else."""

    def __init__(self, folder: Path, manifest: WarehouseManifest, seconds: float) -> None:
        self._seconds, self._shown = seconds, str(folder)
        self._engine = duckdb.connect(config={"memory_limit": "1GB", "python_enable_replacements": "false"})
        files = {
            table: [str((folder / part.file).absolute()) for part in manifest.parts(table)] for table in (*star_schema.TABLES, TRAINING)
        }
        paths = [path for table in files for path in files[table]]
        # Without external access nothing is opened, loaded or attached but these.
        self._engine.execute(f"SET allowed_paths = [{', '.join(map(_quoted, paths))}]")
        self._engine.execute("SET enable_external_access = false")
        with self._errors():
            for table in star_schema.TABLES.values():
                self._engine.execute(f'CREATE VIEW "{table.name}" AS {_view(table, files[table.name])}')
            for view in views.VIEWS.values():
                self._engine.execute(f"CREATE VIEW {view.name} AS {view.select('duckdb')}")
            if files[TRAINING]:
                self._engine.execute(f"CREATE VIEW {TRAINING} AS SELECT * FROM {_parquet(files[TRAINING])}")  # noqa: S608 -- quoted paths
        # No spilling to disk either: what does not fit into memory is refused.
        self._engine.execute("SET max_temp_directory_size = '0KB'")
        self._engine.execute("SET lock_configuration = true")

    def query(self, sql: str, *, rows: int | None = None) -> QueryResult:
        """Run one statement of the program's own."""
        with self._errors():
            return self._run(sql, rows)

    def user_query(self, sql: str, *, rows: int) -> QueryResult:
        """Run one statement that reads."""
        with self._errors(UsageError):
            statements = self._engine.extract_statements(sql)
        if len(statements) != 1:
            raise UsageError(f"expected one statement, not {len(statements)}")
        # Not EXPLAIN: with ANALYZE it runs what it explains, whatever that is, and may write to the files it may open.
        if statements[0].type != duckdb.StatementType.SELECT:
            raise UsageError(f"only statements that read can be run (SELECT, WITH, DESCRIBE, SHOW), not {statements[0].type.name}")
        with self._errors(UsageError):
            return self._run(sql, rows)

    def close(self) -> None:
        """Let go of the files."""
        self._engine.close()

    def _run(self, sql: str, rows: int | None) -> QueryResult:
        with _interrupted_after(self._engine.interrupt, self._seconds):
            result = self._engine.execute(sql)
            columns = tuple(column[0] for column in result.description or ())
            values = result.fetchall() if rows is None else result.fetchmany(rows + 1)
        returned = values if rows is None else values[:rows]
        return QueryResult(columns, plain(returned), more=len(returned) < len(values))

    @contextlib.contextmanager
    def _errors(self, kind: type[UsageError | StorageError] = StorageError) -> Iterator[None]:
        try:
            yield
        except duckdb.InterruptException:
            raise StorageUnavailableError(f"{self._shown}: no answer within {self._seconds:g} s; ask for less") from None
        except duckdb.OutOfMemoryException as error:
            raise StorageError(f"{self._shown}: the question needs more memory than it may have: {_first_line(error)}") from None
        except duckdb.Error as error:
            where = "" if kind is UsageError else f"{self._shown}: "
            hint = "; SHOW TABLES lists what there is" if isinstance(error, duckdb.CatalogException) else ""
            raise kind(f"{where}{_first_line(error)}{hint}") from None


def _first_line(error: Exception) -> str:
    return next(iter(line for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextlib.contextmanager
def _interrupted_after(interrupt: Callable[[], None], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _view(table: StarTable, files: list[str]) -> str:
    if not files:
        return star_schema.duckdb_empty(table)
    columns = ", ".join(f'"{name}"' for name in table.names)
    if not any(column.null for column in table.columns):
        return f"SELECT {columns} FROM {_parquet(files)}"  # noqa: S608 -- the program's own names, and quoted paths
    # Files of an earlier release lack a column.
    every = f"SELECT * FROM {_parquet(files, by_name=True)} UNION ALL BY NAME {star_schema.duckdb_empty(table)}"  # noqa: S608
    return f"SELECT {columns} FROM ({every})"  # noqa: S608


def _parquet(files: list[str], *, by_name: bool = False) -> str:
    return f"read_parquet([{', '.join(map(_quoted, files))}]{', union_by_name = true' if by_name else ''})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
