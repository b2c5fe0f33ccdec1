"""One observation explained with a registered model, as the command shows it."""

from pathlib import Path
from typing import Any

import pytest

from sporeprint.cli.table_display import plain_table
from sporeprint.errors import DataError, RegistryError, UsageError
from sporeprint.pipelines.explanation import explain, fields_of
from sporeprint.registry.registry import Registry
from support import NUMERIC, OPEN, dataset, nominal


def shown(root: Path, **given: str) -> str:
    return "\n".join(plain_table(table) for table in explain(root, given).tables())


def whole(root: Path) -> dict[str, Any]:
    """A whole observation, of which one value is recorded as empty."""
    row = {**Registry(root / "models/registry").load("decision_tree").golden.rows[0], "gill-spacing": None}
    return {name: "" if value is None else value for name, value in row.items()}


def test_an_observation_is_answered_with_reasons_and_the_nearest_one(small_run: Path) -> None:
    text = shown(small_run, cap_shape="convex", cap_color="brown", season="autumn")
    assert "verdict" in text
    assert "novelty p-value" in text
    assert "Feature attributions" in text
    assert "towards poisonous, in log odds" in text
    assert "Nearest known observation: row " in text
    assert "this one" in text
    assert "missing" not in text  # what was not observed differs from nothing


def test_what_was_looked_at_and_is_not_there_differs_from_the_nearest_one(small_run: Path) -> None:
    text = "\n".join(plain_table(table) for table in explain(small_run, whole(small_run)).tables())
    assert "this one" in text
    assert "missing" in text


def test_a_known_row_equals_its_nearest(small_run: Path) -> None:
    found = explain(small_run, {"cap-shape": "x"}).explanation.nearest
    assert found is not None
    again = explain(small_run, {name: value for name, value in found.values.items() if value is not None})
    assert again.explanation.nearest is not None
    assert again.explanation.nearest.distance == 0
    assert "all columns" in "\n".join(plain_table(table) for table in again.tables())


def test_for_programs(small_run: Path) -> None:
    found = explain(small_run, {"cap-shape": "x"}, model="decision_tree").to_dict()
    assert found["model"] == "decision_tree/v1"
    assert found["row"] == {"cap-shape": "x"}
    assert found["prediction"]["verdict"] == "unknown"
    assert found["prediction"]["threshold"] is None or found["prediction"]["threshold"] <= 0.5
    assert found["unit"] == "log odds"  # of a row in part: of the groups' likelihoods
    assert explain(small_run, whole(small_run), model="decision_tree").to_dict()["unit"] == "probability"


def test_what_is_wrong_is_said(small_run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown field 'cap-shap' \(did you mean 'cap-shape'\?\)"):
        explain(small_run, {"cap-shap": "x"})
    with pytest.raises(RegistryError, match="no version is in production yet"):
        explain(tmp_path, {"cap-shape": "x"})


def test_a_columns_name_may_hold_an_equals_sign() -> None:
    schema = dataset({"calls=30T": NUMERIC, "color=red": NUMERIC, "color=blue": NUMERIC, "color": OPEN})
    texts = ["calls=30T=9", "color=red=1", "color=blue=", "color=a=b", "speed=5"]
    expected = {"calls=30T": "9", "color=red": "1", "color=blue": "", "color": "a=b", "speed": "5"}
    assert fields_of(texts, schema) == expected
    with pytest.raises(UsageError, match="field 'color=red' is given twice, as '1' and '2'; give one"):
        fields_of(["color=red=1", "color=red=2"], schema)


@pytest.mark.parametrize(("columns", "example"), [({"age": NUMERIC}, "age=VALUE"), ({"age": NUMERIC, "sex": nominal("F")}, "sex=F")])
@pytest.mark.parametrize("text", ["age", "=3", ""])
def test_an_example_of_a_field_is_one_of_the_tables_own(columns: dict[str, Any], example: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"^{text!r}: expected FIELD=VALUE, as in {example}$"):
        fields_of([text], dataset(columns))


def test_a_value_that_was_never_seen_may_be_a_slip_and_no_probability_stands_beside_unknown(small_run: Path) -> None:
    text = shown(small_run, **{"cap-shape": "convexx", "season": "autumn"})
    assert "'convexx' was never seen (did you mean 'convex'?)" in text
    assert "probability of" not in text
