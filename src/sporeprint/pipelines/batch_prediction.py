"""Scores a file with a registered model, batch by batch: the input columns, then what the model says of each row."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from sporeprint.common.files import atomic_path
from sporeprint.common.parallel import ahead
from sporeprint.common.progress import Progress, SilentSteps, Steps
from sporeprint.common.text_table import Table
from sporeprint.common.workdir import Workdir
from sporeprint.data.coded_table import Codes, coded_frame, recognised
from sporeprint.data.parquet_store import Writer
from sporeprint.data.validation import broken_rules, explain, feature_rules
from sporeprint.data.written_values import normalised, words_as_codes
from sporeprint.errors import DataError, UsageError
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.partial_prediction import MOST_NAMED, too_little_reason, unusual_columns
from sporeprint.inference.prediction import OUT_OF_DISTRIBUTION, TOO_LITTLE_OBSERVED
from sporeprint.ingestion.plain_table import plain_table
from sporeprint.ingestion.raw_batch import Batch
from sporeprint.ingestion.raw_table import open_table, read_batches
from sporeprint.registry.registry import Registry
from sporeprint.safety.anomalies import BETWEEN, DISAGREE, NEVER_SEEN, NO_THRESHOLD, OUTSIDE, UNLIKE
from sporeprint.safety.decision_rule import Predictions, joint_vocabulary
from sporeprint.safety.verdict import HALF, UNKNOWN, is_familiar, verdict_words
from sporeprint.schema import DatasetSchema

Flags = npt.NDArray[np.bool_]

#: Bytes of a CSV file that are scored at a time.
BATCH_BYTES = 8 << 20

#: Formats a result can be written in.
SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class Counts:
    """What became of a file's rows.

    Attributes:
        rows: all of them.
        scored: rows with a prediction.
        unscorable: rows without one; `reason` says why.
        unseen: scored rows with a value that the model has never seen.
        negative: rows answered with the negative class.
        positive: rows answered with the positive class.
        unknown: scored rows answered with "unknown".
    """

    rows: int = 0
    scored: int = 0
    unscorable: int = 0
    unseen: int = 0
    negative: int = 0
    positive: int = 0
    unknown: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class BatchPredictionResult:
    """What became of a scored file; `never` says why the negative class is never answered, where that is so.

    `guarded`: whether the rows were answered, or only scored.
    """

    model: str
    out: str
    simulated: bool
    counts: Counts
    words: tuple[str, str]
    never: str | None = None
    guarded: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        counts = {name: count for name, count in asdict(self.counts).items() if self.guarded or name in ("rows", "scored", "unscorable")}
        return {"model": self.model, "out": self.out, "simulated": self.simulated, "guarded": self.guarded, **counts}

    def tables(self) -> list[Table]:
        """As people read it."""
        negative, positive = self.words
        counts = self.counts
        answered = (
            (f"answered {positive}", f"{counts.positive:,}"),
            (f"answered {negative}", f"{counts.negative:,}" + (f" (never: {self.never})" if self.never else "")),
            ("answered unknown, see 'reason'", f"{counts.unknown:,}"),
            ("with a value never seen", f"{counts.unseen:,}"),
        )
        rows = (
            ("model", self.model + (" (trained on SIMULATED data)" if self.simulated else "")),
            ("rows", f"{counts.rows:,}"),
            *(answered if self.guarded else (("answered", "none: these are scores, of rows that the model may not know"),)),
            ("not scorable, see 'reason'", f"{counts.unscorable:,}"),
            ("written to", self.out),
        )
        return [Table("Scored", ("", ""), rows)]


def score_frame(
    frame: pl.DataFrame,
    bundle: Bundle,
    *,
    guarded: bool = True,
    empty_is_observed: bool = True,
    absent: Mapping[str, Flags] | None = None,
) -> pl.DataFrame:
    """What a model says of the rows of a frame.

    Args:
        frame: the features, as text or of their own types; other columns are ignored.
        bundle: the model.
        guarded: whether it is asked what it knows of each row; without, there is no verdict: `prediction`, `probability` and `reason`.
        empty_is_observed: whether an empty cell is an observation where the contract says so; if not, nobody looked. A column that is
            not there was not observed.
        absent: column -> bool [n], the rows in which it was not observed beside those, where the contract would take it as an empty
            cell that says something. None: in none.

    Raises:
        DataError: if a column is not there and the model is of a version that needs all of them.

    Returns:
        `prediction` (the likelier class's code), `probability` (of the positive class), `verdict` (a class's word, or "unknown"),
        `novelty_p` (the guard's p-value), `unseen` (the columns whose value the model has never seen, comma-separated), `outside`
        (those whose number lies outside the training rows'), `reason` (why the verdict is "unknown"), `unknown` (which kind of
        "unknown" it is), `look_at` (where too little was observed: the columns to look at next, comma-separated). A row that breaks
        a rule has a verdict and a reason only.
    """
    if absent and not np.logical_or.reduce(list(absent.values())).all():
        return _apart(frame, absent, bundle, empty_is_observed=empty_is_observed)
    schema = bundle.schema
    frame, unobserved = _completed(frame, bundle)
    unobserved |= frozenset() if empty_is_observed else frozenset(schema.columns)
    known = joint_vocabulary(bundle.encoder, bundle.safety.guard, schema)
    frame = words_as_codes(frame, schema)
    compact = coded_frame(normalised(frame, schema), known, schema.numeric)
    flags = broken_rules(compact, feature_rules(schema, closed=False))
    codes = Codes.of_coded(compact, schema, known)
    if flags:
        # A number that is none must not reach the model, not even in a row whose score is thrown away.
        finite = {name: np.where(np.isfinite(values), values, np.nan) for name, values in codes.numeric.items()}
        codes = Codes(codes.vocabulary, codes.nominal, finite, codes.rows)
    scored = (
        _guarded(bundle.predictions(codes, unobserved=unobserved, absent=absent), bundle)
        if guarded
        else _scored(bundle.probability(codes), schema)
    )
    return _refused(scored, _reasons(frame, flags, schema)) if flags else scored


def _apart(frame: pl.DataFrame, absent: Mapping[str, Flags], bundle: Bundle, *, empty_is_observed: bool) -> pl.DataFrame:
    """Answers to rows of which some lack columns: those are judged as partial rows, the others as they would be alone."""
    lacking = np.logical_or.reduce(list(absent.values()))
    parts = []
    for rows in (np.flatnonzero(lacking), np.flatnonzero(~lacking)):
        flags = {name: values[rows] for name, values in absent.items() if values[rows].any()}
        answers = score_frame(frame[rows], bundle, empty_is_observed=empty_is_observed, absent=flags)
        parts.append(answers.with_columns(_at=pl.Series(rows)))
    return pl.concat(parts).sort("_at").drop("_at")


def _completed(frame: pl.DataFrame, bundle: Bundle) -> tuple[pl.DataFrame, frozenset[str]]:
    """The frame with every feature, empty where it was not there, and the features that were not."""
    missing = [name for name in bundle.schema.columns if name not in frame.columns]
    if missing and bundle.safety.partial is None:
        raise DataError(
            f"the columns {', '.join(map(repr, missing))} are not there, and model {bundle.name!r} was made before "
            "models could do without; add them, or train a new version: sporeprint etl"
        )
    types = {name: pl.Float64 if name in bundle.schema.numeric else pl.String for name in missing}
    return frame.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in types.items()), frozenset(missing)


def _scored(probability: npt.NDArray[np.float64], schema: DatasetSchema) -> pl.DataFrame:
    chosen = _chosen((schema.target.negative, schema.target.positive), probability > HALF)
    reason = pl.repeat(None, len(probability), dtype=pl.String, eager=True)
    return pl.DataFrame({"prediction": chosen, "probability": probability, "reason": reason})


def _guarded(answers: Predictions, bundle: Bundle) -> pl.DataFrame:
    rows, schema = len(answers.probability), bundle.schema
    columns = {
        "verdict": _chosen(verdict_words(schema), answers.verdict),
        **_doubts(answers, bundle),
        "novelty_p": pl.Series(answers.novelty.p),
        "unseen": _listed(answers.anomalies.unseen, rows),
        "outside": _listed(answers.anomalies.outside, rows),
    }
    return pl.DataFrame(columns).hstack(_scored(answers.probability, schema).drop("reason"))


def _chosen(texts: Sequence[str], numbers: npt.NDArray[Any]) -> pl.Series:
    return pl.Series(texts, dtype=pl.String).gather(numbers.astype(np.uint32))


def _listed(flags: Mapping[str, npt.NDArray[np.bool_]], rows: int) -> pl.Series:
    """The names of the columns that are flagged in each row, comma-separated; null where none is."""
    if not flags:
        return pl.repeat(None, rows, dtype=pl.String, eager=True)
    named = [pl.when(pl.col(name)).then(pl.lit(name)) for name in flags]
    joined = pl.concat_str(named, separator=",", ignore_nulls=True)
    return pl.DataFrame(dict(flags)).select(pl.when(joined != "").then(joined)).to_series()


def _doubts(answers: Predictions, bundle: Bundle) -> dict[str, pl.Series]:
    """Why the verdict is "unknown", where it is: `reason`, `unknown` and `look_at`."""
    safety = bundle.safety
    unknown = answers.verdict == UNKNOWN
    if not unknown.any():
        return {name: pl.repeat(None, len(unknown), dtype=pl.String, eager=True) for name in ("reason", "unknown", "look_at")}
    anomalies, rows, limits = answers.anomalies, len(unknown), safety.limits
    unlike = ~np.asarray(is_familiar(answers.novelty.p, limits.coverage))
    novel = pl.DataFrame({"p": answers.novelty.p, "unlike": unlike, "where": _unusual(answers, unlike & unknown, bundle)})
    too_little, look_at = _too_little(answers, bundle)
    parts = [
        too_little,
        _where(unlike, _prefixed(NEVER_SEEN, _listed(anomalies.unseen, rows))),
        _where(unlike, _prefixed(OUTSIDE, _listed(anomalies.outside, rows))),
        _listed(anomalies.contradictions, rows),
        novel.select(pl.when("unlike").then(pl.format(f"{UNLIKE} (p = {{}}){{}}", pl.col("p").round(6), pl.col("where")))).to_series(),
    ]
    # What is familiar and still unknown is so by its probability.
    texts = (NO_THRESHOLD,) if limits.negative is None else (BETWEEN, DISAGREE)
    otherwise = _chosen(texts, answers.probability <= limits.negative if limits.negative is not None else np.zeros(rows))
    named = pl.DataFrame({**{str(number): part for number, part in enumerate(parts)}, "unknown": unknown, "otherwise": otherwise})
    lacking = too_little.is_not_null().to_numpy()
    strange = unknown & ~lacking & (np.ones(rows, dtype=np.bool_) if answers.partial is not None else unlike)
    kind = _chosen((TOO_LITTLE_OBSERVED, OUT_OF_DISTRIBUTION), strange)
    joined = pl.concat_str(*(str(number) for number in range(len(parts))), separator="; ", ignore_nulls=True)
    reason = named.select(pl.when("unknown").then(pl.when(joined != "").then(joined).otherwise("otherwise"))).to_series()
    return {"reason": reason, "unknown": _where(lacking | strange, kind), "look_at": look_at}


def _prefixed(text: str, columns: pl.Series) -> pl.Series:
    return pl.DataFrame({"at": columns}).select(pl.format(f"{text}: {{}}", "at")).to_series()


def _where(flags: npt.NDArray[np.bool_], texts: pl.Series) -> pl.Series:
    return pl.DataFrame({"flag": flags, "text": texts}).select(pl.when("flag").then("text")).to_series()


def _too_little(answers: Predictions, bundle: Bundle) -> tuple[pl.Series, pl.Series]:
    """How little was observed of the rows that are unknown for that reason, and what to look at; both null elsewhere."""
    partial, questions = answers.partial, bundle.questions
    if partial is None or questions is None or not partial.too_little.any():
        nothing = pl.repeat(None, len(answers.verdict), dtype=pl.String, eager=True)
        return nothing, nothing
    rows, columns = np.flatnonzero(partial.too_little), questions.guard.layout.columns
    ranked = questions.ranked(partial.cells.take(rows), most=MOST_NAMED)
    # Few situations are different: each is put into words once.
    situations = np.column_stack([partial.observed[rows], ranked])
    numbered = np.ravel_multi_index(tuple((situations + 1).T), (len(columns) + 2,) * situations.shape[1])
    _, first, which = np.unique(numbered, return_index=True, return_inverse=True)
    different = situations[first]
    situation = np.full(len(answers.verdict), len(different), dtype=np.uint32)
    situation[rows] = which.ravel()
    named = [(observed, [columns[at] for at in best if at >= 0]) for observed, *best in different.tolist()]
    reasons = [too_little_reason(observed, len(columns), names) for observed, names in named]
    look_at = [",".join(names) or None for _, names in named]
    return pl.Series([*reasons, None], dtype=pl.String).gather(situation), pl.Series([*look_at, None], dtype=pl.String).gather(situation)


def _unusual(answers: Predictions, rows: npt.NDArray[np.bool_], bundle: Bundle) -> pl.Series:
    """In which columns rows are unlike what they resemble most, as the end of a reason."""
    partial, texts = answers.partial, [""] * len(rows)
    if partial is not None and rows.any():
        at = np.flatnonzero(rows)
        for row, text in zip(at.tolist(), unusual_columns(bundle, partial.cells.take(at), partial.group[at]), strict=True):
            texts[row] = text
    return pl.Series(texts, dtype=pl.String)


def _refused(scored: pl.DataFrame, reasons: pl.Series) -> pl.DataFrame:
    """The answers, without those to rows that break a rule: these are unknown, for the reason given."""
    accepted = reasons.is_null()
    otherwise = {"verdict": pl.lit("unknown"), "reason": pl.lit(reasons)}
    return scored.select(pl.when(accepted).then(pl.col(name)).otherwise(otherwise.get(name)).alias(name) for name in scored.columns)


def _reasons(frame: pl.DataFrame, flags: dict[str, npt.NDArray[np.bool_]], schema: DatasetSchema) -> pl.Series:
    reasons: list[str | None] = [None] * frame.height
    rows = np.flatnonzero(np.logical_or.reduce(list(flags.values())))
    for row, reason in zip(rows.tolist(), explain(frame, flags, schema)["reason"].to_list(), strict=True):
        reasons[row] = reason
    return pl.Series(reasons, dtype=pl.String)


def score_batches(
    batches: Iterable[Batch],
    out: Path,
    bundle: Bundle,
    *,
    workers: int,
    progress: Progress,
    guarded: bool = True,
    empty_is_observed: bool = True,
    each: Callable[[Counts], None] = lambda _: None,
) -> Counts:
    """Score batches into a file, which appears when it is complete. See `score_frame`.

    Raises:
        UsageError: if the file's suffix names no format.
        StorageError: if it cannot be written.
    """
    if out.suffix not in SUFFIXES:
        raise UsageError(f"--out {out}: expected a file name that ends in {' or '.join(SUFFIXES)}")
    total, known = Counts(), joint_vocabulary(bundle.encoder, bundle.safety.guard, bundle.schema)

    def work(batch: Batch) -> tuple[pl.DataFrame, Counts, int]:
        batch = replace(batch, frame=recognised(batch.frame, known))
        scored = score_frame(batch.frame, bundle, guarded=guarded, empty_is_observed=empty_is_observed)
        result = _with_malformed(batch, scored, bundle.schema, guarded=guarded)
        return result, _count(result, bundle.schema), batch.bytes_read

    with atomic_path(out) as temporary, _sink(temporary, out.suffix) as sink:
        for frame, counts, read in ahead(work, batches, workers=workers):
            sink.write(frame)
            total += counts
            each(counts)
            progress.advance(read)
    return total


def beside(frame: pl.DataFrame, added: pl.DataFrame, schema: DatasetSchema, *, further: Sequence[str] = ()) -> pl.DataFrame:
    """The input columns, then the added ones. An input column with the name of an added or further one is renamed: `reason_`.

    A column of the contract that would be renamed and is not there stands empty: without it, the answer would be taken for it.
    """
    names = (*added.columns, *further)
    lacking = [own for name, own in schema.own_names.items() if name not in frame.columns]
    renamed = frame.rename(schema.beside(frame.columns, names))
    if lacking:
        renamed = renamed.with_columns(pl.lit(None, dtype=pl.String).alias(own) for own in lacking)
    return pl.concat([renamed, added], how="horizontal")


def _with_malformed(batch: Batch, scored: pl.DataFrame, schema: DatasetSchema, *, guarded: bool) -> pl.DataFrame:
    """The input columns beside the answers; rows that could not be read stand at their place, with the reason."""
    result = beside(batch.frame, scored, schema)
    if batch.malformed.height:
        reason = pl.format("{}: {}", pl.col("reason"), pl.col("text")).alias("reason")
        unread = batch.malformed.select("_row", *([pl.lit("unknown").alias("verdict")] if guarded else []), reason)
        result = pl.concat([result, unread], how="diagonal").sort("_row")
    return result.drop("_row")


def _count(result: pl.DataFrame, schema: DatasetSchema) -> Counts:
    negative, positive, unknown = verdict_words(schema)
    scored = pl.col("prediction").is_not_null()
    counts = {"rows": pl.len(), "scored": scored.sum(), "unscorable": (~scored).sum()}
    if "verdict" in result.columns:
        verdict = pl.col("verdict")
        counts |= {"negative": (verdict == negative).sum(), "positive": (verdict == positive).sum()}
        counts |= {"unknown": (scored & (verdict == unknown)).sum(), "unseen": (scored & pl.col("unseen").is_not_null()).sum()}
    return Counts(**result.select(**counts).row(0, named=True))


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
        try:
            frame.write_csv(self._file, include_header=self._header)
        except pl.exceptions.ComputeError as error:  # a type that no text stands for, such as a duration
            reason = str(error).partition("\n")[0]
            raise UsageError(f"the answers cannot be written as CSV: {reason}; name a file that ends in .parquet") from error
        self._header = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


class _ParquetSink:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, {}, plain=True)

    def write(self, frame: pl.DataFrame) -> None:
        self._writer.write(frame.to_arrow())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()


def predict(
    root: Path,
    source: str | Path,
    out: Path,
    *,
    model: str = "production",
    guarded: bool = True,
    empty_is_observed: bool = True,
    steps: Steps | None = None,
) -> BatchPredictionResult:
    """Answer the rows of a table with a registered model: its columns, then what `score_frame` says of each row.

    `source` is as `plain_table` takes it.

    Raises:
        RegistryError: if there is no such model, or it is damaged.
        DataError: if the source is no table with the model's features.
        UsageError: if `out` names no known format.
        StorageError: if `out` cannot be written.
    """
    workdir, shown = Workdir(root), steps or SilentSteps()
    registry = Registry(workdir.registry)
    version = registry.resolve(model)
    bundle = registry.load(version.ref)
    threads = len(os.sched_getaffinity(0))
    with shown.step("predict") as progress:
        task = ScoreTask(str(source), out, root, version.ref, guarded, empty_is_observed)
        return result_of(version.ref, bundle, out, score_table(task, bundle, threads, progress), guarded=guarded)


def result_of(ref: str, bundle: Bundle, out: Path, counts: Counts, *, guarded: bool) -> BatchPredictionResult:
    """What became of a table that a version scored."""
    threshold = bundle.safety.threshold
    never = threshold.reason if threshold.value is None else None
    return BatchPredictionResult(
        ref, str(out), bool(bundle.info.get("simulated")), counts, verdict_words(bundle.schema)[:2], never, guarded
    )


@dataclass(frozen=True)
class ScoreTask:
    """A table to be scored; see `predict`.

    Attributes:
        source: the table.
        out: the file of the answers.
        root: the work directory.
        ref: the version.
        guarded: whether rows are answered, or only scored.
        empty_is_observed: what an empty cell means.
    """

    source: str
    out: Path
    root: Path
    ref: str
    guarded: bool
    empty_is_observed: bool


def score_table(task: ScoreTask, bundle: Bundle, threads: int, progress: Progress) -> Counts:
    """Score a table into a file. Raises: see `predict`."""
    # Batches are worked on side by side; further BLAS threads in each would only wait for each other, at full speed.
    with threadpool_limits(1, "blas"), plain_table(task.source, Workdir(task.root).extract_record.parent) as path:
        raw = open_table(path, bundle.schema, now=lambda: datetime.now(UTC), csv=bundle.csv)
        progress.total(raw.provenance.bytes)
        batches = read_batches(raw, bundle.schema, batch_bytes=BATCH_BYTES, labelled=False)
        return score_batches(
            batches, task.out, bundle, workers=threads, progress=progress, guarded=task.guarded, empty_is_observed=task.empty_is_observed
        )
