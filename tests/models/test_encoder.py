"""Encoders: the same numbers by both ways, the formulas by hand and by scikit-learn, and what becomes of the unknown."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder, RobustScaler, StandardScaler, TargetEncoder

from sporeprint import settings
from sporeprint.data.coded_table import LARGEST, Codes
from sporeprint.data.dataset import to_rows
from sporeprint.models.encoder import Encoder, NominalEncoding, NumericEncoding
from sporeprint.models.encoder_fit import LEAST_ROWS, MOST_FEATURES, SMOOTHING, column_transforms, fit_and_encode, fit_encoder
from sporeprint.schema import DatasetSchema
from sporeprint.settings import ModelSettings, NominalTransform, NumericTransform, TransformSettings
from support import NUMERIC, OPEN, Labelled, codes, dataset, labels, nominal, tables

SHAPES = ["x", "x", "x", "b", "b", "f", None, None]
Y = labels(1, 1, 0, 0, 0, 1, 1, 0)
SCHEMA = dataset({"shape": nominal("x", "b", "s", "f"), "size": NUMERIC})


def shape_encoder(values: list[str | None] | None = None, y: Any = Y, **choice: Any) -> Encoder:
    """An encoder of one nominal column, fitted on `SHAPES`, each row five times: so many a value needs for a number of its own."""
    schema = dataset({"shape": SCHEMA.columns["shape"].model_dump()})
    rows = codes({"shape": (SHAPES if values is None else values) * LEAST_ROWS}, schema)
    return fit_encoder(rows, np.tile(y, LEAST_ROWS), {"shape": NominalTransform(**choice)})


def size_encoder(values: list[float | None], **choice: Any) -> Encoder:
    """An encoder of one numeric column."""
    schema = dataset({"size": NUMERIC})
    return fit_encoder(codes({"size": values}, schema), np.zeros(len(values), dtype=np.int8), {"size": NumericTransform(**choice)})


def by_rows(encoder: Encoder, found: Codes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The matrix, encoded row by row."""
    matrix = np.full((found.rows, len(encoder.features)), np.nan, dtype=np.float32)
    # An unknown value has no text in the codes; any that is in no vocabulary will do.
    unknown = {**{name: (*values, "\0unknown") for name, values in found.vocabulary.items()}}
    nominal = {name: np.where(values == -1, len(unknown[name]), values).astype(np.int16) for name, values in found.nominal.items()}
    for row, out in zip(to_rows(Codes(unknown, nominal, found.numeric, found.rows)), matrix, strict=True):
        assert encoder.encode_row(row, out) is out
    return matrix


# --- both ways give the same numbers ---------------------------------------------------------------------------------

CHOICES: list[dict[str, Any]] = [
    {},
    {"nominal": {"encode": "ordinal"}, "numeric": {"encode": "none", "indicator": True}},
    {"nominal": {"encode": "target_mean"}, "numeric": {"encode": "robust", "impute": "mean"}},
    {"nominal": {"impute": "most_frequent"}, "numeric": {"impute": "constant", "constant": -1, "indicator": True}},
    {"nominal": {"encode": "ordinal", "impute": "constant", "constant": "f"}, "numeric": {"encode": "robust"}},
]


@pytest.fixture(scope="session")
def real_codes(real_data: Path, config_file: Path) -> tuple[Codes, DatasetSchema, Any]:
    """The real table's features, contract and labels."""
    schema = settings.load_settings(config_file, environ={}).dataset
    frame = pl.read_csv(real_data, separator=";", infer_schema=False)
    return Codes.of(frame, schema), schema, (frame["class"] == "p").cast(pl.Int8).to_numpy()


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_a_row_alone_is_encoded_as_in_the_table_for_every_real_row(chosen: dict[str, Any], real_codes: Any) -> None:
    found, schema, y = real_codes
    some = np.arange(353 * 40)  # of 40 species only, so that the others bring values the encoder has not seen
    model = ModelSettings(estimator="xgboost")
    encoder = fit_encoder(found.take(some), y[some], column_transforms(TransformSettings.model_validate(chosen), model, schema))
    assert encoder.unseen(found)
    matrix = encoder.matrix(found)
    assert (matrix.dtype.name, matrix.shape) == ("float32", (61069, len(encoder.features)))
    assert np.array_equal(by_rows(encoder, found), matrix)
    assert np.isfinite(matrix).all()


@st.composite
def fitted(draw: st.DrawFn) -> tuple[Labelled, Encoder]:
    table = draw(tables())
    constants = [value for values in table.codes.vocabulary.values() for value in values] or ["none"]
    nominal_choice = {
        "encode": draw(st.sampled_from(["one_hot", "ordinal", "target_mean"])),
        **draw(st.sampled_from([{}, {"impute": "most_frequent"}, {"impute": "constant", "constant": draw(st.sampled_from(constants))}])),
    }
    numeric_choice = {
        "encode": draw(st.sampled_from(["standard", "robust", "none"])),
        "indicator": draw(st.booleans()),
        **draw(st.sampled_from([{}, {"impute": "mean"}, {"impute": "constant", "constant": draw(st.floats(-1e6, 1e6))}])),
    }
    wanted = TransformSettings.model_validate({"nominal": nominal_choice, "numeric": numeric_choice})
    chosen = column_transforms(wanted, ModelSettings(estimator="xgboost"), table.schema)
    rows = draw(st.integers(0, table.codes.rows))
    return table, fit_encoder(table.codes.take(slice(0, rows)), table.y[:rows], chosen)


@given(fitted())
def test_a_row_alone_is_encoded_as_in_the_table(case: tuple[Labelled, Encoder]) -> None:
    table, encoder = case
    matrix = encoder.matrix(table.codes)
    assert matrix.flags.c_contiguous
    assert matrix.dtype == np.float32
    assert not np.isnan(matrix).any()
    assert np.array_equal(by_rows(encoder, table.codes), matrix)


@given(fitted())
def test_an_encoder_comes_back_from_json_as_it_was(case: tuple[Labelled, Encoder]) -> None:
    table, encoder = case
    text = encoder.to_json()
    back = Encoder.from_json(text)
    assert back == encoder
    assert back.to_json() == text
    assert np.array_equal(back.matrix(table.codes), encoder.matrix(table.codes))


@given(fitted())
def test_every_matrix_column_has_a_name_of_its_own_and_a_source(case: tuple[Labelled, Encoder]) -> None:
    table, encoder = case
    assert len(set(encoder.features)) == len(encoder.features) == len(encoder.sources) == encoder.matrix(table.codes).shape[1]
    assert list(dict.fromkeys(encoder.sources)) == list(table.schema.columns)
    assert all(feature.startswith(source) for feature, source in zip(encoder.features, encoder.sources, strict=True))


@hypothesis_settings(max_examples=40)
@given(fitted(), st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_that_of_a_vocabulary_changes_an_encoder(case: tuple[Labelled, Encoder], random: Any) -> None:
    table, encoder = case
    turned = {name: tuple(random.sample([*values, "\0other"], len(values) + 1)) for name, values in table.codes.vocabulary.items()}
    back = {name: [0, *(turned[name].index(value) + 1 for value in values), -1] for name, values in table.codes.vocabulary.items()}
    nominal = {name: np.array([back[name][value] for value in values], dtype=np.int16) for name, values in table.codes.nominal.items()}
    other = Codes(turned, nominal, table.codes.numeric, table.codes.rows)
    assert np.array_equal(encoder.matrix(other), encoder.matrix(table.codes))
    assert {name: flags.tolist() for name, flags in encoder.unseen(other).items()} == {
        name: flags.tolist() for name, flags in encoder.unseen(table.codes).items()
    }


def test_the_order_of_columns_in_a_table_does_not_matter() -> None:
    frame = pl.DataFrame({"shape": ["x", "b", None], "size": ["1", None, "3"]})
    chosen = column_transforms(TransformSettings(), ModelSettings(estimator="xgboost"), SCHEMA)
    encoder = fit_encoder(Codes.of(frame, SCHEMA), labels(0, 1, 0), chosen)
    other = frame.select("size", "shape")
    assert fit_encoder(Codes.of(other, SCHEMA), labels(0, 1, 0), chosen) == encoder
    assert np.array_equal(encoder.matrix(Codes.of(other, SCHEMA)), encoder.matrix(Codes.of(frame, SCHEMA)))
    assert encoder.encode_row({"size": 1.0, "shape": "x"}).tolist() == encoder.encode_row({"shape": "x", "size": 1.0}).tolist()


def test_a_column_left_out_of_a_row_is_missing() -> None:
    chosen = column_transforms(TransformSettings(), ModelSettings(estimator="xgboost"), SCHEMA)
    encoder = fit_encoder(codes({"shape": ["x", None], "size": [1.0, 2.0]}, SCHEMA), labels(0, 1), chosen)
    assert encoder.encode_row({}).tolist() == encoder.encode_row({"shape": None, "size": None}).tolist()


def test_what_was_in_the_array_before_does_not_shine_through() -> None:
    encoder = shape_encoder()
    out = encoder.encode_row({"shape": "x"}).copy()
    encoder.encode_row({"shape": "never seen"}, out)
    assert out.tolist() == [0.0] * len(encoder.features)


# --- nominal columns -------------------------------------------------------------------------------------------------


def test_one_hot() -> None:
    encoder = shape_encoder()
    assert encoder.features == ("shape:missing", "shape=x", "shape=b", "shape=f")
    assert encoder.encode_row({"shape": "b"}).tolist() == [0, 0, 1, 0]
    assert encoder.encode_row({"shape": None}).tolist() == [1, 0, 0, 0]
    assert encoder.encode_row({"shape": "s"}).tolist() == [0, 0, 0, 0]  # declared, but not in the training rows


@given(tables(unknown=False))
def test_one_hot_is_that_of_scikit_learn(table: Labelled) -> None:
    schema = table.schema
    encoder = fit_encoder(table.codes, table.y, column_transforms(TransformSettings(), ModelSettings(estimator="xgboost"), schema))
    matrix = encoder.matrix(table.codes)
    for name, values in table.codes.vocabulary.items():
        texts = np.array([["\0" if code == 0 else values[code - 1]] for code in table.codes.nominal[name]], dtype=object)
        wanted = OneHotEncoder(categories=[["\0", *encoder.vocabulary[name]]], sparse_output=False).fit_transform(texts)
        mine = [column for column, source in enumerate(encoder.sources) if source == name]
        assert np.array_equal(matrix[:, mine], wanted)


def test_ordinal_numbers_follow_the_share_of_positive_rows() -> None:
    encoder = shape_encoder(encode="ordinal")  # b: 0 of 2, x: 2 of 3, f: 1 of 1
    assert encoder.features == ("shape",)
    numbers = {value: encoder.encode_row({"shape": value}).tolist() for value in ("b", "x", "f", None, "s")}
    assert numbers == {"b": [1], "x": [2], "f": [3], None: [0], "s": [-1]}


def test_among_equal_shares_the_name_decides() -> None:
    encoder = shape_encoder(["x", "s", "b", "f"], labels(1, 1, 1, 0), encode="ordinal")
    assert encoder.vocabulary["shape"] == ("f", "b", "s", "x")


def test_target_mean_is_shrunk_towards_the_overall_mean() -> None:
    encoder = shape_encoder(encode="target_mean")  # overall 20 of 40; (positive + 10 · 0.5) / (rows + 10)
    wanted = {"b": 5 / 20, "x": 15 / 25, "f": 10 / 15, None: 10 / 20, "s": 0.5}
    assert {value: encoder.encode_row({"shape": value})[0] for value in wanted} == pytest.approx(wanted)


def test_target_mean_of_missing_values_where_there_were_none_is_the_overall_mean() -> None:
    encoder = shape_encoder(["x", "x", "b", "b"], labels(1, 1, 1, 0), encode="target_mean")
    assert encoder.encode_row({"shape": None})[0] == pytest.approx(0.75)


@pytest.mark.parametrize("encode", ["one_hot", "ordinal", "target_mean"])
def test_missing_unseen_and_known_are_three_things(encode: str) -> None:
    encoder = shape_encoder(y=labels(1, 1, 0, 0, 0, 1, 1, 1), encode=encode)
    rows = [encoder.encode_row({"shape": value}).tolist() for value in ("b", "f", "x", None, "s")]
    assert all(left != right for left, right in itertools.combinations(rows, 2))
    assert encoder.encode_row({"shape": "s"}).tolist() == encoder.encode_row({"shape": "never heard of"}).tolist()


@pytest.mark.parametrize("encode", ["one_hot", "ordinal", "target_mean"])
@pytest.mark.parametrize(
    ("choice", "read_as"),
    [
        ({"impute": "most_frequent"}, "x"),
        ({"impute": "constant", "constant": "b"}, "b"),
        ({"impute": "constant", "constant": "f"}, "f"),
    ],
)
def test_a_missing_value_is_read_as_a_known_one(encode: str, choice: dict[str, Any], read_as: str) -> None:
    encoder = shape_encoder(encode=encode, **choice)
    assert encoder.encode_row({"shape": None}).tolist() == encoder.encode_row({"shape": read_as}).tolist()
    assert encoder.encode_row({"shape": "s"}).tolist() not in [encoder.encode_row({"shape": value}).tolist() for value in "bfx"]
    assert "shape:missing" not in encoder.features


@pytest.mark.parametrize("encode", ["one_hot", "ordinal", "target_mean"])
def test_a_constant_that_was_never_seen_leaves_missing_a_value_of_its_own(encode: str) -> None:
    assert shape_encoder(encode=encode, impute="constant", constant="s") == shape_encoder(encode=encode)


@pytest.mark.parametrize("encode", ["one_hot", "ordinal", "target_mean"])
@pytest.mark.parametrize("impute", ["category", "most_frequent"])
@pytest.mark.parametrize("values", [[None, None], []])
def test_a_column_in_which_nothing_was_seen(encode: str, impute: str, values: list[None]) -> None:
    encoder = shape_encoder(list(values), np.ones(len(values), dtype=np.int8), encode=encode, impute=impute)
    assert len(encoder.features) == 1
    assert np.isfinite(encoder.encode_row({"shape": None})).all()
    assert np.isfinite(encoder.encode_row({"shape": "x"})).all()
    assert encoder.vocabulary == {"shape": ()}


def test_unknown_values_in_training_teach_nothing() -> None:
    known = Codes({"shape": ("b", "x")}, {"shape": np.array([1, 2, 2], dtype=np.int16)}, {}, 3)
    more = Codes({"shape": ("b", "x")}, {"shape": np.array([1, 2, 2, -1, -1], dtype=np.int16)}, {}, 5)
    for encode in ("one_hot", "ordinal", "target_mean"):
        choice = {"shape": NominalTransform.model_validate({"encode": encode})}
        assert fit_encoder(more, labels(0, 1, 0, 1, 1), choice) == fit_encoder(known, labels(0, 1, 0), choice)


def many_valued(values: int, rows_each: int, seed: int = 0) -> tuple[Codes, Any]:
    """A column of many values that says nothing of the label."""
    names = tuple(f"v{number}" for number in range(values))
    draw = np.random.default_rng(seed)
    code = draw.permutation(np.repeat(np.arange(1, values + 1), rows_each)).astype(np.int16)
    return Codes({"shape": names}, {"shape": code}, {}, len(code)), draw.integers(0, 2, len(code)).astype(np.int8)


def test_target_mean_is_that_of_scikit_learn() -> None:
    table, y = many_valued(40, 25)
    encoder = fit_encoder(table, y, {"shape": NominalTransform(encode="target_mean")})
    texts = np.array([["v" + str(code - 1)] for code in table.nominal["shape"].tolist()], dtype=object)
    wanted = TargetEncoder(smooth=SMOOTHING, target_type="binary").fit(texts, y).transform(texts)
    np.testing.assert_allclose(encoder.matrix(table), wanted, rtol=1e-6)


@pytest.mark.parametrize("encode", ["ordinal", "target_mean"])
@pytest.mark.parametrize(("values", "rows_each"), [(400, 1), (400, 3), (200, 6), (100, 20), (20, 99)])
def test_a_many_valued_column_does_not_give_the_label_away(encode: str, values: int, rows_each: int) -> None:
    table, y = many_valued(values, rows_each)
    encoder, matrix = fit_and_encode(table, y, {"shape": NominalTransform.model_validate({"encode": encode})}, seed=1)
    # 5 standard errors of the AUC of a column that says nothing (Hanley & McNeil 1982).
    assert abs(roc_auc_score(y, matrix[:, 0]) - 0.5) < 5 * np.sqrt((len(y) + 1) / (12 * y.sum() * (len(y) - y.sum())))
    if rows_each == 6:  # as every other row gets it, and as it was once trained on
        assert roc_auc_score(y, encoder.matrix(table)[:, 0]) > 0.6


@pytest.mark.parametrize("encode", ["ordinal", "target_mean"])
def test_the_numbers_of_a_value_with_many_rows_are_its_own(encode: str) -> None:
    table, y = many_valued(4, 100)
    encoder, matrix = fit_and_encode(table, y, {"shape": NominalTransform.model_validate({"encode": encode})}, seed=1)
    assert np.array_equal(matrix, encoder.matrix(table))


def test_values_of_few_rows_are_known_and_encoded_like_unseen_ones() -> None:
    table, y = many_valued(30, LEAST_ROWS - 1)
    for encode in ("ordinal", "target_mean"):
        encoder = fit_encoder(table, y, {"shape": NominalTransform.model_validate({"encode": encode})})
        assert encoder.unseen(table) == {}
        assert len(encoder.vocabulary["shape"]) == 30
        assert set(encoder.matrix(table)[:, 0].tolist()) == {encoder.encode_row({"shape": "never seen"})[0]}


def test_one_hot_has_a_feature_for_the_most_frequent_values_only() -> None:
    names = tuple(f"v{number}" for number in range(MOST_FEATURES + 50))
    code = np.r_[np.arange(1, len(names) + 1), np.arange(1, MOST_FEATURES + 1)].astype(np.int16)
    table = Codes({"shape": names}, {"shape": code}, {}, len(code))
    encoder = fit_encoder(table, np.zeros(len(code), dtype=np.int8), {"shape": NominalTransform()})
    assert len(encoder.features) == MOST_FEATURES + 1
    assert encoder.unseen(table) == {}
    assert Encoder.from_json(encoder.to_json()) == encoder
    assert encoder.encode_row({"shape": names[-1]}).tolist() == [0.0] * (MOST_FEATURES + 1)
    assert np.array_equal(by_rows(encoder, table), encoder.matrix(table))


def test_unseen_values_are_flagged() -> None:
    schema = dataset({"a": OPEN, "b": OPEN, "n": NUMERIC})
    train = codes({"a": ["x", "y"], "b": ["u", None], "n": [1.0, 2.0]}, schema)
    encoder = fit_encoder(train, labels(0, 1), column_transforms(TransformSettings(), ModelSettings(estimator="xgboost"), schema))
    later = codes({"a": ["z", None, "y", "w"], "b": ["u", None, "u", "u"], "n": [99.0, None, 1.0, 1.0]}, schema)
    assert {name: flags.tolist() for name, flags in encoder.unseen(later).items()} == {"a": [True, False, False, True]}
    assert encoder.unseen(train) == {}
    unknown = replace(later, nominal={"a": np.array([-1, 0, 3, 3], dtype=np.int16), "b": np.array([0, 0, 0, -1], dtype=np.int16)})
    assert {name: flags.tolist() for name, flags in encoder.unseen(unknown).items()} == {
        "a": [True, False, True, True],
        "b": [False, False, False, True],
    }


# --- numeric columns -------------------------------------------------------------------------------------------------

NUMBERS = st.lists(st.integers(-10_000, 10_000).map(lambda number: number / 8), min_size=2, unique=True)


@given(NUMBERS)
def test_standard_is_that_of_scikit_learn(values: list[float]) -> None:
    wanted = StandardScaler().fit_transform(np.array(values)[:, None])
    found = size_encoder([*values]).matrix(codes({"size": [*values]}, dataset({"size": NUMERIC})))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@given(NUMBERS)
def test_robust_is_that_of_scikit_learn(values: list[float]) -> None:
    wanted = RobustScaler().fit_transform(np.array(values)[:, None])
    found = size_encoder([*values], encode="robust").matrix(codes({"size": [*values]}, dataset({"size": NUMERIC})))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_numbers_by_hand() -> None:
    values = [1.0, 2.0, None, 3.0, 10.0]
    standard, robust, none = (size_encoder([*values], encode=encode) for encode in ("standard", "robust", "none"))
    assert standard.columns == (NumericEncoding("size", 4.0, 12.5**0.5, 2.5, False, 1.0, 10.0),)
    assert robust.columns == (NumericEncoding("size", 2.5, 3.0, 2.5, False, 1.0, 10.0),)
    assert none.columns == (NumericEncoding("size", 0.0, 1.0, 2.5, False, 1.0, 10.0),)
    assert robust.encode_row({"size": 10.0}).tolist() == [2.5]
    assert none.encode_row({"size": 7}).tolist() == [7.0]


@pytest.mark.parametrize(
    ("choice", "fill"),
    [
        ({"impute": "median"}, 2.5),
        ({"impute": "mean"}, 4.0),
        ({"impute": "constant", "constant": 0}, 0.0),
        ({"impute": "constant", "constant": -7.5}, -7.5),
    ],
)
def test_a_missing_number_is_filled(choice: dict[str, Any], fill: float) -> None:
    encoder = size_encoder([1.0, 2.0, None, 3.0, 10.0], encode="none", **choice)
    assert encoder.encode_row({"size": None}).tolist() == [fill]
    assert encoder.features == ("size",)


def test_an_indicator_tells_a_missing_number_from_the_one_it_is_filled_with() -> None:
    encoder = size_encoder([1.0, 2.0, 3.0], encode="none", indicator=True)
    assert encoder.features == ("size", "size:missing")
    assert encoder.encode_row({"size": None}).tolist() == [2.0, 1.0]
    assert encoder.encode_row({"size": 2.0}).tolist() == [2.0, 0.0]


@given(st.floats(-1e6, 1e6), st.integers(1, 40), st.sampled_from(["standard", "robust"]))
def test_a_number_that_never_changes_is_only_centered(value: float, rows: int, encode: str) -> None:
    # The mean of n equal numbers is not always that number, and their standard deviation then not 0.
    encoder = size_encoder([value] * rows, encode=encode)
    assert encoder.columns == (NumericEncoding("size", value, 1.0, value, False, value, value),)


@pytest.mark.parametrize("encode", ["standard", "robust"])
def test_the_spread_of_rounding_is_none(encode: str) -> None:
    (column,) = size_encoder([0.3, 0.1 + 0.2, 0.3, 0.1 + 0.2], encode=encode).columns
    assert isinstance(column, NumericEncoding)
    assert column.scale == 1.0


def test_small_numbers_keep_their_spread() -> None:
    (column,) = size_encoder([1e-30, 3e-30]).columns
    assert isinstance(column, NumericEncoding)
    assert column.scale == pytest.approx(1e-30)


@pytest.mark.parametrize("number", [3e38, -3e38])
def test_a_number_too_far_out_is_the_largest_there_is(number: float) -> None:
    encoder = size_encoder([1.0, 1.001])
    wanted = [np.copysign(LARGEST, number)]
    assert encoder.encode_row({"size": number}).tolist() == wanted
    assert encoder.matrix(codes({"size": [number]}, dataset({"size": NUMERIC}))).tolist() == [wanted]


def test_nan_is_missing() -> None:
    encoder = size_encoder([1.0, 2.0, 4.0], encode="none", indicator=True)
    assert encoder.encode_row({"size": float("nan")}).tolist() == encoder.encode_row({"size": None}).tolist() == [2.0, 1.0]


@pytest.mark.parametrize("encode", ["standard", "robust", "none"])
@pytest.mark.parametrize("values", [[None, None], []])
@pytest.mark.parametrize(("choice", "fill"), [({}, 0.0), ({"impute": "mean"}, 0.0), ({"impute": "constant", "constant": 4}, 4.0)])
def test_a_numeric_column_in_which_nothing_was_seen(encode: str, values: list[None], choice: dict[str, Any], fill: float) -> None:
    encoder = size_encoder([*values], encode=encode, indicator=True, **choice)
    assert encoder.columns == (NumericEncoding("size", 0.0, 1.0, fill, True, None, None),)
    assert encoder.encode_row({"size": None}).tolist() == [fill, 1.0]


# --- choices ---------------------------------------------------------------------------------------------------------


def chosen(transform: dict[str, Any], model: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    schema = dataset({"shape": nominal("x", "f"), "color": nominal("x", "f"), "size": NUMERIC, "width": NUMERIC})
    columns = transform.pop("columns", {})
    exceptions = {
        name: (NumericTransform if name in schema.numeric else NominalTransform).model_validate(choice) for name, choice in columns.items()
    }
    wanted = TransformSettings.model_validate({**transform, "columns": exceptions})
    found = column_transforms(wanted, ModelSettings(estimator="xgboost", **(model or {})), schema)
    assert list(found) == ["shape", "color", "size", "width"]
    return {name: choice.model_dump(exclude_defaults=True) for name, choice in found.items()}


def test_each_kind_has_its_default() -> None:
    assert chosen({}) == {"shape": {}, "color": {}, "size": {}, "width": {}}
    found = chosen({"nominal": {"encode": "ordinal"}, "numeric": {"indicator": True}})
    assert found == {
        "shape": {"encode": "ordinal"},
        "color": {"encode": "ordinal"},
        "size": {"indicator": True},
        "width": {"indicator": True},
    }


def test_a_model_s_wish_goes_before_the_default() -> None:
    transform = {"nominal": {"encode": "target_mean", "impute": "most_frequent"}, "numeric": {"indicator": True}}
    found = chosen(transform, {"nominal": "ordinal", "numeric": "none"})
    assert found["shape"] == {"encode": "ordinal", "impute": "most_frequent"}
    assert found["size"] == {"encode": "none", "indicator": True}


def test_a_column_s_exception_goes_before_a_model_s_wish() -> None:
    transform = {"columns": {"shape": {"encode": "target_mean"}, "size": {"indicator": True}, "width": {"encode": "robust"}}}
    found = chosen(transform, {"nominal": "ordinal", "numeric": "none"})
    assert found == {
        "shape": {"encode": "target_mean"},
        "color": {"encode": "ordinal"},
        "size": {"encode": "none", "indicator": True},
        "width": {"encode": "robust"},
    }


def test_an_exception_s_way_to_impute_leaves_the_default_s_constant_behind() -> None:
    transform = {
        "nominal": {"impute": "constant", "constant": "f"},
        "numeric": {"impute": "constant", "constant": 1},
        "columns": {
            "shape": {"impute": "category"},
            "color": {"impute": "constant", "constant": "x"},
            "size": {"impute": "mean"},
            "width": {"indicator": True},
        },
    }
    assert chosen(transform) == {
        "shape": {},
        "color": {"impute": "constant", "constant": "x"},
        "size": {"impute": "mean"},
        "width": {"impute": "constant", "constant": 1.0, "indicator": True},
    }


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_json_is_readable_and_keeps_every_digit() -> None:
    encoder = Encoder((NumericEncoding("größe", 0.1 + 0.2, 1 / 3, 5e-324, False, None, 1.0),))
    text = encoder.to_json()
    assert '"größe"' in text
    assert json.loads(text)["columns"][0] == {
        "kind": "numeric",
        "name": "größe",
        "center": 0.30000000000000004,
        "scale": 0.3333333333333333,
        "fill": 5e-324,
        "indicator": False,
        "low": None,
        "high": 1.0,
    }
    assert Encoder.from_json(text) == encoder


def test_an_encoder_with_infinite_numbers_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        Encoder((NominalEncoding("a", False, ("x",), (float("inf"),), 0.0, -1.0),)).to_json()


@pytest.mark.parametrize(
    "text",
    [
        *("", "nope", "[]", "{}", "3", '{"format": 2, "columns": []}', '{"format": 1}', '{"format": 1, "columns": 3}'),
        *('{"format": 1, "columns": [3]}', '{"format": 1, "columns": [{}]}', '{"format": 1, "columns": [{"kind": "other"}]}'),
        *('{"format": 1, "columns": [{"kind": "nominal", "name": "a"}]}', '{"format": 1, "columns": [{"kind": "numeric", "size": 1}]}'),
    ],
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not an encoder of format 1: "):
        Encoder.from_json(text)
