"""Small tables of the forms that real ones have, made by a generator."""

from typing import Any

import numpy as np

CITIES, PRODUCTS = ("Aarau", "Bremen", "Como", "Dijon"), ("basic", "plus", "gold")


def loans(rows: int = 600, seed: int = 0) -> dict[str, list[Any]]:
    """Loans with their outcome, which income, debt and product tell of: AUC about 0.8."""
    draw = np.random.default_rng(seed)
    income, age, debt = draw.lognormal(7.6, 0.6, rows).round(2), draw.integers(18, 80, rows), draw.lognormal(7, 0.5, rows).round(2)
    product = draw.integers(0, 3, rows)
    score = 1.4 * (np.log(debt) - 7) - 1.6 * (np.log(income) - 7.6) - 0.5 * product
    late = (draw.random(rows) < 1 / (1 + np.exp(-score))).astype(int)
    return {
        "income": income.tolist(),
        "age": age.tolist(),
        "debt": debt.tolist(),
        "city": [CITIES[number] for number in draw.integers(0, 4, rows)],
        "product": [PRODUCTS[number] for number in product],
        "late": late.tolist(),
    }


def csv(columns: dict[str, list[Any]], *, separator: str = ",", header: bool = True) -> str:
    """The table as CSV; None is empty, a text with the separator is quoted."""

    def field(value: Any) -> str:
        text = "" if value is None else str(value)
        return f'"{text}"' if separator in text else text

    lines = [separator.join(map(field, row)) for row in zip(*columns.values(), strict=True)]
    return "\n".join([*([separator.join(columns)] if header else []), *lines]) + "\n"


#: A configuration of the loans, without what has a default; unchecked.
CONFIG: dict[str, Any] = {
    "dataset": {
        "name": "loans",
        "target": {"column": "late", "positive": "1", "values": {"0": "paid", "1": "late"}},
        "columns": {"income": {"kind": "numeric"}, "product": {"kind": "nominal"}},
        "extra_columns": "ignore",
    },
    "source": {"path": "loans.csv"},
    "models": {"tree": {"estimator": "sklearn.tree.DecisionTreeClassifier"}},
}
