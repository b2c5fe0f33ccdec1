"""From a data frame to a model, for every kind of frame."""

import json
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest

import sporeprint
from sporeprint.errors import ConfigError, DataError, UsageError
from sporeprint.inference.model import Model
from sporeprint.pipelines.fit import as_polars
from table_cases import loans

FRAME = pl.DataFrame(loans(500))
TREE = {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"min_samples_leaf": 20}}
FAST = {"models": {"tree": TREE}, "runtime": {"threads": 1}}


@pytest.fixture(scope="module")
def model() -> Model:
    return sporeprint.fit(FRAME, "late", settings=FAST)


def test_a_model_answers_every_kind_of_frame_alike(model: Model) -> None:
    expected = model.predict_proba(FRAME)
    for frame in (FRAME.to_pandas(), FRAME.to_arrow(), FRAME.to_dicts()):
        assert np.array_equal(model.predict_proba(frame), expected)
    assert set(model.predict(FRAME)) <= {"0", "1"}
    assert set(model.verdict(FRAME)) <= {"late", "not late", "unknown"}


def test_evaluate(model: Model) -> None:
    found = model.evaluate(FRAME)
    assert found["rows"] == 500
    assert 0.65 < found["roc_auc"] < 1
    assert model.evaluate(FRAME.drop("late"), FRAME["late"].to_list()) == found
    assert model.evaluate(FRAME.to_pandas()) == found
    with pytest.raises(DataError, match="no column 'late', the target"):
        model.evaluate(FRAME.drop("late"))
    with pytest.raises(DataError, match="row 0: '7' is no class of 'late'; expected one of 0, 1"):
        model.evaluate(FRAME.drop("late"), ["7"] * 500)


def test_what_pandas_may_hold_is_fitted_and_predicted_alike() -> None:
    frame = FRAME.to_pandas().assign(
        mixed=[row % 3 or "x" for row in range(500)],
        member=pd.array([None if row % 9 == 0 else bool(row % 2) for row in range(500)], dtype="boolean"),
        wait=pd.to_timedelta(np.arange(500) % 20, unit="D"),
        tags=[["a"]] * 500,
    )
    fitted = sporeprint.fit(frame, "late", settings=FAST)
    assert set(fitted.schema.columns) == {"income", "age", "debt", "city", "product", "mixed", "member"}
    assert len(fitted.predict(frame)) == 500


def test_integer_codes_with_a_missing_value_are_the_same_codes() -> None:
    """A missing value makes floats of a pandas column: 1 becomes 1.0."""
    codes = FRAME.with_columns(product=pl.col("product").replace_strict({"basic": 11, "plus": 12, "gold": 13}, return_dtype=pl.Int64))
    columns = {"dataset": {"columns": {"product": {"kind": "nominal"}, "income": {"kind": "numeric"}, "debt": {"kind": "numeric"}}}}
    fitted = sporeprint.fit(codes, "late", settings={**FAST, **columns})
    some = codes.head(20).to_pandas()
    holed = some.copy()
    holed["product"] = holed["product"].astype(float)
    holed.loc[7, "product"] = np.nan
    others = np.arange(20) != 7
    assert np.array_equal(fitted.predict_proba(holed)[others], fitted.predict_proba(some)[others])
    assert (fitted.predict_proba(holed)[7] != fitted.predict_proba(some)[7]).any() or fitted.schema.columns["product"].kind == "nominal"


def test_a_work_directory_keeps_what_was_made(tmp_path: Path) -> None:
    fitted = sporeprint.fit(FRAME, "late", workdir=tmp_path, settings=FAST)
    again = sporeprint.load("production", tmp_path)
    assert np.array_equal(again.predict_proba(FRAME), fitted.predict_proba(FRAME))
    assert (tmp_path / "models/metrics/report.html").exists()


def test_frames_of_any_kind_become_polars() -> None:
    array = FRAME.select("income", "age", "late").to_numpy()
    assert as_polars(array, ["income", "age", "late"]).columns == ["income", "age", "late"]
    with pytest.raises(UsageError, match="an array has no names of columns"):
        as_polars(array, None)
    with pytest.raises(UsageError, match=r"the array has the shape \(500, 3\), and 2 names are given"):
        as_polars(array, ["income", "age"])
    with pytest.raises(TypeError, match=r"expected a pandas or Polars DataFrame, .* got int"):
        as_polars(3, None)
    mixed = pd.DataFrame({"a": ["x", 1, 2.0, None]}, dtype=object)
    assert as_polars(mixed, None)["a"].to_list() == ["x", "1", "2", None]


def test_columns_that_are_no_features_are_said(model: Model) -> None:
    assert not any("No features" in note for note in model.notes)
    extra = {"number": pl.int_range(500, eager=True).cast(pl.String), "_row": FRAME["city"]}
    found = sporeprint.fit(FRAME.with_columns(**extra), "late", settings=FAST).notes[0]
    assert found.startswith("No features: number (500 different values: it identifies the row); _row (its name is one that the pipeline")
    many = FRAME.with_columns(pl.lit("x").alias(f"constant{number}") for number in range(12))
    assert "; and 2 more." in sporeprint.fit(many, "late", settings=FAST).notes[0]


def test_what_cannot_be_fitted_says_why() -> None:
    with pytest.raises(UsageError, match=r"no column 'lat' \(did you mean 'late'\?\)"):
        sporeprint.fit(FRAME, "lat")
    with pytest.raises(DataError, match="holds no rows"):
        sporeprint.fit(FRAME.clear(), "late")
    with pytest.raises(ConfigError, match="alpha"):
        sporeprint.fit(FRAME, "late", settings={"guard": {"alpha": 3}})


def test_the_notebook_runs_from_a_frame_to_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells as they are, one after the other, with a fast model in place of the drafted ones."""
    path = Path(__file__).resolve().parents[2] / "notebooks" / "From_a_Data_Frame.ipynb"
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    source = "\n".join(cells).replace('positive="malignant")', 'positive="malignant", settings=FAST)')
    to_a_verdict = next(number for number, cell in enumerate(cells) if "model.verdict(" in cell)
    assert sum(len(cell.splitlines()) for cell in cells[: to_a_verdict + 1]) <= 14
    names = {"FAST": FAST}
    exec(compile(source, str(path), "exec"), names)
    model = names["model"]
    assert isinstance(model, Model)
    assert set(model.verdict(names["new"])) <= {"benign", "malignant", "unknown"}
    assert capsys.readouterr().out == ""
