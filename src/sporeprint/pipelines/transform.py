"""The transform step: checks the raw table, cleans it, splits it, and stages the result, in bounded memory.

First pass, over the source: check every row, write the cleaned table and the rejected rows. Then, over the cleaned table, see
`sporeprint.pipelines.partitioning`: find equal rows and share the rows out. Nothing a reader sees is touched.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.common.engine import Engine
from sporeprint.common.files import atomic_path, atomic_write, sha256_file
from sporeprint.common.optional_dependencies import Lazy
from sporeprint.common.parallel import ahead
from sporeprint.common.progress import Progress, Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary, GroupCheck
from sporeprint.data.dataset import Observations
from sporeprint.data.parquet_store import RUN_ID, Writer, keep_memory, rejected_columns, to_arrow
from sporeprint.data.part_files import PartFile, part_path, write_manifest
from sporeprint.data.splitting import row_hashes
from sporeprint.data.validation import MALFORMED, check
from sporeprint.errors import DataError, StorageError
from sporeprint.ingestion.raw_batch import Batch
from sporeprint.ingestion.raw_table import RawTable
from sporeprint.ingestion.splits import Split, splits
from sporeprint.pipelines.data_notes import data_notes
from sporeprint.pipelines.engines import open_engine
from sporeprint.pipelines.extract import read_extract_record
from sporeprint.pipelines.partitioning import SplitKeys, share_out, split_keys
from sporeprint.pipelines.results import DataResult, ValidateResult, Validation
from sporeprint.pipelines.run_context import RunContext, open_run, utc_now
from sporeprint.reports.evaluation_report import ValidationSummary, render_validation
from sporeprint.schema import DatasetSchema
from sporeprint.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa, pq = Lazy("pyarrow"), Lazy("pyarrow.parquet")

#: Rejected rows shown on the validation page.
EXAMPLES = 20


def run_transform(settings: Settings, root: Path, *, steps: Steps | None = None) -> DataResult:
    """Run this step alone, on the table of the last extract step.

    Raises:
        DataError: see `transform`; nothing has been extracted.
    """
    with open_run(settings, root, steps, "transform") as run:
        raw = read_extract_record(run.workdir)
        with open_engine(settings, run.workdir) as engine:
            return DataResult(transform(run, raw, engine), published=False)


def run_validate(settings: Settings, root: Path, *, steps: Steps | None = None) -> ValidateResult:
    """Check the table of the last extract step; nothing is staged.

    Raises:
        DataError: too many rejected rows (written to a file, as `transform` does); nothing has been extracted.
        StorageError: the work directory cannot be written.
    """
    with open_run(settings, root, steps, "validate") as run:
        raw = read_extract_record(run.workdir)
        with run.log.step("validate") as progress:
            return ValidateResult(_validate(run, raw, progress))


def transform(run: RunContext, raw: RawTable, engine: Engine) -> DataSummary:
    """Check, clean and split the raw table into `workdir.staging`, by an engine's tasks.

    Returns:
        The data summary; also staged as `record.json`, with a page for people as `report.html`.

    Raises:
        DataError: too many rejected rows, one class only, a class too small to split.
        StorageError: the stage cannot be written.
    """
    created = utc_now().isoformat(timespec="seconds")
    with run.log.step("transform") as progress:
        summary = _stage(run, raw, engine, created=created, progress=progress)
    run.record.add_data(summary)
    return summary


def _stage(run: RunContext, raw: RawTable, engine: Engine, *, created: str, progress: Progress) -> DataSummary:
    settings, workdir, run_id = run.settings, run.workdir, run.run_id
    folder = _fresh(workdir, run_id)
    metadata = {RUN_ID.decode(): run_id, "sporeprint.simulated": str(raw.provenance.simulated).lower()}
    try:
        tally = _ingest(settings, raw, folder, metadata, progress, engine)
        run.record.add_counts(tally.rows, tally.rejected, dict(tally.by_rule.most_common()), raw.provenance.sha256)
        _refuse_too_many(settings, workdir, tally, folder, run_id)
        groups = _check_groups(settings.dataset, tally, raw)
        record = _finish(settings, raw, tally, groups, folder, metadata, created, engine)
        atomic_write(folder / "record.json", record.to_json())
        atomic_write(folder / "report.html", render_validation(_summary(record, tally.examples)))
        shutil.rmtree(workdir.staging, ignore_errors=True)
        folder.replace(workdir.staging)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}; nothing was replaced") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return record


def _validate(run: RunContext, raw: RawTable, progress: Progress) -> Validation:
    settings, workdir, run_id = run.settings, run.workdir, run.run_id
    folder = _fresh(workdir, run_id)
    try:
        with open_engine(settings, workdir) as engine:
            tally = _ingest(settings, raw, folder, {RUN_ID.decode(): run_id}, progress, engine)
        run.record.add_counts(tally.rows, tally.rejected, dict(tally.by_rule.most_common()), raw.provenance.sha256)
        _refuse_too_many(settings, workdir, tally, folder, run_id)
        groups = _check_groups(settings.dataset, tally, raw)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}; nothing was replaced") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Validation(tally.rows, tally.rejected, dict(tally.by_rule.most_common()), groups)


def _fresh(workdir: Workdir, run_id: str) -> Path:
    """An empty folder beside the stage; what killed runs left behind goes."""
    for stale in workdir.staging.parent.glob(".staging-*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = workdir.staging.parent / f".staging-{run_id}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"cannot write {folder.parent}: {error.strerror or error}") from error
    return folder


# --- first pass: the source ------------------------------------------------------------------------------------------


@dataclass
class _Tally:
    """Counts of the first pass."""

    rows: int = 0
    unlabelled: int = 0
    rejected: int = 0
    malformed: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    lowest: npt.NDArray[np.int8] = field(default_factory=lambda: np.empty(0, dtype=np.int8))
    highest: npt.NDArray[np.int8] = field(default_factory=lambda: np.empty(0, dtype=np.int8))
    groups: set[int] = field(default_factory=set)
    split_keys: list[SplitKeys] = field(default_factory=list)
    values: dict[str, set[str]] = field(default_factory=dict)

    def merge(self, later: _Tally) -> None:
        """Add the counts of rows that follow."""
        for name in ("rows", "unlabelled", "rejected", "malformed"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.by_rule.update(later.by_rule)
        self.missing.update(later.missing)
        self.examples += later.examples[: EXAMPLES - len(self.examples)]
        self.groups |= later.groups
        self.split_keys += later.split_keys
        for name, values in later.values.items():
            self.values.setdefault(name, set()).update(values)
        count = len(later.lowest)
        _grow(self, count)
        np.minimum(self.lowest[:count], later.lowest, out=self.lowest[:count])
        np.maximum(self.highest[:count], later.highest, out=self.highest[:count])


@dataclass(frozen=True)
class _CheckedBatch:
    """A batch after its check, ready to be written."""

    rows: int
    unlabelled: int
    table: Observations
    arrow: pa.Table
    rejected: pl.DataFrame
    malformed: int
    broken: Mapping[str, int]
    bytes_read: int
    split_keys: SplitKeys | None


@dataclass(frozen=True)
class CheckTask:
    """A piece of the raw table, to be checked.

    Attributes:
        split: the piece.
        good: where its good rows are written.
        bad: where its rejected rows are written.
        metadata: notes of both files.
        settings: the configuration.
        threads: batches that are checked at once.
    """

    split: Split
    good: Path
    bad: Path
    metadata: Mapping[str, str]
    settings: Settings
    threads: int


def check_split(task: CheckTask) -> _Tally:
    """Check a piece of the raw table, and write its good and its rejected rows.

    Raises:
        DataError: see `read_batches`; it holds other rows than it did.
    """
    keep_memory()
    settings, tally = task.settings, _Tally()
    batches = task.split.batches(settings.read_schema, batch_bytes=settings.runtime.batch_mb << 20)
    empty = pl.DataFrame(schema=rejected_columns(settings.dataset)).to_arrow()
    with (
        atomic_path(task.good) as fine,
        atomic_path(task.bad) as poor,
        Writer(fine, task.metadata) as good,
        Writer(poor, task.metadata) as bad,
    ):
        bad.write(empty)
        for batch in ahead(lambda batch: _check_batch(batch, settings), batches, workers=task.threads):
            good.write(batch.arrow)
            if batch.rejected.height:
                bad.write(batch.rejected.to_arrow())
            _add(tally, batch, settings.dataset)
    expected = task.split.rows
    if expected is not None and tally.rows + tally.unlabelled != expected:
        name = task.split.pieces[0].file.path
        raise DataError(f"{name} has changed since it was extracted; run sporeprint extract again when nothing writes to it")
    return tally


def _ingest(settings: Settings, raw: RawTable, folder: Path, metadata: Mapping[str, str], progress: Progress, engine: Engine) -> _Tally:
    pieces = splits(raw, most_bytes=settings.engine.split_mb << 20)
    good, bad = folder / "processed.parquet", folder / "rejected"
    threads = settings.threads if len(pieces) == 1 else max(1, settings.threads // engine.workers)
    tasks = [
        CheckTask(each, part_path(good, each.number, len(pieces)), bad / f"{each.number:05}.parquet", metadata, settings, threads)
        for each in pieces
    ]
    progress.total(raw.provenance.bytes)
    tally, parts = _Tally(), []
    for task, each in zip(tasks, engine.map(check_split, tasks), strict=True):
        tally.merge(each)
        parts.append(PartFile.of(task.good, each.rows - each.rejected))
        progress.advance(sum(piece.bytes for piece in task.split.pieces))
    _refuse_changed(raw)
    if not tally.rows:
        raise DataError(f"{raw.provenance.source} holds no rows")
    write_manifest(good, parts)
    _join_rejected([task.bad for task in tasks], folder / "rejected.parquet", metadata)
    shutil.rmtree(bad)
    return tally


def _join_rejected(parts: Sequence[Path], target: Path, metadata: Mapping[str, str]) -> None:
    """One file of the few rows that were rejected."""
    if len(parts) == 1:
        parts[0].rename(target)
        return
    with Writer(target, metadata) as writer:
        for path in parts:
            writer.write(pq.read_table(path))


def _refuse_changed(raw: RawTable) -> None:
    """Refuse a table that was written to since it was extracted: its rows are not those of the record.

    Raises:
        DataError: see above.
    """
    extracted = datetime.fromisoformat(raw.provenance.extracted_at).timestamp()
    for file in raw.files:
        if file.path.stat().st_mtime >= extracted and sha256_file(file.path) != file.sha256:
            raise DataError(f"{file.path} has changed since it was extracted; run sporeprint extract again when nothing writes to it")


def _check_batch(batch: Batch, settings: Settings) -> _CheckedBatch:
    schema, split = settings.dataset, settings.split
    required = tuple(name for name in (split.column, schema.cluster) if name is not None)
    checked = check(batch.frame, schema, required=required, drop_unlabelled=settings.validation.unlabelled == "drop")
    row = batch.frame["_row"].to_numpy()[checked.good]
    group = _groups(batch.frame, row, checked.good, schema)
    cluster = None if schema.cluster is None else _hashed(batch.frame[schema.cluster], checked.good)
    table = Observations(checked.codes, checked.y, row, group, row_hashes(checked.codes, seed=split.seed), cluster=cluster)
    rejected = _rejected(checked.rejected, batch.malformed, schema)
    return _CheckedBatch(
        rows=batch.frame.height + batch.malformed.height - checked.unlabelled,
        unlabelled=checked.unlabelled,
        table=table,
        arrow=to_arrow(table, schema),
        rejected=rejected,
        malformed=batch.malformed.height,
        broken=checked.broken,
        bytes_read=batch.bytes_read,
        split_keys=split_keys(batch.frame.filter(checked.good), split),
    )


def _groups(
    frame: pl.DataFrame, row: npt.NDArray[np.int64], good: npt.NDArray[np.bool_], schema: DatasetSchema
) -> npt.NDArray[np.int64] | None:
    """The group of each good row: the number of its block, or a hash of what the group column says."""
    if schema.groups is None:
        return None
    if schema.groups.block_rows is not None:
        return row // schema.groups.block_rows
    column = str(schema.groups.column)
    named = frame.select(pl.coalesce(pl.col(column).cast(pl.String), pl.format("\0row {}", "_row")).alias(column))
    return _hashed(named[column], good)


def _hashed(column: pl.Series, good: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """A number from 0 for what each good row says: equal texts have equal numbers."""
    names = column.cast(pl.String).filter(pl.Series(good))
    numbers = {name: int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1 for name in names.unique()}
    return names.replace_strict(numbers, return_dtype=pl.Int64).to_numpy() if numbers else np.empty(0, dtype=np.int64)


def _rejected(broken: pl.DataFrame, malformed: pl.DataFrame, schema: DatasetSchema) -> pl.DataFrame:
    if not broken.height and not malformed.height:
        return pl.DataFrame(schema=rejected_columns(schema))
    unread = malformed.with_columns(pl.Series("rules", [[MALFORMED]] * malformed.height, dtype=pl.List(pl.String)))
    frames = [frame.with_columns(pl.col("_row").cast(pl.Int64)) for frame in (broken, unread) if frame.height]
    together = pl.concat(frames, how="diagonal_relaxed")
    columns = rejected_columns(schema)
    return together.select(
        (pl.col(name) if name in together.columns else pl.lit(None)).cast(dtype).alias(name) for name, dtype in columns.items()
    ).sort("_row")


def _add(tally: _Tally, batch: _CheckedBatch, schema: DatasetSchema) -> None:
    tally.rows += batch.rows
    tally.rejected += batch.rejected.height
    tally.malformed += batch.malformed
    tally.by_rule.update(batch.broken)
    if batch.malformed:
        tally.by_rule[MALFORMED] += batch.malformed
    tally.unlabelled += batch.unlabelled
    codes = batch.table.codes
    for name, vocabulary in codes.vocabulary.items():
        if schema.columns[name].values is None:
            tally.values.setdefault(name, set()).update(vocabulary)
    tally.missing.update({name: int((values == 0).sum()) for name, values in codes.nominal.items()})
    tally.missing.update({name: int(np.isnan(values).sum()) for name, values in codes.numeric.items()})
    if len(tally.examples) < EXAMPLES:
        tally.examples += batch.rejected.head(EXAMPLES - len(tally.examples)).to_dicts()
    if batch.split_keys is not None:
        tally.split_keys.append(batch.split_keys)
    if batch.table.group is not None and schema.groups is not None:
        if schema.groups.block_rows is not None:
            _widen(tally, batch.table.group, batch.table.y)
        else:
            tally.groups.update(np.unique(batch.table.group).tolist())


def _widen(tally: _Tally, blocks: npt.NDArray[np.int64], y: npt.NDArray[np.int8]) -> None:
    """Keep the lowest and highest class of every block."""
    if not len(blocks):
        return
    _grow(tally, int(blocks.max()) + 1)
    np.minimum.at(tally.lowest, blocks, y)
    np.maximum.at(tally.highest, blocks, y)


def _grow(tally: _Tally, count: int) -> None:
    """Room for so many blocks."""
    more = count - len(tally.lowest)
    if more > 0:
        more += len(tally.lowest) // 2  # grown by half, so that growing costs little in all
        tally.lowest = np.r_[tally.lowest, np.full(more, 2, dtype=np.int8)]
        tally.highest = np.r_[tally.highest, np.full(more, -1, dtype=np.int8)]


def _refuse_too_many(settings: Settings, workdir: Workdir, tally: _Tally, folder: Path, run_id: str) -> None:
    share, most = tally.rejected / tally.rows, settings.validation.max_rejected_share
    if share <= most and tally.rejected < tally.rows:
        return
    place = workdir.rejected(run_id)
    with atomic_path(place) as temporary:
        shutil.copyfile(folder / "rejected.parquet", temporary)
    rules = ", ".join(f"{rule} ({count:,})" for rule, count in tally.by_rule.most_common(5))
    raise DataError(
        f"{tally.rejected:,} of {tally.rows:,} rows are rejected ({share:.2%}; validation.max_rejected_share allows {most:.2%}): {rules}. "
        f"For example row {tally.examples[0]['_row']}: {tally.examples[0]['reason']}. "
        f"All of them, with their reasons: {workdir.shown(place)}. Nothing was replaced"
    )


def _check_groups(schema: DatasetSchema, tally: _Tally, raw: RawTable) -> GroupCheck:
    if schema.groups is None:
        return GroupCheck(available=False, count=0, reason="the configuration declares no groups (dataset.groups)")
    name, block = schema.groups.name, schema.groups.block_rows
    if block is None:
        return GroupCheck(available=True, count=len(tally.groups), reason=f"column {schema.groups.column!r} names the {name} of every row")
    if raw.further is not None:
        reason = f"rows that follow the table are in no {name} block of {block} rows"
        return GroupCheck(available=False, count=0, reason=reason)
    if tally.rows % block:
        reason = f"{tally.rows:,} rows are no whole number of {name} blocks of {block} rows"
        return GroupCheck(available=False, count=0, reason=reason)
    mixed = int((tally.lowest < tally.highest).sum())
    blocks = tally.rows // block
    if mixed:
        reason = f"{mixed:,} of {blocks:,} {name} blocks of {block} rows hold both classes: the rows are not in {name} order (shuffled?)"
        return GroupCheck(available=False, count=0, reason=reason)
    return GroupCheck(available=True, count=blocks, reason=f"{blocks:,} {name} blocks of {block} rows, each of one class")


# --- second and third pass: the cleaned table ------------------------------------------------------------------------


def _finish(
    settings: Settings,
    raw: RawTable,
    tally: _Tally,
    groups: GroupCheck,
    folder: Path,
    metadata: Mapping[str, str],
    created: str,
    engine: Engine,
) -> DataSummary:
    target = settings.dataset.target
    shared = share_out(settings, folder, metadata, groups, tally.rows - tally.rejected, tally.split_keys, engine)
    names = (target.values[target.negative], target.values[target.positive])
    return DataSummary(
        run_id=metadata[RUN_ID.decode()],
        created=created,
        provenance=asdict(raw.provenance),
        simulated=raw.provenance.simulated,
        rows=tally.rows,
        rejected=tally.rejected,
        malformed=tally.malformed,
        duplicates=shared.copies,
        repeats=shared.repeats,
        dropped=shared.dropped,
        by_rule=dict(tally.by_rule.most_common()),
        missing=dict(tally.missing),
        classes=dict(zip(names, shared.counts.sum(axis=1).tolist(), strict=True)),
        groups=groups,
        splits=dict(zip(settings.split.shares, shared.counts.sum(axis=0).tolist(), strict=True)),
        notes=data_notes(raw, tally.values, tally.missing, tally.rows - tally.rejected, shared, tally.unlabelled),
        fingerprint=_fingerprint(settings, raw),
    )


def _fingerprint(settings: Settings, raw: RawTable) -> str:
    """Equal for equal data: the source's bytes, the schema, what validation drops, the split."""
    parts = [raw.provenance.sha256, settings.dataset.fingerprint(), settings.validation.duplicates, settings.split.model_dump()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _summary(record: DataSummary, examples: list[dict[str, Any]]) -> ValidationSummary:
    return ValidationSummary(
        rows=record.rows,
        good=record.good,
        rejected=record.rejected,
        malformed=record.malformed,
        duplicates=record.duplicates,
        by_rule=dict(record.by_rule),
        examples=tuple(examples),
        missing={name: count / max(record.good, 1) for name, count in record.missing.items()},
        groups=record.groups.reason,
        simulated=record.simulated,
        source=str(record.provenance["source"]),
        sha256=str(record.provenance["sha256"]),
        run_id=record.run_id,
    )
