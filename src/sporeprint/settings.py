"""config.yaml and the environment, read and checked once, at the edge, into frozen settings that are passed in.

A key is looked up in this order: `--set key=value`, environment (`SPOREPRINT_SPLIT__SEED=7` for `split.seed`), file, default.
Environment variables with a meaning of their own (database addresses and the like) are listed in `OWN_VARIABLES`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sporeprint.errors import ConfigError, nearest
from sporeprint.schema import DatasetSchema, Frozen

ENV_PREFIX = "SPOREPRINT_"
#: Variables with this prefix that are not settings of the file.
OWN_VARIABLES = frozenset({"SPOREPRINT_OLTP_URL", "SPOREPRINT_OLAP_URL", "SPOREPRINT_CONFIG", "SPOREPRINT_WORKDIR"})

Share = Field(gt=0, lt=1)


class CsvSettings(Frozen):
    """How a CSV file is to be read."""

    separator: str = Field("auto", description="One character, or 'auto': found from the first lines.")
    encoding: str = Field("auto", description="'auto' knows UTF-8, UTF-8 with BOM, UTF-16 and Latin-1; or any Python name.")
    header: bool = Field(True, description="Whether the first line holds column names; without, columns come in schema order.")

    @model_validator(mode="after")
    def _one_character(self) -> Self:
        if self.separator != "auto" and (len(self.separator) != 1 or not self.separator.isascii()):
            raise ValueError(f"separator must be one ASCII character or 'auto', not {self.separator!r}")
        return self


class DownloadSettings(Frozen):
    """Where the table comes from when the file is missing."""

    url: str = Field(description="http(s) address of the table, plain or zip.")
    members: dict[str, str] = Field(
        default_factory=dict,
        description="For a zip: file name inside -> path below the work directory. Left out: its only table becomes source.path.",
    )
    sha256: dict[str, str] = Field(default_factory=dict, description="Expected sha256 by file name; a mismatch is refused.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without an answer before a try counts as failed.")
    retries: int = Field(3, ge=0, le=10, description="Further tries after the first, with growing pauses.")
    max_mb: float = Field(2048.0, gt=0, description="Largest size accepted, packed and unpacked.")


class SourceSettings(Frozen):
    """Where the raw table is."""

    path: str = Field(description="The raw table, below the work directory (or absolute). --source overrides it.")
    format: Literal["auto", "csv", "parquet"] = "auto"
    csv: CsvSettings = CsvSettings()
    query: str | None = Field(None, description="SQL for a source that is a database address (mysql+pymysql://..., sqlite:///...).")
    download: DownloadSettings | None = None
    fallback: Literal["simulate", "fail"] = Field("fail", description="When the file is missing and cannot be downloaded.")


class ValidationSettings(Frozen):
    """When a row, and when a run, is refused."""

    max_rejected_share: float = Field(0.01, ge=0, le=1, description="A larger share of rejected rows stops the run.")
    duplicates: Literal["keep", "drop"] = Field(
        "keep", description="Exact copies of an earlier row: kept (and always on the same side of a split), or dropped."
    )


class SplitSettings(Frozen):
    """Disjoint parts: each later step must see rows the earlier ones did not. Shares add up to 1."""

    train: float = Share
    early_stop: float = Share
    calibration: float = Share
    threshold: float = Share
    test: float = Share
    seed: int = Field(7, ge=0, description="Salt of the row hash that decides a row's part.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = sum(self.shares.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of {', '.join(self.shares)} must add up to 1, not {total:g}")
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


class EvaluationSettings(Frozen):
    """How the models are measured."""

    folds: int = Field(5, ge=2, description="Folds of the unseen-group evaluation; whole groups are held out.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of every interval.")
    replicates: int = Field(1000, ge=100, le=100_000, description="Bootstrap replicates.")


class SelectionSettings(Frozen):
    """Which model becomes production: the best value of one metric; ties go to the lower log loss, then the first in the config."""

    metric: Literal["mcc", "roc_auc", "pr_auc", "accuracy", "f1", "recall", "precision", "brier", "log_loss"] = "mcc"
    on: Literal["seen", "unseen"] = "seen"


class GateSettings(Frozen):
    """What a version must show before an alias moves to it."""

    parity: float = Field(1e-6, gt=0, description="Largest difference between served scores and the training pipeline's.")
    margin: float = Field(0.002, ge=0, lt=1, description="Accuracy a challenger may lose to the champion, at the interval's lower end.")


class RuntimeSettings(Frozen):
    """Seeds, threads and memory."""

    seed: int = Field(20201107, ge=0, description="Seed of every fit and every bootstrap.")
    threads: int = Field(0, ge=0, description="Threads of a fit; 0: as many as the machine has.")
    batch_mb: int = Field(16, ge=1, le=1024, description="Megabytes of raw table read at a time: what bounds the memory.")


class Settings(Frozen):
    """Everything config.yaml says, checked."""

    dataset: DatasetSchema
    source: SourceSettings
    validation: ValidationSettings = ValidationSettings()
    split: SplitSettings
    transform: TransformSettings = TransformSettings()
    models: dict[str, ModelSettings] = Field(min_length=1)
    evaluation: EvaluationSettings = EvaluationSettings()
    selection: SelectionSettings = SelectionSettings()
    gate: GateSettings = GateSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for name, transform in self.transform.columns.items():
            column = self.dataset.columns.get(name)
            if column is None:
                raise ValueError(f"transform.columns.{name}: no such column{nearest(name, self.dataset.columns)}")
            wanted = NominalTransform if name in self.dataset.nominal else NumericTransform
            if not isinstance(transform, wanted):
                raise ValueError(f"transform.columns.{name}: the column is {column.kind}, these choices are not for it")
        for name in self.models:
            if not name.replace("_", "").isalnum() or not name.islower():
                raise ValueError(f"models.{name}: a model's name is lower-case letters, digits and '_'")
            if name == "production":
                raise ValueError("models.production: the name is taken, it means the version that is served")
        return self

    @property
    def threads(self) -> int:
        """Threads a fit may use."""
        return self.runtime.threads or len(os.sched_getaffinity(0))


def load(path: Path, *, environ: Mapping[str, str] | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read the configuration file, lay environment and `key=value` overrides over it, and check everything.

    Raises:
        ConfigError: with one line for every problem: the key, the value, what is allowed, the nearest right key.
    """
    raw = _read_yaml(path)
    for key, value in _from_environment(os.environ if environ is None else environ).items():
        _put(raw, key.split("__"), value, f"{ENV_PREFIX}{key.upper()}")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {override!r}: expected key=value, as in models.xgboost.params.max_depth=8")
        _put(raw, key.split("."), value, f"--set {key}")
    return parse(raw, where=str(path))


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
    # YAML 1.2: `no` and `on` are words, not booleans, and a key given twice is an error.
    try:
        raw = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping of settings at the top, found {type(raw).__name__}")
    return raw


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings among the environment variables, by lower-case key. Any other SPOREPRINT_ variable is a mistake."""
    found = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in OWN_VARIABLES:
            continue
        key = name.removeprefix(ENV_PREFIX).lower()
        section = key.split("__")[0]
        if "__" not in key or section not in Settings.model_fields:
            allowed = [*OWN_VARIABLES, *(f"{ENV_PREFIX}{field.upper()}__KEY" for field in Settings.model_fields)]
            raise ConfigError(f"environment: {name} is no setting{nearest(name, allowed)}; sections: {', '.join(Settings.model_fields)}")
        found[key] = value
    return found


def _put(raw: dict[str, Any], keys: Sequence[str], text: str, where: str) -> None:
    """Set a nested key from text, read as YAML so that numbers and booleans keep their types."""
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise ConfigError(f"{where}: {text!r} is not a value") from None
    node: Any = raw
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{where}: {key!r} is a value, it holds no keys")
    node[keys[-1]] = value


def _explain(item: Any, raw: Any) -> str:
    """One pydantic problem as a line: key, value, what is allowed."""
    # Union branches put the class's name into the path; they are no keys of the user's file.
    location = [part for part in item["loc"] if not (isinstance(part, str) and part.endswith("Transform"))]
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        allowed = _keys_at(location[:-1])
        return f"{key}: unknown key{nearest(str(location[-1]), allowed)}; allowed here: {', '.join(allowed)}"
    if item["type"] == "missing":
        here = _value_at(raw, location[:-1])
        given = [name for name in here if name not in _keys_at(location[:-1])] if isinstance(here, Mapping) else []
        return f"{key}: missing{nearest(str(location[-1]), given)}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error" and not isinstance(item["input"], str | int | float | bool):
        return f"{key}: {message}" if key else message
    return f"{key}: {message}, not {item['input']!r}"


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
