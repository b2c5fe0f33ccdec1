"""Expected accuracy before outcomes where other species come: by the guard's components, beside CBPE.

    sporeprint etl --workdir DIR
    python benchmarks/component_performance.py --workdir DIR

Windows of 1,000 rows from twelve species each, redrawn from the test rows, of the version in production. The reference is
the other half of the test rows. Printed: mean absolute error of the expected share whose likelier class is right, and windows
whose interval holds the realised share.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from sporeprint.common.workdir import Workdir
from sporeprint.data.parquet_store import read_table
from sporeprint.monitoring.performance_estimation import ScoreHistograms, estimate_performance, expected_share_right
from sporeprint.registry.registry import Registry
from sporeprint.safety.verdict import HALF

WINDOWS, SPECIES, ROWS = 60, 12, 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--model", default="production")
    given = parser.parse_args()
    workdir = Workdir(given.workdir)
    registry = Registry(workdir.registry)
    bundle = registry.load(registry.resolve(given.model).ref)
    draw = np.random.default_rng(11)
    test = read_table(workdir.model_input / "test.parquet", bundle.schema)
    made = bundle.predictions(test.codes)
    component, right = made.novelty.component, (made.probability > HALF) == (test.y == 1)
    group = test.group if test.group is not None else component
    own = draw.random(test.codes.rows) < 0.5
    errors: dict[str, list[float]] = {"by component": [], "CBPE": []}
    inside = dict.fromkeys(errors, 0)
    for _ in range(WINDOWS):
        chosen = np.flatnonzero(~own & np.isin(group, draw.choice(np.unique(group), SPECIES, replace=False)))
        rows = draw.choice(chosen, ROWS)
        real = float(right[rows].mean())
        estimates = {
            "by component": expected_share_right(component[own], right[own], component[rows], ROWS),
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
