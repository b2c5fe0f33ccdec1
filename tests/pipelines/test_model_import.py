"""Models made elsewhere, in real files of each kind: scored as their own library scores them; or refused with the reason."""

import json
import pickle
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import polars as pl
import pytest
import xgboost
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sporeprint import settings
from sporeprint.common.workdir import Workdir
from sporeprint.data.training_data import read_input
from sporeprint.errors import NotServableError, SporeprintError, UsageError
from sporeprint.inference.predictor import explain_row
from sporeprint.inference.table_scoring import verdicts
from sporeprint.pipelines.explanation import explain
from sporeprint.pipelines.model_import import ImportOptions, feature_names, run_import
from sporeprint.registry.registry import Registry

NUMBERS = ["cap-diameter", "stem-height", "stem-width"]
TEXTS = ["cap-shape", "gill-color", "stem-color"]


def dump_skops(model: Any, path: Path) -> None:
    import skops.io  # looks through every module there is, for half a second, in each process that collects this file

    skops.io.dump(model, path)


@pytest.fixture(scope="session")
def table(small_table: Path) -> pl.DataFrame:
    """The rows as somebody else reads them; a missing text is "", a missing number NaN."""
    frame = pl.read_csv(small_table, separator=";", infer_schema=False)
    return frame.with_columns(pl.col(NUMBERS).cast(pl.Float64).fill_null(float("nan")), pl.col(TEXTS).fill_null(""))


@pytest.fixture(scope="session")
def one_hot(table: pl.DataFrame) -> pl.DataFrame:
    """As pandas' get_dummies writes it; the features interleaved, so that their order is not that of the table."""
    dummies = table.select(TEXTS).to_dummies().select(pl.exclude("^.*_$"))
    return pl.concat(
        [
            dummies.select(pl.nth(range(0, dummies.width, 2))),
            table.select(NUMBERS[::-1]),
            dummies.select(pl.nth(range(1, dummies.width, 2))),
        ],
        how="horizontal",
    )


@pytest.fixture(scope="session")
def poisonous(table: pl.DataFrame) -> np.ndarray[Any, Any]:
    return (table["class"] == "p").to_numpy()


@pytest.fixture(scope="session")
def booster(one_hot: pl.DataFrame, poisonous: np.ndarray[Any, Any]) -> xgboost.Booster:
    X = one_hot.to_numpy().astype(np.float32)
    X[::7, one_hot.columns.index("stem-width")] = np.nan  # so that it learns what a missing number means
    data = xgboost.DMatrix(X, poisonous, feature_names=one_hot.columns)
    return xgboost.train({"objective": "binary:logistic", "max_depth": 4, "nthread": 1, "seed": 1}, data, 12)


@pytest.fixture(scope="session")
def pipeline(table: pl.DataFrame, poisonous: np.ndarray[Any, Any]) -> Any:
    """Texts in, probabilities out: what people keep."""
    columns = ColumnTransformer(
        [("words", OneHotEncoder(handle_unknown="ignore"), TEXTS), ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS)]
    )
    return make_pipeline(columns, LogisticRegression()).fit(table.select(TEXTS + NUMBERS), np.where(poisonous, "p", "e"))


def imported(root: Path, config: dict[str, Any], file: Path, options: ImportOptions | None = None, name: str = "partner") -> Any:
    result = run_import(settings.parse(config), root, file, name, options or ImportOptions())
    assert result.created
    return Registry(root / "models/registry").load(result.ref)


def rows(bundle: Any, root: Path, config: dict[str, Any]) -> tuple[pl.DataFrame, np.ndarray[Any, Any]]:
    """The test rows as texts and numbers, and the bundle's scores of them."""
    from sporeprint.data.dataset import to_rows

    codes = read_input(settings.parse(config), Workdir(root)).test.codes
    frame = pl.DataFrame(to_rows(codes), infer_schema_length=None)
    frame = frame.with_columns(pl.col(NUMBERS).cast(pl.Float32).cast(pl.Float64).fill_null(float("nan")), pl.col(TEXTS).fill_null(""))
    return frame, bundle.scorer.score(bundle.encoder.matrix(codes))


def as_features(frame: pl.DataFrame, names: Sequence[str]) -> np.ndarray[Any, Any]:
    columns = [
        frame[name].to_numpy() if name in NUMBERS else (frame[name.rpartition("_")[0]] == name.rpartition("_")[2]).to_numpy()
        for name in names
    ]
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_a_booster_scores_as_xgboost_does(
    suffix: str, booster: xgboost.Booster, one_hot: pl.DataFrame, small_copy: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    booster.save_model(tmp_path / f"booster.{suffix}")
    bundle = imported(small_copy, small_config, tmp_path / f"booster.{suffix}")
    frame, scores = rows(bundle, small_copy, small_config)
    own = booster.predict(xgboost.DMatrix(as_features(frame, one_hot.columns), feature_names=one_hot.columns))
    np.testing.assert_allclose(scores, own, atol=1e-6)
    assert set(verdicts(bundle, frame.to_dicts()[:50])) <= {"edible", "poisonous", "unknown"}
    assert bundle.info["model"]["estimator"] == "imported:xgboost"
    assert "not known" in bundle.info["notes"][0]
    assert Registry(small_copy / "models/registry").production().ref != "partner/v1"  # type: ignore[union-attr]


def explained(root: Path, bundle: Any, frame: pl.DataFrame) -> tuple[Any, dict[str, float]]:
    """The explanation of a row with all columns named, and the effect of each."""
    row = {name: None if value in ("", None) or value != value else value for name, value in frame.to_dicts()[0].items()}
    found = explain_row(bundle, {name: row.get(name) for name in bundle.schema.columns}, most=99)
    return found, {each.column: each.effect for each in found.attributions}


def test_a_booster_is_explained_by_its_own_trees(
    booster: xgboost.Booster, one_hot: pl.DataFrame, small_copy: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    booster.save_model(tmp_path / "booster.ubj")
    bundle = imported(small_copy, small_config, tmp_path / "booster.ubj")
    frame, _ = rows(bundle, small_copy, small_config)
    own = xgboost.DMatrix(as_features(frame[:1], one_hot.columns), feature_names=one_hot.columns)
    *shares, base = booster.predict(own, pred_contribs=True)[0].tolist()
    expected = dict.fromkeys(TEXTS + NUMBERS, 0.0)
    for name, share in zip(one_hot.columns, shares, strict=True):
        expected[name if name in NUMBERS else name.rpartition("_")[0]] += share
    found, effects = explained(small_copy, bundle, frame)
    assert (found.unit, found.base) == ("log odds", pytest.approx(base, abs=1e-5))
    assert effects == pytest.approx({name: value for name, value in expected.items() if value}, abs=1e-5)


def test_a_linear_pipeline_of_texts_is_explained_exactly(
    pipeline: Any, small_copy: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    dump_skops(pipeline, tmp_path / "pipeline.skops")
    bundle = imported(small_copy, small_config, tmp_path / "pipeline.skops")
    frame, _ = rows(bundle, small_copy, small_config)
    found, effects = explained(small_copy, bundle, frame)
    assert found.unit == "log odds"
    assert set(effects) <= {*TEXTS, *NUMBERS}
    margin = float(pipeline.decision_function(frame.select(TEXTS + NUMBERS)[:1])[0])
    assert sum(effects.values()) + found.base == pytest.approx(margin, abs=1e-4)
    for name in NUMBERS:  # a sum: what another value of one column changes, its effect changes
        other = frame[:1].with_columns(pl.col(name) + 5)
        change = float(pipeline.decision_function(other.select(TEXTS + NUMBERS))[0]) - margin
        assert explained(small_copy, bundle, other)[1][name] - effects[name] == pytest.approx(change, abs=1e-4)


def test_any_graph_is_explained_by_replacing_columns(small_copy: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    options = ImportOptions(("stem-width", "cap-diameter", "cap-shape=x"), missing_number=2.5)
    bundle = imported(small_copy, small_config, net(tmp_path), options)
    frame, scores = rows(bundle, small_copy, small_config)
    found, effects = explained(small_copy, bundle, frame)
    assert found.unit == "probability"
    assert set(effects) <= {"stem-width", "cap-diameter", "cap-shape"}
    assert sum(effects.values()) + found.base == pytest.approx(float(scores[0]), abs=1e-6)
    whole = {name: "" if value is None else value for name, value in bundle.golden.rows[0].items()}
    assert explain(small_copy, whole, model="partner/v1").tables()[1].columns[1] == "towards poisonous, in probability"


def test_a_missing_number_reaches_a_booster_as_nan(
    booster: xgboost.Booster, one_hot: pl.DataFrame, small_copy: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    booster.save_model(tmp_path / "booster.json")
    bundle = imported(small_copy, small_config, tmp_path / "booster.json")
    frame, _ = rows(bundle, small_copy, small_config)
    frame = frame.with_columns(pl.lit(float("nan")).alias("stem-width"))
    own = booster.predict(xgboost.DMatrix(as_features(frame, one_hot.columns), feature_names=one_hot.columns))
    matrix = np.stack([bundle.encoder.encode_row({**row, "stem-width": None}) for row in frame.to_dicts()])
    np.testing.assert_allclose(bundle.scorer.score(matrix), own, atol=1e-6)


def test_a_skops_pipeline_scores_as_scikit_learn_does(
    pipeline: Any, small_copy: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    dump_skops(pipeline, tmp_path / "pipeline.skops")
    bundle = imported(small_copy, small_config, tmp_path / "pipeline.skops")
    frame, scores = rows(bundle, small_copy, small_config)
    own = pipeline.predict_proba(frame.select(TEXTS + NUMBERS))[:, 1]
    np.testing.assert_allclose(scores, own, atol=1e-6)


def test_a_skops_forest_of_named_numbers(
    one_hot: pl.DataFrame, poisonous: np.ndarray[Any, Any], small_copy: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    forest = RandomForestClassifier(20, max_depth=6, random_state=1).fit(one_hot.fill_nan(0.0), poisonous)
    dump_skops(forest, tmp_path / "forest.skops")
    bundle = imported(small_copy, small_config, tmp_path / "forest.skops", ImportOptions(missing_number=0.0))
    frame, scores = rows(bundle, small_copy, small_config)
    own = forest.predict_proba(pl.DataFrame(as_features(frame, one_hot.columns).astype(np.float64), schema=one_hot.columns).fill_nan(0.0))[
        :, 1
    ]
    np.testing.assert_allclose(scores, own, atol=1e-6)


def test_onnx_of_columns_with_texts_and_a_list_of_dictionaries(
    pipeline: Any, small_copy: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    types = [(name, (StringTensorType if name in TEXTS else FloatTensorType)([None, 1])) for name in TEXTS + NUMBERS]
    proto = convert_sklearn(pipeline, initial_types=types, target_opset=18)
    assert any(node.op_type == "ZipMap" for node in proto.graph.node)
    (tmp_path / "pipeline.onnx").write_bytes(proto.SerializeToString())
    bundle = imported(small_copy, small_config, tmp_path / "pipeline.onnx")
    frame, scores = rows(bundle, small_copy, small_config)
    np.testing.assert_allclose(scores, pipeline.predict_proba(frame.select(TEXTS + NUMBERS))[:, 1], atol=1e-4)


def matrix_graph(tmp_path: Path, nodes: list[Any], width: int = 3, outputs: Sequence[str] = ("p",), kind: int = TensorProto.FLOAT) -> Path:
    weights = np.array([0.1 * (number + 1) for number in range(width)], dtype=np.float32)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info(name, kind, ["rows", "columns"]) for name in outputs],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [width, 1], weights.tobytes(), raw=True),
            helper.make_tensor("minus", TensorProto.FLOAT, [1], [-1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def net(tmp_path: Path, width: int = 3) -> Path:
    """One layer, as other frameworks write it: no names of features, one probability."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Mul", ["z", "minus"], ["m"]),
        helper.make_node("Sigmoid", ["m"], ["p"]),
    ]
    return matrix_graph(tmp_path, nodes, width)


def test_onnx_of_one_matrix_whose_features_somebody_names(small_copy: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("stem-width\ncap-diameter\ncap-shape=x\n")
    options = ImportOptions(feature_names(str(tmp_path / "names.txt")), missing_number=2.5)
    bundle = imported(small_copy, small_config, net(tmp_path), options)
    frame, scores = rows(bundle, small_copy, small_config)
    X = as_features(frame.with_columns(pl.col(NUMBERS).fill_nan(2.5)), ["stem-width", "cap-diameter", "cap-shape_x"])
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(X @ [0.1, 0.2, 0.3])), atol=1e-6)


def refused(
    root: Path,
    config: dict[str, Any],
    file: Path,
    match: str,
    options: ImportOptions | None = None,
    kind: type[SporeprintError] = NotServableError,
) -> None:
    before = sorted((root / "models").rglob("*"))
    with pytest.raises(kind, match=match):
        run_import(settings.parse(config), root, file, "partner", options or ImportOptions())
    assert sorted((root / "models").rglob("*")) == before


NAMED = ImportOptions(("stem-width", "cap-diameter", "stem-height"), missing_number=0.0)


class Surprise:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("ran",))


def test_pickles_are_refused_unread(
    small_run: Path, small_config: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for protocol in (2, 5):
        (tmp_path / "a.skops").write_bytes(pickle.dumps(Surprise(), protocol))
        refused(small_run, small_config, tmp_path / "a.skops", "it is a pickle")
    joblib.dump(Surprise(), tmp_path / "a.onnx", compress=3)
    refused(small_run, small_config, tmp_path / "a.onnx", "it is a pickle")
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Surprise()))
    refused(small_run, small_config, tmp_path / "a.pt", "it is a pickle")
    assert "ran" not in capfd.readouterr().out


def test_types_that_skops_does_not_trust_are_named(small_run: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    dump_skops(make_pipeline(FunctionTransformer(Surprise), LogisticRegression()), tmp_path / "a.skops")
    refused(small_run, small_config, tmp_path / "a.skops", r"could run any code.*Surprise")


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        ([helper.make_node("MatMul", ["x", "w"], ["p"])], r"no probabilities: row \d+ of the test rows has \[.*expected 0 to 1"),
        (
            [
                helper.make_node("Softsign", ["x"], ["q"]),
                helper.make_node("MatMul", ["q", "w"], ["s"]),
                helper.make_node("Sigmoid", ["s"], ["a"]),
                helper.make_node("Concat", ["a", "a"], ["p"], axis=1),
            ],
            "do not add up to 1",
        ),
        ([helper.make_node("Sigmoid", ["x"], ["p"])], "3 classes apart"),
        ([helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0), helper.make_node("Sigmoid", ["s"], ["p"])], r"shape \[\] for"),
        (
            [
                helper.make_node("Log", ["minus"], ["n"]),
                helper.make_node("MatMul", ["x", "w"], ["z"]),
                helper.make_node("Add", ["z", "n"], ["p"]),
            ],
            r"no probabilities: row 0 of the test rows has \[nan\]",
        ),
    ],
)
def test_outputs_that_are_no_probabilities(
    nodes: list[Any], match: str, small_run: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    refused(small_run, small_config, matrix_graph(tmp_path, nodes), match, NAMED)


def test_a_regressor_gives_no_probabilities(
    small_run: Path, small_config: dict[str, Any], tmp_path: Path, one_hot: pl.DataFrame, poisonous: np.ndarray[Any, Any]
) -> None:
    dump_skops(Ridge().fit(one_hot.fill_nan(0), poisonous), tmp_path / "a.skops")
    refused(small_run, small_config, tmp_path / "a.skops", "Ridge has no predict_proba")
    xgboost.train({"objective": "reg:squarederror", "nthread": 1}, xgboost.DMatrix(one_hot.to_numpy(), poisonous), 2).save_model(
        tmp_path / "a.json"
    )
    refused(small_run, small_config, tmp_path / "a.json", "reg:squarederror")


def test_another_number_of_inputs(small_run: Path, small_config: dict[str, Any], tmp_path: Path, booster: xgboost.Booster) -> None:
    refused(small_run, small_config, net(tmp_path, 4), "takes 4 numbers a row, and 3 features are named", NAMED, UsageError)
    refused(small_run, small_config, net(tmp_path), "takes 3 numbers a row and does not name them", kind=UsageError)
    booster.save_model(tmp_path / "a.ubj")
    refused(small_run, small_config, tmp_path / "a.ubj", r"takes \d+ numbers a row, and 3 features are named", NAMED, UsageError)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("stem-width", "stem-width", "stem-height"), "'stem-width' is named twice"),
        (("stem-widht", "cap-diameter", "stem-height"), r"'stem-widht' is nothing of the table \(did you mean 'stem-width'\?\)"),
        (("cap-shape", "cap-diameter", "stem-height"), "'cap-shape' is the nominal column itself"),
        (("cap-shape=unheard", "cap-diameter", "stem-height"), "'cap-shape=unheard' is nothing of the table"),
    ],
)
def test_names_of_features_that_cannot_be(
    names: tuple[str, ...], match: str, small_run: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    refused(small_run, small_config, net(tmp_path), match, ImportOptions(names), UsageError)


def test_a_damaged_file_of_each_kind(
    booster: xgboost.Booster, pipeline: Any, small_run: Path, small_config: dict[str, Any], tmp_path: Path
) -> None:
    booster.save_model(tmp_path / "a.json")
    raw = json.loads((tmp_path / "a.json").read_text())
    raw["learner"]["gradient_booster"]["model"]["trees"][0]["left_children"] = "none"
    (tmp_path / "a.json").write_text(json.dumps(raw))
    refused(small_run, small_config, tmp_path / "a.json", r"a\.json cannot be imported: (it is no XGBoost model|its library crashed)")
    dump_skops(pipeline, tmp_path / "whole.skops")
    for name, data in (
        ("a.skops", (tmp_path / "whole.skops").read_bytes()[:-200]),
        ("a.onnx", net(tmp_path).read_bytes()[:-40]),
        ("a.txt", b"a,b\n1,2\n"),
        ("empty", b""),
    ):
        (tmp_path / name).write_bytes(data)
        refused(small_run, small_config, tmp_path / name, "cannot be imported")
    refused(small_run, small_config, tmp_path / "gone.onnx", "cannot be read", kind=UsageError)


def test_tensors_in_another_file_are_refused(small_run: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    model = onnx.load(net(tmp_path))
    onnx.save(model, tmp_path / "far.onnx", save_as_external_data=True, location="/etc/hostname.bin".rpartition("/")[2], size_threshold=0)
    refused(small_run, small_config, tmp_path / "far.onnx", "lies in another file", NAMED)


def test_the_other_way_round_is_noticed(pipeline: Any, small_run: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    dump_skops(pipeline, tmp_path / "a.skops")
    refused(small_run, small_config, tmp_path / "a.skops", "--positive-label", ImportOptions(positive_label="e"), UsageError)
    refused(small_run, small_config, tmp_path / "a.skops", "'e', 'p'", ImportOptions(positive_label="x"), UsageError)


def test_a_name_of_the_configuration_is_refused(small_run: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a model of the configuration"):
        run_import(settings.parse(small_config), small_run, net(tmp_path), "xgboost")


def test_with_a_table_of_its_own(booster: xgboost.Booster, small_table: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    """Into an empty work directory, and from there into production."""
    booster.save_model(tmp_path / "booster.ubj")
    shutil.copy(small_table, tmp_path / "ours.csv")
    result = run_import(
        settings.parse(small_config), tmp_path / "work", tmp_path / "booster.ubj", "partner", source=str(tmp_path / "ours.csv")
    )
    assert result.ref == "partner/v1"
    assert result.seen.metrics["roc_auc"].value > 0.9
