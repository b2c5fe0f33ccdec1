"""How rows are answered by how many of their columns were observed: asked one at a time, and at random; of known groups and of others."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sporeprint.data.dataset import Observations
from sporeprint.evaluation.safety_scorecard import PredictionCounts, count_predictions
from sporeprint.safety.cells import Cells
from sporeprint.safety.partial_guard import PartialGuard
from sporeprint.safety.partial_rule import decide_partial, rehearse
from sporeprint.safety.verdict import NEGATIVE, VerdictLimits
from sporeprint.stats.intervals import clopper_pearson

Index = npt.NDArray[np.intp]

#: Numbers of columns that are reported, and rows that are asked about at the most, of known groups and of each other group.
COLUMNS = (4, 6, 8, 10, 12, 14, 16, 20)
MOST_SEEN, MOST_OF_GROUP = 1_000, 8


@dataclass(frozen=True, slots=True)
class PartialCounts:
    """The verdicts on rows of which so many columns were asked for.

    Attributes:
        how: "asked", one column at a time, the best next; or "random".
        columns: how many; a column that a row has no value of counts.
        seen: rows of known groups.
        unseen: positive rows of groups left out in turn; None where there are no groups.
        wrong_groups: groups left out of which a row was answered negative.
        groups: positive groups left out.
    """

    how: str
    columns: int
    seen: PredictionCounts
    unseen: PredictionCounts | None
    wrong_groups: int
    groups: int

    @property
    def groups_at_most(self) -> float:
        """Upper bound, with 95 % confidence, on the share of such groups of which a row is answered negative."""
        return clopper_pearson(self.wrong_groups, self.groups, 0.9)[1] if self.groups else 1.0


def evaluate_partial(
    guard: PartialGuard, cost: Mapping[str, float], test: Observations, rows: Observations | None, *, coverage: float, seed: int
) -> tuple[PartialCounts, ...]:
    """Count verdicts by number of columns.

    Args:
        guard: the guard of partial rows.
        cost: declared costs by column.
        test: rows of known groups that nothing was fitted on.
        rows: rows with their group, each judged as if its group were not known; None where there are no groups.
        coverage: see `VerdictLimits`.
        seed: of the rows and columns that are chosen.
    """
    random, layout = np.random.default_rng(seed), guard.layout
    test = test.take(np.sort(random.permutation(len(test.y))[:MOST_SEEN]))
    seen, total = Cells.of_codes(test.codes, layout), len(layout.columns)
    counts = [number for number in COLUMNS if number <= total] or [total]
    unseen, own = _left_out(guard, rows, random)
    result = []
    played = rehearse(guard, cost, seen, steps=max(counts), coverage=coverage)
    strangers = None if unseen is None else rehearse(guard, cost, unseen, steps=max(counts), coverage=coverage, left_out=own)
    for number in counts:
        others = None if strangers is None else strangers.verdict[number]
        result.append(_counted("asked", number, test.y, played.verdict[number], others, own))
    for number in counts:
        verdict = _at_random(guard, seen, number, random, coverage, None)
        others = None if unseen is None else _at_random(guard, unseen, number, random, coverage, own)
        result.append(_counted("random", number, test.y, verdict, others, own))
    return tuple(result)


def _left_out(guard: PartialGuard, rows: Observations | None, random: np.random.Generator) -> tuple[Cells | None, Index]:
    names = guard.likelihood.names
    if rows is None or rows.group is None or (names < 0).any():
        return None, np.zeros(0, dtype=np.intp)
    positive = np.flatnonzero((rows.y == 1) & np.isin(rows.group, names))
    order = random.permutation(positive)
    order = order[np.argsort(rows.group[order], kind="stable")]
    sizes = np.unique(rows.group[order], return_counts=True)[1]
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = rows.take(order[place < MOST_OF_GROUP])
    if not len(chosen.y) or chosen.group is None:
        return None, np.zeros(0, dtype=np.intp)
    return Cells.of_codes(chosen.codes, guard.layout), np.searchsorted(names, chosen.group).astype(np.intp)


def _at_random(
    guard: PartialGuard, cells: Cells, number: int, random: np.random.Generator, coverage: float, left_out: Index | None
) -> npt.NDArray[np.int8]:
    order = random.random(cells.observed.shape).argsort(axis=1).argsort(axis=1)
    hidden = cells.hidden(order < number, guard.layout)
    evidence = guard.likelihood.evidence(hidden, left_out=left_out)
    quiet = np.zeros(len(cells), dtype=np.bool_)
    return decide_partial(guard, hidden, contradictory=quiet, limits=VerdictLimits(None, 1.0, coverage), evidence=evidence).verdict


def _counted(
    how: str, columns: int, y: npt.NDArray[np.int8], verdict: npt.NDArray[np.int8], others: npt.NDArray[np.int8] | None, own: Index
) -> PartialCounts:
    seen = count_predictions(y, verdict)
    if others is None:
        return PartialCounts(how, columns, seen, None, 0, 0)
    unseen = count_predictions(np.ones(len(others), dtype=np.int8), others)
    return PartialCounts(how, columns, seen, unseen, len(np.unique(own[others == NEGATIVE])), len(np.unique(own)))
