"""config.yaml and the environment, read and checked once, at the edge, into frozen settings that are passed in.

A key is looked up in this order: `--set key=value`, environment (`SPOREPRINT_SPLIT__SEED=7` for `split.seed`), file, default.
Environment variables with a meaning of their own (database addresses and the like) are listed in `OWN_VARIABLES`.
"""

import copy
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sporeprint.errors import ConfigError, expectation, nearest
from sporeprint.schema import DatasetSchema, Frozen, Kind

ENV_PREFIX = "SPOREPRINT_"
#: Variables with this prefix that are not settings of the file.
DATABASE_VARIABLES = frozenset(f"{ENV_PREFIX}{base}_{what}" for base in ("OLTP", "OLAP") for what in ("URL", "PASSWORD", "PASSWORD_FILE"))
OWN_VARIABLES = DATABASE_VARIABLES | {"SPOREPRINT_CONFIG", "SPOREPRINT_WORKDIR", "SPOREPRINT_BOOTSTRAP_KEY_FILE", "SPOREPRINT_API_KEY"}

#: What reading YAML raises: its own errors, a date that does not exist or a number of 5,000 digits, nesting without end.
UNREADABLE = (YAMLError, ValueError, RecursionError)

Share = Field(gt=0, lt=1)
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


Origin = Literal["default", "file", "environment", "--set"]


class Origins(dict[str, Origin]):
    """Key of a setting, with dots -> who says what it is. No part of the settings: those that differ in nothing else are equal."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origins)

    __hash__ = None  # as a dict


class CsvSettings(Frozen):
    """How a CSV file is to be read."""

    separator: str = Field("auto", description="One character, or 'auto': found from the first lines.")
    encoding: str = Field("auto", description="'auto' knows UTF-8, UTF-8 with BOM, UTF-16 and Latin-1; or any Python name.")
    header: bool = Field(True, description="Whether a line holds column names. Lines before it are skipped.")
    columns: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="With header: false, the names of the file's columns in its order. Others than the dataset's are ignored.",
    )

    @model_validator(mode="after")
    def _order_goes_without_header(self) -> Self:
        if self.columns is not None and self.header:
            raise ValueError("'columns' gives the order of a file without header; set header: false, or leave it out")
        return self

    @field_validator("separator")
    @classmethod
    def _one_character(cls, separator: str) -> str:
        if separator != "auto" and (len(separator) != 1 or not separator.isascii() or separator in '"\r\n\0'):
            raise ValueError("expected 'auto' or one ASCII character that is no quote and no line end")
        return separator

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            if encoding != "auto":
                "".encode(encoding)
        except LookupError:  # also for what Python can encode, but not to text: hex, zip
            near = nearest(encoding, ("utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "ascii"))
            raise ValueError(f"expected 'auto' or an encoding that Python knows{near}") from None
        return encoding


class DownloadSettings(Frozen):
    """Where the table comes from when the file is missing."""

    url: str = Field(pattern="^https?://", description="http(s) address of the table, plain or zip.")
    members: dict[str, str] = Field(
        default_factory=dict,
        description="For a zip: file name inside -> path below the work directory. Left out: its only table becomes source.path.",
    )
    sha256: dict[str, Sha256] = Field(default_factory=dict, description="Expected sha256 by file name; a mismatch is refused.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without an answer before a try counts as failed.")
    retries: int = Field(3, ge=0, le=10, description="Further tries after the first, with growing pauses.")
    max_mb: float = Field(2048.0, gt=0, description="Largest size accepted, packed and unpacked.")


class SourceSettings(Frozen):
    """Where the raw table is."""

    path: str = Field("data/raw/table.csv", description="The raw table, below the work directory (or absolute). --source overrides it.")
    format: Literal["auto", "csv", "parquet"] = "auto"
    csv: CsvSettings = CsvSettings()
    query: str | None = Field(None, description="SQL for a source that is a database address (mysql+pymysql://..., sqlite:///...).")
    download: DownloadSettings | None = None
    fallback: Literal["simulate", "fail"] = Field(
        "fail", description="When the file is missing and cannot be downloaded: stop, or write a simulated table, as with --simulate."
    )


class ValidationSettings(Frozen):
    """When a row, and when a run, is refused."""

    max_rejected_share: float = Field(0.01, ge=0, le=1, description="A larger share of rejected rows stops the run.")
    unlabelled: Literal["reject", "drop"] = Field(
        "reject", description="A row without a label: rejected like other bad rows, or left out and counted apart."
    )
    duplicates: Literal["keep", "drop"] = Field(
        "keep", description="Exact copies of an earlier row, label included: kept (and shared out like other rows), or dropped."
    )


class SplitSettings(Frozen):
    """Disjoint parts: each later step must see rows the earlier ones did not. Shares add up to 1."""

    by: Literal["rows", "groups", "time", "column"] = Field(
        "rows",
        description="What is shared out: single rows; whole groups (see dataset.groups), so that test rows are of new groups; "
        "rows in the order of a time column, the latest to test on; or what a column says.",
    )
    column: str | None = Field(
        None, description="With by: time, the column with the time (a number or an ISO date); with by: column, the one that names the part."
    )
    train: float = Field(0.50, gt=0, lt=1)
    early_stop: float = Field(0.10, gt=0, lt=1)
    calibration: float = Field(0.10, gt=0, lt=1)
    threshold: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.15, gt=0, lt=1)
    seed: int = Field(7, ge=0, description="Salt of the row hash that decides a row's part.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = sum(self.shares.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of {', '.join(self.shares)} must add up to 1, not {total:g}")
        if (self.column is None) == (self.by in {"time", "column"}):
            raise ValueError("'column' goes with by: time and by: column, and is needed there")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Part -> share, in the order in which steps see them."""
        return {
            "train": self.train,
            "early_stop": self.early_stop,
            "calibration": self.calibration,
            "threshold": self.threshold,
            "test": self.test,
        }


NominalEncode = Literal["one_hot", "ordinal", "target_mean"]
NumericEncode = Literal["standard", "robust", "none"]


class NominalTransform(Frozen):
    """How a nominal column becomes numbers."""

    encode: NominalEncode = "one_hot"
    impute: Literal["category", "most_frequent", "constant"] = Field("category", description="'category': missing is a value of its own.")
    constant: str | None = Field(None, description="The code that stands for missing, with impute: constant.")

    @model_validator(mode="after")
    def _constant_given(self) -> Self:
        if (self.impute == "constant") != (self.constant is not None):
            raise ValueError("'constant' goes with impute: constant, and is needed there")
        return self


class NumericTransform(Frozen):
    """How a numeric column becomes a number a model can use."""

    encode: NumericEncode = Field("standard", description="standard: (x - mean) / sd; robust: (x - median) / IQR; none: as it is.")
    impute: Literal["median", "mean", "constant"] = "median"
    constant: float | None = Field(None, description="The value that stands for missing, with impute: constant.", allow_inf_nan=False)
    indicator: bool = Field(False, description="Whether a further 0/1 feature says that the value was missing.")
    parts: tuple[Literal["month", "weekday", "hour"], ...] = Field(
        (), description="Of a date column: what is read off it for further features; of a date all, unless it is counted since another."
    )

    @model_validator(mode="after")
    def _constant_given(self) -> Self:
        if (self.impute == "constant") != (self.constant is not None):
            raise ValueError("'constant' goes with impute: constant, and is needed there")
        return self


class TransformSettings(Frozen):
    """Encoding and imputation: a default for each kind, and exceptions by column."""

    nominal: NominalTransform = NominalTransform()
    numeric: NumericTransform = NumericTransform()
    columns: dict[str, NominalTransform | NumericTransform] = Field(default_factory=dict, description="Exceptions, by column.")


class ModelSettings(Frozen):
    """One model to train."""

    estimator: str = Field(description="'xgboost', or the import path of a scikit-learn classifier.")
    nominal: NominalEncode | None = Field(None, description="Encoding of nominal columns for this model, where not transform's.")
    numeric: NumericEncode | None = Field(None, description="Encoding of numeric columns for this model, where not transform's.")
    params: dict[str, Any] = Field(default_factory=dict, description="Arguments of the estimator.")
    rounds: int = Field(300, ge=1, description="xgboost: most boosting rounds.")
    early_stopping_rounds: int | None = Field(30, ge=1, description="xgboost: stop after so many rounds without a better log loss.")


def default_models() -> dict[str, ModelSettings]:
    """A linear model and boosted trees: what `sporeprint init` proposes."""
    return {
        "logistic_regression": ModelSettings(estimator="sklearn.linear_model.LogisticRegression", params={"max_iter": 1000}),
        "xgboost": ModelSettings(
            estimator="xgboost",
            nominal="ordinal",
            numeric="none",
            rounds=500,
            params={"max_depth": 4, "learning_rate": 0.1, "min_child_weight": 3, "subsample": 0.9, "colsample_bytree": 0.9},
        ),
    }


class GuardSettings(Frozen):
    """When the answer is "unknown", and where the negative answer begins."""

    coverage: float = Field(0.995, ge=0.5, lt=1, description="Share of rows like the training rows that are to be answered.")
    alpha: float = Field(0.001, gt=0, lt=0.5, description="Promised: at most this share of the negative answers is wrong.")
    delta: float = Field(0.05, gt=0, lt=0.5, description="... but for this probability.")
    missed: float = Field(
        0.2, gt=0, le=1, description="Promised too: at most this share of the positive rows is answered negative; 1: no promise."
    )
    most: float | None = Field(
        None, gt=0, le=0.5, description="No single row is answered negative above this probability; default: 0.05, or 5 alpha if larger."
    )
    positive_from: float = Field(
        0.5,
        ge=0.5,
        lt=1,
        description="Probability above which the positive class is answered; below it, down to the negative one, unknown.",
    )
    unseen_risk: float = Field(
        0.001,
        gt=0,
        lt=0.5,
        description="Where only some columns were observed: at most this share of positive rows of groups nobody has shown may be "
        "confused with a known negative group.",
    )
    calibration: Literal["isotonic", "platt", "beta", "none"] = Field("isotonic", description="How scores become probabilities.")
    components: Literal["auto", "groups", "clusters"] = Field(
        "auto", description="What a row is compared with: declared groups, or clusters."
    )
    clusters: int = Field(200, ge=2, le=1000, description="How many clusters, where there are no groups.")
    kept_rows: int = Field(200, ge=1, description="Training rows of each component kept with a model, to name the nearest known one.")
    calibration_rows: int = Field(100_000, ge=100, description="Most calibration rows, chosen by hash; a model holds a number of each.")

    @property
    def largest_threshold(self) -> float:
        """The cap for a single row: `most`, or what follows from `alpha`; a cap below what is promised on average would be idle."""
        return self.most if self.most is not None else min(0.5, max(0.05, 5 * self.alpha))


class EvaluationSettings(Frozen):
    """How the models are measured."""

    folds: int = Field(5, ge=2, description="Folds of the unseen-group evaluation; whole groups are held out.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of every interval.")
    replicates: int = Field(1000, ge=100, le=100_000, description="Bootstrap replicates.")
    splits: int = Field(200, ge=20, le=10_000, description="evaluate --full: random splits on which the promise is held to its word.")
    alphas: tuple[Annotated[float, Share], ...] = Field(
        (0.001, 0.005, 0.01, 0.05), min_length=1, description="... for these values of alpha."
    )


class SelectionSettings(Frozen):
    """Which model becomes production: the best value of one metric; ties go to the lower log loss, then the first in the config."""

    metric: Literal["mcc", "roc_auc", "pr_auc", "accuracy", "f1", "recall", "precision", "brier", "log_loss"] = "mcc"
    on: Literal["seen", "unseen"] = "seen"


class GateSettings(Frozen):
    """What a version must show before an alias moves to it."""

    parity: float = Field(1e-6, gt=0, description="Largest difference between served scores and the training pipeline's.")
    margin: float = Field(0.002, ge=0, lt=1, description="Accuracy a challenger may lose to the champion, at the interval's lower end.")


class JournalSettings(Frozen):
    """Where every answer is kept until the database has it, and how it gets there."""

    folder: str = Field("data/journal", description="One file a worker, below the work directory; a disk that keeps what it synced.")
    max_records: int = Field(5_000_000, ge=1, description="Answers the database does not have; more are refused until it is back.")
    max_mb: int = Field(4096, ge=1, description="Size of those in the file; more is refused.")
    waiting_records: int = Field(10_000, ge=1, description="Answers waiting for the disk at a time; more are refused.")
    waiting_mb: int = Field(256, ge=4, description="Size of those, in memory.")
    batch_rows: int = Field(300, ge=1, le=20_000, description="Answers shipped to the database in one transaction.")
    batch_mb: int = Field(8, ge=1, le=256, description="Size after which a transaction takes no further answer.")
    interval_s: float = Field(0.5, gt=0, le=60, description="Pause between two shipments while there are few answers: they go together.")
    max_pause_s: float = Field(30.0, gt=0, le=3600, description="Longest pause between two tries while the database does not answer.")


class PruneSettings(Frozen):
    """What `sporeprint db prune` may take, and how much of it at a time."""

    min_days: int = Field(30, ge=1, description="Younger predictions are never taken, whatever --older-than says.")
    batch_rows: int = Field(1000, ge=1, le=100_000, description="Predictions deleted in one transaction: what bounds the time others wait.")


class BatchSettings(Frozen):
    """Where the answers to whole batches are kept."""

    folder: str = Field("data/batches", description="One Parquet file a batch, below the work directory; a disk that keeps what it synced.")

    @field_validator("folder")
    @classmethod
    def _below(cls, folder: str) -> str:
        if not folder.strip("/") or folder.startswith("/") or ".." in folder.split("/"):
            sentence = f"{folder!r} is no folder below the work directory; as in data/batches"
            raise PydanticCustomError("said_in_full", "{message}", {"message": sentence})
        return folder.rstrip("/")


class IdempotencySettings(Frozen):
    """Which Idempotency-Keys are remembered, and how long. One file for all workers of a machine."""

    path: str = Field("data/idempotency.db", description="Below the work directory; on a local disk that keeps what it synced.")
    keep_hours: int = Field(24, ge=1, le=24 * 90, description="A retry within this time gets the same prediction.")


class StorageSettings(Frozen):
    """Where the two databases are, and how long rows stay. Passwords come from the environment or a file, never from here."""

    oltp: str | None = Field(None, description="Address of predictions and outcomes, without a password; left out: data/sporeprint.db.")
    olap: str | None = Field(None, description="Address of the warehouse, without a password; left out: data/warehouse/.")
    journal: JournalSettings = JournalSettings()
    batches: BatchSettings = BatchSettings()
    prune: PruneSettings = PruneSettings()
    idempotency: IdempotencySettings = IdempotencySettings()

    @field_validator("oltp", "olap")
    @classmethod
    def _no_password(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address is not None and re.search("://[^@/?#:]*:.*@", address):
            variable = f"{ENV_PREFIX}{str(info.field_name).upper()}_PASSWORD"
            sentence = f"a password stands in the address; leave it out here and set {variable} or {variable}_FILE"
            raise PydanticCustomError("said_in_full", "{message}", {"message": sentence})
        return address


class ServingSettings(Frozen):
    """What a server takes at a time."""

    max_body_kb: int = Field(64, ge=1, le=1024, description="Largest body of a request for one answer; larger ones are refused.")
    max_batch_mb: int = Field(16, ge=1, le=256, description="Largest body of a batch in JSON, and of outcomes.")
    max_batch_rows: int = Field(50_000, ge=1, le=1_000_000, description="Most rows of a batch in JSON.")
    max_upload_mb: int = Field(1024, ge=1, le=1_048_576, description="Largest file of a batch in CSV or Parquet; it is kept on the disk.")
    max_upload_rows: int = Field(20_000_000, ge=1, description="Most rows of such a file.")
    max_upload_columns: int = Field(2_000, ge=1, le=100_000, description="Most columns of such a file.")
    upload_memory_mb: int = Field(1024, ge=64, le=1_048_576, description="Memory that decoding an upload may take, MiB.")
    max_decoded_mb: int = Field(8192, ge=1, le=1_048_576, description="Most that an uploaded file may unpack to, on the disk.")
    max_in_flight: int = Field(1024, ge=1, le=100_000, description="Requests a worker works on at a time; further ones are turned away.")
    max_batches: int = Field(2, ge=1, le=64, description="Batches scored at a time; four times as many are received, more turned away.")
    batch_deadline_s: float = Field(600.0, gt=0, le=86_400, description="Longest until the answer to a batch begins.")
    max_connections: int = Field(4096, ge=1, le=1_000_000, description="Connections of a worker; the longest idle makes room for another.")
    receive_s: float = Field(10.0, gt=0, le=600, description="Longest that headers and a small body may take to arrive.")
    rate_limit_per_s: float = Field(0.0, ge=0, le=1e6, description="Requests a second that each key may make of a worker; 0: any number.")
    rate_burst: int = Field(100, ge=1, le=1_000_000, description="Requests that a key may make at once after a pause.")
    cors_origins: tuple[str, ...] = Field((), description="Web pages that may call the service, as https://example.org; none by default.")
    root_path: str = Field("", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="Path below which a gateway offers the service, as /models.")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-Proto and X-Forwarded-For are believed; none by default."
    )
    keep_alive_s: float = Field(75.0, ge=1, le=86_400, description="Seconds an idle connection stays open: more than the proxy's own.")
    min_receive_kb_s: float = Field(16.0, ge=0, le=1e6, description="Slowest that a body may arrive, in KiB a second; 0: any speed.")
    deadline_s: float = Field(30.0, gt=0, le=600, description="Longest a request may take, its sending included.")
    ui: bool = Field(True, description="Whether people find pages under /ui/.")
    access_log: Literal["none", "json"] = Field("json", description="Whether a line of JSON is written for each request.")
    access_log_path: str = Field("logs/access.jsonl", min_length=1, description="Its file, below the work directory; '-': stderr.")
    access_log_mb: int = Field(256, ge=0, description="Size after which the file becomes .1, in place of the one before; 0: never.")


class AbTestingSettings(Frozen):
    """What an A/B test has where its call does not say it. Each test keeps what it was made with."""

    traffic_split: float = Field(0.5, gt=0, lt=1, description="Share of the units that go to model B.")
    mode: Literal["split", "shadow"] = Field(
        "split", description="split: each unit is answered by one version; shadow: both score, A answers."
    )
    unit: str = Field(
        "header", description="What keeps an arm and counts once: header (X-Unit-Id), prediction (its row), or field:<column>."
    )
    metric: Literal["accuracy", "false_negative", "expected_cost", "unknown_share", "failures", "latency"] = Field(
        "accuracy", description="What decides."
    )
    alpha: float = Field(
        0.05, gt=0, lt=0.5, description="Largest probability of a false winner or a false breach, however often it is analysed."
    )
    margin: float = Field(0.0, ge=0, description="By how much a version has to be better to win, in the metric's unit.")
    equivalence: float = Field(0.0, ge=0, description="Versions that differ by less are equivalent; 0: that is never said.")
    labels: Literal["all", "random", "reports"] = Field(
        "all", description="Which outcomes come: all, random (with label_share), or reports of errors alone."
    )
    guardrails: dict[str, float] = Field(
        {"false_negative": 0.0}, description="Metric -> by how much B may be worse; a breach ends the test."
    )
    min_units: int = Field(100, ge=0, description="Units before which there is no verdict but for a breach.")
    max_units: int | None = Field(None, ge=1, description="Units after which the test ends without a winner.")
    min_duration_s: float = Field(0.0, ge=0, description="The same in seconds.")
    max_duration_s: float | None = Field(30 * 86_400.0, gt=0, description="The same in seconds.")
    srm_alpha: float = Field(0.001, gt=0, lt=0.5, description="Largest probability of a false alarm about the shares of the arms.")
    auto_conclude: bool = Field(False, description="Whether the verdict is acted on without a person.")
    evaluate_every_s: float = Field(5.0, ge=0.1, le=3600, description="Seconds between two evaluations of the tests by a running server.")


class MonitoringSettings(Frozen):
    """When a change is an alarm: how often a false one may come, and how large a change has to be."""

    false_alarms: float = Field(0.05, gt=0, lt=1, description="Probability of a false alarm in a period in which nothing changes.")
    period_days: float = Field(30, gt=0, le=3660, description="The period, in days.")
    every_hours: float = Field(24, gt=0, le=8784, description="How often it is meant to look; looking more often is allowed.")
    least_rows: int = Field(30, ge=1, description="Rows below which a table is not compared; the monitor says so.")
    least_shift: float = Field(0.1, ge=0, description="Smallest shift of a number that matters, in standard deviations of the reference.")
    least_shares: float = Field(0.05, ge=0, le=1, description="Smallest share of rows whose nominal value has to be another.")
    least_new: float = Field(0.005, ge=0, le=1, description="Smallest share of rows with a value that the reference does not have.")
    least_missing: float = Field(0.02, ge=0, le=1, description="Smallest change of the share of missing values.")
    mature_share: float = Field(0.95, gt=0, lt=1, description="Share of the outcomes that has to be here before they raise an alarm.")
    outcome_wait_hours: float | None = Field(
        None, ge=0, le=87_660, description="Hours until outcomes count as here; null: as long as that share of them used to take."
    )
    keep_reports: int = Field(200, ge=1, le=100_000, description="Reports that are kept, the newest.")

    @model_validator(mode="after")
    def _looks_within_a_period(self) -> Self:
        if self.every_hours > 24 * self.period_days:
            raise ValueError(f"every_hours is {self.every_hours:g}, more than the period of {self.period_days:g} days")
        return self


class ChannelSettings(Frozen):
    """Where messages about alerts go: an address as Apprise has them, given here, in the environment, or in a file."""

    url: str | None = Field(None, min_length=1, description="The address, if it holds no secret: json://localhost:8080/alerts.")
    url_env: str | None = Field(None, min_length=1, description="Environment variable that holds the address.")
    url_file: str | None = Field(None, min_length=1, description="File that holds the address.")
    severity: Literal["info", "warning", "critical"] = Field("info", description="Only alerts that are at least so bad.")

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if sum(value is not None for value in (self.url, self.url_env, self.url_file)) != 1:
            raise ValueError("expected exactly one of url, url_env and url_file")
        return self


class RuleSettings(Frozen):
    """When people are notified. The number is one of an evaluation of the monitor."""

    metric: str = Field(min_length=1, description="alarms, not_computed, unknown_share, promise_broken, accuracy, ..., or a path.a.b.")
    above: FiniteFloat | None = Field(None, description="It holds above this.")
    below: FiniteFloat | None = Field(None, description="It holds below this.")
    clear: FiniteFloat | None = Field(None, description="It is over at this number; left out: where it began.")
    severity: Literal["info", "warning", "critical"] = Field("warning", description="How bad it is.")
    for_minutes: float = Field(0, ge=0, le=525_600, description="How long it has to hold before people are notified.")
    cool_down_minutes: float = Field(60, ge=0, le=525_600, description="After its end, nobody is notified again for so long.")
    remind_hours: float | None = Field(24, gt=0, le=8784, description="Reminder while nobody has acknowledged it; null: never.")
    channels: tuple[str, ...] | None = Field(None, description="Whom; left out: all channels.")
    action: Literal["retrain"] | None = Field(None, description="retrain: run the pipeline on what the warehouse has with outcomes.")

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("expected exactly one of above and below")
        if self.clear is not None and (self.clear > self.above if self.above is not None else self.clear < (self.below or 0)):
            raise ValueError("clear has to be on the other side of the limit: at most above, or at least below")
        return self


class AlertSettings(Frozen):
    """Who is notified of what the monitor finds."""

    rules: dict[str, RuleSettings] = Field(
        {
            "drift": RuleSettings(metric="alarms", above=0),
            "not computed": RuleSettings(metric="not_computed", above=0),
            "promise broken": RuleSettings(metric="promise_broken", above=0, severity="critical"),
        },
        description="Name -> when people are notified.",
    )
    channels: dict[str, ChannelSettings] = Field({}, description="Name -> where messages go. Without any, alerts are only listed.")
    timeout_s: float = Field(20, gt=0, le=600, description="Longest that a channel may take for a message.")
    attempts: int = Field(8, ge=1, le=100, description="Tries before a message is given up, and the channel reported.")
    first_pause_s: float = Field(30, gt=0, le=86_400, description="Longest pause after a first failure; each further one is twice as long.")
    most_pause_s: float = Field(3600, gt=0, le=604_800, description="... but no longer than this.")

    @model_validator(mode="after")
    def _known_channels(self) -> Self:
        for name in (*self.rules, *self.channels):
            if not 0 < len(name) <= 64 or not name.isprintable():
                raise ValueError(f"{name[:80]!r}: a name has 1 to 64 printable characters")
        for name, rule in self.rules.items():
            for channel in rule.channels or ():
                if channel not in self.channels:
                    there = ", ".join(self.channels) or "none"
                    raise ValueError(f"rules.{name}.channels: no channel {channel!r}{nearest(channel, self.channels)}; there are: {there}")
        return self


class RetrainSettings(Frozen):
    """Retraining on reported outcomes."""

    least_rows: int = Field(500, ge=1, description="Fewer answers with an outcome are not trained on.")
    days: float | None = Field(None, gt=0, le=36_525, description="Only answers of the last days; null: all the warehouse has.")
    cool_down_hours: float = Field(24, ge=0, le=87_660, description="A rule starts no further one for so long.")


class RuntimeSettings(Frozen):
    """Seeds, threads and memory."""

    seed: int = Field(20201107, ge=0, description="Seed of every fit and every bootstrap.")
    threads: int = Field(0, ge=0, description="Threads of a fit; 0: as many as the machine has.")
    batch_mb: int = Field(16, ge=1, le=1024, description="Megabytes of raw table read at a time: what bounds the memory.")
    most_rows: int = Field(
        500_000,
        ge=100,
        description="Most rows in memory, chosen by hash, for what need not see all: test rows, folds, clusters, other estimators.",
    )


class EngineSettings(Frozen):
    """Where checking and splitting run: on this machine, or on a cluster of Spark or of Dask."""

    kind: Literal["local", "spark", "dask"] = "local"
    master: str | None = Field(
        None,
        description="The cluster: spark://HOST:PORT, local[N], yarn, k8s://..., or Spark Connect's sc://HOST:PORT; of Dask: tcp://HOST:PORT.",
    )
    workers: int = Field(2, ge=1, description="Tasks that run on the cluster at once.")
    executor_memory: str = Field(
        "1g", pattern=r"^[1-9]\d*[mg]$", description="Spark: memory of each executor's JVM; Python takes its own beside it."
    )
    start_s: float = Field(55, gt=0, description="Seconds that the cluster has to start; a busy one queues executors.")
    split_mb: int = Field(64, ge=1, le=1024, description="Megabytes of raw table a task checks; a part file has at most 1,000,000 rows.")

    @model_validator(mode="after")
    def _master_fits(self) -> Self:
        if (self.kind != "local") != (self.master is not None):
            raise ValueError("'master' goes with kind: spark and kind: dask, and is needed there")
        return self


class Settings(Frozen):
    """Everything config.yaml says, checked.

    >>> from sporeprint import load_settings
    >>> sorted(load_settings(CONFIG).models)
    ['decision_tree', 'logistic_regression', 'xgboost']
    """

    dataset: DatasetSchema
    source: SourceSettings = SourceSettings()
    validation: ValidationSettings = ValidationSettings()
    split: SplitSettings = SplitSettings()
    transform: TransformSettings = TransformSettings()
    models: dict[str, ModelSettings] = Field(default_factory=default_models, min_length=1)
    guard: GuardSettings = GuardSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    selection: SelectionSettings = SelectionSettings()
    gate: GateSettings = GateSettings()
    storage: StorageSettings = StorageSettings()
    serving: ServingSettings = ServingSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    alerts: AlertSettings = AlertSettings()
    retrain: RetrainSettings = RetrainSettings()
    ab_testing: AbTestingSettings = AbTestingSettings()
    engine: EngineSettings = EngineSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    _origins: Origins = PrivateAttr(default_factory=lambda: Origins())

    def origin_of(self, key: str) -> Origin:
        """Who says what a setting is: default, where nobody does."""
        parts = key.split(".")
        named = (self._origins.get(".".join(parts[:length])) for length in range(len(parts), 0, -1))
        return next((origin for origin in named if origin is not None), "default")

    @field_validator("transform", mode="before")
    @classmethod
    def _by_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """Read each column's exception as its kind demands. A plain union would accept, and list, the other kind's choices."""
        if not isinstance(value, Mapping) or not isinstance(value.get("columns"), Mapping):
            return value
        if "dataset" not in info.data:  # refused already: what its columns are, nobody knows
            return {**value, "columns": {}}
        columns, problems = _column_transforms(info.data["dataset"], value["columns"])
        if problems:
            raise ValidationError.from_exception_data("transform", problems)
        return {**value, "columns": columns}

    @field_validator("models")
    @classmethod
    def _names_fit(cls, models: dict[str, ModelSettings]) -> dict[str, ModelSettings]:
        for name in models:
            if not re.fullmatch("[a-z][a-z0-9_]*", name):
                raise ValueError(f"{name!r} cannot name a model: lower-case letters, digits and '_', a letter first")
            if name == "production":
                raise ValueError("the name 'production' is taken, it means the version that is served")
        return models

    @model_validator(mode="after")
    def _split_fits(self) -> Self:
        if self.split.by == "groups" and self.dataset.groups is None:
            raise ValueError("split.by: groups needs dataset.groups, which says what a group is")
        return self

    @property
    def read_schema(self) -> DatasetSchema:
        """The schema of the table that is read: with the column that the split needs, which need not be a feature."""
        column = self.split.column
        if column is None or column in self.dataset.table_columns:
            return self.dataset
        return self.dataset.changed(further=(column,))

    @property
    def threads(self) -> int:
        """Threads a fit may use."""
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return self.runtime.threads or allowed or 1


def _column_transforms(
    dataset: DatasetSchema, transforms: Mapping[Any, Any]
) -> tuple[dict[Any, NominalTransform | NumericTransform], list[InitErrorDetails]]:
    columns: dict[Any, NominalTransform | NumericTransform] = {}
    problems = []
    for name, choices in transforms.items():
        location = ("columns", name)
        if name not in dataset.columns:
            problems.append(_problem(f"no such column{nearest(str(name), dataset.columns)}", location, choices))
            continue
        model = NominalTransform if name in dataset.nominal else NumericTransform
        try:
            columns[name] = model.model_validate(choices)
            if getattr(columns[name], "parts", ()) and (dataset.columns[name].kind is not Kind.DATE or dataset.columns[name].since):
                problems.append(_problem("'parts' are of dates that are not counted since another", (*location, "parts"), choices))
        except ValidationError as error:
            problems += [_placed(item, location, model) for item in error.errors()]
    return columns, problems


def _placed(item: Any, location: tuple[Any, ...], model: type[Frozen]) -> InitErrorDetails:
    """A problem of one column's choices, moved to where they stand in the file."""
    location = (*location, *item["loc"])
    if item["type"] == "extra_forbidden":
        return _problem(_unknown_key(item["loc"][-1], model.model_fields), location, item["input"])
    return InitErrorDetails(type=item["type"], loc=location, input=item["input"], ctx=item.get("ctx", {}))


def _problem(message: str, location: tuple[Any, ...], value: Any) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("said_in_full", "{message}", {"message": message}), loc=location, input=value)


def load_settings(path: Path, *, environ: Mapping[str, str] | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read the configuration file, lay environment and `key=value` overrides over it, and check everything.

    Raises:
        ConfigError: with one line for every problem: the key, the value, what is allowed, the nearest right key.

    >>> from sporeprint import load_settings
    >>> load_settings(CONFIG, overrides=["split.seed=11"]).split.seed
    11
    """
    raw = _read_yaml(path)
    origins, changed_by = Origins(dict.fromkeys(_keys_of(raw), "file")), []
    for key, value in _from_environment(os.environ if environ is None else environ).items():
        changed_by.append(f"{ENV_PREFIX}{key.upper()}")
        _put(raw, key.split("__"), value, changed_by[-1])
        origins[key.replace("__", ".")] = "environment"
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {override!r}: expected key=value, as in models.xgboost.params.max_depth=8")
        changed_by.append(f"--set {key}")
        _put(raw, key.split("."), value, changed_by[-1])
        origins[key] = "--set"
    settings = parse(raw, where=f"{path} with {', '.join(changed_by)}" if changed_by else str(path))
    settings._origins.update(origins)
    return settings


def _keys_of(raw: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The keys of a file's values, with dots."""
    for key, value in raw.items():
        if isinstance(value, Mapping) and value:
            yield from _keys_of(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def parse(raw: Mapping[str, Any], *, where: str = "configuration") -> Settings:
    """Check an already read configuration.

    Raises:
        ConfigError: see `load`.
    """
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {_explain(item, raw)}" for item in error.errors()]
        raise ConfigError("\n".join([f"{where}: {len(lines)} problem{'s' * (len(lines) > 1)}", *dict.fromkeys(lines)])) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no configuration file at {path}; name one with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error}") from None
    try:
        raw = _value(text)
    except UNREADABLE as error:
        raise ConfigError(f"{path} is not valid YAML: {_yaml_problem(error)}") from None
    if not isinstance(raw, dict):
        content = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise ConfigError(f"{path}: expected a mapping of settings at the top, found {content}; sporeprint init writes one of a table")
    return raw


def _value(text: str) -> Any:
    """What YAML 1.2 says, where `no` and `on` are words, not booleans, and a key given twice is an error; the caller may change it."""
    return copy.deepcopy(_parsed(text))


@lru_cache(8)  # a file of 360 lines takes a twentieth of a second, each time that a notebook or a DAG loads it
def _parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _yaml_problem(error: Exception) -> str:
    """What the YAML library says, without its advice to the programmer."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    return str(error)


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings among the environment variables, by lower-case key. Any other SPOREPRINT_ variable is a mistake."""
    values = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in OWN_VARIABLES:
            continue
        key = name.removeprefix(ENV_PREFIX).lower()
        section = key.split("__")[0]
        if "__" not in key or section not in Settings.model_fields:
            settings = [f"{section}__{key}" for section in Settings.model_fields for key in _keys_at([section])]
            near = nearest(name, [*sorted(OWN_VARIABLES), *(f"{ENV_PREFIX}{setting.upper()}" for setting in settings)])
            raise ConfigError(f"environment: {name} is no setting{near}; sections: {', '.join(Settings.model_fields)}")
        values[key] = value
    return values


def _put(raw: dict[str, Any], keys: Sequence[str], text: str, where: str) -> None:
    """Set a nested key from text, read as YAML so that numbers and booleans keep their types."""
    try:
        value = _value(text)
    except UNREADABLE:
        raise ConfigError(f"{where}: {_shown(text)} is not a value") from None
    node: Any = raw
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{where}: {key!r} is a value, it holds no keys")
    node[keys[-1]] = value


def _explain(item: Any, raw: Any) -> str:
    """One pydantic problem as a line: key, value, what is allowed."""
    location = list(item["loc"])
    kind, value, context = item["type"], _shown(item["input"]), item.get("ctx", {})
    key = _dotted(location)
    if kind == "invalid_key" or location[-1:] == ["[key]"]:
        return f"{key.removesuffix('.[key]')}: the key {value} is not text; put it in quotes"
    if kind == "extra_forbidden":
        return f"{key}: {_unknown_key(location[-1], _keys_at(location[:-1]))}"
    if kind == "missing":
        here = _value_at(raw, location[:-1])
        unknown = sorted({str(name) for name in here}.difference(_keys_at(location[:-1]))) if isinstance(here, Mapping) else []
        return f"{key}: missing{nearest(str(location[-1]), unknown)}; add it"
    if kind in {"model_type", "dict_type"}:
        return f"{key}: expected keys with values, not {value}"
    if kind in {"too_short", "too_long"}:
        bound, limit = ("at least", context.get("min_length")) if kind == "too_short" else ("at most", context.get("max_length"))
        return f"{key}: expected {bound} {limit} {'entry' if limit == 1 else 'entries'}, not {len(item['input'])}"
    message = expectation(item)
    if kind == "said_in_full" or (kind == "value_error" and not isinstance(item["input"], str | int | float | bool)):
        return f"{key}: {message}" if key else message
    return f"{key}: {message}, not {value}"


def _dotted(location: Sequence[Any]) -> str:
    return ".".join(str(part) for part in location)


def _unknown_key(key: Any, allowed: Iterable[str]) -> str:
    allowed = sorted(allowed)
    return f"unknown key{nearest(str(key), allowed)}; allowed here: {', '.join(allowed)}"


def _shown(value: Any) -> str:
    """A value for a message: on one line, not too long, without the password of an address."""
    text = re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", repr(value))
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def _keys_at(location: Sequence[Any]) -> list[str]:
    """The keys the settings know at a place in the file, for the error's list."""
    schema = Settings.model_json_schema()
    nodes = [schema]
    for part in location:
        following = []
        for node in nodes:
            child = node.get("properties", {}).get(part, node.get("additionalProperties"))
            following += _variants(child, schema) if isinstance(child, dict) else []
        nodes = following
    return sorted({key for node in nodes for key in node.get("properties", {})})


def _variants(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """A JSON-schema node with its references and unions followed."""
    if "$ref" in node:
        return _variants(schema["$defs"][node["$ref"].rsplit("/", 1)[1]], schema)
    if "anyOf" in node:
        return [variant for option in node["anyOf"] for variant in _variants(option, schema)]
    return [node]


def _value_at(raw: Any, location: Sequence[Any]) -> Any:
    for part in location:
        raw = raw.get(part) if isinstance(raw, Mapping) else None
    return raw
