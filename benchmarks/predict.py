"""`sporeprint predict` on simulated rows in Parquet against bare XGBoost `inplace_predict` on the already encoded matrix.

    python benchmarks/predict.py [--scores] [--rows 6000000] [--pairs 3] [--folder DIR]

The model is the XGBoost of `sporeprint etl` on simulated rows of the same species. Ours is the whole command, start to end: read,
check, encode, score, write. The limit is the one call, on all cores, with the matrix in memory; its own scores are held against ours.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from measure import SPOREPRINT, Run, pairs, run, say, spread

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ["--config", str(ROOT / "config/config.yaml")]

#: The limit, in a process of its own: the seconds of the one call.
BARE = """
import json, sys, time, numpy as np, xgboost as xgb
booster = xgb.Booster({"nthread": int(sys.argv[3])}); booster.load_model(sys.argv[1]); matrix = np.load(sys.argv[2])
booster.inplace_predict(matrix[:1000])
began = time.perf_counter(); scores = booster.inplace_predict(matrix)
print(json.dumps({"seconds": time.perf_counter() - began, "mean": float(scores.mean(dtype=float))}))
"""

#: Writes the encoded matrix that the limit starts from.
ENCODE = """
import sys, numpy as np, polars as pl
from pathlib import Path
from sporeprint.data.coded_table import Codes
from sporeprint.registry.registry import Registry
bundle = Registry(Path(sys.argv[1])).load("xgboost")
frame = pl.read_parquet(sys.argv[2])
np.save(sys.argv[3], bundle.encoder.matrix(Codes.of(frame, bundle.schema, bundle.encoder.vocabulary)))
"""


def prepare(rows: int, folder: Path) -> tuple[Path, Path, Path]:
    """A work directory with a model, the rows to score, and their matrix."""
    workdir, table, matrix = folder / "predict-work", folder / f"predict_{rows}.parquet", folder / f"predict_{rows}.npy"
    species = ["--species", "173", "--seed", "7"]
    if not (workdir / "models/xgboost.joblib").exists():
        learn = folder / "predict-train.csv"
        run([*SPOREPRINT, "simulate", "--rows", "61069", *species, "--out", str(learn), *CONFIG])
        run([*SPOREPRINT, "etl", "--source", str(learn), "--workdir", str(workdir), *CONFIG])
    if not table.exists():
        run([*SPOREPRINT, "simulate", "--rows", str(rows), *species, "--draw", "1", "--out", str(table), *CONFIG])
    if not matrix.exists():
        run([sys.executable, "-c", ENCODE, str(workdir / "models/registry"), str(table), str(matrix)])
    return workdir, table, matrix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=6_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--scores", action="store_true", help="without guard and verdict, as the limit")
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks/out")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    workdir, table, matrix = prepare(options.rows, options.folder)
    model = workdir / "models/registry/xgboost/v1/model.json"
    out, cores = options.folder / "answers.parquet", str(len(os.sched_getaffinity(0)))

    def ours() -> Run:
        given = ["--model", "xgboost", "--workdir", str(workdir), "--json", *(["--scores"] if options.scores else [])]
        return run([*SPOREPRINT, "predict", str(table), "--out", str(out), *given])

    found = pairs(ours, lambda: run([sys.executable, "-c", BARE, str(model), str(matrix), cores]), options.pairs)
    seconds = [json.loads(bare.output)["seconds"] for _, bare in found]
    say(
        "predict against bare inplace_predict",
        {
            "rows": options.rows,
            "scores_only": options.scores,
            "rows_per_s_ratio": spread([limit / mine.wall_s for (mine, _), limit in zip(found, seconds, strict=True)]),
            "sporeprint_rows_per_s": spread([options.rows / mine.wall_s for mine, _ in found]),
            "bare_rows_per_s": spread([options.rows / limit for limit in seconds]),
            "peak_mib": spread([mine.peak_mib for mine, _ in found]),
        },
    )


if __name__ == "__main__":
    main()
