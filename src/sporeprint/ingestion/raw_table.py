"""The raw table: finds, downloads or simulates it, records where it came from, and reads it in batches.

A table comes from a file, an http(s) address, a database, or, where the configured file is missing, from the configured
download; where that cannot be reached either, it is simulated and marked as such.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import polars as pl

from sporeprint.common.progress import Progress, SilentProgress
from sporeprint.common.redaction import redacted
from sporeprint.common.workdir import Workdir
from sporeprint.errors import ConfigError, DataError, SourceUnavailableError
from sporeprint.ingestion.conversion import SIMULATED_NOTE, convert, files_of, is_convertible, join
from sporeprint.ingestion.csv_dialect import CsvDialect, detect_alike
from sporeprint.ingestion.csv_reader import Vocabulary, read_csv
from sporeprint.ingestion.file_formats import check_sha256, kind_of, publish, workspace
from sporeprint.ingestion.file_scan import scan
from sporeprint.ingestion.inspection import Inspection, inspect_csv, inspect_parquet, one_kind, rows_of
from sporeprint.ingestion.object_store import fetch_all, is_store, local_path
from sporeprint.ingestion.parquet_reader import count_rows, is_simulated, read_parquet
from sporeprint.ingestion.raw_batch import Batch, malformed_rows
from sporeprint.ingestion.table_record import Kind, Provenance, RawFile, RawTable
from sporeprint.ingestion.zip_archive import names_in, unpack
from sporeprint.schema import DatasetSchema
from sporeprint.settings import CsvSettings, DownloadSettings, Settings

__all__ = ["Batch", "CsvDialect", "Provenance", "RawTable", "open_raw_table", "open_table", "read_batches"]
#: Size of the simulated table, in blocks of the size the schema declares; endings of Parquet files.
SIMULATED_GROUPS, SIMULATED_BLOCK = 173, 353
PARQUET = frozenset({".parquet", ".pq"})

Clock = Callable[[], datetime]


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
        with _readable(table.where):
            facts = _inspection(table, job)
            simulated = table.marked or table.kind == "simulated" or any(map(_is_marked, table.paths))
        # Only a table that can be used is put in the place of another.
        for path, target in table.moves.items():
            publish(path, target)
        if len(table.paths) > 1 and job.several.is_dir():
            for path in set(job.several.iterdir()) - set(table.moves.values()):
                path.unlink()
    files = tuple(replace(file, path=table.moves.get(file.path, file.path).absolute()) for file in facts.files)
    final = files[0].path if len(files) == 1 else table.together or files[0].path.parent
    provenance = Provenance(
        source=table.source,
        kind=table.kind,
        path=job.workdir.shown(table.moves.get(table.path, table.path) if len(files) == 1 else final),
        bytes=facts.bytes,
        sha256=facts.sha256,
        rows=facts.rows,
        extracted_at=begun.astimezone(UTC).isoformat(timespec="seconds"),
        seconds=round((now() - begun).total_seconds(), 3),
        simulated=simulated,
    )
    return RawTable(final.absolute(), "csv" if files[0].dialect else "parquet", provenance, files)


@contextmanager
def local_table(settings: Settings, workdir: Path, source: str, *, progress: Progress, now: Clock) -> Iterator[tuple[Path, str]]:
    """A table as a plain local file, for as long as the block runs, and what it is for messages. Nothing is put in its place.

    Raises:
        SporeprintError: see `open_raw_table`.
    """
    with ExitStack() as stack:
        job = _Job(settings, Workdir(workdir), progress, now, labelled=False, stack=stack)
        table = _find(job, source)
        with _readable(table.path):
            path = table.path if len(table.paths) == 1 else join(table.paths, job.workspace(), max_mb=job.limits.max_mb)
            yield path, table.where


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
        raise DataError(
            f"no such file: {path}; name a CSV or Parquet file that is there" if not path.exists() else f"{path} is no file; name a table"
        )
    with _readable(path):
        if kind_of(path, str(path)) == "parquet":
            file = RawFile(path.absolute(), path.stat().st_size, "", count_rows(path, schema, where=str(path), labelled=False), None)
        else:
            scanned = scan(path, SilentProgress())
            dialect = detect_alike(path, csv or CsvSettings(), schema, scanned, where=str(path), labelled=False)
            file = RawFile(path.absolute(), path.stat().st_size, scanned.sha256, rows_of(scanned, dialect), dialect)
    seconds = (now() - begun).total_seconds()
    where = Provenance(
        str(path), "file", str(path), file.bytes, file.sha256, file.rows, begun.isoformat(timespec="seconds"), seconds, simulated=False
    )
    return RawTable(file.path, "csv" if file.dialect else "parquet", where, (file,))


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
    for file in raw.files:
        for batch in read_piece(file, schema, batch_bytes=batch_bytes, labelled=labelled, first_row=rows):
            rows += batch.frame.height + batch.malformed.height
            yield batch
    if not rows and not labelled:  # a table of no rows has an answer of no rows
        empty = pl.DataFrame(schema={"_row": pl.Int64, **dict.fromkeys(schema.columns, pl.String)})
        yield Batch(empty, malformed_rows(), raw.provenance.bytes)
    if raw.further is not None:
        with _readable(raw.further):
            for batch in read_parquet(raw.further, schema, labelled=labelled):
                yield _further(batch, rows)


def read_piece(
    file: RawFile,
    schema: DatasetSchema,
    *,
    batch_bytes: int,
    labelled: bool = True,
    part: tuple[int, int | None] = (0, None),
    first_row: int = 0,
    vocabulary: Vocabulary | None = None,
) -> Iterator[Batch]:
    """Read one file of a table, or of a CSV file the bytes `part`, whose first row has the number `first_row`.

    Else as `read_batches`; of the vocabulary see `read_csv`.
    """
    with _readable(file.path):
        if file.dialect is None:
            batches = read_parquet(file.path, schema, labelled=labelled)
        else:
            batches = read_csv(
                file.path, file.dialect, schema, batch_bytes=batch_bytes, labelled=labelled, part=part, vocabulary=vocabulary
            )
        for batch in batches:
            yield _further(batch, first_row)


def _further(batch: Batch, rows: int) -> Batch:
    """A batch whose rows follow others."""
    later = pl.col("_row") + rows
    return replace(batch, frame=batch.frame.with_columns(later), malformed=batch.malformed.with_columns(later)) if rows else batch


@contextmanager
def _readable(path: Path | str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{error.filename or path} is missing; run sporeprint extract again, or name another table with --source") from None
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
    places: list[Path] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where tables end that are not left in place."""
        return self.workdir.extract_record.parent

    @property
    def several(self) -> Path:
        """Where the files of a table of several files end that are not left in place."""
        return self.folder / f"{self.settings.dataset.name}.files"

    @property
    def limits(self) -> DownloadSettings:
        """What bounds any download and any archive: the configured limits, or the default ones."""
        return self.settings.source.download or DownloadSettings(url="https://")

    def workspace(self) -> Path:
        """A folder that is gone after the job."""
        if not self.places:
            self.places.append(self.stack.enter_context(workspace(self.folder)))
        return self.places[0]


@dataclass(frozen=True, slots=True)
class _SourceTable:
    """A table that can be inspected.

    Attributes:
        paths: where its files lie now, in the order of their rows.
        where: what it is, for messages.
        source: as in `Provenance`.
        kind: as in `Provenance`.
        moves: files that go to their places once the table has proved good; the table may be one of them.
        marked: whether what it was made of says that it was simulated.
        together: of several files their folder, or the pattern of their names; None: the folder they end in.
        names: of several files, what each is, for messages.
    """

    paths: tuple[Path, ...]
    where: str
    source: str
    kind: Kind
    moves: Mapping[Path, Path] = field(default_factory=dict)
    marked: bool = False
    together: Path | None = None
    names: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where its first file lies now."""
        return self.paths[0]

    @property
    def named(self) -> dict[Path, str]:
        """Each file, and what it is for messages."""
        return dict(zip(self.paths, self.names or (self.where,), strict=True))


def _find(job: _Job, source: str | None) -> _SourceTable:
    named = job.settings.source.path if source is None else source
    if re.match(r"https?://", named, re.IGNORECASE):
        return _from_url(job, named)
    if is_store(named):
        return _from_store(job, named)
    plain = local_path(named)
    if "://" in plain:
        return _from_database(job, named)
    path = job.workdir.at(plain) if source is None else Path(plain)
    with _readable(path):
        if (files := files_of(str(path))) is not None:
            return _from_files(job, files, named, path)
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
    return _SourceTable((path,), str(path), named, "file")


def _converted(job: _Job, path: Path, named: str, kind: Kind, place: Path | None = None) -> _SourceTable:
    """A compressed or JSON file, as a plain file below `data/raw`."""
    plain = convert(path, place or job.workspace(), max_mb=job.limits.max_mb)
    return _SourceTable((plain,), named, named, kind, {plain: job.folder / plain.name}, marked=_has_note(path))


def _from_files(job: _Job, files: Sequence[Path], named: str, together: Path) -> _SourceTable:
    """Several files of one table, where they lie; those that are compressed or JSON, unpacked below `data/raw`."""
    if len(files) == 1:
        return _from_file(job, files[0], named)
    plain, moves, place = [], {}, job.workspace()
    for number, path in enumerate(files):
        if not is_convertible(path):
            plain.append(path)
            continue
        (folder := place / str(number)).mkdir()
        plain.append(convert(path, folder, max_mb=job.limits.max_mb))
        moves[plain[-1]] = job.several / f"{number:05}-{plain[-1].name}"
    marked = any(map(_has_note, files))
    return _SourceTable(tuple(plain), named, named, "file", moves, marked, together, tuple(map(str, files)))


def _from_store(job: _Job, address: str) -> _SourceTable:
    """The files behind an address of an object store or of HDFS, copied below `data/raw`."""
    place = job.workspace()
    (fetched := place / "fetched").mkdir()
    files, names = fetch_all(address, fetched, job.progress)
    shown = redacted(address)
    table = replace(_from_files(job, files, shown, place), source=shown, kind="store")
    folder = job.folder if len(files) == 1 else job.several
    moves = {**{path: folder / path.name for path in table.paths}, **table.moves}
    return replace(table, moves=moves, together=None, names=names if len(files) > 1 else ())


def _from_url(job: _Job, url: str) -> _SourceTable:
    place, shown = job.workspace(), redacted(url)
    got = _fetched(job, url, place)
    if is_convertible(got):
        named = got.rename(got.with_name(_file_name(job, url)))
        return _converted(job, named, shown, "url", place)
    if kind_of(got, shown) == "zip":
        return _from_zip(job, got, place, source=shown, kind="url")
    return _SourceTable((got,), shown, shown, "url", {got: job.folder / _file_name(job, url)})


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
    return _SourceTable((got,), shown, shown, "url", {got: path})


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
    return _SourceTable((path,), str(path), f"simulated, because {why}", "simulated")


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
    return _SourceTable((path,), shown, shown, "sql", {path: job.folder / f"{job.settings.dataset.name}.parquet"})


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
    return _SourceTable((table,), f"{table.name} in {source}", source, kind, moves)


# --- what it is ------------------------------------------------------------------------------------------------------


def _inspection(table: _SourceTable, job: _Job) -> Inspection:
    schema, labelled = job.settings.read_schema, job.labelled
    if _is_parquet(table, job):
        job.progress.text(f"reading {table.where}")
        return inspect_parquet(table.named, schema, labelled=labelled)
    chosen = CsvSettings() if table.kind == "simulated" else job.settings.source.csv
    return inspect_csv(table.named, chosen, schema, job.progress, labelled=labelled)


def _is_parquet(table: _SourceTable, job: _Job) -> bool:
    is_parquet, required = one_kind(table.named) == "parquet", job.settings.source.format
    if table.kind in {"file", "url", "store"} and required != "auto" and (required == "parquet") != is_parquet:
        raise DataError(f"{table.where} is {'a' if is_parquet else 'no'} Parquet file, but source.format says {required}; set it to auto")
    if table.moves.get(table.path, table.path).suffix in PARQUET and not is_parquet:
        raise DataError(f"{table.where} is no Parquet file, it does not begin as one; was it cut or renamed?")
    return is_parquet


def _is_marked(path: Path) -> bool:
    """Whether a file, or the note of `sporeprint simulate` beside it, says that it was simulated."""
    return _has_note(path) or (kind_of(path, str(path)) == "parquet" and is_simulated(path))


def _has_note(path: Path) -> bool:
    """Whether a note lies beside a file, or beside what a compressed file was, that it was simulated."""
    return any(path.with_name(f"{name}{SIMULATED_NOTE}").exists() for name in (path.name, path.stem))
