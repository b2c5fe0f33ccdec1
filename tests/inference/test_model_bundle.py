from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.inference.model_bundle import Bundle, GoldenRows, Row, check_parity, schema_differences
from sporeprint.models.encoder import Encoder, Matrix, NominalEncoding, NumericEncoding
from sporeprint.models.scorers import LinearScorer
from sporeprint.schema import DatasetSchema
from support import some_safety

SCHEMA = DatasetSchema.model_validate(
    {
        "name": "plants",
        "target": {"column": "kind", "positive": "b", "values": {"a": "alder", "b": "birch"}},
        "columns": {
            "height": {"kind": "numeric", "unit": "m", "min": 0, "max": 60},
            "leaf": {"kind": "nominal", "values": {"o": "oval", "r": "round"}},
            "bark": {"kind": "nominal"},
        },
    }
)
HEIGHT = NumericEncoding("height", center=10.0, scale=5.0, fill=8.0, indicator=True, low=1.0, high=30.0)
ENCODER = Encoder(
    (
        HEIGHT,
        NominalEncoding("leaf", one_hot=True, categories=("o", "r"), numbers=(), missing=0.0, unseen=0.0),
        NominalEncoding("bark", one_hot=False, categories=("smooth",), numbers=(1.0,), missing=0.0, unseen=-1.0),
    )
)
SCORER = LinearScorer(np.array([0.5, -1.0, 0.25, 1.5, -0.75, 0.125]), 0.1)
ROWS: tuple[Row, ...] = (
    {"height": 12.5, "leaf": "o", "bark": "smooth"},
    {"height": None, "leaf": None, "bark": "rough"},
    {"height": 0.1, "leaf": "x"},
)


def probabilities() -> tuple[float, ...]:
    return tuple(SCORER.score(np.stack([ENCODER.encode_row(row) for row in ROWS])).tolist())


BUNDLE = Bundle(
    "plants", ENCODER, SCORER, SCHEMA, GoldenRows(ROWS, probabilities()), {"data_fingerprint": "d1"}, parts=some_safety(SCHEMA).to_files()
)


def test_parity_is_exact_for_what_the_scorer_itself_said() -> None:
    assert check_parity(BUNDLE) == pytest.approx(0, abs=1e-15)


def test_parity_finds_the_one_row_that_differs() -> None:
    first, second, third = probabilities()
    assert check_parity(replace(BUNDLE, golden=GoldenRows(ROWS, (first, second + 0.01, third)))) == pytest.approx(0.01)
    assert check_parity(replace(BUNDLE, golden=GoldenRows(ROWS, (first, second, third - 0.02)))) == pytest.approx(0.02)


def test_parity_finds_another_encoder() -> None:
    other = Encoder((replace(HEIGHT, center=10.001), *ENCODER.columns[1:]))
    assert check_parity(replace(BUNDLE, encoder=other)) > 1e-6


def test_parity_of_a_score_that_is_no_number_is_infinite() -> None:
    assert check_parity(replace(BUNDLE, golden=GoldenRows(ROWS, (float("nan"), 0.1, 0.2)))) == float("inf")


class Moody:
    """Scores a row alone by a tenth more than among others."""

    kind, n_features, to_files = "moody", SCORER.n_features, SCORER.to_files

    def score(self, X: Matrix) -> npt.NDArray[np.float64]:
        return SCORER.score(X) + (0.1 if len(X) == 1 else 0)


def test_parity_holds_rows_alone_and_together() -> None:
    assert check_parity(replace(BUNDLE, scorer=Moody())) == pytest.approx(0.1)


def test_parity_without_rows() -> None:
    assert check_parity(replace(BUNDLE, golden=GoldenRows((), ()))) == 0


def test_identity_is_what_serves_the_contract_and_the_data() -> None:
    same = [
        BUNDLE,
        replace(BUNDLE, metrics={"accuracy": 1}),
        replace(BUNDLE, extras={"card.md": b"x"}),
        replace(BUNDLE, golden=GoldenRows((), ())),
        replace(BUNDLE, info={"data_fingerprint": "d1", "seed": 5}),
    ]
    others = [
        replace(BUNDLE, name="other"),
        replace(BUNDLE, info={"data_fingerprint": "d2"}),
        replace(BUNDLE, scorer=LinearScorer(SCORER.coefficients, 0.2)),
        replace(BUNDLE, encoder=Encoder(ENCODER.columns[::-1])),
        replace(BUNDLE, schema=SCHEMA.model_copy(update={"name": "trees"})),
        replace(BUNDLE, parts={"guard.bin": b"1"}),
        replace(BUNDLE, parts={"guard.bin": b"2"}),
    ]
    assert {bundle.identity() for bundle in same} == {BUNDLE.identity()}
    assert len({bundle.identity() for bundle in (BUNDLE, *others)}) == len(others) + 1


def test_identity_needs_the_data_fingerprint() -> None:
    with pytest.raises(ValueError, match="info of 'plants' has no data_fingerprint"):
        replace(BUNDLE, info={"seed": 1}).identity()


values = st.one_of(st.none(), st.text(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(st.tuples(st.dictionaries(st.text(), values, max_size=3), st.floats(0, 1)), max_size=4))
def test_golden_rows_survive_their_file(pairs: list[tuple[dict[str, str | float | None], float]]) -> None:
    golden = GoldenRows(tuple(row for row, _ in pairs), tuple(p for _, p in pairs))
    assert GoldenRows.from_json(golden.to_json()) == golden
    assert GoldenRows.from_json(golden.to_json().encode()) == golden


def test_golden_rows_and_scores_are_as_many() -> None:
    with pytest.raises(ValueError, match="3 golden rows, but 2 scores"):
        GoldenRows(ROWS, (0.1, 0.2))


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 2}'])
def test_another_format_of_golden_rows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a golden file of format 1"):
        GoldenRows.from_json(text)


def test_equal_schemas_have_no_difference_and_words_are_none() -> None:
    raw = SCHEMA.model_dump(mode="json")
    raw["columns"]["height"] |= {"unit": "cm", "description": "how high"}
    raw["columns"]["leaf"]["values"]["o"] = "like an egg"
    raw["target"]["values"]["a"] = "Erle"
    raw["columns"] = dict(reversed(raw["columns"].items()))
    assert schema_differences(SCHEMA, DatasetSchema.model_validate(raw)) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["columns"].pop("bark"), "column 'bark' is missing"),
        (lambda raw: raw["columns"].update(soil={"kind": "nominal"}), "column 'soil' is new"),
        (lambda raw: raw["columns"].update(bark={"kind": "numeric"}), "column 'bark' was nominal, is numeric"),
        (lambda raw: raw["columns"]["leaf"]["values"].update(z="jagged"), r"column 'leaf': codes differ (z)"),
        (lambda raw: raw["columns"]["height"].update(max=70), "column 'height': limits differ"),
        (lambda raw: raw["columns"]["bark"].update(required=True), "column 'bark': limits differ"),
        (lambda raw: raw["target"].update(positive="a"), "target: was ['a', 'b'] with positive 'b', is ['a', 'b'] with positive 'a'"),
    ],
)
def test_a_difference_between_schemas_is_named(change: object, message: str) -> None:
    raw = SCHEMA.model_dump(mode="json")
    change(raw)  # type: ignore[operator]  # lambdas of one shape
    assert schema_differences(SCHEMA, DatasetSchema.model_validate(raw)) == (message,)
