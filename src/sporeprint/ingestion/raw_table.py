"""The raw table: finds, downloads or simulates it, records where it came from, and reads it in batches.

A table comes from a file, an http(s) address, a database, or, where the configured file is missing, from the configured
download; where that cannot be reached either, it is simulated and marked as such.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

import polars as pl

from sporeprint.common.files import sha256_file
from sporeprint.common.progress import Progress, SilentProgress
from sporeprint.common.redaction import redacted
from sporeprint.common.workdir import Workdir
from sporeprint.errors import ConfigError, DataError, SourceUnavailableError
from sporeprint.ingestion.conversion import SIMULATED_NOTE, convert, files_of, is_convertible, join
from sporeprint.ingestion.csv_dialect import CsvDialect, detect, detect_alike
from sporeprint.ingestion.csv_reader import read_csv
from sporeprint.ingestion.file_formats import check_sha256, kind_of, publish, workspace
from sporeprint.ingestion.file_scan import Scan, scan
from sporeprint.ingestion.parquet_reader import count_rows, is_simulated, read_parquet
from sporeprint.ingestion.raw_batch import Batch, malformed_rows
from sporeprint.ingestion.zip_archive import names_in, unpack
from sporeprint.schema import DatasetSchema
from sporeprint.settings import CsvSettings, DownloadSettings, Settings

__all__ = ["Batch", "CsvDialect", "Provenance", "RawTable", "open_raw_table", "open_table", "read_batches"]
#: Size of the simulated table, in blocks of the size the schema declares; endings of Parquet files.
SIMULATED_GROUPS, SIMULATED_BLOCK = 173, 353
PARQUET = frozenset({".parquet", ".pq"})

Kind = Literal["file", "url", "sql", "simulated"]
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a table came from.

    Attributes:
        source: the file, address or query's database as it was named, secrets masked; for a simulated table, why.
        kind: file, url, sql or simulated.
        path: the file that is read, relative to the work directory where it lies below it.
        bytes: its size.
        sha256: of its bytes, in hex.
        rows: data rows, malformed ones included; None where counting them would take a full parse (quotes, blank lines,
            UTF-16, carriage returns as newlines).
        extracted_at: ISO 8601, UTC.
        seconds: how long it took.
        simulated: whether the table is invented.
    """

    source: str
    kind: Kind
    path: str
    bytes: int
    sha256: str
    rows: int | None
    extracted_at: str
    seconds: float
    simulated: bool


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table, opened: its file, format and dialect.

    Attributes:
        path: the file.
        format: csv or parquet.
        dialect: how the CSV is written; None for Parquet.
        provenance: where it came from.
        further: a Parquet file of rows that follow those of the file, if there are any.
    """

    path: Path
    format: Literal["csv", "parquet"]
    dialect: CsvDialect | None
    provenance: Provenance
    further: Path | None = None

    def to_json(self) -> str:
        """As JSON, for `from_json`."""
        further = None if self.further is None else str(self.further)
        return json.dumps({**asdict(self), "path": str(self.path), "further": further}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RawTable":
        """Read what `to_json` wrote.

        Raises:
            DataError: if it is something else.
        """
        try:
            raw = json.loads(text)
            dialect = None if raw["dialect"] is None else CsvDialect.from_dict(raw["dialect"])
            further = None if raw.get("further") is None else Path(raw["further"])
            return cls(Path(raw["path"]), raw["format"], dialect, Provenance(**raw["provenance"]), further)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"the record of the last extract is damaged ({error}); run sporeprint extract again") from error


def open_raw_table(
    settings: Settings,
    workdir: Path,
    *,
    source: str | None = None,
    progress: Progress | None = None,
    now: Clock,
    labelled: bool = True,
) -> RawTable:
    """Find, download or simulate the raw table; determine its format, dialect and columns.

    A local file stays where it is; everything else ends below `data/raw` of the work directory, complete and checked.

    Args:
        settings: what the table is and where it comes from.
        workdir: the work directory.
        source: a file, an http(s) address (CSV, Parquet, or a zip that holds one) or a database address, instead of
            `source.path`. It is never replaced by a download or a simulation.
        progress: counted in bytes, for a query in rows.
        now: the clock.
        labelled: whether the target (and the group column) must be there.

    Raises:
        DataError: no such file, not readable, not a table, or not with the dataset's columns.
        ConfigError: a setting that the source needs is missing or wrong.
        SourceUnavailableError: the source did not answer, and `source.fallback` is `fail`.
        StorageError: the file cannot be written.
    """
    begun = now()
    with ExitStack() as stack:
        job = _Job(settings, Workdir(workdir), progress or SilentProgress(), now, labelled, stack)
        table = _find(job, source)
        with _readable(table.path):
            facts = (_inspect_parquet if _is_parquet(table, job) else _inspect_csv)(table, job)
        # Only a table that can be used is put in the place of another.
        for path, target in table.moves.items():
            publish(path, target)
    final = table.moves.get(table.path, table.path)
    provenance = Provenance(
        source=table.source,
        kind=table.kind,
        path=job.workdir.shown(final),
        bytes=facts.size,
        sha256=facts.sha256,
        rows=facts.rows,
        extracted_at=begun.astimezone(UTC).isoformat(timespec="seconds"),
        seconds=round((now() - begun).total_seconds(), 3),
        simulated=facts.simulated,
    )
    return RawTable(final.absolute(), "csv" if facts.dialect else "parquet", facts.dialect, provenance)


@contextmanager
def local_table(settings: Settings, workdir: Path, source: str, *, progress: Progress, now: Clock) -> Iterator[tuple[Path, str]]:
    """A table as a plain local file, for as long as the block runs, and what it is for messages. Nothing is put in its place.

    Raises:
        SporeprintError: see `open_raw_table`.
    """
    with ExitStack() as stack:
        table = _find(_Job(settings, Workdir(workdir), progress, now, labelled=False, stack=stack), source)
        with _readable(table.path):
            yield table.path, table.where


def open_table(path: Path, schema: DatasetSchema, *, now: Clock, csv: CsvSettings | None = None) -> RawTable:
    """Open a local file of rows to be scored.

    Its features must be there; every other column is kept, in the file's order, the label too where there is one.

    Args:
        path: a plain CSV or Parquet file.
        schema: the contract.
        now: the clock.
        csv: how the table was read that the model was trained on.

    Raises:
        DataError: no such file, not readable, not a table, or a feature is missing.
    """
    begun = now()
    if not path.is_file():
        raise DataError(f"no such file: {path}" if not path.exists() else f"{path} is no file; name a table")
    with _readable(path):
        if kind_of(path, str(path)) == "parquet":
            facts = _TableFacts(0, "", count_rows(path, schema, where=str(path), labelled=False), None, simulated=False)
        else:
            scanned = scan(path, SilentProgress())
            dialect = detect_alike(path, csv or CsvSettings(), schema, scanned, where=str(path), labelled=False)
            facts = _TableFacts(scanned.size, scanned.sha256, _rows_of(scanned, dialect), dialect, simulated=False)
        size = path.stat().st_size
    seconds = (now() - begun).total_seconds()
    where = Provenance(
        str(path), "file", str(path), size, facts.sha256, facts.rows, begun.isoformat(timespec="seconds"), seconds, simulated=False
    )
    return RawTable(path.absolute(), "csv" if facts.dialect else "parquet", facts.dialect, where)


def read_batches(raw: RawTable, schema: DatasetSchema, *, batch_bytes: int, labelled: bool = True) -> Iterator[Batch]:
    """Read a table batch by batch, in bounded memory.

    Args:
        raw: the opened table.
        schema: the contract.
        batch_bytes: bytes of a CSV file read at a time.
        labelled: whether the target (and the group column) must be there. If not, every column of the file is kept.

    Raises:
        DataError: if the file is gone, cannot be read, is damaged, or its columns are no longer those of the dataset.
    """
    rows = 0
    with _readable(raw.path):
        if raw.dialect is None:
            batches = read_parquet(raw.path, schema, labelled=labelled)
        else:
            batches = read_csv(raw.path, raw.dialect, schema, batch_bytes=batch_bytes, labelled=labelled)
        for batch in batches:
            rows += batch.frame.height + batch.malformed.height
            yield batch
    if not rows and not labelled:  # a table of no rows has an answer of no rows
        empty = pl.DataFrame(schema={"_row": pl.Int64, **dict.fromkeys(schema.columns, pl.String)})
        yield Batch(empty, malformed_rows(), raw.provenance.bytes)
    if raw.further is not None:
        with _readable(raw.further):
            for batch in read_parquet(raw.further, schema, labelled=labelled):
                yield replace(batch, frame=batch.frame.with_columns(pl.col("_row") + rows))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run sporeprint extract again, or name another table with --source") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


# --- where it comes from ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Job:
    """What every step below needs."""

    settings: Settings
    workdir: Workdir
    progress: Progress
    now: Clock
    labelled: bool
    stack: ExitStack

    @property
    def folder(self) -> Path:
        """Where tables end that are not left in place."""
        return self.workdir.extract_record.parent

    @property
    def limits(self) -> DownloadSettings:
        """What bounds any download and any archive: the configured limits, or the default ones."""
        return self.settings.source.download or DownloadSettings(url="https://")

    def workspace(self) -> Path:
        """An empty folder that is gone after the job."""
        return self.stack.enter_context(workspace(self.folder))


@dataclass(frozen=True, slots=True)
class _SourceTable:
    """A table that can be facts at.

    Attributes:
        path: where it lies now.
        where: what it is, for messages.
        source: as in `Provenance`.
        kind: as in `Provenance`.
        moves: files that go to their places once the table has proved good; the table may be one of them.
        marked: whether what it was made of says that it was simulated.
    """

    path: Path
    where: str
    source: str
    kind: Kind
    moves: Mapping[Path, Path] = field(default_factory=dict)
    marked: bool = False


def _find(job: _Job, source: str | None) -> _SourceTable:
    named = job.settings.source.path if source is None else source
    if re.match(r"https?://", named, re.IGNORECASE):
        return _from_url(job, named)
    if "://" in named:
        return _from_database(job, named)
    path = job.workdir.at(named) if source is None else Path(named)
    with _readable(path):
        if (files := files_of(str(path))) is not None:
            return _from_files(job, files, named)
        if path.exists():
            return _from_file(job, path, named)
    if source is not None:
        raise DataError(f"no such file: {path}; name a table with --source FILE or --source URL")
    return _from_download(job, path)


def _from_file(job: _Job, path: Path, named: str) -> _SourceTable:
    if not path.is_file():
        raise DataError(f"{path} is no regular file; write it to one first")
    if is_convertible(path):
        return _converted(job, path, named, "file")
    if kind_of(path, str(path)) == "zip":
        return _from_zip(job, path, job.workspace(), source=named, kind="file")
    return _SourceTable(path, str(path), named, "file")


def _converted(job: _Job, path: Path, named: str, kind: Kind, place: Path | None = None) -> _SourceTable:
    """A compressed or JSON file, as a plain file below `data/raw`."""
    plain = convert(path, place or job.workspace(), max_mb=job.limits.max_mb)
    return _SourceTable(plain, named, named, kind, {plain: job.folder / plain.name}, marked=_has_note(path))


def _from_files(job: _Job, files: Sequence[Path], named: str) -> _SourceTable:
    """Several files of one table, joined below `data/raw`."""
    joined = join(files, job.workspace(), max_mb=job.limits.max_mb)
    marked = any(_has_note(path) or (path.suffix in PARQUET and is_simulated(path)) for path in files)
    return _SourceTable(joined, named, named, "file", {joined: job.folder / f"{job.settings.dataset.name}{joined.suffix}"}, marked=marked)


def _from_url(job: _Job, url: str) -> _SourceTable:
    place, shown = job.workspace(), redacted(url)
    got = _fetched(job, url, place)
    if is_convertible(got):
        named = got.rename(got.with_name(_file_name(job, url)))
        return _converted(job, named, shown, "url", place)
    if kind_of(got, shown) == "zip":
        return _from_zip(job, got, place, source=shown, kind="url")
    return _SourceTable(got, shown, shown, "url", {got: job.folder / _file_name(job, url)})


def _from_download(job: _Job, path: Path) -> _SourceTable:
    """The configured download, for a configured file that is missing; or else what `source.fallback` says."""
    source = job.settings.source
    if source.download is None:
        why = f"{path} is missing, and no source.download is set"
        if source.fallback == "simulate":
            return _simulated(job, why)
        raise DataError(f"{why}; put the table there, name one with --source, or set source.download.url (or try it out with --simulate)")
    place, shown = job.workspace(), redacted(source.download.url)
    try:
        got = _fetched(job, source.download.url, place)
    except SourceUnavailableError as error:
        if source.fallback == "simulate":
            return _simulated(job, str(error))
        hint = "try again later, put the table there, or name one with --source FILE (or try it out with --simulate)"
        raise SourceUnavailableError(f"{path} is missing, and {error}; {hint}") from error
    if kind_of(got, shown) == "zip":
        return _from_zip(job, got, place, source=shown, kind="url", configured=path)
    return _SourceTable(got, shown, shown, "url", {got: path})


def _simulated(job: _Job, why: str) -> _SourceTable:
    from sporeprint.simulation.generator import simulate_table

    schema, path = job.settings.dataset, job.folder / "simulated.csv"
    block = (schema.groups.block_rows if schema.groups is not None else None) or SIMULATED_BLOCK
    job.progress.text(f"{why}: writing a SIMULATED table")
    simulate_table(
        schema,
        path,
        rows=SIMULATED_GROUPS * block,
        groups=SIMULATED_GROUPS,
        seed=job.settings.runtime.seed,
        threads=job.settings.threads,
        progress=job.progress,
    )
    return _SourceTable(path, str(path), f"simulated, because {why}", "simulated")


def _from_database(job: _Job, url: str) -> _SourceTable:
    from sporeprint.ingestion.sql_query import database, read_query, shown_address  # loads SQLAlchemy

    address, query = database(url), job.settings.source.query
    shown = shown_address(address)
    if query is None:
        raise ConfigError(f"source.query is missing: {shown} is a database, and the query says what to read from it")
    job.progress.text(f"reading {shown}")
    job.progress.total(None)
    path = job.workspace() / "rows.parquet"
    read_query(address, query, path, job.settings.read_schema, job.progress, labelled=job.labelled)
    return _SourceTable(path, shown, shown, "sql", {path: job.folder / f"{job.settings.dataset.name}.parquet"})


def _file_name(job: _Job, url: str) -> str:
    """A safe file name for what an address holds."""
    name = re.sub(r"[^\w.+-]", "_", PurePosixPath(unquote(urlsplit(url).path)).name).lstrip(".")
    return name or f"{job.settings.dataset.name}.csv"


def _fetched(job: _Job, url: str, place: Path) -> Path:
    from sporeprint.ingestion.download import fetch  # loads httpx

    job.progress.text(f"downloading {redacted(url)}")
    got = place / "received"
    fetch(url, got, job.limits, progress=job.progress, now=job.now)
    check_sha256(got, _file_name(job, url), job.limits.sha256)
    return got


def _from_zip(job: _Job, archive: Path, place: Path, *, source: str, kind: Kind, configured: Path | None = None) -> _SourceTable:
    """The members of a zip that the settings name, or its only table.

    Args:
        job: what is to be done.
        archive: the zip.
        place: where it is unpacked.
        source: as in `Provenance`.
        kind: as in `Provenance`.
        configured: where the table belongs, if the zip is the configured download: then its members are there or missing.
    """
    limits, path = job.limits, job.settings.source.path
    members = limits.members
    if configured is None and not names_in(archive, place / "unpacked", max_mb=limits.max_mb, where=source).issuperset(members):
        members = {}
    if members and path not in members.values():
        raise ConfigError(f"source.download.members: none of them is to become source.path, {path!r}")
    files = unpack(archive, place / "unpacked", set(members), max_mb=limits.max_mb, where=source)
    for name, file in files.items():
        check_sha256(file, name, limits.sha256)
        if kind_of(file, f"{name} in {source}") == "zip":
            raise DataError(f"{name} in {source} is a zip itself; expected a table")
    if members:
        moves = {file: job.workdir.at(members[name]) for name, file in files.items()}
        table = next(file for name, file in files.items() if members[name] == path)
    else:
        table = next(iter(files.values()))
        moves = {table: configured or job.folder / table.name}
    return _SourceTable(table, f"{table.name} in {source}", source, kind, moves)


# --- what it is ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _TableFacts:
    size: int
    sha256: str
    rows: int | None
    dialect: CsvDialect | None
    simulated: bool


def _is_parquet(table: _SourceTable, job: _Job) -> bool:
    is_parquet, required = kind_of(table.path, table.where) == "parquet", job.settings.source.format
    if table.kind in {"file", "url"} and required != "auto" and (required == "parquet") != is_parquet:
        raise DataError(f"{table.where} is {'a' if is_parquet else 'no'} Parquet file, but source.format says {required}; set it to auto")
    if table.moves.get(table.path, table.path).suffix in PARQUET and not is_parquet:
        raise DataError(f"{table.where} is no Parquet file, it does not begin as one; was it cut or renamed?")
    return is_parquet


def _inspect_parquet(table: _SourceTable, job: _Job) -> _TableFacts:
    path = table.path
    job.progress.text(f"reading {table.where}")
    rows = count_rows(path, job.settings.read_schema, where=table.where, labelled=job.labelled)
    return _TableFacts(path.stat().st_size, sha256_file(path), rows, dialect=None, simulated=_is_marked(table) or is_simulated(path))


def _inspect_csv(table: _SourceTable, job: _Job) -> _TableFacts:
    job.progress.text(f"reading {table.where}")
    job.progress.total(table.path.stat().st_size)
    scanned = scan(table.path, job.progress)
    chosen = CsvSettings() if table.kind == "simulated" else job.settings.source.csv
    dialect = detect(table.path, chosen, job.settings.read_schema, scanned, where=table.where, labelled=job.labelled)
    job.progress.text(f"{table.where}: separator {dialect.separator!r}, encoding {dialect.encoding}")
    return _TableFacts(scanned.size, scanned.sha256, _rows_of(scanned, dialect), dialect, simulated=_is_marked(table))


def _is_marked(table: _SourceTable) -> bool:
    """Whether the note of `sporeprint simulate` lies beside the file."""
    return table.kind == "simulated" or table.marked or _has_note(table.path)


def _has_note(path: Path) -> bool:
    """Whether a note lies beside a file, or beside what a compressed file was, that it was simulated."""
    return any(path.with_name(f"{name}{SIMULATED_NOTE}").exists() for name in (path.name, path.stem))


def _rows_of(scanned: Scan, dialect: CsvDialect) -> int | None:
    wide = codecs.lookup(dialect.encoding).name.startswith(("utf-16", "utf-32"))
    return None if scanned.lines is None or wide or dialect.newline == "\r" else scanned.lines - dialect.header
