"""One model version in memory: an immutable value, so that every part of a prediction comes from the same version."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter_ns
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.partial_prediction import NOT_SCORED, predict_partial, predict_partial_row
from sporeprint.inference.prediction import Prediction
from sporeprint.inference.predictor import Row, predict_row, row_prediction
from sporeprint.inference.telling_columns import telling_columns
from sporeprint.model_serving.open_inference.mapping import PlainColumns
from sporeprint.model_serving.runtime.row_parser import RowParser
from sporeprint.model_serving.runtime.row_vectorizer import RowVectorizer, VectorizedRows
from sporeprint.model_serving.runtime.single_row_scorer import SingleRowScorer, single_row_scorer
from sporeprint.models.encoder import Matrix
from sporeprint.registry.manifest import VersionRef
from sporeprint.registry.registry import Registry
from sporeprint.safety.anomalies import RowAnomalies, row_anomalies
from sporeprint.safety.cells import Cells
from sporeprint.safety.decision_rule import DecisionRule
from sporeprint.safety.group_likelihood import RowEvidence
from sporeprint.safety.partial_guard import PARTIAL_GUARD_FILE, PartialGuard
from sporeprint.safety.promise_notes import promise_notes
from sporeprint.safety.verdict import verdict_words

#: Fewer rows are scored one by one.
MIN_ROWS_TOGETHER = 6
NO_ANOMALIES = RowAnomalies((), (), ())


class StageTimes(NamedTuple):
    """Nanoseconds that each stage of a prediction took."""

    encode: int
    score: int
    guard: int


class PartialRows(NamedTuple):
    """Those of n rows of which only some columns were observed.

    Attributes:
        places: their places among the n.
        cells: their cells.
        evidence: what they say.
    """

    places: Sequence[int]
    cells: Cells
    evidence: Sequence[RowEvidence]


class RowChecks(NamedTuple):
    """Novelty and anomalies of n rows; the same for all versions that share preprocessing.

    Attributes:
        novelty_p: float64 [n], the guard's p-values.
        contradictory: bool [n], whether a row contradicts itself.
        component: [n], index of the most similar mixture component.
        anomalies: [n].
        partial: which rows are partial, and what they say; None where there is no such row.
    """

    novelty_p: npt.NDArray[np.float64]
    contradictory: npt.NDArray[np.bool_]
    component: npt.NDArray[np.intp]
    anomalies: Sequence[RowAnomalies]
    partial: PartialRows | None = None


#: A prediction and its stage times.
TimedPrediction: TypeAlias = tuple[Prediction, StageTimes]


@dataclass(frozen=True)
class LoadedModel:
    """One version, ready to score rows.

    Attributes:
        ref: the version, pinned by the digest of its manifest.
        bundle: schema, encoder, scorer and safety parts.
        reader: parses its rows.
        scorer: scores one row, or a few.
        table: encodes a few rows at once.
        safety: calibration, guard and threshold.
        words: the words of the verdicts, by their number.
        simulated: whether it was trained on invented rows.
        preprocessing_key: versions with equal keys share schema, encoder and guard, so that one pass reads a row for all of them.
        buffer: float32 [1, m], a row is encoded into it; only one thread may score.
    """

    ref: VersionRef
    bundle: Bundle
    reader: RowParser
    scorer: SingleRowScorer
    table: RowVectorizer
    safety: DecisionRule
    words: tuple[str, str, str]
    simulated: bool
    preprocessing_key: str
    buffer: Matrix

    @classmethod
    def load(cls, registry: Registry, ref: VersionRef) -> Self:
        """Load a version and answer its golden rows once, so that everything that is made on first use is there.

        Raises:
            RegistryError: if it is damaged.
        """
        bundle = registry.load(ref.ref)
        served = cls(
            ref=ref,
            bundle=bundle,
            reader=RowParser.of(bundle.schema),
            scorer=single_row_scorer(bundle),
            table=RowVectorizer.of(bundle),
            safety=bundle.safety,
            words=verdict_words(bundle.schema),
            simulated=bool(bundle.info.get("simulated")),
            preprocessing_key=_preprocessing_key(bundle),
            buffer=np.empty((1, bundle.scorer.n_features), dtype=np.float32),
        )
        for row in (*bundle.golden.rows, {}):
            served.answer(row)
        served.answers([{}] * MIN_ROWS_TOGETHER)
        return served

    def answer(self, row: Row) -> TimedPrediction:
        """Score one row: equal to `predictor.answer`, with everything that can be reused made once."""
        begin = perf_counter_ns()
        bundle, safety = self.bundle, self.safety
        partial = safety.partial if safety.partial is not None and safety.partial.answers(row) else None
        cells, may_be_anomalous = self.table.vectorize_row(row, self.buffer[0], None if partial is None else partial.layout)
        anomalies = row_anomalies(row, bundle.encoder, bundle.schema) if may_be_anomalous else NO_ANOMALIES
        encoded = perf_counter_ns()
        probability = NOT_SCORED
        if partial is None or cells is None or cells.key in partial.trained:
            probability = safety.calibration.of_score(self.scorer.score(self.buffer))
        scored = perf_counter_ns()
        if partial is not None and cells is not None:
            answer = predict_partial_row(bundle, partial, cells, probability, anomalies)
        else:
            novelty_p, component = safety.guard.row(row)
            answer = row_prediction(safety, bundle.schema, probability, novelty_p, component, anomalies)
        return answer, StageTimes(encoded - begin, scored - encoded, perf_counter_ns() - scored)

    def answers(self, rows: Sequence[Row], versions: Sequence["LoadedModel"] | None = None) -> list[TimedPrediction]:
        """Score a few rows: equal to `answer` of each, in a fraction of the time. A row's stage times are its share.

        Args:
            rows: n of them.
            versions: the version that scores each row; all have this one's preprocessing_key. None: this one.
        """
        versions_by_row = (self,) * len(rows) if versions is None else versions
        if len(rows) < MIN_ROWS_TOGETHER:
            return [served.answer(row) for served, row in zip(versions_by_row, rows, strict=True)]
        n, begin = len(rows), perf_counter_ns()
        bundle, guard = self.bundle, self.safety.guard
        read = self.table.vectorize(rows)
        encoded = perf_counter_ns()
        partial = self._partial_rows(read, rows)
        if partial is not None and len(partial.places) == n:
            component, novelty_p = np.zeros(n, dtype=np.intp), np.zeros(n)
        else:
            component, typicality = guard.most_typical(self.table.features(read))
            novelty_p = guard.p_value(typicality)
        anomalies = [
            row_anomalies(row, bundle.encoder, bundle.schema) if may_be else NO_ANOMALIES
            for row, may_be in zip(rows, read.may_be_anomalous.tolist(), strict=True)
        ]
        guarded = perf_counter_ns()
        known = RowChecks(novelty_p, np.array([bool(each.contradictions) for each in anomalies]), component, anomalies, partial)
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, served in enumerate(versions_by_row):
            places[id(served)].append(place)
        answers: dict[int, TimedPrediction] = {}
        for mine in places.values():
            stages = StageTimes((encoded - begin) // n, 0, (guarded - encoded) // n)
            answers |= zip(mine, versions_by_row[mine[0]]._score_rows(read.matrix, known, mine, stages), strict=True)
        return [answers[place] for place in range(n)]

    def _score_rows(self, matrix: Matrix, known: RowChecks, places: list[int], stages: StageTimes) -> list[TimedPrediction]:
        """What is answered to some of the rows, from what is known of all of them."""
        begin, safety = perf_counter_ns(), self.safety
        mine = slice(None) if len(places) == len(matrix) else np.array(places)
        probability = safety.calibration(self.scorer.scores(matrix[mine]))
        scored = perf_counter_ns()
        partial: Mapping[int, Prediction] = {}
        if known.partial is not None and safety.partial is not None:
            partial = self._answer_partial(safety.partial, known.anomalies, known.partial, places, probability)
        answers: list[Prediction] = list(partial.values())
        if len(partial) < len(places):
            novelty_p, component = known.novelty_p[mine], known.component[mine]
            codes = np.asarray(safety.decide(probability, novelty_p, known.contradictory[mine], component)).tolist()
            numbers = zip(probability.tolist(), novelty_p.tolist(), component.tolist(), codes, places, strict=True)
            answers = [
                partial.get(place) or row_prediction(safety, self.bundle.schema, p, novelty, most_like, known.anomalies[place], code)
                for p, novelty, most_like, code, place in numbers
            ]
        n = len(places)
        share = StageTimes(stages.encode, (scored - begin) // n, stages.guard + (perf_counter_ns() - scored) // n)
        return [(answer, share) for answer in answers]

    def _answer_partial(
        self,
        guard: PartialGuard,
        anomalies: Sequence[RowAnomalies],
        partial: PartialRows,
        places: list[int],
        probability: npt.NDArray[np.float64],
    ) -> dict[int, Prediction]:
        """What is answered to those of the rows that are partial, by their places and in their order."""
        if len(partial.places) == len(places) == len(anomalies):  # all are, as with a table whose own rows have cells not observed
            made = predict_partial(self.bundle, guard, partial.cells, probability, anomalies, evidence=partial.evidence)
            return dict(zip(places, made, strict=True))
        at = {place: number for number, place in enumerate(partial.places)}
        own = [number for number, place in enumerate(places) if place in at]
        if not own:
            return {}
        chosen = [places[number] for number in own]
        theirs = np.array([at[place] for place in chosen])
        cells, evidence = partial.cells.take(theirs), [partial.evidence[number] for number in theirs.tolist()]
        made = predict_partial(self.bundle, guard, cells, probability[own], [anomalies[place] for place in chosen], evidence=evidence)
        return dict(zip(chosen, made, strict=True))

    def _partial_rows(self, read: VectorizedRows, rows: Sequence[Row]) -> PartialRows | None:
        guard = self.safety.partial
        places = [] if guard is None else [place for place, row in enumerate(rows) if guard.answers(row)]
        if guard is None or not places:
            return None
        cells = self.table.cells(read, rows, guard.layout)
        cells = cells if len(places) == len(rows) else cells.take(np.array(places))
        return PartialRows(places, cells, guard.likelihood.rows_evidence(cells))

    @cached_property
    def plain_columns(self) -> PlainColumns:
        """Reads the plain requests of the Open Inference Protocol; made when the first one comes."""
        return PlainColumns.of(self.bundle.schema)

    @cached_property
    def telling_columns(self) -> tuple[str, ...]:
        """The columns that say most about a row, the most important first; worked out when somebody first needs them."""
        return telling_columns(self.bundle)

    def why(self, row: Row) -> Prediction:
        """The prediction anew, for what a stored one leaves out: the columns outside the training rows' range, and why it is unknown."""
        return predict_row(self.bundle, row)

    def describe(self) -> dict[str, Any]:
        """What it is, as JSON values."""
        return {
            "model": self.ref.name,
            "version": self.ref.version,
            "ref": self.ref.ref,
            "manifest": self.ref.manifest,
            "engine": self.scorer.engine,
            "simulated": self.simulated,
            "notes": list(promise_notes(self.safety, self.bundle.schema)),
        }


def _preprocessing_key(bundle: Bundle) -> str:
    partial = bundle.parts.get(PARTIAL_GUARD_FILE, b"")
    parts = (bundle.encoder.to_json().encode(), bundle.safety.guard.to_bytes(), bundle.schema.fingerprint().encode(), partial)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
