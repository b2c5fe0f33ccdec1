"""One version of a model as a value: what serves, what it was made from, and the rows it is held against."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes
from sporeprint.errors import RegistryError
from sporeprint.models.encoder import Encoder
from sporeprint.models.scorers import Scorer
from sporeprint.safety.decision_rule import DecisionRule, Predictions
from sporeprint.safety.next_question import Questions
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema
from sporeprint.settings import CsvSettings

Scores = npt.NDArray[np.float64]
Row = Mapping[str, str | float | None]


@dataclass(frozen=True)
class GoldenRows:
    """Rows with the scores that the training pipeline gave them.

    Attributes:
        rows: raw features by column, None where missing.
        scores: of each, before calibration.
    """

    rows: tuple[Row, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.scores):
            raise ValueError(f"{len(self.rows)} golden rows, but {len(self.scores)} scores")

    def to_json(self) -> str:
        """JSON that reads back as the same numbers."""
        raw = {"format": 1, "rows": [dict(row) for row in self.rows], "scores": list(self.scores)}
        return json.dumps(raw, ensure_ascii=False, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if the text is no golden file of a known format.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.get("format") != 1:
            raise ValueError("not a golden file of format 1")
        return cls(tuple(raw["rows"]), tuple(raw["scores"]))


@dataclass(frozen=True)
class Bundle:
    """A model that can be registered, or was.

    Attributes:
        name: the model's name.
        encoder: from raw values to the matrix.
        scorer: from the matrix to a score.
        schema: the table's contract.
        golden: rows to hold the served scores against.
        info: where it comes from, as JSON values; `data_fingerprint` is required, it is part of the identity.
        metrics: how good it is, as JSON values.
        parts: further files that serve, by name: calibration, guard, threshold, reasons. Part of the identity.
        extras: further files that do not: model card, pictures, reference data. No part of the identity.
    """

    name: str
    encoder: Encoder
    scorer: Scorer
    schema: DatasetSchema
    golden: GoldenRows
    info: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, bytes] = field(default_factory=dict)
    extras: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def csv(self) -> CsvSettings:
        """How the table that it was trained on was read, for further files of the same form."""
        return CsvSettings.model_validate(self.info.get("csv", {}))

    @cached_property
    def safety(self) -> DecisionRule:
        """What stands between a score and an answer.

        Raises:
            RegistryError: if the parts hold nothing of the kind.
        """
        try:
            return DecisionRule.from_files(self.parts)
        except ValueError as error:
            raise RegistryError(f"model {self.name!r} cannot answer: {error}") from error

    @cached_property
    def words(self) -> tuple[str, str, str]:
        """The words of the verdicts, by their numbers."""
        return verdict_words(self.schema)

    @cached_property
    def questions(self) -> Questions | None:
        """Chooses what to look at next; None for a version that cannot answer partial rows."""
        partial = self.safety.partial
        return None if partial is None else Questions(partial, {name: column.cost for name, column in self.schema.columns.items()})

    def predictions(
        self, codes: Codes, *, unobserved: frozenset[str] = frozenset(), absent: Mapping[str, npt.NDArray[np.bool_]] | None = None
    ) -> Predictions:
        """Answer n rows; an empty cell is no observation in the columns `unobserved`, nor where `absent` says so: column -> bool [n]."""
        cells = self.safety.partial_cells(codes, unobserved, absent)
        counted = None if cells is None or self.safety.partial is None else self.safety.partial.trusted(cells)
        if counted is None or counted.all():
            scores = self.scorer.score(self.encoder.matrix(codes))
        else:  # what the classifier says of the other rows does not count
            scores = np.full(codes.rows, np.nan)
            if (rows := np.flatnonzero(counted)).size:
                scores[rows] = self.scorer.score(self.encoder.matrix(codes.take(rows)))
        return self.safety.predictions(codes, scores, self.encoder, self.schema, cells=cells)

    def probability(self, codes: Codes) -> Scores:
        """P(positive) of n rows, calibrated: float64 [n]."""
        return self.safety.calibration(self.encoder.scored(codes, self.scorer.score))

    def serving_files(self) -> dict[str, bytes]:
        """File name -> bytes of what answers: encoder, scorer and further parts."""
        return {"encoder.json": self.encoder.to_json().encode(), **self.scorer.to_files(), **self.parts}

    def identity(self) -> str:
        """sha256 (hex) over what gives the scores, the contract and the data: two fits of the same are one version.

        Raises:
            ValueError: if `info` has no `data_fingerprint`.
        """
        if not self.info.get("data_fingerprint"):
            raise ValueError(f"info of {self.name!r} has no data_fingerprint; it is part of a version's identity")
        made_of = {
            "name": self.name,
            "kind": self.scorer.kind,
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in self.serving_files().items()},
            "schema": self.schema.fingerprint(),
            "data": self.info["data_fingerprint"],
        }
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def check_parity(bundle: Bundle) -> float:
    """Largest difference between what the bundle serves and its golden scores, row by row and all at once.

    Scores before calibration: from there on both sides use the same object.

    Returns:
        0 or more; infinity if a served score is no number. 0 for a bundle without golden rows.
    """
    if not bundle.golden.rows:
        return 0.0
    rows = [bundle.encoder.encode_row(row) for row in bundle.golden.rows]
    expected = np.array(bundle.golden.scores, dtype=np.float64)
    one_by_one = np.array([bundle.scorer.score(row[np.newaxis])[0] for row in rows])
    at_once = bundle.scorer.score(np.stack(rows))
    largest = float(np.max(np.abs(np.stack([one_by_one, at_once]) - expected)))
    return largest if np.isfinite(largest) else float("inf")


def schema_differences(ours: DatasetSchema, theirs: DatasetSchema) -> tuple[str, ...]:
    """What differs between two contracts in what a model takes and answers; empty where they match.

    Words, units, descriptions and groups may differ: they do not change an answer.
    """
    differences = [f"column {name!r} is new" for name in theirs.columns if name not in ours.columns]
    for name, column in ours.columns.items():
        other = theirs.columns.get(name)
        if other is None:
            differences.append(f"column {name!r} is missing")
        elif other.kind is not column.kind:
            differences.append(f"column {name!r} was {column.kind}, is {other.kind}")
        elif (codes := set(column.values or ())) != set(other.values or ()):
            differences.append(f"column {name!r}: codes differ ({', '.join(sorted(codes ^ set(other.values or ())))})")
        elif (column.min, column.max, column.required) != (other.min, other.max, other.required):
            differences.append(f"column {name!r}: limits differ")
    if set(ours.target.values) != set(theirs.target.values) or ours.target.positive != theirs.target.positive:
        differences.append(
            f"target: was {sorted(ours.target.values)} with positive {ours.target.positive!r}, "
            f"is {sorted(theirs.target.values)} with positive {theirs.target.positive!r}"
        )
    return tuple(differences)
