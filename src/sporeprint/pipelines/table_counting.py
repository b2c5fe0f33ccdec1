"""Counts tables for the monitor: files batch by batch, and the rows a model was validated on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from sporeprint.common.engine import Engine
from sporeprint.common.parallel import ahead
from sporeprint.common.progress import Progress, SilentProgress
from sporeprint.common.workdir import Workdir
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.parquet_store import read_table, run_id_of
from sporeprint.data.written_values import normalised
from sporeprint.errors import DataError
from sporeprint.inference.model_bundle import Bundle
from sporeprint.ingestion.partial_table import ANSWERS, Observed, observe
from sporeprint.ingestion.plain_table import plain_table
from sporeprint.monitoring.data_profile import ColumnProfile, ColumnSpec, Profile, of_codes, of_names, of_numbers, profile
from sporeprint.monitoring.performance_estimation import ScoreHistograms
from sporeprint.monitoring.realized_performance import Tally, one_of_each
from sporeprint.monitoring.table_statistics import TableStatistics
from sporeprint.pipelines.batch_prediction import score_frame
from sporeprint.registry.registry import Registry
from sporeprint.reports import monitoring_report as monitoring_report
from sporeprint.safety.verdict import UNKNOWN, verdict_words
from sporeprint.schema import DatasetSchema, Kind
from sporeprint.settings import CsvSettings, Settings

#: The part of the validation rows that nothing was fitted on but the threshold: what a model does with it, it does with new rows.
PART = "threshold"
#: Different rows with an outcome that are counted of a file; their keys are held in memory, eight bytes each.
MOST_DIFFERENT = 2_000_000


@dataclass(frozen=True)
class CountTask:
    """A file of a table, to be counted.

    Attributes:
        path: the file.
        root: the work directory.
        ref: the version whose answers are counted; None: none.
        schema: the contract.
        csv: how the table of the configuration is read.
    """

    path: Path
    root: Path
    ref: str | None
    schema: DatasetSchema
    csv: CsvSettings


def count_file(task: CountTask) -> tuple[Observed, TableStatistics]:
    """What a file is, and what is counted of it, wherever this runs: the version is read from the registry."""
    workdir = Workdir(task.root)
    bundle = None if task.ref is None else Registry(workdir.registry).load(task.ref)
    with plain_table(str(task.path), workdir.extract_record.parent) as path:
        table = observe(path, task.schema, task.csv)
        return table, measure(table, task.schema, bundle, 1, SilentProgress())


def count_files(tasks: Sequence[CountTask], engine: Engine, progress: Progress) -> tuple[Observed, TableStatistics]:
    """What a table of several files is, and what is counted of it; a task for each file.

    Raises:
        DataError: a file cannot be read, or has other columns than the first.
    """
    progress.total(len(tasks))
    tables: list[Observed] = []
    total = TableStatistics()
    for task, (table, counted) in zip(tasks, engine.map(count_file, tasks), strict=True):
        if tables and set(table.present) != set(tables[0].present):
            odd = min(set(table.present) ^ set(tables[0].present))
            raise DataError(f"{task.path} is unlike {tasks[0].path}: only one of them has the column {odd!r}")
        tables.append(table)
        total = counted if len(tables) == 1 else total + counted
        progress.advance(1)
    sha256 = hashlib.sha256("".join(table.sha256 for table in tables).encode()).hexdigest()
    rows = None if any(table.rows is None for table in tables) else sum(table.rows or 0 for table in tables)
    return replace(tables[0], sha256=sha256, rows=rows), total


def measure(table: Observed, schema: DatasetSchema, bundle: Bundle | None, threads: int, progress: Progress) -> TableStatistics:
    """Count a file, batch by batch: its columns, and what a model answers, if there is one and the file has no answers of its own."""
    # Rows and counts have the names of answered rows, the model's own are those of its contract.
    own, schema = schema.as_table(table.present), schema.answered
    columns = {
        name: ColumnSpec(column.kind, frozenset(column.values or ())) for name, column in schema.columns.items() if name in table.present
    }
    answered = {name for name in ANSWERS if name in table.present}
    scored = bundle is not None and not table.absent and not {"probability", "verdict"} <= answered

    def work(batch: tuple[pl.DataFrame, int]) -> tuple[Profile, pl.DataFrame, pl.DataFrame]:
        frame, unreadable = normalised(batch[0], schema), batch[1]
        counted = profile(frame, columns, unreadable=unreadable)
        # Of the rows as they are written: "1,5" that was read as "1.5" already is no number of a column with decimal commas.
        return counted, score_frame(batch[0].rename(own), bundle) if scored and bundle is not None else frame, frame

    progress.total(table.rows)
    there, different = set(ANSWERS) if scored else answered, DifferentRows()
    total = TableStatistics(empty_statistics(columns, schema, there))
    # Batches are worked on side by side; further BLAS threads in each would only wait for each other.
    with threadpool_limits(1, "blas"):
        for counted, answers, frame in ahead(work, table.frames(), workers=threads):
            first = different.first(frame.select(list(columns)), _outcomes(frame, schema)[0] >= 0)
            total += with_predictions(counted, answers, frame, schema, there, first)
            progress.advance(counted.rows)
    return total


class DifferentRows:
    """The different rows with an outcome, of batches that follow each other; at most `MOST_DIFFERENT`."""

    def __init__(self) -> None:
        self._known = np.zeros(0, dtype=np.uint64)

    def first(self, rows: pl.DataFrame, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Whether a row is the first of those with an outcome that equal it, [n]; no row is where there are too many before it.

        Args:
            rows: n rows, their features alone.
            known: bool [n], whether there is an outcome.
        """
        if not known.any():
            return known
        keys = rows.hash_rows(seed=0).to_numpy()
        places = np.flatnonzero(one_of_each(keys, known))
        new = places[~np.isin(keys[places], self._known, assume_unique=True)][: MOST_DIFFERENT - len(self._known)]
        self._known = np.concatenate([self._known, keys[new]])
        first = np.zeros(rows.height, dtype=np.bool_)
        first[new] = True
        return first


def empty_statistics(columns: Mapping[str, ColumnSpec], schema: DatasetSchema, answers: set[str]) -> Profile:
    """The profile of no rows, with the columns that there would be."""
    empty = pl.DataFrame(schema={name: pl.String if column.kind is Kind.NOMINAL else pl.Float64 for name, column in columns.items()})
    kinds = {name: pl.Float64 if kind is Kind.NUMERIC else pl.String for name, kind in ANSWERS.items()}
    return with_predictions(profile(empty, columns), pl.DataFrame(schema=kinds), empty, schema, answers).profile


def with_predictions(
    counted: Profile,
    answers: pl.DataFrame,
    frame: pl.DataFrame,
    schema: DatasetSchema,
    there: set[str],
    first: npt.NDArray[np.bool_] | None = None,
) -> TableStatistics:
    """What was counted of some rows, with their predictions and outcomes.

    Args:
        counted: the profile of the rows' features.
        answers: the rows' answers.
        frame: the rows, with the target's column where it is known.
        schema: the contract.
        there: the columns of answers that there are.
        first: whether no earlier row with an outcome is equal, [n]; None: all rows differ.
    """
    specs = {
        name: ColumnSpec(kind, frozenset(verdict_words(schema)) if kind is Kind.NOMINAL else frozenset()) for name, kind in ANSWERS.items()
    }
    counted = counted.beside(profile(answers, {name: column for name, column in specs.items() if name in there}))
    if not {"probability", "verdict"} <= there:
        return TableStatistics(counted)
    probability = answers["probability"].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    numbers = {word: number for number, word in enumerate(verdict_words(schema))}
    verdict = answers["verdict"].cast(pl.String).replace_strict(numbers, default=UNKNOWN, return_dtype=pl.Int8).to_numpy()
    scored = np.isfinite(probability)
    scores = ScoreHistograms.of(probability[scored], verdict[scored])
    y, strangers = _outcomes(frame, schema)
    return TableStatistics(counted, scores, Tally.of(probability, verdict, y, first), int(np.count_nonzero(~scored)), strangers)


def _outcomes(frame: pl.DataFrame, schema: DatasetSchema) -> tuple[npt.NDArray[np.int8], int]:
    """1, 0, or -1 where it is not known; and how many are neither class."""
    target = schema.target
    if target.column not in frame.columns:
        return np.full(frame.height, -1, dtype=np.int8), 0
    codes = frame[target.column].cast(pl.String).str.strip_chars()
    classes = {target.negative: 0, target.positive: 1}
    y = codes.replace_strict(classes, default=-1, return_dtype=pl.Int8)
    empty = int(codes.is_null().sum()) + int((codes == "").sum())
    return y.fill_null(-1).to_numpy(), int((y.fill_null(-1) < 0).sum()) - empty


def validated(settings: Settings, workdir: Workdir, bundle: Bundle, ref: str) -> tuple[TableStatistics, str, list[str]]:
    """The rows that a model was validated on, and none of its parts was fitted on but the threshold: counted, in words, what is odd."""
    rows, notes = validation_rows(settings, workdir, bundle, ref)
    return statistics_of_rows(rows.codes, bundle), f"the {rows.codes.rows:,} rows that {ref} was validated on", notes


def validation_rows(settings: Settings, workdir: Workdir, bundle: Bundle, ref: str) -> tuple[Observations, list[str]]:
    """These rows, and what is odd about them.

    Raises:
        DataError: they are not there, or are others.
    """
    path = workdir.model_input / "validation.parquet"
    parts = tuple(settings.split.shares)
    notes = []
    if (run := run_id_of(path)) != bundle.info.get("data_run"):
        notes.append(f"the validation rows are of run {run}, the model {ref} was made from those of run {bundle.info.get('data_run')}")
    table = read_table(path, bundle.schema, parts)
    return table.take(np.flatnonzero(table.part == parts.index(PART))), notes


def statistics_of_rows(codes: Codes, bundle: Bundle) -> TableStatistics:
    """Count coded rows and what a model answers to them: the reference that later rows are held against."""
    known = {name: frozenset(column.values or ()) for name, column in bundle.schema.columns.items()}
    answers = bundle.predictions(codes)
    spoken = verdict_words(bundle.schema)
    counts = np.bincount(answers.verdict, minlength=len(spoken)).tolist()
    verdict_columns: dict[str, ColumnProfile] = {
        "probability": of_numbers(answers.probability),
        "novelty_p": of_numbers(answers.novelty.p),
        "verdict": of_names(spoken, counts, spoken),
    }
    counted = of_codes(codes, known).renamed(bundle.schema.own_names).beside(Profile(codes.rows, verdict_columns))
    return TableStatistics(counted, ScoreHistograms.of(answers.probability, answers.verdict))
