"""A file scored with a registered model: which rows are answered, with what, and what becomes of the others."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sporeprint.common.progress import SilentProgress
from sporeprint.errors import DataError, RegistryError, UsageError
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.predictor import predict_row
from sporeprint.ingestion.raw_batch import Batch, malformed_rows
from sporeprint.pipelines import batch_prediction as scoring
from sporeprint.pipelines.batch_prediction import Counts, score_batches, score_frame
from sporeprint.registry.registry import Registry

ANSWERS = ["verdict", "reason", "unknown", "look_at", "novelty_p", "unseen", "outside", "prediction", "probability"]


@pytest.fixture(scope="session")
def rows(small_table: Path) -> pl.DataFrame:
    """40 rows of the small table, as text, without the target."""
    return pl.read_csv(small_table, separator=";", infer_schema=False).gather_every(45).drop("class")


@pytest.fixture(scope="session")
def served(small_run: Path) -> str:
    """The version in production."""
    ref = Registry(small_run / "models/registry").production()
    assert ref is not None
    return ref.ref


@pytest.fixture(scope="session")
def bundle(small_run: Path) -> Bundle:
    """The model that `predict` takes where none is named."""
    return Registry(small_run / "models/registry").load("production")


def changed(rows: pl.DataFrame, column: str, value: str | None, at: int) -> pl.DataFrame:
    return rows.with_columns(pl.when(pl.int_range(pl.len()) == at).then(pl.lit(value)).otherwise(column).alias(column))


def score(rows: pl.DataFrame, bundle: Bundle) -> pl.DataFrame:
    return score_frame(rows, bundle)


Predict = Callable[..., pl.DataFrame]


@pytest.fixture
def predict(small_run: Path, tmp_path: Path) -> Predict:
    """Score a frame from file to file."""

    def run(rows: pl.DataFrame, *, source: str = "new.csv", out: str = "answers.csv", model: str = "production") -> pl.DataFrame:
        file, answers = tmp_path / source, tmp_path / out
        rows.write_csv(file, separator=";") if file.suffix == ".csv" else rows.write_parquet(file)
        scoring.predict(small_run, file, answers, model=model)
        return pl.read_csv(answers, infer_schema=False) if answers.suffix == ".csv" else pl.read_parquet(answers)

    return run


# --- a frame ---------------------------------------------------------------------------------------------------------


def test_every_good_row_has_a_class_and_a_probability(rows: pl.DataFrame, bundle: Bundle) -> None:
    said = score(rows, bundle)
    assert said.columns == ANSWERS
    assert said.height == rows.height == 40
    assert said["probability"].is_between(0, 1).all()
    assert (said["prediction"] == pl.Series(["e", "p"]).gather((said["probability"] > 0.5).cast(pl.UInt32))).all()
    assert said["unseen"].null_count() == said["outside"].null_count() == 40
    assert set(said["verdict"]) <= {"edible", "poisonous", "unknown"}
    assert (said["reason"].is_null() == (said["verdict"] != "unknown")).all()


def test_the_answers_are_those_of_single_rows(rows: pl.DataFrame, bundle: Bundle) -> None:
    numeric = bundle.schema.numeric
    singles = [
        {name: float(value) if name in numeric and value is not None else value for name, value in row.items()}
        for row in rows.iter_rows(named=True)
    ]
    singles[0]["cap-shape"], singles[1]["stem-width"], singles[2]["has-ring"], singles[2]["ring-type"] = "?", 499.0, "f", "g"
    texts = [{name: None if value is None else str(value) for name, value in row.items()} for row in singles]
    said = score(pl.DataFrame(texts, schema=dict.fromkeys(rows.columns, pl.String)), bundle)
    for row, (verdict, reason, unknown, look_at, novelty_p, unseen, outside, prediction, probability) in zip(
        singles, said.iter_rows(), strict=True
    ):
        one = predict_row(bundle, row)
        assert (one.prediction, one.probability, one.verdict, one.novelty_p) == (prediction, probability, verdict, novelty_p)
        assert (",".join(one.unseen) or None, ",".join(one.outside) or None, one.reason) == (unseen, outside, reason)
        assert (one.unknown, ",".join(one.look_at) or None) == (unknown, look_at)
    assert said["verdict"][:3].to_list() == ["unknown"] * 3


def test_scores_alone_are_the_same_and_give_no_verdict(rows: pl.DataFrame, bundle: Bundle) -> None:
    given = changed(changed(rows, "stem-width", "17.wrz", 2), "cap-shape", "?", 3)
    said, alone = score(given, bundle), score_frame(given, bundle, guarded=False)
    assert alone.columns == ["prediction", "probability", "reason"]
    assert alone.select("prediction", "probability").equals(said.select("prediction", "probability"))
    assert alone["reason"].to_list() == [said["reason"][2] if row == 2 else None for row in range(40)]


def test_the_order_of_columns_and_further_columns_do_not_matter(rows: pl.DataFrame, bundle: Bundle) -> None:
    other = rows.select(reversed(rows.columns)).with_columns(note=pl.lit("x"))
    assert score(other, bundle).equals(score(rows, bundle))


def test_a_value_never_seen_is_named_and_the_row_scored(rows: pl.DataFrame, bundle: Bundle) -> None:
    said = score(changed(changed(rows, "cap-shape", "?", 3), "season", "?", 3), bundle)
    assert said["unseen"][3] == "cap-shape,season"
    assert said["unseen"].null_count() == 39
    assert said["prediction"].null_count() == said["probability"].null_count() == 0
    assert said["verdict"][3] == "unknown"
    assert said["reason"][3].startswith("never seen in training: cap-shape,season")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("17.wrz", "stem-width: '17.wrz' is not a finite number"),
        ("-3", "stem-width: '-3' is out of range, allowed is at least 0 and at most 500"),
        ("-nan", "stem-width: '-nan' is not a finite number"),
        ("inf", "stem-width: 'inf' is not a finite number"),
        ("1e400", "stem-width: '1e400' is not a finite number"),
    ],
)
def test_a_row_that_cannot_be_scored_says_why(value: str, reason: str, rows: pl.DataFrame, bundle: Bundle) -> None:
    said = score(changed(rows, "stem-width", value, 7), bundle)
    assert said.row(7) == ("unknown", reason, None, None, None, None, None, None, None)
    assert said["prediction"].null_count() == 1
    others = pl.int_range(40, eager=True) != 7
    assert said.filter(others).equals(score(rows, bundle).filter(others))


def test_missing_values_are_no_fault(rows: pl.DataFrame, bundle: Bundle) -> None:
    said = score(changed(changed(rows, "stem-width", None, 7), "cap-shape", None, 7), bundle)
    assert said["prediction"].null_count() == 0
    assert said["unseen"].null_count() == 40


def test_no_rows_give_no_answers(rows: pl.DataFrame, bundle: Bundle) -> None:
    assert score(rows.clear(), bundle).shape == (0, len(ANSWERS))


def test_counts_add_up() -> None:
    assert Counts(3, 2, 1, 1, 0, 1, 1) + Counts(1, 1, 0, 0, 1, 0, 0) == Counts(4, 3, 1, 1, 1, 1, 1)
    assert Counts() + Counts(3, 2, 1, 1, 0, 1, 1) == Counts(3, 2, 1, 1, 0, 1, 1)


# --- from file to file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "out"), [("a.csv", "b.csv"), ("a.parquet", "b.parquet"), ("a.csv", "b.parquet"), ("a.parquet", "b.csv")]
)
def test_the_columns_that_came_then_the_answers(source: str, out: str, rows: pl.DataFrame, bundle: Bundle, predict: Predict) -> None:
    found = predict(rows, source=source, out=out)
    assert found.columns == [*rows.columns, *ANSWERS]
    assert found.select(rows.columns).equals(rows)
    np.testing.assert_array_equal(found["probability"].cast(pl.Float64).to_numpy(), score(rows, bundle)["probability"].to_numpy())
    assert found["prediction"].to_list() == score(rows, bundle)["prediction"].to_list()


def test_native_types_are_kept(rows: pl.DataFrame, bundle: Bundle, predict: Predict) -> None:
    typed = rows.with_columns(pl.col(bundle.schema.numeric).cast(pl.Float64), pl.col("season").cast(pl.Categorical))
    found = predict(typed, source="a.parquet", out="b.parquet")
    assert found.schema["stem-width"] == pl.Float64
    assert found["stem-width"].equals(typed["stem-width"])
    assert found["probability"].equals(score(rows, bundle)["probability"])


def test_the_columns_stay_in_the_order_in_which_they_came(rows: pl.DataFrame, predict: Predict) -> None:
    other = rows.select(reversed(rows.columns))
    found = predict(other)
    assert found.columns == [*other.columns, *ANSWERS]
    assert found.select(other.columns).equals(other)


def test_the_target_may_be_there_and_stays(rows: pl.DataFrame, predict: Predict) -> None:
    found = predict(rows.with_columns(pl.lit("e").alias("class")))
    assert set(found["class"]) == {"e"}
    assert found["probability"].equals(predict(rows)["probability"])


def test_a_column_that_is_not_there_was_not_observed(rows: pl.DataFrame, predict: Predict) -> None:
    without = predict(rows.drop("cap-shape"))
    hidden = predict(rows.with_columns(pl.lit(None, dtype=pl.String).alias("cap-shape")))
    assert without["verdict"].to_list() == hidden["verdict"].to_list()
    assert without["verdict"].is_not_null().all()


def test_a_misspelt_column_is_refused(rows: pl.DataFrame, predict: Predict, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing: 'cap-shape'"):
        predict(rows.rename({"cap-shape": "cap-shap"}))
    assert not (tmp_path / "answers.csv").exists()


def test_a_file_without_any_feature_is_refused(rows: pl.DataFrame, predict: Predict) -> None:
    with pytest.raises(DataError, match=r"missing: 'cap-diameter'"):
        predict(pl.DataFrame({"one": [1], "two": [2]}))


def test_rows_that_cannot_be_read_keep_their_place(rows: pl.DataFrame, small_run: Path, tmp_path: Path) -> None:
    rows.write_csv(tmp_path / "new.csv", separator=";")
    lines = (tmp_path / "new.csv").read_text(encoding="utf-8").splitlines()
    lines[5] += ";one;more"
    lines[9] = "what?"
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = scoring.predict(small_run, tmp_path / "new.csv", tmp_path / "out.parquet")
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.height == 40
    assert found["reason"][4].startswith("22 fields instead of 20: ")
    assert found["reason"][8] == "1 field instead of 20: what?"
    assert found["prediction"].is_null().arg_true().to_list() == [4, 8]
    assert found["cap-diameter"][5] == rows["cap-diameter"][5]
    assert (result.counts.rows, result.counts.scored, result.counts.unscorable) == (40, 38, 2)
    alone = scoring.predict(small_run, tmp_path / "new.csv", tmp_path / "scores.parquet", guarded=False)
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert scores.columns == [*rows.columns, "prediction", "probability", "reason"]
    assert scores.equals(found.select(scores.columns).with_columns(reason=pl.when(pl.col("prediction").is_null()).then(pl.col("reason"))))
    assert (alone.counts.rows, alone.counts.scored, alone.counts.unscorable, alone.counts.unknown) == (40, 38, 2, 0)
    assert "unknown" not in alone.to_dict()
    assert any(row[0] == "answered" and row[1].startswith("none") for row in alone.tables()[0].rows)


def test_counts_say_what_became_of_the_rows(rows: pl.DataFrame, small_run: Path, served: str, tmp_path: Path) -> None:
    odd = changed(changed(changed(rows, "stem-width", "17.wrz", 7), "season", "?", 3), "season", "?", 7)
    odd.write_csv(tmp_path / "new.csv", separator=";")
    result = scoring.predict(small_run, tmp_path / "new.csv", tmp_path / "out.csv")
    said = pl.read_csv(tmp_path / "out.csv", infer_schema=False)
    verdicts = said["verdict"].to_list()
    assert result.counts == Counts(
        rows=40,
        scored=39,
        unscorable=1,
        unseen=1,
        negative=verdicts.count("edible"),
        positive=verdicts.count("poisonous"),
        unknown=verdicts.count("unknown") - 1,
    )
    assert result.model == served
    assert result.simulated is False
    assert ("not scorable, see 'reason'", "1") in result.tables()[0].rows


def test_batches_make_no_difference(small_table: Path, small_run: Path, tmp_path: Path) -> None:
    """A file of several batches against the same rows one table at a time."""
    table = pl.read_csv(small_table, separator=";", infer_schema=False).drop("class")
    many = pl.concat([table] * 250)
    many.write_parquet(tmp_path / "many.parquet")
    table.write_parquet(tmp_path / "few.parquet")
    for name in ("many", "few"):
        scoring.predict(small_run, tmp_path / f"{name}.parquet", tmp_path / f"{name}.out.parquet")
    found, wanted = (pl.read_parquet(tmp_path / f"{name}.out.parquet") for name in ("many", "few"))
    assert found.equals(pl.concat([wanted] * 250))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("at", [0, 1])
def test_texts_stay_texts_in_every_batch(at: int, suffix: str, rows: pl.DataFrame, bundle: Bundle, tmp_path: Path) -> None:
    """A value that only one of two batches holds, and which the model has never seen."""
    frames = [rows, changed(rows, "season", "never", 3)][:: 1 if at else -1]
    batches = [Batch(frame.with_row_index("_row"), malformed_rows(), 1) for frame in frames]
    out = tmp_path / f"answers{suffix}"
    score_batches(batches, out, bundle, workers=1, progress=SilentProgress(), guarded=False)
    found = pl.read_csv(out, infer_schema=False) if suffix == ".csv" else pl.read_parquet(out)
    assert found.select(frames[0].columns).equals(pl.concat(frames))


def test_what_no_csv_can_say_is_refused(rows: pl.DataFrame, predict: Predict, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"duration.*name a file that ends in \.parquet"):
        predict(rows.with_columns(spent=pl.lit(timedelta(minutes=2))), source="new.parquet", out="answers.csv")
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.parametrize(
    ("model", "ref"),
    [
        ("decision_tree", "decision_tree/v1"),
        ("logistic_regression/v1", "logistic_regression/v1"),
        ("models/registry/xgboost/v1/model.json", "xgboost/v1"),
        ("models/xgboost.joblib", "xgboost/v1"),
    ],
)
def test_every_way_to_name_a_model(model: str, ref: str, rows: pl.DataFrame, small_run: Path, tmp_path: Path) -> None:
    rows.write_csv(tmp_path / "new.csv", separator=";")
    assert scoring.predict(small_run, tmp_path / "new.csv", tmp_path / "out.csv", model=model).model == ref
    found = pl.read_csv(tmp_path / "out.csv")["probability"].to_numpy()
    loaded = Registry(small_run / "models/registry").load(ref)
    np.testing.assert_array_equal(found, score(rows, loaded)["probability"].to_numpy())


def test_production_is_scored_where_no_model_is_named(
    rows: pl.DataFrame, bundle: Bundle, served: str, small_run: Path, tmp_path: Path
) -> None:
    rows.write_csv(tmp_path / "new.csv", separator=";")
    assert scoring.predict(small_run, tmp_path / "new.csv", tmp_path / "none.csv").model == served
    for model in ("production", served):
        assert scoring.predict(small_run, tmp_path / "new.csv", tmp_path / "out.csv", model=model).model == served
        assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "none.csv").read_bytes()
        found = pl.read_csv(tmp_path / "out.csv")["probability"].to_numpy()
        np.testing.assert_array_equal(found, score(rows, bundle)["probability"].to_numpy())


def test_what_cannot_be_named_is_refused(rows: pl.DataFrame, small_run: Path, tmp_path: Path) -> None:
    rows.write_csv(tmp_path / "new.csv", separator=";")
    with pytest.raises(RegistryError, match=r"no model 'xgbost' is registered \(did you mean 'xgboost'\?\)"):
        scoring.predict(small_run, tmp_path / "new.csv", tmp_path / "out.csv", model="xgbost")
    with pytest.raises(RegistryError, match="no version is in production yet; choose one of: none yet, run sporeprint etl"):
        scoring.predict(tmp_path / "empty", tmp_path / "new.csv", tmp_path / "out.csv")


def test_a_format_nobody_knows_is_refused_before_anything_is_read(rows: pl.DataFrame, small_run: Path, tmp_path: Path) -> None:
    rows.write_csv(tmp_path / "new.csv", separator=";")
    with pytest.raises(UsageError, match=r"--out .*out.xlsx: expected a file name that ends in .csv or .parquet"):
        scoring.predict(small_run, tmp_path / "new.csv", tmp_path / "out.xlsx")
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
def test_a_full_disk_leaves_the_answers_before(out: str, small_table: Path, small_run: Path, tmp_path: Path) -> None:
    (tmp_path / out).write_bytes(b"before")
    arguments = ["predict", small_table, "--out", tmp_path / out, "--workdir", small_run, "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "sporeprint", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "400"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 6
    assert done.stderr.startswith(f"error: cannot write {tmp_path / out}: ")
    assert "File too large" in done.stderr
    assert done.stderr.endswith("; nothing was replaced\n")
    assert (tmp_path / out).read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == [out]
