"""Expected performance by component follows another mix of species, where it is known how often each is right."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sporeprint import settings
from sporeprint.common.workdir import Workdir
from sporeprint.monitoring.performance_estimation import expected_share_right
from sporeprint.pipelines.component_performance import estimate_by_component
from sporeprint.pipelines.monitoring import model_of
from sporeprint.pipelines.table_counting import validation_rows


def test_the_interval_holds_what_comes_of_another_mix() -> None:
    draw = np.random.default_rng(1)
    truth = draw.choice([1.0, 0.99, 0.9, 0.6], size=60, p=[0.5, 0.3, 0.1, 0.1])
    reference = draw.integers(0, 60, 6000)
    right = draw.random(6000) < truth[reference]
    errors, inside = [], 0
    for _ in range(60):
        current = draw.choice(draw.choice(60, 12, replace=False), 1000)
        real = float(np.mean(draw.random(1000) < truth[current]))
        made = expected_share_right(reference, right, current, 1000)
        errors.append(abs(made.value - real))
        inside += made.low <= real <= made.high
    assert np.mean(errors) < 0.015
    assert inside >= 54


def test_without_rows_there_is_nothing_to_expect() -> None:
    nothing, some = np.empty(0, dtype=np.intp), np.zeros(3, dtype=np.intp)
    assert np.isnan(expected_share_right(nothing, np.empty(0, dtype=np.bool_), some, 3).value)
    assert np.isnan(expected_share_right(some, np.ones(3, dtype=np.bool_), nothing, 0).value)


def test_of_a_model(small_copy: Path, small_config: dict[str, Any], small_table: Path) -> None:
    workdir = Workdir(small_copy)
    bundle, ref = model_of(workdir, None, needed=True)
    assert bundle is not None
    rows, _ = validation_rows(settings.parse(small_config), workdir, bundle, str(ref))
    current = pl.read_csv(small_table, separator=";", infer_schema=False).sample(300, seed=1).select(list(bundle.schema.columns))
    made = estimate_by_component(workdir, bundle, rows, current, 300)
    assert made is not None
    assert made.rows == 300
    assert made.reference_rows > rows.codes.rows
    assert 0.5 < made.likelier.low <= made.likelier.value <= made.likelier.high <= 1
    assert estimate_by_component(workdir, bundle, rows, current.clear(), 0) is None
