"""A model that serves: one immutable value, so that nothing of an answer can come from another model."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.predictor import Prediction, Row, unknown_reason
from sporeprint.model_serving.runtime.row_parser import RowReader
from sporeprint.model_serving.runtime.row_vectorizer import RowTable
from sporeprint.model_serving.runtime.single_row_scorer import SingleRow, single_row
from sporeprint.models.encoder import Matrix
from sporeprint.registry.manifest import VersionRef
from sporeprint.registry.registry import Registry
from sporeprint.safety.anomalies import RowAnomalies, row_anomalies
from sporeprint.safety.decision_rule import DecisionRule
from sporeprint.safety.verdict import HALF, UNKNOWN, verdict, verdict_words

#: Fewer rows are answered one by one.
FEW = 4
NOT_STRANGE = RowAnomalies((), (), ())


class Stages(NamedTuple):
    """How long the parts of an answer took, nanoseconds."""

    encode: int
    score: int
    guard: int


class Known(NamedTuple):
    """What is known of n rows before anybody scores them.

    Attributes:
        novelty_p: float64 [n], the guard's p-values.
        flags: bool [n], whether something is strange about them.
        component: [n], what they are most like.
        strange: [n], what is strange.
    """

    novelty_p: npt.NDArray[np.float64]
    flags: npt.NDArray[np.bool_]
    component: Sequence[int]
    strange: Sequence[RowAnomalies]


#: An answer, and how long it took.
Answered: TypeAlias = tuple[Prediction, Stages]


@dataclass(frozen=True)
class Served:
    """One version, ready to answer.

    Attributes:
        ref: the version, pinned by the digest of its manifest.
        bundle: what serves.
        reader: of its rows.
        scorer: of one row.
        table: of a few rows at once.
        safety: calibration, guard and threshold.
        words: the answers' words, by number.
        simulated: whether it was trained on invented rows.
        kin: the same for versions whose contract, encoder and guard are the same: those that one run made, and all of whose columns are
            encoded alike, as are those that differ in a model's parameters only.
        buffer: float32 [1, m], what a row is encoded into; only one thread may ask for answers.
    """

    ref: VersionRef
    bundle: Bundle
    reader: RowReader
    scorer: SingleRow
    table: RowTable
    safety: DecisionRule
    words: tuple[str, str, str]
    simulated: bool
    kin: str
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
            reader=RowReader.of(bundle.schema),
            scorer=single_row(bundle),
            table=RowTable.of(bundle),
            safety=bundle.safety,
            words=verdict_words(bundle.schema),
            simulated=bool(bundle.info.get("simulated")),
            kin=_kin(bundle),
            buffer=np.empty((1, bundle.scorer.n_features), dtype=np.float32),
        )
        for row in (*bundle.golden.rows, {}):
            served.answer(row)
        served.answers([{}] * FEW)
        return served

    def answer(self, row: Row) -> Answered:
        """Answer one row: the same as `answer.answer`, without making anything anew that can be kept."""
        begin = perf_counter_ns()
        bundle, safety = self.bundle, self.safety
        bundle.encoder.encode_row(row, self.buffer[0])
        encoded = perf_counter_ns()
        probability = float(safety.calibration(np.array([self.scorer.score(self.buffer)]))[0])
        scored = perf_counter_ns()
        novelty_p, component = safety.guard.row(row)
        strange = row_anomalies(row, bundle.encoder, bundle.schema)
        found = int(verdict(probability, novelty_p, bool(strange), threshold=safety.threshold.value, coverage=safety.coverage))
        answer = self._said(probability, novelty_p, found, component, strange)
        return answer, Stages(encoded - begin, scored - encoded, perf_counter_ns() - scored)

    def answers(self, rows: Sequence[Row], versions: Sequence["Served"] | None = None) -> list[Answered]:
        """Answer a few rows: the same as `answer` of each, in a fraction of the time. The stages are each row's share.

        Args:
            rows: n of them.
            versions: who answers each of them, all of this one's kin: they read rows alike, so that the rows are read and the guard is
                asked once for all of them. None: this one.
        """
        asked = (self,) * len(rows) if versions is None else versions
        if len(rows) < FEW:
            return [served.answer(row) for served, row in zip(asked, rows, strict=True)]
        n, begin = len(rows), perf_counter_ns()
        bundle, guard = self.bundle, self.safety.guard
        read = self.table.read(rows)
        encoded = perf_counter_ns()
        component, typicality = guard.most_typical(read.features)
        novelty_p = guard.p_value(typicality)
        strange = [
            row_anomalies(row, bundle.encoder, bundle.schema) if may_be else NOT_STRANGE
            for row, may_be in zip(rows, read.strange.tolist(), strict=True)
        ]
        guarded = perf_counter_ns()
        known = Known(novelty_p, np.array([bool(each) for each in strange]), component.tolist(), strange)
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, served in enumerate(asked):
            places[id(served)].append(place)
        answers: dict[int, Answered] = {}
        for mine in places.values():
            stages = Stages((encoded - begin) // n, 0, (guarded - encoded) // n)
            answers |= zip(mine, asked[mine[0]]._decided(read.matrix, known, mine, stages), strict=True)
        return [answers[place] for place in range(n)]

    def _decided(self, matrix: Matrix, known: Known, places: list[int], stages: Stages) -> list[Answered]:
        """What is answered to some of the rows, from what is known of all of them."""
        begin, safety = perf_counter_ns(), self.safety
        mine = slice(None) if len(places) == len(matrix) else np.array(places)
        probability = safety.calibration(self.scorer.scores(matrix[mine]))
        scored = perf_counter_ns()
        novelty_p = known.novelty_p[mine]
        found = verdict(probability, novelty_p, known.flags[mine], threshold=safety.threshold.value, coverage=safety.coverage)
        numbers = zip(probability.tolist(), novelty_p.tolist(), np.asarray(found).tolist(), places, strict=True)
        answers = [self._said(p, novelty, word, known.component[place], known.strange[place]) for p, novelty, word, place in numbers]
        n = len(places)
        share = Stages(stages.encode, (scored - begin) // n, stages.guard + (perf_counter_ns() - scored) // n)
        return [(answer, share) for answer in answers]

    def _said(self, probability: float, novelty_p: float, found: int, component: int, strange: RowAnomalies) -> Prediction:
        safety, target = self.safety, self.bundle.schema.target
        return Prediction(
            prediction=target.positive if probability > HALF else target.negative,
            probability=probability,
            verdict=self.words[found],
            novelty_p=novelty_p,
            threshold=safety.threshold.value,
            unseen=strange.unseen,
            outside=strange.outside,
            contradictions=strange.contradictions,
            reason=unknown_reason(strange, novelty_p, safety.coverage) if found == UNKNOWN else None,
            most_like=safety.components[component],
        )

    def why(self, row: Row, verdict: str, novelty_p: float | None) -> tuple[Sequence[str], str | None]:
        """What an answer that was kept left out: the columns outside the training rows' range, and why it is unknown."""
        strange = row_anomalies(row, self.bundle.encoder, self.bundle.schema)
        unknown = verdict == self.words[UNKNOWN] and novelty_p is not None
        return strange.outside, unknown_reason(strange, novelty_p, self.safety.coverage) if unknown and novelty_p is not None else None

    def card(self) -> dict[str, Any]:
        """What it is, as JSON values."""
        return {
            "model": self.ref.name,
            "version": self.ref.version,
            "ref": self.ref.ref,
            "manifest": self.ref.manifest,
            "engine": self.scorer.engine,
            "simulated": self.simulated,
        }


def _kin(bundle: Bundle) -> str:
    parts = (bundle.encoder.to_json().encode(), bundle.safety.guard.to_bytes(), bundle.schema.fingerprint().encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
