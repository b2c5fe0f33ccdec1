"""Candidates read back as they were written, and only if they belong to the loaded data."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sporeprint import candidates, train, transform
from sporeprint.candidates import Candidate
from sporeprint.errors import DataError
from sporeprint.settings import ModelSettings, TransformSettings
from support import NUMERIC, OPEN, codes, dataset, labels

SCHEMA = dataset({"mark": OPEN, "width": NUMERIC})
MODEL = ModelSettings(estimator="sklearn.tree.DecisionTreeClassifier")


@pytest.fixture
def candidate() -> Candidate:
    table = codes({"mark": ["a", "b", None, "a"] * 5, "width": [1.0, 2.0, None, 4.0] * 5}, SCHEMA)
    y = labels(*[0, 1, 1, 0] * 5)
    encoder = transform.fit(table, y, transform.choices(TransformSettings(), MODEL, SCHEMA))
    rows = train.Encoded(encoder.matrix(table), y)
    fitted = train.fit(MODEL, rows, rows, seed=1, threads=1)
    scorer = train.to_scorer(fitted, rows.X, threads=1)
    return Candidate(
        name="tree",
        encoder=encoder,
        scorer=scorer,
        not_servable=None,
        scores=scorer.score(rows.X),
        reference=fitted.score(rows.X),
        fit_seconds=0.5,
        rounds=None,
        importance={"mark": 0.25, "width": 0.75},
        notes=("a note",),
        settings=MODEL.model_dump(mode="json"),
        data_run="run-1",
    )


def test_it_reads_back_as_it_was_written(tmp_path: Path, candidate: Candidate) -> None:
    candidates.write(tmp_path, candidate)
    (found,) = candidates.read(tmp_path, ["tree"], "run-1")
    assert found.scorer is not None
    assert candidate.scorer is not None
    assert found.scorer.to_files() == candidate.scorer.to_files()
    np.testing.assert_array_equal(found.scores, candidate.scores)
    np.testing.assert_array_equal(found.reference, candidate.reference)
    plain = [field.name for field in dataclasses.fields(Candidate) if field.name not in {"scorer", "scores", "reference"}]
    assert {name: getattr(found, name) for name in plain} == {name: getattr(candidate, name) for name in plain}


def test_one_that_cannot_be_served_reads_back_with_its_reason(tmp_path: Path, candidate: Candidate) -> None:
    candidates.write(tmp_path, dataclasses.replace(candidate, scorer=None, not_servable="no probabilities"))
    (found,) = candidates.read(tmp_path, ["tree"], "run-1")
    assert (found.scorer, found.not_servable) == (None, "no probabilities")


def test_a_model_that_was_not_trained_names_the_step_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="model 'tree' has not been trained in this work directory; run sporeprint train"):
        candidates.read(tmp_path, ["tree"], "run-1")


def test_a_model_of_other_tables_is_refused(tmp_path: Path, candidate: Candidate) -> None:
    candidates.write(tmp_path, candidate)
    with pytest.raises(DataError, match="'tree' was trained on the tables of run run-1, not run-2"):
        candidates.read(tmp_path, ["tree"], "run-2")


def test_one_that_was_written_half_is_none(tmp_path: Path, candidate: Candidate) -> None:
    candidates.write(tmp_path, candidate)
    (tmp_path / "tree" / "candidate.json").unlink()
    with pytest.raises(DataError, match="has not been trained"):
        candidates.read(tmp_path, ["tree"], "run-1")
