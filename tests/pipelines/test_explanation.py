"""One observation explained with a registered model, as the command shows it."""

from pathlib import Path

import pytest

from sporeprint.cli.table_display import plain_table
from sporeprint.errors import DataError, RegistryError
from sporeprint.pipelines.explanation import explain


def shown(root: Path, **given: str) -> str:
    return "\n".join(plain_table(table) for table in explain(root, given).tables())


def test_an_observation_is_answered_with_reasons_and_the_nearest_one(small_run: Path) -> None:
    text = shown(small_run, cap_shape="convex", cap_color="brown", season="autumn")
    assert "verdict" in text
    assert "novelty p-value" in text
    assert "What moved the score" in text
    assert "towards poisonous, in log odds" in text
    assert "Nearest known observation: row " in text
    assert "this one" in text
    assert "missing" in text


def test_a_known_row_equals_its_nearest(small_run: Path) -> None:
    found = explain(small_run, {"cap-shape": "x"}).found.nearest
    assert found is not None
    again = explain(small_run, {name: value for name, value in found.values.items() if value is not None})
    assert again.found.nearest is not None
    assert again.found.nearest.distance == 0
    assert "all columns" in "\n".join(plain_table(table) for table in again.tables())


def test_for_programs(small_run: Path) -> None:
    found = explain(small_run, {"cap-shape": "x"}, model="decision_tree").to_dict()
    assert found["model"] == "decision_tree/v1"
    assert found["row"] == {"cap-shape": "x"}
    assert found["prediction"]["verdict"] == "unknown"
    assert found["prediction"]["threshold"] is None or found["prediction"]["threshold"] <= 0.5
    assert found["unit"] == "probability"


def test_what_is_wrong_is_said(small_run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown field 'cap-shap' \(did you mean 'cap-shape'\?\)"):
        explain(small_run, {"cap-shap": "x"})
    with pytest.raises(RegistryError, match="no version is in production yet"):
        explain(tmp_path, {"cap-shape": "x"})
