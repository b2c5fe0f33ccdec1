"""Fits a model on a data frame: the pipeline without a configuration, a work directory or a registry to think of."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
from ruamel.yaml import YAML

from sporeprint.errors import DataError, UsageError
from sporeprint.inference.model import Model
from sporeprint.inference.native_frame import polars_frame
from sporeprint.ingestion.table_sample import sample_of_frame
from sporeprint.pipelines.draft import draft
from sporeprint.pipelines.etl import run_etl
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings, parse

#: Columns that are no features, of which a note says why.
MOST_OMISSIONS = 10


def fit(
    frame: Any,
    target: str | None = None,
    *,
    positive: str | float | bool | Sequence[str | float | bool] | None = None,
    names: Sequence[str] | None = None,
    workdir: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Model:
    """Fit models on a data frame, and return the best.

    Kinds of columns, missing values, split, models and guard are drafted as `sporeprint init` does.

    Args:
        frame: a pandas or Polars DataFrame, an Arrow table, or a two-dimensional NumPy array with `names`.
        target: the column to predict; None: the likeliest one.
        positive: the class, or classes, that must not be missed; None: the likeliest one.
        names: the columns' names, where the frame has none.
        workdir: where tables, reports and the registry are written, as by `sporeprint etl`; None: nothing is left behind.
        settings: sections of the configuration that replace drafted keys, as `{"guard": {"alpha": 0.01}}`.

    Raises:
        TypeError: `frame` is no table.
        DataError: the table cannot be learned from; see `sporeprint.pipelines.draft.draft_configuration`.
        UsageError: it cannot be known which column is the target, or which class is the positive one.
        ConfigError: a replaced setting is wrong.

    >>> import polars, sporeprint
    >>> frame = polars.DataFrame({"x": [i % 7 for i in range(600)], "late": [int(i % 7 > 3) for i in range(600)]})
    >>> sporeprint.fit(frame, "late").predict(polars.DataFrame({"x": [1, 6]})).tolist()
    ['0', '1']
    """
    table = as_polars(frame, names)
    chosen = [] if positive is None else [positive] if isinstance(positive, str | float | int) else list(positive)
    drafted = draft(sample_of_frame(table), "frame", target=target, positive=[_code(value) for value in chosen])
    raw = YAML(typ="safe", pure=True).load(drafted.text)
    raw["runtime"] = {"seed": 20201107}
    for section, values in (settings or {}).items():
        raw[section] = {**raw[section], **values} if isinstance(values, Mapping) and isinstance(raw.get(section), Mapping) else values
    notes = _omissions(drafted.left_out)
    if workdir is not None:
        return _fitted(table, raw, Path(workdir), notes)
    with tempfile.TemporaryDirectory(prefix="sporeprint-") as folder:
        return _fitted(table, raw, Path(folder), notes)


def _omissions(reasons: Mapping[str, str]) -> tuple[str, ...]:
    """A note on the columns that are no features, which nobody sees in a draft here; at most one."""
    if not reasons:
        return ()
    listed = "; ".join(f"{name} ({why})" for name, why in list(reasons.items())[:MOST_OMISSIONS])
    rest = len(reasons) - MOST_OMISSIONS
    return (f"No features: {listed}{f'; and {rest:,} more' if rest > 0 else ''}.",)


def _fitted(table: pl.DataFrame, raw: dict[str, Any], root: Path, notes: tuple[str, ...]) -> Model:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "data/raw/frame.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)
    raw["source"] = {"path": str(path)}
    chosen: Settings = parse(raw, where="settings of fit")
    result = run_etl(chosen, root)
    ref = result.registered.production
    if ref is None:
        raise DataError(f"no model can be served: {result.registered.reason}")
    registry = Registry(root / "models/registry")
    return Model(registry.load(ref), ref, notes=(*notes, *result.data.record.notes, *result.registered.notes))


def _code(value: str | float | bool) -> str:
    from sporeprint.schema import code_text

    return code_text(value)


def as_polars(frame: Any, names: Sequence[str] | None) -> pl.DataFrame:
    """Any table as a Polars frame; columns of objects as text.

    Raises:
        TypeError: it is no table.
        UsageError: an array without names.
    """
    if hasattr(frame, "ndim") and hasattr(frame, "shape") and not hasattr(frame, "columns"):
        if names is None:
            raise UsageError("an array has no names of columns; give them with names=[...]")
        if frame.ndim != 2 or frame.shape[1] != len(names):
            raise UsageError(f"the array has the shape {frame.shape}, and {len(names)} names are given")
        return pl.DataFrame({name: pl.Series(frame[:, place].tolist(), strict=False) for place, name in enumerate(names)})
    try:
        table = nw.from_native(frame, eager_only=True)
    except TypeError:
        raise TypeError(
            f"expected a pandas or Polars DataFrame, an Arrow table or an array with names, got {type(frame).__name__}"
        ) from None
    return polars_frame(table)
