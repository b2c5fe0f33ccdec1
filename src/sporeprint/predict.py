"""Scores a file with a registered model, batch by batch: the input columns, then what the model says of each row."""

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np
import polars as pl

from sporeprint.batch import Batch
from sporeprint.codes import Codes, coded_frame
from sporeprint.errors import UsageError
from sporeprint.extract import open_table, read_batches
from sporeprint.files import Progress, atomic_path
from sporeprint.parallel import ahead
from sporeprint.registry import Registry
from sporeprint.schema import DatasetSchema
from sporeprint.scorer import Scorer
from sporeprint.table import SilentSteps, Steps, Table
from sporeprint.tables import Writer
from sporeprint.transform import Encoder
from sporeprint.validate import broken_rules, explain, feature_rules
from sporeprint.workdir import Workdir

#: Bytes of a CSV file that are scored at a time.
BATCH_BYTES = 8 << 20

#: Formats a result can be written in.
SUFFIXES = (".csv", ".parquet")

#: A row is called positive when P(positive) is above this.
THRESHOLD = 0.5


@dataclass(frozen=True)
class Counts:
    """What became of a file's rows.

    Attributes:
        rows: all of them.
        scored: rows with a prediction.
        unscorable: rows without one; `reason` says why.
        unseen: scored rows with a value that the model has never seen.
        positive: scored rows that are called positive.
    """

    rows: int = 0
    scored: int = 0
    unscorable: int = 0
    unseen: int = 0
    positive: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.rows + other.rows,
            self.scored + other.scored,
            self.unscorable + other.unscorable,
            self.unseen + other.unseen,
            self.positive + other.positive,
        )


@dataclass(frozen=True)
class PredictResult:
    """What became of a scored file."""

    model: str
    out: str
    simulated: bool
    counts: Counts
    words: tuple[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"model": self.model, "out": self.out, "simulated": self.simulated, **asdict(self.counts)}

    def tables(self) -> list[Table]:
        """As people read it."""
        negative, positive = self.words
        counts = self.counts
        rows = (
            ("model", self.model + (" (trained on SIMULATED data)" if self.simulated else "")),
            ("rows", f"{counts.rows:,}"),
            (f"called {positive}", f"{counts.positive:,}"),
            (f"called {negative}", f"{counts.scored - counts.positive:,}"),
            ("with a value never seen in training", f"{counts.unseen:,}"),
            ("not scorable (see the column 'reason')", f"{counts.unscorable:,}"),
            ("written to", self.out),
        )
        return [Table("Scored", ("", ""), rows)]


def score_frame(frame: pl.DataFrame, schema: DatasetSchema, encoder: Encoder, scorer: Scorer) -> pl.DataFrame:
    """What a model says of the rows of a frame.

    Args:
        frame: the features, as text or of their own types; other columns are ignored.
        schema: the contract.
        encoder: the model's encoder.
        scorer: the model.

    Returns:
        `prediction` (the class's code), `probability` (of the positive class), `unseen` (the columns whose value the
        model has never seen, comma-separated), `reason` (why there is no prediction). Where there is a reason, there is
        neither prediction nor probability.
    """
    compact = coded_frame(frame, encoder.vocabulary, schema.numeric)
    flags = broken_rules(compact, feature_rules(schema, closed=False))
    codes = Codes.of_coded(compact, schema, encoder.vocabulary)
    if flags:
        # A number that is none must not reach the model, not even in a row whose score is thrown away.
        finite = {name: np.where(np.isfinite(values), values, np.nan) for name, values in codes.numeric.items()}
        codes = Codes(codes.vocabulary, codes.nominal, finite, codes.rows)
    probability = scorer.score(encoder.matrix(codes))
    positive = probability > THRESHOLD
    classes = pl.Series([schema.target.negative, schema.target.positive], dtype=pl.String)
    found = pl.DataFrame(
        {
            "prediction": classes.gather(positive.astype(np.uint32)),
            "probability": probability,
            "unseen": _unseen(codes, encoder),
            "reason": _reasons(frame, flags, schema),
        }
    )
    if flags:
        kept = pl.when(pl.col("reason").is_null())
        found = found.with_columns(kept.then("prediction").alias("prediction"), kept.then("probability").alias("probability"))
    return found


def _unseen(codes: Codes, encoder: Encoder) -> pl.Series:
    flags = encoder.unseen(codes)
    if not flags:
        return pl.repeat(None, codes.rows, dtype=pl.String, eager=True)
    named = [pl.when(pl.col(name)).then(pl.lit(name)) for name in flags]
    joined = pl.concat_str(named, separator=",", ignore_nulls=True)
    return pl.DataFrame(dict(flags)).select(pl.when(joined != "").then(joined)).to_series()


def _reasons(frame: pl.DataFrame, flags: dict[str, np.typing.NDArray[np.bool_]], schema: DatasetSchema) -> pl.Series:
    if not flags:
        return pl.repeat(None, frame.height, dtype=pl.String, eager=True)
    reasons: list[str | None] = [None] * frame.height
    rows = np.flatnonzero(np.logical_or.reduce(list(flags.values())))
    for row, reason in zip(rows.tolist(), explain(frame, flags, schema)["reason"].to_list(), strict=True):
        reasons[row] = reason
    return pl.Series(reasons, dtype=pl.String)


def score_batches(
    batches: Iterable[Batch],
    out: Path,
    schema: DatasetSchema,
    encoder: Encoder,
    scorer: Scorer,
    *,
    workers: int,
    progress: Progress,
    each: Callable[[Counts], None] = lambda _: None,
) -> Counts:
    """Score batches into a file, which appears when it is complete.

    Raises:
        UsageError: if the file's suffix names no format.
        StorageError: if it cannot be written.
    """
    if out.suffix not in SUFFIXES:
        raise UsageError(f"--out {out}: expected a file name that ends in {' or '.join(SUFFIXES)}")
    total = Counts()

    def work(batch: Batch) -> tuple[pl.DataFrame, Counts, int]:
        said = score_frame(batch.frame, schema, encoder, scorer)
        result = _with_malformed(batch, said)
        return result, _count(result, schema), batch.bytes_read

    with atomic_path(out) as temporary, _sink(temporary, out.suffix) as sink:
        for frame, counts, read in ahead(work, batches, workers=workers):
            sink.write(frame)
            total += counts
            each(counts)
            progress.advance(read)
    return total


def _with_malformed(batch: Batch, said: pl.DataFrame) -> pl.DataFrame:
    """The input columns beside the answers; rows that could not be read stand at their place, with the reason."""
    result = pl.concat([batch.frame, said], how="horizontal")
    if batch.malformed.height:
        unread = batch.malformed.select("row", pl.format("{}: {}", pl.col("reason"), pl.col("text")).alias("reason"))
        result = pl.concat([result, unread], how="diagonal").sort("row")
    return result.drop("row")


def _count(result: pl.DataFrame, schema: DatasetSchema) -> Counts:
    scored = result.height - result["prediction"].null_count()
    unseen = result.filter(pl.col("prediction").is_not_null())["unseen"] if result["unseen"].null_count() < result.height else None
    return Counts(
        rows=result.height,
        scored=scored,
        unscorable=result.height - scored,
        unseen=0 if unseen is None else len(unseen) - unseen.null_count(),
        positive=int((result["prediction"] == schema.target.positive).sum()),
    )


class _Sink(Protocol):
    """Where frames are written to, one below the other."""

    def write(self, frame: pl.DataFrame) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...


def _sink(path: Path, suffix: str) -> _Sink:
    return _CsvSink(path) if suffix == ".csv" else _ParquetSink(path)


class _CsvSink:
    """A CSV file; the first frame writes the header."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._header = True

    def write(self, frame: pl.DataFrame) -> None:
        frame.write_csv(self._file, include_header=self._header)
        self._header = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


class _ParquetSink:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, {})

    def write(self, frame: pl.DataFrame) -> None:
        self._writer.write(frame.to_arrow())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()


def predict(root: Path, file: Path, out: Path, *, model: str = "production", steps: Steps | None = None) -> PredictResult:
    """Score the rows of a file with a registered model: its columns, then prediction and probability.

    Raises:
        RegistryError: if there is no such model, or it is damaged.
        DataError: if the file is no table with the model's features.
        UsageError: if `out` names no known format.
        StorageError: if `out` cannot be written.
    """
    workdir, shown = Workdir(root), steps or SilentSteps()
    registry = Registry(workdir.registry)
    found = registry.resolve(model)
    bundle = registry.load(found.ref)
    threads = len(os.sched_getaffinity(0))
    with shown.step("predict") as progress:
        raw = open_table(file, bundle.schema, now=lambda: datetime.now(UTC))
        progress.total(raw.provenance.bytes)
        batches = read_batches(raw, bundle.schema, batch_bytes=BATCH_BYTES, labelled=False)
        counts = score_batches(batches, out, bundle.schema, bundle.encoder, bundle.scorer, workers=threads, progress=progress)
    target = bundle.schema.target
    words = (target.values[target.negative], target.values[target.positive])
    return PredictResult(found.ref, str(out), bool(bundle.info.get("simulated")), counts, words)
