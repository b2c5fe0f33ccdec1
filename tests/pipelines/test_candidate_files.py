"""Fitted models as files: they come back as they were, or not at all."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sporeprint.common.files import atomic_write
from sporeprint.errors import DataError
from sporeprint.evaluation.candidate import Candidate
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder import Encoder, NumericEncoding
from sporeprint.models.training import fit_model, to_scorer
from sporeprint.pipelines.candidate_files import read_candidates, write_candidate
from sporeprint.settings import ModelSettings

ENCODER = Encoder(tuple(NumericEncoding(name, 0.1, 1 / 3, 0.0, False, None, 1.0) for name in "abc"))
RANDOM = np.random.default_rng(0)
X = RANDOM.random((80, 3)).astype(np.float32)
Y = (X[:, 0] > 0.5).astype(np.int8)
ESTIMATORS = {
    "xgboost": "xgboost",
    "linear": "sklearn.linear_model.LogisticRegression",
    "onnx": "sklearn.tree.DecisionTreeClassifier",
}


def candidate(kind: str | None = "linear", name: str = "model", run: str = "run-1") -> Candidate:
    scorer = None
    if kind is not None:
        model = ModelSettings(estimator=ESTIMATORS[kind], rounds=3)
        scorer = to_scorer(fit_model(model, EncodedRows(X, Y), EncodedRows(X, Y), seed=1, threads=1), X, threads=1)
    return Candidate(
        name=name,
        encoder=ENCODER,
        scorer=scorer,
        not_servable=None if scorer else "RidgeClassifier gives no probabilities",
        parts={"calibration.json": b"{}", "guard.npz": bytes(range(256))},
        scores=np.array([0.1 + 0.2, 1 / 3, 5e-324, 1.0]),
        reference=np.array([0.1, 0.2, 0.3, 0.4]),
        fit_seconds=0.123,
        rounds=3 if kind == "xgboost" else None,
        importance={"b": 0.75, "a": 0.25, "c": 0.0},
        notes=("ConvergenceWarning: größer",),
        settings={"estimator": "x", "params": {"C": 0.1, "list": [1, None, True]}},
        data_run=run,
    )


def without_arrays(found: Candidate) -> dict[str, Any]:
    fields = {name: getattr(found, name) for name in Candidate.__dataclass_fields__}
    return {name: value for name, value in fields.items() if name not in {"scorer", "scores", "reference"}}


@pytest.mark.parametrize("kind", [*ESTIMATORS, None])
def test_a_candidate_comes_back_as_it_was(tmp_path: Path, kind: str | None) -> None:
    written = candidate(kind)
    write_candidate(tmp_path, written)
    (found,) = read_candidates(tmp_path, ["model"], "run-1")
    assert without_arrays(found) == without_arrays(written)
    assert list(found.importance) == ["b", "a", "c"]
    np.testing.assert_array_equal(found.scores, written.scores, strict=True)
    np.testing.assert_array_equal(found.reference, written.reference, strict=True)
    if written.scorer is None:
        assert found.scorer is None
    else:
        assert found.scorer is not None
        assert found.scorer.kind == kind
        assert found.scorer.to_files() == written.scorer.to_files()
        assert np.array_equal(found.scorer.score(X), written.scorer.score(X))


def test_candidates_come_in_the_order_asked_for(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_candidate(tmp_path, candidate(name=name))
    assert [found.name for found in read_candidates(tmp_path, ["c", "b"], "run-1")] == ["c", "b"]
    assert read_candidates(tmp_path, [], "run-1") == []


def test_a_candidate_replaces_the_one_before_whatever_its_kind(tmp_path: Path) -> None:
    for kind in ("xgboost", None, "onnx", "linear"):
        write_candidate(tmp_path, candidate(kind))
        (found,) = read_candidates(tmp_path, ["model"], "run-1")
        assert (found.scorer.kind if found.scorer else None) == kind


def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    write_candidate(tmp_path, candidate("xgboost"))
    (tmp_path / "model/.model.onnx.x7.tmp").write_text("half a mod", encoding="utf-8")
    write_candidate(tmp_path, candidate("linear"))
    files = {"candidate.json", "encoder.json", "linear.json", "scorer.json", "calibration.json", "guard.npz"}
    assert {path.name for path in (tmp_path / "model").iterdir()} == files


def test_a_candidate_that_was_never_trained_is_missed(tmp_path: Path) -> None:
    write_candidate(tmp_path, candidate(name="a"))
    with pytest.raises(DataError, match=r"^model 'b' has not been trained in this work directory; run sporeprint train$"):
        read_candidates(tmp_path, ["a", "b"], "run-1")


def test_a_candidate_of_other_tables_is_refused(tmp_path: Path) -> None:
    write_candidate(tmp_path, candidate(run="run-1"))
    with pytest.raises(DataError, match=r"^model 'model' was trained on the tables of run run-1, not run-2; run sporeprint train again$"):
        read_candidates(tmp_path, ["model"], "run-2")


def test_killed_while_writing_there_is_no_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = 4  # the seal, the model, the encoder, the record
    for done in range(files):
        write_candidate(tmp_path, candidate())
        left = done

        def dying(path: Path, data: bytes | str) -> None:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            atomic_write(path, data)

        monkeypatch.setattr("sporeprint.pipelines.candidate_files.atomic_write", dying)
        with pytest.raises(KeyboardInterrupt):
            write_candidate(tmp_path, replace(candidate(), fit_seconds=9.0))
        monkeypatch.setattr("sporeprint.pipelines.candidate_files.atomic_write", atomic_write)
        with pytest.raises(DataError, match="has not been trained"):
            read_candidates(tmp_path, ["model"], "run-1")
    write_candidate(tmp_path, candidate())
    assert len(read_candidates(tmp_path, ["model"], "run-1")) == 1


def put(name: str, text: str) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        (place / name).write_text(text, encoding="utf-8")

    return change


def without(key: str) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        record = json.loads((place / "candidate.json").read_text(encoding="utf-8"))
        del record[key]
        (place / "candidate.json").write_text(json.dumps(record), encoding="utf-8")

    return change


def flip(place: Path) -> None:
    content = bytearray((place / "linear.json").read_bytes())
    content[len(content) // 2] ^= 1
    (place / "linear.json").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "linear.json was altered"),
        (lambda place: (place / "linear.json").unlink(), "linear.json"),
        (lambda place: (place / "encoder.json").unlink(), "encoder.json"),
        (put("encoder.json", "{}"), "not an encoder of format 1"),
        (put("candidate.json", ""), "Expecting value"),
        (put("candidate.json", "[]"), "list indices"),
        (without("scores"), "scores"),
        (without("data_run"), "data_run"),
    ],
)
def test_a_damaged_candidate_is_refused_naming_what_is_damaged(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    write_candidate(tmp_path, candidate())
    damage(tmp_path / "model")
    with pytest.raises(DataError, match=rf"^the trained model in .*model is damaged \(.*{message}.*\); run sporeprint train again$"):
        read_candidates(tmp_path, ["model"], "run-1")
