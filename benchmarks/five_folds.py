"""XGBoost's errors on rows of seen species, pooled over five stratified folds of the real data; the seed is the config's.

    python benchmarks/five_folds.py [--data data/raw/secondary_data.csv]

In each fold a tenth of the other rows only tells XGBoost when to stop. Limit: 8 errors among 61,069 rows.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.model_selection import StratifiedKFold

from measure import say
from sporeprint import settings as reading
from sporeprint.data import validation as validate
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder_fit import column_transforms, fit_encoder
from sporeprint.models.training import fit_model

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "data/raw/secondary_data.csv")
    settings = reading.load_settings(ROOT / "config/config.yaml", environ={})
    frame = pl.read_csv(parser.parse_args().data, separator=";", infer_schema=False).with_row_index("row")
    checked = validate.check(frame, settings.dataset)
    codes, y, seed = checked.codes, checked.y, settings.runtime.seed
    model = settings.models["xgboost"]
    errors = []
    for others, out in StratifiedKFold(5, shuffle=True, random_state=seed).split(y, y):
        order = np.random.default_rng(seed).permutation(others)
        stop, learn = order[: len(order) // 10], order[len(order) // 10 :]
        encoder = fit_encoder(codes.take(learn), y[learn], column_transforms(settings.transform, model, settings.dataset))
        rows = [EncodedRows(encoder.matrix(codes.take(part)), y[part]) for part in (learn, stop)]
        fitted = fit_model(model, *rows, seed=seed, threads=settings.threads)
        errors.append(int(((fitted.score(encoder.matrix(codes.take(out))) > 0.5) != y[out]).sum()))
    say("XGBoost, errors on seen species", {"seed": seed, "rows": len(y), "errors_by_fold": errors, "errors": sum(errors), "limit": 8})


if __name__ == "__main__":
    main()
