"""The limit that `sporeprint etl` is held against: the same reading, encoding, fits and scores, and nothing else.

No validation, no intervals, no plots, no registry, no files. Prints its scores, and the CPU seconds it took after its
imports, as JSON.

    python benchmarks/bare_etl.py data/raw/secondary_data.csv
"""

import json
import sys
import time
from typing import Any

import numpy as np
import polars as pl
import xgboost as xgb
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from sklearn.tree import DecisionTreeClassifier

SEED, THREADS, BLOCK = 7, 2, 353
NUMERIC = ["cap-diameter", "stem-height", "stem-width"]
MODELS = ("logistic_regression", "decision_tree", "xgboost")


def read(path: str) -> tuple[Any, Any, Any]:
    table = pl.read_csv(path, separator=";")
    y = (table["class"] == "p").to_numpy().astype(np.int8)
    return table.drop("class"), y, np.arange(len(y)) // BLOCK


def encode(table: Any, learn: Any, y: Any) -> tuple[Any, Any]:
    """One-hot with standardised numbers for the linear model, codes by positive share for the trees."""
    nominal = [name for name in table.columns if name not in NUMERIC]
    numbers = table.select(NUMERIC).to_numpy()
    scaled = (numbers - numbers[learn].mean(axis=0)) / numbers[learn].std(axis=0)
    hot, ordinal = [scaled], [numbers]
    for name in nominal:
        values = table[name].fill_null("?")
        found = values.unique().sort()
        codes = values.replace_strict(found, np.arange(len(found)), return_dtype=pl.Int32).to_numpy()
        counts = np.bincount(codes[learn], minlength=len(found))
        rank = np.argsort(np.argsort(np.bincount(codes[learn], y[learn], minlength=len(found)) / np.maximum(counts, 1)))
        hot.append(np.eye(len(found))[codes])
        ordinal.append(rank[codes][:, None])
    return np.hstack(hot), np.hstack(ordinal).astype(np.float32)


def fit_and_score(name: str, hot: Any, ordinal: Any, y: Any, learn: Any, stop: Any, out: Any) -> Any:
    if name == "logistic_regression":
        return LogisticRegression(solver="newton-cholesky", max_iter=200).fit(hot[learn], y[learn]).predict_proba(hot[out])[:, 1]
    if name == "decision_tree":
        tree = DecisionTreeClassifier(min_samples_leaf=2, random_state=SEED).fit(ordinal[learn], y[learn])
        return tree.predict_proba(ordinal[out])[:, 1]
    params = {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "max_depth": 6,
        "learning_rate": 0.3,
        "seed": SEED,
        "nthread": THREADS,
    }
    data = xgb.QuantileDMatrix(ordinal[learn], y[learn])
    watch = [(xgb.QuantileDMatrix(ordinal[stop], y[stop], ref=data), "stop")]
    booster = xgb.train(params, data, 300, evals=watch, early_stopping_rounds=30, verbose_eval=False)
    return booster.inplace_predict(ordinal[out], iteration_range=(0, booster.best_iteration + 1))


def score(y: Any, p: Any) -> dict[str, float]:
    said = p >= 0.5
    bins = np.minimum((p * 15).astype(int), 14)
    gap = np.abs(np.bincount(bins, p, 15) - np.bincount(bins, y, 15)).sum() / len(y)
    return {
        "accuracy": metrics.accuracy_score(y, said),
        "precision": metrics.precision_score(y, said),
        "recall": metrics.recall_score(y, said),
        "f1": metrics.f1_score(y, said),
        "mcc": metrics.matthews_corrcoef(y, said),
        "roc_auc": metrics.roc_auc_score(y, p),
        "pr_auc": metrics.average_precision_score(y, p),
        "brier": metrics.brier_score_loss(y, p),
        "log_loss": metrics.log_loss(y, p),
        "ece": gap,
        "false_edible": int(((y == 1) & ~said).sum()),
    }


def main(path: str) -> None:
    began = time.process_time()
    table, y, groups = read(path)
    rows = np.arange(len(y))
    learn, rest = train_test_split(rows, train_size=0.5, stratify=y, random_state=SEED)
    stop, rest = train_test_split(rest, train_size=0.2, stratify=y[rest], random_state=SEED)
    test = train_test_split(rest, test_size=0.375, stratify=y[rest], random_state=SEED)[1]
    hot, ordinal = encode(table, learn, y)
    found: dict[str, Any] = {name: {"seen": score(y[test], fit_and_score(name, hot, ordinal, y, learn, stop, test))} for name in MODELS}
    held_out = {name: np.empty(len(y)) for name in MODELS}
    for others, out in StratifiedGroupKFold(5, shuffle=True, random_state=SEED).split(table, y, groups):
        fold_learn, fold_stop = np.intersect1d(others, learn), np.intersect1d(others, stop)
        hot, ordinal = encode(table, fold_learn, y)
        for name in MODELS:
            held_out[name][out] = fit_and_score(name, hot, ordinal, y, fold_learn, fold_stop, out)
    for name in MODELS:
        found[name]["unseen"] = score(y, held_out[name])
    print(json.dumps({"core_cpu_s": time.process_time() - began, "models": found}))


if __name__ == "__main__":
    main(sys.argv[1])
