import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import OneClassSVM

from sporeprint.errors import NotServableError
from sporeprint.models.onnx_export import OPSETS, first_line, to_onnx

X = np.random.default_rng(0).normal(size=(120, 3)).round(2)
Y = (X[:, 0] > X[:, 1]).astype(np.int64)
ESTIMATORS = [GaussianNB(), KNeighborsClassifier(), HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5)]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(("dtype", "element"), [(np.float32, onnx.TensorProto.FLOAT), (np.float64, onnx.TensorProto.DOUBLE)])
def test_graph_is_valid_with_one_input_and_one_output(estimator: object, dtype: type, element: int) -> None:
    model = onnx.load_from_string(to_onnx(estimator.fit(X, Y), 3, dtype))  # type: ignore[attr-defined]  # scikit-learn ships no types
    onnx.checker.check_model(model, full_check=True)
    (taken,), (given,) = model.graph.input, model.graph.output
    assert taken.name == "X"
    assert taken.type.tensor_type.elem_type == element
    assert given.name == "positive"
    versions = [(entry.domain, entry.version) for entry in model.opset_import]
    assert versions == sorted(set(versions))
    assert all(version <= OPSETS[domain] for domain, version in versions)


def test_names_do_not_depend_on_what_was_converted_before() -> None:
    """The converter of neighbours numbers from a counter of the whole process."""
    estimator = KNeighborsClassifier().fit(X, Y)
    assert len({to_onnx(estimator, 3, np.float64) for _ in range(3)}) == 1


def test_class_order_is_that_of_the_labels() -> None:
    """A classifier whose first class is the positive one still gives the positive one's probability."""
    estimator = GaussianNB().fit(X, Y)
    session = onnxruntime.InferenceSession(to_onnx(estimator, 3, np.float64), providers=["CPUExecutionProvider"])
    turned = GaussianNB().fit(X, 1 - Y)
    turned.classes_ = np.array([1, 0])
    other = onnxruntime.InferenceSession(to_onnx(turned, 3, np.float64), providers=["CPUExecutionProvider"])
    assert session.run(None, {"X": X})[0] == pytest.approx(other.run(None, {"X": X})[0], abs=1e-12)


def test_numbers_missing_in_training_do_not_hinder() -> None:
    holes = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
    estimator = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5).fit(holes, Y)
    session = onnxruntime.InferenceSession(to_onnx(estimator, 3, np.float64), providers=["CPUExecutionProvider"])
    for rows in (X, holes):
        assert session.run(None, {"X": rows})[0] == pytest.approx(estimator.predict_proba(rows)[:, 1], abs=1e-7)


def test_a_failed_conversion_says_why() -> None:
    estimator = OneClassSVM().fit(X)
    estimator.classes_ = np.array([0, 1])
    with pytest.raises(NotServableError, match="no conversion: "):
        to_onnx(estimator, 3, np.float64)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "ValueError"),
        ("\n  one \n two", "ValueError: one"),
        ("Stack trace:\n x", "ValueError: x"),
        ("y" * 500, "ValueError: " + "y" * 200),
    ],
)
def test_first_line_of_an_error(text: str, shown: str) -> None:
    assert first_line(ValueError(text)) == shown
