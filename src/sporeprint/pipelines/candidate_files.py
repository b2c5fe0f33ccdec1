"""Files of fitted models between `train` and `register`, which run as processes of their own."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sporeprint.common.files import atomic_write
from sporeprint.errors import DataError, RegistryError
from sporeprint.evaluation.candidate import Candidate
from sporeprint.models.encoder import Encoder
from sporeprint.models.scorers import load_scorer


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
            candidate = _read(path.parent)
        except (RegistryError, OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the trained model in {path.parent} is damaged ({error}); run sporeprint train again") from error
        if candidate.data_run != data_run:
            raise DataError(
                f"model {name!r} was trained on the tables of run {candidate.data_run}, not {data_run}; run sporeprint train again"
            )
        candidates.append(candidate)
    return candidates


def _read(place: Path) -> Candidate:
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
