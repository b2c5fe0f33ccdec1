"""Fitted models between `train` and `register`: files that a later step, or another process, picks up."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint.common.files import atomic_write
from sporeprint.data.coded_table import Codes
from sporeprint.errors import DataError, NotServableError, RegistryError
from sporeprint.models.encoder import Encoder
from sporeprint.models.scorers import Scorer, load_scorer
from sporeprint.safety.decision_rule import DecisionRule


@dataclass(frozen=True)
class Candidate:
    """A fitted model that is not registered.

    Attributes:
        name: the model's name in the configuration.
        encoder: fitted on its training rows.
        scorer: the form that is served; None where there is none.
        not_servable: why there is none.
        parts: further files that serve, by name: calibration, guard, threshold, and what explains an answer.
        scores: float64 [t], the test rows' scores, not calibrated, by the served form where there is one.
        reference: float64 [t], the same by the estimator itself: what a served score is held against.
        fit_seconds: what the fit took.
        rounds: boosting rounds kept; None where there are none.
        importance: dataset column -> share of the model's importance, adding up to 1.
        notes: what the fit warned of.
        settings: the model's part of the configuration.
        data_run: the run that wrote the tables it was fitted on.
    """

    name: str
    encoder: Encoder
    scorer: Scorer | None
    not_servable: str | None
    parts: Mapping[str, bytes]
    scores: npt.NDArray[np.float64]
    reference: npt.NDArray[np.float64]
    fit_seconds: float
    rounds: int | None
    importance: Mapping[str, float]
    notes: tuple[str, ...]
    settings: Mapping[str, Any]
    data_run: str

    @cached_property
    def safety(self) -> DecisionRule:
        """What stands between the scores and an answer."""
        return DecisionRule.from_files(self.parts)

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """float64 [t], P(positive) of the test rows, calibrated."""
        return self.safety.calibration(self.scores)

    def score(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Scores of n rows by the served form, not calibrated: float64 [n].

        Raises:
            NotServableError: if there is no such form.
        """
        if self.scorer is None:
            raise NotServableError(str(self.not_servable))
        return self.scorer.score(self.encoder.matrix(codes))


def write_candidate(folder: Path, candidate: Candidate) -> None:
    """Write a candidate below the folder; the record goes last, and without it there is no candidate.

    Raises:
        StorageError: if a file cannot be written.
    """
    place = folder / candidate.name
    (place / "candidate.json").unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)  # with what a killed run left there
    files = {} if candidate.scorer is None else candidate.scorer.to_files()
    for name, data in {**files, **candidate.parts}.items():
        atomic_write(place / name, data)
    atomic_write(place / "encoder.json", candidate.encoder.to_json())
    record = {
        "name": candidate.name,
        "scorer": None if candidate.scorer is None else candidate.scorer.kind,
        "files": list(files),
        "parts": list(candidate.parts),
        "not_servable": candidate.not_servable,
        "scores": candidate.scores.tolist(),
        "reference": candidate.reference.tolist(),
        "fit_seconds": candidate.fit_seconds,
        "rounds": candidate.rounds,
        "importance": dict(candidate.importance),
        "notes": list(candidate.notes),
        "settings": dict(candidate.settings),
        "data_run": candidate.data_run,
    }
    atomic_write(place / "candidate.json", json.dumps(record))


def read_candidates(folder: Path, names: Sequence[str], data_run: str) -> list[Candidate]:
    """The candidates of these names, in their order.

    Raises:
        DataError: if one is missing, damaged, or was fitted on another run's tables.
    """
    candidates = []
    for name in names:
        path = folder / name / "candidate.json"
        if not path.exists():
            raise DataError(f"model {name!r} has not been trained in this work directory; run sporeprint train")
        try:
            candidate = _read_candidate(path.parent)
        except (RegistryError, OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the trained model in {path.parent} is damaged ({error}); run sporeprint train again") from error
        if candidate.data_run != data_run:
            raise DataError(
                f"model {name!r} was trained on the tables of run {candidate.data_run}, not {data_run}; run sporeprint train again"
            )
        candidates.append(candidate)
    return candidates


def _read_candidate(place: Path) -> Candidate:
    record = json.loads((place / "candidate.json").read_text(encoding="utf-8"))
    files = {name: (place / name).read_bytes() for name in record["files"]}
    return Candidate(
        name=record["name"],
        encoder=Encoder.from_json((place / "encoder.json").read_text(encoding="utf-8")),
        scorer=None if record["scorer"] is None else load_scorer(record["scorer"], files),
        not_servable=record["not_servable"],
        parts={name: (place / name).read_bytes() for name in record["parts"]},
        scores=np.array(record["scores"], dtype=np.float64),
        reference=np.array(record["reference"], dtype=np.float64),
        fit_seconds=record["fit_seconds"],
        rounds=record["rounds"],
        importance=record["importance"],
        notes=tuple(record["notes"]),
        settings=record["settings"],
        data_run=record["data_run"],
    )
