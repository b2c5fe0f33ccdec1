"""The transform step: checks the raw table, cleans it, splits it, and stages the result, in bounded memory.

First pass, over the source: check every row, write the cleaned table and the rejected rows. Second, over the row hashes
alone: find equal rows. Third, over the cleaned table: share the rows out. Nothing a reader sees is touched.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.common.files import Progress, atomic_path, atomic_write
from sporeprint.common.optional_dependencies import Lazy
from sporeprint.common.parallel import ahead
from sporeprint.common.text_table import Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary, GroupCheck
from sporeprint.data.dataset import Observations
from sporeprint.data.parquet_store import BATCH_ROWS, RUN_ID, Writer, read_tables, rejected_columns, to_arrow
from sporeprint.data.splitting import EXACT_ROWS, Hashes, check_counts, parts, repeated, row_hashes
from sporeprint.data.validation import MALFORMED, check
from sporeprint.errors import DataError, StorageError
from sporeprint.ingestion.raw_batch import Batch
from sporeprint.ingestion.raw_table import RawTable, read_batches
from sporeprint.pipelines.extract import read_extract_record
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
    with open_run(settings, root, steps) as run:
        return DataResult(transform(run, read_extract_record(run.workdir)), published=False)


def run_validate(settings: Settings, root: Path, *, steps: Steps | None = None) -> ValidateResult:
    """Check the table of the last extract step; nothing is staged.

    Raises:
        DataError: too many rejected rows (written to a file, as `transform` does); nothing has been extracted.
        StorageError: the work directory cannot be written.
    """
    with open_run(settings, root, steps) as run:
        raw = read_extract_record(run.workdir)
        with run.log.step("validate") as progress:
            return ValidateResult(_validate(run, raw, progress))


def transform(run: RunContext, raw: RawTable) -> DataSummary:
    """Check, clean and split the raw table into `workdir.staging`.

    Returns:
        The data summary; also staged as `record.json`, with a page for people as `report.html`.

    Raises:
        DataError: too many rejected rows, one class only, a class too small to split.
        StorageError: the stage cannot be written.
    """
    created = utc_now().isoformat(timespec="seconds")
    with run.log.step("transform") as progress:
        return _stage(run.settings, run.workdir, raw, run_id=run.run_id, created=created, progress=progress)


def _stage(settings: Settings, workdir: Workdir, raw: RawTable, *, run_id: str, created: str, progress: Progress) -> DataSummary:
    folder = _fresh(workdir, run_id)
    metadata = {RUN_ID.decode(): run_id, "sporeprint.simulated": str(raw.provenance.simulated).lower()}
    try:
        found = _ingest(settings, raw, folder, metadata, progress)
        _refuse_too_many(settings, workdir, found, folder, run_id)
        groups = _check_groups(settings.dataset, found, raw)
        record = _finish(settings, raw, found, groups, folder, metadata, created)
        atomic_write(folder / "record.json", record.to_json())
        atomic_write(folder / "report.html", render_validation(_summary(record, found.examples)))
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
        found = _ingest(settings, raw, folder, {RUN_ID.decode(): run_id}, progress)
        _refuse_too_many(settings, workdir, found, folder, run_id)
        groups = _check_groups(settings.dataset, found, raw)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}; nothing was replaced") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Validation(found.rows, found.rejected, dict(found.by_rule.most_common()), groups)


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
class _Found:
    """What the first pass adds up."""

    rows: int = 0
    rejected: int = 0
    malformed: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    lowest: npt.NDArray[np.int8] = field(default_factory=lambda: np.empty(0, dtype=np.int8))
    highest: npt.NDArray[np.int8] = field(default_factory=lambda: np.empty(0, dtype=np.int8))
    groups: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Checked:
    """A batch after its check, ready to be written."""

    rows: int
    table: Observations
    arrow: pa.Table
    rejected: pl.DataFrame
    malformed: int
    broken: Mapping[str, int]
    bytes_read: int


def _ingest(settings: Settings, raw: RawTable, folder: Path, metadata: Mapping[str, str], progress: Progress) -> _Found:
    schema, found = settings.dataset, _Found()
    progress.total(raw.provenance.bytes)
    batches = read_batches(raw, schema, batch_bytes=settings.runtime.batch_mb << 20)
    empty = pl.DataFrame(schema=rejected_columns(schema)).to_arrow()
    with Writer(folder / "processed.parquet", metadata) as good, Writer(folder / "rejected.parquet", metadata) as bad:
        bad.write(empty)
        for batch in ahead(lambda batch: _check_batch(batch, schema, settings.split.seed), batches, workers=settings.threads):
            good.write(batch.arrow)
            if batch.rejected.height:
                bad.write(batch.rejected.to_arrow())
            _add(found, batch, schema)
            progress.advance(batch.bytes_read)
    if not found.rows:
        raise DataError(f"{raw.provenance.source} holds no rows")
    return found


def _check_batch(batch: Batch, schema: DatasetSchema, seed: int) -> _Checked:
    checked = check(batch.frame, schema)
    row = batch.frame["row"].to_numpy()[checked.good]
    group = _groups(batch.frame, row, checked.good, schema)
    table = Observations(checked.codes, checked.y, row, group, row_hashes(checked.codes, checked.y, seed=seed))
    rejected = _rejected(checked.rejected, batch.malformed, schema)
    return _Checked(
        rows=batch.frame.height + batch.malformed.height,
        table=table,
        arrow=to_arrow(table, schema),
        rejected=rejected,
        malformed=batch.malformed.height,
        broken=checked.broken,
        bytes_read=batch.bytes_read,
    )


def _groups(
    frame: pl.DataFrame, row: npt.NDArray[np.int64], good: npt.NDArray[np.bool_], schema: DatasetSchema
) -> npt.NDArray[np.int64] | None:
    """The group of each good row: the number of its block, or a hash of what the group column says."""
    if schema.groups is None:
        return None
    if schema.groups.block_rows is not None:
        return row // schema.groups.block_rows
    names = frame[str(schema.groups.column)].cast(pl.String).filter(pl.Series(good))
    numbers = {name: int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1 for name in names.unique()}
    return names.replace_strict(numbers, return_dtype=pl.Int64).to_numpy() if numbers else np.empty(0, dtype=np.int64)


def _rejected(broken: pl.DataFrame, malformed: pl.DataFrame, schema: DatasetSchema) -> pl.DataFrame:
    if not broken.height and not malformed.height:
        return pl.DataFrame(schema=rejected_columns(schema))
    unread = malformed.with_columns(pl.Series("rules", [[MALFORMED]] * malformed.height, dtype=pl.List(pl.String)))
    frames = [frame.with_columns(pl.col("row").cast(pl.Int64)) for frame in (broken, unread) if frame.height]
    together = pl.concat(frames, how="diagonal_relaxed")
    columns = rejected_columns(schema)
    return together.select(
        (pl.col(name) if name in together.columns else pl.lit(None)).cast(dtype).alias(name) for name, dtype in columns.items()
    ).sort("row")


def _add(found: _Found, batch: _Checked, schema: DatasetSchema) -> None:
    found.rows += batch.rows
    found.rejected += batch.rejected.height
    found.malformed += batch.malformed
    found.by_rule.update(batch.broken)
    if batch.malformed:
        found.by_rule[MALFORMED] += batch.malformed
    codes = batch.table.codes
    found.missing.update({name: int((values == 0).sum()) for name, values in codes.nominal.items()})
    found.missing.update({name: int(np.isnan(values).sum()) for name, values in codes.numeric.items()})
    if len(found.examples) < EXAMPLES:
        found.examples += batch.rejected.head(EXAMPLES - len(found.examples)).to_dicts()
    if batch.table.group is not None and schema.groups is not None:
        if schema.groups.block_rows is not None:
            _widen(found, batch.table.group, batch.table.y)
        else:
            found.groups.update(np.unique(batch.table.group).tolist())


def _widen(found: _Found, blocks: npt.NDArray[np.int64], y: npt.NDArray[np.int8]) -> None:
    """Keep the lowest and highest class of every block."""
    if not len(blocks):
        return
    more = int(blocks.max()) + 1 - len(found.lowest)
    if more > 0:
        more += len(found.lowest) // 2  # grown by half, so that growing costs little in all
        found.lowest = np.r_[found.lowest, np.full(more, 2, dtype=np.int8)]
        found.highest = np.r_[found.highest, np.full(more, -1, dtype=np.int8)]
    np.minimum.at(found.lowest, blocks, y)
    np.maximum.at(found.highest, blocks, y)


def _refuse_too_many(settings: Settings, workdir: Workdir, found: _Found, folder: Path, run_id: str) -> None:
    share, most = found.rejected / found.rows, settings.validation.max_rejected_share
    if share <= most and found.rejected < found.rows:
        return
    place = workdir.rejected(run_id)
    with atomic_path(place) as temporary:
        shutil.copyfile(folder / "rejected.parquet", temporary)
    rules = ", ".join(f"{rule} ({count:,})" for rule, count in found.by_rule.most_common(5))
    raise DataError(
        f"{found.rejected:,} of {found.rows:,} rows are rejected ({share:.2%}; validation.max_rejected_share allows {most:.2%}): {rules}. "
        f"For example row {found.examples[0]['row']}: {found.examples[0]['reason']}. "
        f"All of them, with their reasons: {workdir.shown(place)}. Nothing was replaced"
    )


def _check_groups(schema: DatasetSchema, found: _Found, raw: RawTable) -> GroupCheck:
    if schema.groups is None:
        return GroupCheck(available=False, count=0, reason="the configuration declares no groups (dataset.groups)")
    name, block = schema.groups.name, schema.groups.block_rows
    if block is None:
        return GroupCheck(available=True, count=len(found.groups), reason=f"column {schema.groups.column!r} names the {name} of every row")
    if raw.further is not None:
        reason = f"rows that follow the table are in no {name} block of {block} rows"
        return GroupCheck(available=False, count=0, reason=reason)
    if found.rows % block:
        reason = f"{found.rows:,} rows are no whole number of {name} blocks of {block} rows"
        return GroupCheck(available=False, count=0, reason=reason)
    mixed = int((found.lowest < found.highest).sum())
    blocks = found.rows // block
    if mixed:
        reason = f"{mixed:,} of {blocks:,} {name} blocks of {block} rows hold both classes: the rows are not in {name} order (shuffled?)"
        return GroupCheck(available=False, count=0, reason=reason)
    return GroupCheck(available=True, count=blocks, reason=f"{blocks:,} {name} blocks of {block} rows, each of one class")


# --- second and third pass: the cleaned table ------------------------------------------------------------------------


def _finish(
    settings: Settings, raw: RawTable, found: _Found, groups: GroupCheck, folder: Path, metadata: Mapping[str, str], created: str
) -> DataSummary:
    schema, processed = settings.dataset, folder / "processed.parquet"
    again, copies = repeated(lambda: _column(processed, "row_hash"), found.rows - found.rejected)
    drop = settings.validation.duplicates == "drop" and copies > 0
    if drop or (schema.groups is not None and not groups.available):
        _rewrite(processed, schema, metadata, keep_groups=groups.available, drop=again if drop else None)
    counts = _share_out(settings, processed, folder, metadata, groups)
    words = (schema.target.values[schema.target.negative], schema.target.values[schema.target.positive])
    check_counts(counts, settings.split.shares, words)
    return DataSummary(
        run_id=metadata[RUN_ID.decode()],
        created=created,
        provenance=asdict(raw.provenance),
        simulated=raw.provenance.simulated,
        rows=found.rows,
        rejected=found.rejected,
        malformed=found.malformed,
        duplicates=copies,
        dropped=copies if drop else 0,
        by_rule=dict(found.by_rule.most_common()),
        missing=dict(found.missing),
        classes=dict(zip(words, counts.sum(axis=1).tolist(), strict=True)),
        groups=groups,
        splits=dict(zip(settings.split.shares, counts.sum(axis=0).tolist(), strict=True)),
        fingerprint=_fingerprint(settings, raw),
    )


def _fingerprint(settings: Settings, raw: RawTable) -> str:
    """Equal for equal data: the source's bytes, the contract, what validation drops, the split."""
    said = [raw.provenance.sha256, settings.dataset.fingerprint(), settings.validation.duplicates, settings.split.model_dump()]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _column(path: Path, name: str) -> Iterator[Hashes]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[name]):
            yield batch[name].to_numpy()


def _rewrite(path: Path, schema: DatasetSchema, metadata: Mapping[str, str], *, keep_groups: bool, drop: Hashes | None) -> None:
    """Write the cleaned table anew: without later copies of equal rows, without groups that do not hold."""
    taken = np.zeros(0 if drop is None else len(drop), dtype=bool)
    with atomic_path(path) as temporary, Writer(temporary, metadata) as writer:
        for table in read_tables(path, schema):
            kept = table if drop is None else table.take(_firsts(table.row_hash, drop, taken))
            writer.write(to_arrow(kept if keep_groups else _ungrouped(kept), schema))


def _firsts(hashes: Hashes, drop: Hashes, taken: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which rows are not a copy of an earlier one; notes in `taken` which repeated hashes have been met."""
    place = np.searchsorted(drop, hashes)
    place[place == len(drop)] = 0
    repeats = np.flatnonzero(drop[place] == hashes)
    keep = np.ones(len(hashes), dtype=bool)
    keep[repeats] = False
    met, first = np.unique(place[repeats], return_index=True)
    keep[repeats[first[~taken[met]]]] = True
    taken[met] = True
    return keep


def _ungrouped(table: Observations) -> Observations:
    return Observations(table.codes, table.y, table.row, None, table.row_hash, table.part)


def _share_out(settings: Settings, processed: Path, folder: Path, metadata: Mapping[str, str], groups: GroupCheck) -> npt.NDArray[np.int64]:
    """Write the split tables; the rows of each class (first axis) in each part (second).

    Rows are copied as Arrow has them: decoding and encoding them again would take twice as long.
    """
    shares = settings.split.shares
    part = _exact_parts(processed, settings.dataset, shares, grouped=groups.available)
    counts, done = np.zeros((2, len(shares)), dtype=np.int64), 0
    files = [[at for at, other in enumerate(shares) if _file_of(other) == name] for name in FILES]
    with ExitStack() as stack:
        writers = [stack.enter_context(Writer(folder / f"{name}.parquet", metadata)) for name in FILES]
        pool = stack.enter_context(ThreadPoolExecutor(len(FILES)))
        for rows, y in _label_batches(processed, settings.dataset):
            hashes = rows["row_hash"].to_numpy()
            mine = parts(hashes, None, shares) if part is None else part[done : done + len(y)]
            done += len(y)
            counts += np.bincount(y * len(shares) + mine, minlength=counts.size).reshape(counts.shape)
            marked = _with_part(rows, mine, tuple(shares))
            masks = [pa.array(np.isin(mine, numbers)) for numbers in files]
            list(pool.map(lambda writer, mask, table=marked: writer.write(table.filter(mask)), writers, masks))
    return counts


#: Files of the split; early_stop, calibration and threshold rows stand in `validation`.
FILES = ("train", "validation", "test")


def _file_of(part: str) -> str:
    return part if part in FILES else "validation"


def _label_batches(path: Path, schema: DatasetSchema, columns: list[str] | None = None) -> Iterator[tuple[pa.Table, npt.NDArray[np.int8]]]:
    """The cleaned table batch by batch as Arrow, and int8 [n], 1 for the positive class."""
    target = schema.target.column
    with pq.ParquetFile(path, read_dictionary=[target, *schema.nominal]) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            classes = batch[target]
            positive = np.array([value == schema.target.positive for value in classes.dictionary.to_pylist()], dtype=np.int8)
            yield pa.Table.from_batches([batch]), positive.take(classes.indices.to_numpy())


def _with_part(rows: pa.Table, part: npt.NDArray[np.int8], names: tuple[str, ...]) -> pa.Table:
    column = pa.DictionaryArray.from_arrays(pa.array(part), pa.array(names))
    return rows.add_column(rows.column_names.index("row_hash") + 1, "part", column)


def _exact_parts(path: Path, schema: DatasetSchema, shares: Mapping[str, float], *, grouped: bool) -> npt.NDArray[np.int8] | None:
    """Every row's part with exact shares in every group and class; None for a table too long to be sorted."""
    if pq.read_metadata(path).num_rows > EXACT_ROWS:
        return None
    hashes, strata = [], []
    for rows, y in _label_batches(path, schema, ["row_hash", "group", schema.target.column]):
        hashes.append(rows["row_hash"].to_numpy())
        strata.append(y + 2 * (rows["group"].to_numpy() if grouped else np.zeros(len(y), dtype=np.int64)))
    return parts(np.concatenate(hashes), np.concatenate(strata), shares)


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
