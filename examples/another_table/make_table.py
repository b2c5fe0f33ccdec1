"""Writes the tables of docs/another-table.md, from data that scikit-learn brings along: tumours, and what they turned out to be.

    python examples/another_table/make_table.py FOLDER

- cells.csv: 449 tumours with their diagnosis, to learn from
- today.csv: 120 further ones, without it
- outcomes.csv: what these 120 turned out to be
- misadjusted.csv: the 120 once more, as a microscope shows them that enlarges half as much again
"""

import csv
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from sklearn.datasets import load_breast_cancer

#: Ten properties of the three largest nuclei in a picture. The other twenty columns (means, standard errors) are left out.
PROPERTIES = slice(20, 30)
TODAY = 120
#: What an enlargement changes: lengths as such, areas by its square.
POWERS = {"worst radius": 1, "worst perimeter": 1, "worst area": 2}
ENLARGED = 1.5


def main(folder: Path) -> None:
    """Write the four tables."""
    found = load_breast_cancer()
    names = [str(name) for name in found.feature_names[PROPERTIES]]
    words = ["malignant", "benign"]
    rows = [
        (*(float(f"{value:.6g}") for value in row[PROPERTIES]), words[label]) for row, label in zip(found.data, found.target, strict=True)
    ]
    random.Random(7).shuffle(rows)  # noqa: S311 -- the same rows each time
    today, known = rows[:TODAY], rows[TODAY:]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "cells.csv", [*names, "diagnosis"], known)
    write(folder / "today.csv", names, [row[:-1] for row in today])
    write(folder / "outcomes.csv", ["outcome"], [row[-1:] for row in today])
    factors = [ENLARGED ** POWERS.get(name, 0) for name in names]
    enlarged = [[float(f"{value * factor:.6g}") for value, factor in zip(row[:-1], factors, strict=True)] for row in today]
    write(folder / "misadjusted.csv", names, enlarged)


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV file and say so."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
    print(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
