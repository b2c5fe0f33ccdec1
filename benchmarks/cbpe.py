"""Expected accuracy before outcomes (CBPE) against the realised one, on rows that drift; beside NannyML's, if a Python with it is named.

    python benchmarks/cbpe.py
    python benchmarks/cbpe.py --nannyml /path/to/venv/bin/python

Invented chunks of 2,000 rows whose probabilities are distributed otherwise from chunk to chunk (covariate shift), at two calibrations:
right, and off by a tenth in the log odds. The error is the mean absolute difference between expected and realised, in percentage points;
NannyML gets the same chunks, with the first ten as its reference.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from sporeprint.monitoring.performance_estimation import ScoreHistograms, estimate_performance
from sporeprint.safety.verdict import NEGATIVE, POSITIVE

CHUNKS, REFERENCE, ROWS = 40, 10, 2_000
NANNYML = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import nannyml, pandas as pd
table = pd.read_parquet(sys.argv[1])
rows, reference = int(sys.argv[2]), int(sys.argv[3])
began = time.perf_counter()
names = {"y_true": "y", "y_pred": "answer", "y_pred_proba": "p", "problem_type": "classification_binary"}
estimator = nannyml.CBPE(metrics=["accuracy", "roc_auc"], chunk_size=rows, **names)
estimator.fit(table.iloc[: rows * reference])
found = estimator.estimate(table.iloc[rows * reference :]).filter(period="analysis").to_df()
values = {name: found[(name, "value")].tolist() for name in ("accuracy", "roc_auc")}
print(json.dumps({**values, "seconds": time.perf_counter() - began}))
"""


def chunks(off: float) -> pl.DataFrame:
    draw = np.random.default_rng(11)
    parts = []
    for chunk in range(CHUNKS):
        move = 0.0 if chunk < REFERENCE else 0.06 * (chunk - REFERENCE)
        p = draw.beta(0.5 + move, 0.9, ROWS)
        odds = p / (1 - p) * np.exp(off)
        y = draw.random(ROWS) < odds / (1 + odds)
        parts.append(pl.DataFrame({"chunk": chunk, "p": p, "answer": (p > 0.5).astype(np.int64), "y": y.astype(np.int64)}))
    return pl.concat(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nannyml", metavar="PYTHON")
    given = parser.parse_args()
    result: dict[str, dict[str, float]] = {}
    for name, off in (("calibrated", 0.0), ("off by 0.1 in the log odds", 0.1)):
        table = chunks(off)
        kept = [part for part in table.partition_by("chunk") if part["chunk"][0] >= REFERENCE]
        real = {
            "accuracy": np.array([(part["answer"] == part["y"]).mean() for part in kept], dtype=np.float64),
            "roc_auc": np.array([roc_auc_score(part["y"], part["p"]) for part in kept]),
        }
        began = time.perf_counter()
        made = [
            estimate_performance(
                ScoreHistograms.of(part["p"].to_numpy(), np.where(part["answer"].to_numpy() == 1, POSITIVE, NEGATIVE).astype(np.int8))
            )
            for part in kept
        ]
        seconds = time.perf_counter() - began
        ours = {"accuracy": np.array([item.accuracy.value for item in made]), "roc_auc": np.array([item.roc_auc.value for item in made])}
        inside = np.mean([item.accuracy.low <= value <= item.accuracy.high for item, value in zip(made, real["accuracy"], strict=True)])
        row = {f"{metric}, error in points": 100 * float(np.abs(ours[metric] - real[metric]).mean()) for metric in real}
        row |= {"accuracy inside its 95 % interval": float(inside), "seconds": seconds}
        if given.nannyml:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "chunks.parquet"
                table.write_parquet(path)
                command = [given.nannyml, "-c", NANNYML, str(path), str(ROWS), str(REFERENCE)]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            theirs = json.loads(said.strip().splitlines()[-1])
            for metric, value in real.items():
                row[f"NannyML: {metric}, error in points"] = 100 * float(np.abs(np.array(theirs[metric]) - value).mean())
            row["NannyML: seconds"] = theirs["seconds"]
        result[name] = {key: round(value, 4) for key, value in row.items()}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
