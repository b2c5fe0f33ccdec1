"""Expected accuracy before outcomes where other species come: by the guard's components, beside CBPE.

    sporeprint etl --workdir DIR
    python benchmarks/component_performance.py --workdir DIR

Sixty windows: the rows of twelve species each, drawn by chance, that neither a model nor its threshold was fitted on (early stopping and
calibration parts). The reference is the threshold and the test rows. Printed: mean absolute error of the expected share whose likelier
class is right, and windows whose interval holds the realised share.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from sporeprint import settings
from sporeprint.common.workdir import Workdir
from sporeprint.data.dataset import concat
from sporeprint.data.parquet_store import read_table
from sporeprint.monitoring.performance_estimation import ScoreHistograms, estimate_performance, expected_share_right
from sporeprint.registry.registry import Registry
from sporeprint.safety.verdict import HALF

WINDOWS, SPECIES = 60, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--model", default="production")
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    given = parser.parse_args()
    workdir = Workdir(given.workdir)
    registry = Registry(workdir.registry)
    bundle = registry.load(registry.resolve(given.model).ref)
    draw = np.random.default_rng(11)
    parts = tuple(settings.load_settings(given.config).split.shares)
    validation = read_table(workdir.model_input / "validation.parquet", bundle.schema, parts)
    threshold = validation.part == parts.index("threshold")
    reference = concat([validation.take(np.flatnonzero(threshold)), read_table(workdir.model_input / "test.parquet", bundle.schema)])
    current = validation.take(np.flatnonzero(~threshold))
    known, made = bundle.predictions(reference.codes), bundle.predictions(current.codes)
    was_right, is_right = (known.probability > HALF) == (reference.y == 1), (made.probability > HALF) == (current.y == 1)
    group = made.novelty.component if current.group is None else current.group
    errors: dict[str, list[float]] = {"by component": [], "CBPE": []}
    inside = dict.fromkeys(errors, 0)
    for _ in range(WINDOWS):
        rows = np.flatnonzero(np.isin(group, draw.choice(np.unique(group), SPECIES, replace=False)))
        real = float(is_right[rows].mean())
        estimates = {
            "by component": expected_share_right(known.novelty.component, was_right, made.novelty.component[rows], len(rows)),
            "CBPE": estimate_performance(ScoreHistograms.of(made.probability[rows], made.verdict[rows])).likelier,
        }
        for name, estimate in estimates.items():
            errors[name].append(abs(estimate.value - real))
            inside[name] += estimate.low <= real <= estimate.high
    result = {
        name: {"mean error": round(float(np.mean(values)), 4), "interval right": f"{inside[name]} of {WINDOWS}"}
        for name, values in errors.items()
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
