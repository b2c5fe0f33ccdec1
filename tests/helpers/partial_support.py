"""A small world of groups, and the guard of partial rows that knows it, for tests of what is answered to partial rows."""

import functools
from dataclasses import dataclass

import numpy as np

from safety_support import VOCABULARY
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.splitting import row_hashes
from sporeprint.safety.cells import Cells, observed_masks
from sporeprint.safety.group_likelihood import GroupLikelihood, fit_group_likelihood
from sporeprint.safety.partial_guard import PartialGuard
from sporeprint.safety.partial_rule import fit_partial_rule
from sporeprint.safety.verdict import VerdictLimits
from sporeprint.schema import DatasetSchema
from sporeprint.settings import GuardSettings
from support import NUMERIC, dataset, nominal

GROUPS = 24
NOT_OBSERVED = {"empty": "not_observed"}
COLUMNS = {
    **{f"n{number}": {**nominal(*VOCABULARY["cap"]), **NOT_OBSERVED} for number in range(8)},
    "height": {**NUMERIC, **NOT_OBSERVED, "unit": "cm"},
    "width": {**NUMERIC, **NOT_OBSERVED},
}
SCHEMA = dataset(COLUMNS, groups={"name": "species", "column": "name"})
SETTINGS = GuardSettings(alpha=0.01, unseen_risk=0.01)
LIMITS = VerdictLimits(None, 0.5, 0.99)


def world(rows: int, *, seed: int, groups: int = GROUPS) -> Observations:
    """Rows of groups that have one or two values a nominal column, correlated numbers, and columns that no row of a group has."""
    nature, draw = np.random.default_rng([9, groups]), np.random.default_rng([seed, 1])
    group = draw.integers(0, groups, rows)
    names = list(SCHEMA.nominal)
    nominal_codes = {}
    for name in names:
        values = 1 + nature.integers(0, 5, (groups, 2))
        silent = nature.random(groups) < 0.2
        chosen = values[group, draw.integers(0, 2, rows)]
        nominal_codes[name] = np.where(silent[group], 0, chosen).astype(np.int16)
    size = draw.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], rows)
    numeric = {}
    for number, name in enumerate(("height", "width")):
        mean, sd = nature.normal(50, 12, groups), nature.uniform(1, 4, groups)
        numeric[name] = mean[group] + sd[group] * size[:, number]
    vocabulary = dict.fromkeys(names, VOCABULARY["cap"])
    codes = Codes(vocabulary, nominal_codes, numeric, rows)
    return Observations(codes, (group % 2).astype(np.int8), np.arange(rows), group.astype(np.int64), row_hashes(codes, seed=7))


@dataclass(frozen=True)
class World:
    """The guard and rows of the same groups that nothing was fitted on."""

    guard: PartialGuard
    rows: Observations
    cells: Cells


def likelihood_of(rows: Observations, schema: DatasetSchema = SCHEMA) -> GroupLikelihood:
    assert rows.group is not None
    names, component = np.unique(rows.group, return_inverse=True)
    return fit_group_likelihood(rows.codes, rows.y, component.astype(np.intp), names, schema)


@functools.lru_cache(maxsize=1)
def fitted() -> World:
    """Fitted once for all tests; nobody changes it."""
    known, calibration, test = world(3000, seed=1), world(2500, seed=2), world(3000, seed=3)
    guard = fit_partial_rule(likelihood_of(known), observed_masks(known.codes, SCHEMA), calibration, test, SCHEMA, SETTINGS, seed=5)
    rows = world(2000, seed=4)
    return World(guard, rows, Cells.of_codes(rows.codes, guard.layout))
