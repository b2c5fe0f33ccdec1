"""Tables of groups, simulated and real, for the tests of what stands between a score and an answer."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint import settings
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.splitting import parts, row_hashes
from sporeprint.models.encoder import Encoder
from sporeprint.models.encoder_fit import column_transforms, fit_encoder
from sporeprint.safety.decision_rule import fit_guard
from sporeprint.safety.novelty_guard import Guard
from sporeprint.schema import DatasetSchema
from sporeprint.settings import ModelSettings, Settings
from support import NUMERIC, OPEN, dataset, nominal

#: A table of groups: a column whose vocabulary is declared, one whose is found, and two of numbers.
SCHEMA = dataset(
    {
        "cap": nominal("a", "b", "c", "d", "e"),
        "gill": OPEN,
        "root": nominal("x", "y", "z"),
        "height": {**NUMERIC, "unit": "cm"},
        "width": NUMERIC,
    },
    groups={"name": "species", "column": "name"},
)
VOCABULARY = {"cap": ("a", "b", "c", "d", "e"), "gill": ("k", "l", "m", "n"), "root": ("x", "y", "z")}


def species(rows: int, *, groups: int = 6, seed: int = 0, like: int = 0) -> Observations:
    """Rows of groups, each group with its own shares of the values and its own means; every second group is positive.

    Args:
        rows: how many.
        groups: how many.
        seed: of the rows.
        like: of the groups: tables that are alike are of the same groups.
    """
    nature, draw = np.random.default_rng([like, groups]), np.random.default_rng([seed, 1])
    group = draw.integers(0, groups, rows)
    nominal_codes, numeric = {}, {}
    for name, values in VOCABULARY.items():
        shares = nature.dirichlet(np.full(len(values) + 1, 0.4), groups).cumsum(axis=1)
        found = (draw.random(rows)[:, np.newaxis] > shares[group, :-1]).sum(axis=1)  # 0 is missing
        nominal_codes[name] = found.astype(np.int16)
    for name in ("height", "width"):
        mean, sd, missing = nature.normal(10, 4, groups), nature.uniform(0.5, 2, groups), nature.choice([0, 0, 0.3], groups)
        numbers = draw.normal(mean[group], sd[group]).round(2)
        numeric[name] = np.where(draw.random(rows) < missing[group], np.nan, numbers)
    codes = Codes(VOCABULARY, nominal_codes, numeric, rows)
    y = (group % 2).astype(np.int8)
    return Observations(codes, y, np.arange(rows), group.astype(np.int64), row_hashes(codes, seed=7))


def encoder_of(rows: Observations, schema: DatasetSchema) -> Encoder:
    """What says which values and numbers the rows hold."""
    chosen = column_transforms(settings.TransformSettings(), ModelSettings(estimator="xgboost"), schema)
    return fit_encoder(rows.codes, rows.y, chosen)


@dataclass(frozen=True)
class Real:
    """The real table, split as shipped, with the shipped guard and the encoder of the rows it knows."""

    settings: Settings
    rows: Observations
    guard: Guard
    encoder: Encoder

    @property
    def schema(self) -> DatasetSchema:
        return self.settings.dataset

    def part(self, *names: str) -> Observations:
        return of_part(self.rows, self.settings, *names)


def of_part(rows: Observations, shipped: Settings, *names: str) -> Observations:
    assert rows.part is not None
    return rows.take(np.flatnonzero(np.isin(rows.part, [list(shipped.split.shares).index(name) for name in names])))


@functools.lru_cache(maxsize=1)
def real(table: Path, config: Path) -> Real:
    """The real table as a run knows it, without a run: read, coded, shared out by species, and guarded."""
    shipped = settings.load_settings(config, environ={})
    schema = shipped.dataset
    assert schema.groups is not None
    assert schema.groups.block_rows is not None
    frame = pl.read_csv(table, separator=";", infer_schema=False)
    codes = Codes.of(frame, schema)
    y: npt.NDArray[Any] = (frame[schema.target.column] == schema.target.positive).cast(pl.Int8).to_numpy()
    row = np.arange(frame.height)
    group = row // schema.groups.block_rows
    hashes = row_hashes(codes, seed=shipped.split.seed)
    rows = Observations(codes, y, row, group, hashes, parts(hashes, group, shipped.split.shares))
    known = of_part(rows, shipped, "train", "early_stop")
    guard = fit_guard(known, of_part(rows, shipped, "calibration"), schema, shipped.guard, seed=shipped.runtime.seed)
    return Real(shipped, rows, guard, encoder_of(known, schema))
