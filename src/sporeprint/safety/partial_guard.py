"""Answers to rows of which only some columns were observed, for any set of columns (a mask), and what they promise.

Familiar: for each mask the same cells are hidden in calibration rows, which nothing was fitted on, and those say how typical a row
is with that mask (conformal prediction with missing values: Zaffran, Dieuleveut, Josse, Romano 2023). What is computed for a mask
is kept; the number of masks kept is bounded.

Safe from strangers: a positive row of a group nobody has shown must not be confused with a known negative group. How large the margin
of a row has to be depends on its *withheld power*: how well the columns that were not observed, and that the likeliest group has
values of, would tell that group from others. It is measured on positive rows whose own group is left out of what is known, with
columns hidden at random. Both are figures of the row's own mask and of the group it resembles. See docs/decisions/0041.
"""

import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.npz import from_npz, to_npz
from sporeprint.safety.cells import NOT_OBSERVED, Cells, Layout, mask_of, rows_alike
from sporeprint.safety.group_likelihood import BLOCK_ROWS, Evidence, GroupLikelihood
from sporeprint.safety.risk_control import Threshold
from sporeprint.safety.verdict import HALF

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

#: The file in a bundle.
PARTIAL_GUARD_FILE = "partial_guard.npz"
#: Masks kept at the most; each takes some 11 kB.
MOST_MASKS = 4_096
#: Sets of numeric columns whose part of the calibration rows' typicality is kept at the most.
MOST_NUMBER_SETS = 256
#: Calibration rows and strangers kept with a model at the most, and how often columns are hidden in each stranger.
MOST_CALIBRATION, MOST_STRANGERS, HIDINGS = 2_000, 3_000, 24
#: P(positive) from which the positive class is answered, however few columns were observed: that answer is never the dangerous one.
#: Clusters are not of one class: there a row of the purest one has to be enough, but for this share of it.
SURELY_POSITIVE, ALL_BUT = 0.95, 0.98
#: Columns that are left at the least where columns are hidden at random.
LEAST_COLUMNS = 3
#: Among more rows than this, a mask that fewer than so many of them share gets no profile: it costs more than counting for those rows.
MANY_ROWS, FEW_ALIKE = 512, 16
#: Points of the curve of margins; each stands for as many strangers as can show the risk, and several times over.
MARGIN_POINTS, STRANGERS_A_POINT = 16, 4_000
#: Likelihoods below this count as this much where the power of a column is reckoned.
LEAST_SHARE = 1e-3


#: Files are scored by several threads, which share what is kept for masks.
_LOCK = threading.Lock()


@dataclass(frozen=True)
class PartialJudgement:
    """What is said of n rows.

    Attributes:
        evidence: what the rows say.
        p: float64 [n], conformal p-value with the row's own mask.
        least_margin: float64 [n], what the margin has to be above, so that few strangers pass; infinite where no margin is enough.
        observed: int [n], number of columns observed.
        withheld: float64 [n], power of the columns not observed.
    """

    evidence: Evidence
    p: Float64
    least_margin: Float64
    observed: Index
    withheld: Float64

    @property
    def is_fed(self) -> Flags:
        """Whether enough was observed of each row to tell its likeliest group, a negative one, from strangers: bool [n]."""
        return np.asarray(self.evidence.margin > self.least_margin)


@dataclass(frozen=True)
class MarginCurve:
    """The margin that a row needs, by withheld power.

    Attributes:
        power: float64 [m], increasing: the upper ends of ranges of withheld power.
        margin: float64 [m], what is needed in each range. Infinite where nothing can be shown.
        strangers: int, strangers it was measured on, all hidings together.
        groups: int, their groups.
    """

    power: Float64
    margin: Float64
    strangers: int
    groups: int

    def __call__(self, withheld: Float64) -> Float64:
        """The margin that n rows need: [n]."""
        return np.asarray(self.margin[np.searchsorted(self.power, withheld).clip(max=len(self.margin) - 1)])


@dataclass(frozen=True)
class MaskProfile:
    """What is the same for all rows with one set of observed columns.

    Attributes:
        usual: float32 [c], sorted typicalities of the calibration rows.
        withheld: float64 [K], power of the columns not observed, by the group that a row resembles.
        least_margin: float64 [K], the margin that a row needs; infinite for groups that are not negative.
    """

    usual: Float32
    withheld: Float64
    least_margin: Float64

    def p(self, typicality: Float64) -> Float64:
        """The conformal p-values of n rows."""
        at_most = np.searchsorted(self.usual, typicality.astype(np.float32), side="right")
        return np.asarray((at_most + 1.0) / (len(self.usual) + 1.0))

    def row_p(self, typicality: float) -> float:
        """The conformal p-value of one row."""
        # Of one number: the search in arrays takes twice as long.
        return (bisect_right(self.usual.data, float(np.float32(typicality))) + 1.0) / (len(self.usual) + 1.0)


@dataclass(frozen=True)
class PartialGuard:
    """The known groups, the rows that are hidden alike, and what was measured on strangers.

    Attributes:
        likelihood: of the groups.
        calibration: rows that nothing was fitted on.
        calibration_group: intp [c], their groups (of clusters: the likeliest one) among the likelihood's.
        trained: masks that the training rows have, as keys: there the classifier knows what an empty cell means.
        power: float64 [columns, K], how well each column tells each group from others: its expected surprise at others' values.
        curve: the margin that a row needs.
        unseen_risk: largest share of strangers that may be confused with a known negative group.
        threshold: largest P(positive) that is answered with the negative class, and what that promises.
        enough: withheld power at which a dialogue, which stops as soon as it may, may end with the negative class; below 0: it never does.
        profiles: mask -> what is kept for it, the most recently used last.
    """

    likelihood: GroupLikelihood
    calibration: Cells
    calibration_group: Index
    trained: frozenset[bytes]
    power: Float64
    curve: MarginCurve
    unseen_risk: float
    threshold: Threshold
    enough: float = -1.0
    profiles: "OrderedDict[bytes, MaskProfile]" = field(default_factory=OrderedDict, repr=False, compare=False)

    @property
    def layout(self) -> Layout:
        """Where the columns' cells stand."""
        return self.likelihood.layout

    def answers(self, row: Mapping[str, str | float | None]) -> bool:
        """Whether a row is its to answer: one column at least was not observed, or it answers all."""
        return self.is_always_asked or len(row) < len(self.layout.columns)

    def trusted(self, cells: Cells) -> Flags:
        """Whether the classifier was trained on rows with the columns of each row, so that its probability counts: bool [n]."""
        result = np.zeros(len(cells), dtype=np.bool_)
        for key, rows in cells.by_mask:
            if key in self.trained:
                result[rows] = True
        return result

    def judge(self, cells: Cells) -> PartialJudgement:
        """Judge n rows, each by its own mask."""
        return self.judge_evidence(cells, self.likelihood.evidence(cells))

    def judge_evidence(self, cells: Cells, evidence: Evidence) -> PartialJudgement:
        """The same, where the evidence is there already."""
        n = len(cells)
        p, withheld, least_margin = np.empty(n), np.empty(n), np.empty(n)
        least = FEW_ALIKE if n > MANY_ROWS else 1
        rare = []
        for key, rows in cells.by_mask:
            if len(rows) < least:
                rare.append(rows)
                continue
            profile, group = self.profile(key), evidence.group[rows]
            p[rows] = profile.p(evidence.typicality[rows])
            withheld[rows], least_margin[rows] = profile.withheld[group], profile.least_margin[group]
        if rare:
            rows = np.concatenate(rare)
            observed, group = cells.observed[rows], evidence.group[rows]
            mask = np.repeat(np.arange(len(rare)), [len(each) for each in rare])
            p[rows] = self._rare_p(observed, mask, evidence.typicality[rows])
            power = self.power.take(group, axis=1)
            power[observed.T] = 0.0
            withheld[rows] = power.sum(axis=0)  # column by column, as for a profile: the same rounding
            least_margin[rows] = np.where(self.likelihood.positive[group] < HALF, self.curve(withheld[rows]), np.inf)
        return PartialJudgement(evidence, p, least_margin, cells.observed.sum(axis=1), withheld)

    def _rare_p(self, observed: Flags, mask: Index, typicality: Float64) -> Float64:
        """The conformal p-values of n rows whose masks hardly repeat, the same as by their profiles: counted, without a sort.

        Args:
            observed: bool [n, columns].
            mask: int [n], a number for the mask of each row.
            typicality: float64 [n].
        """
        at_most, numeric = np.empty(len(observed)), observed[:, len(self.layout.categories) :]
        limits = typicality.astype(np.float32)[:, np.newaxis]
        for alike in rows_alike(numeric):
            of_numbers = self._calibration_numbers(numeric[alike[0]])
            for start in range(0, len(alike), BLOCK_ROWS):
                rows = alike[start : start + BLOCK_ROWS]
                _, first, same = np.unique(mask[rows], return_index=True, return_inverse=True)
                usual = observed[rows[first]] @ self._calibration_cells.T
                usual += of_numbers
                is_at_most = usual.astype(np.float32)[same] <= limits[rows]
                at_most[rows] = is_at_most.view(np.uint8).sum(axis=1, dtype=np.uint32)  # in a fifth of the time that flags take
        return (at_most + 1.0) / (len(self.calibration) + 1.0)

    def profile(self, key: bytes) -> MaskProfile:
        """What is the same for all rows with the columns that a key stands for: computed once, kept among the most recently used ones."""
        profiles = self.profiles
        with _LOCK:
            if (cached := profiles.get(key)) is not None:
                profiles.move_to_end(key)
                return cached
        mask, nominal = mask_of(key, len(self.layout.columns)), len(self.layout.categories)
        typicality = self._calibration_cells @ mask + self._calibration_numbers(mask[nominal:])
        withheld = self.power[~mask].sum(axis=0)
        least_margin = np.where(self.likelihood.positive < HALF, self.curve(withheld), np.inf)
        made = MaskProfile(np.sort(typicality.astype(np.float32)), withheld, least_margin)
        with _LOCK:
            profiles[key] = made
            while len(profiles) > MOST_MASKS:
                profiles.popitem(last=False)
        return made

    @cached_property
    def _calibration_cells(self) -> Float64:
        """What each nominal cell of the calibration rows adds to their typicality, and whether a number is there: [c, columns]."""
        return np.asarray(self.likelihood.surprise[self.calibration.places, self.calibration_group[:, np.newaxis]].astype(np.float64))

    def _calibration_numbers(self, observed: Flags) -> Float64:
        """What the numbers of calibration rows add to their typicality, with these columns: [c]."""
        key, parts = observed.tobytes(), self._numbers_parts
        if (cached := parts.get(key)) is None:
            if len(parts) >= MOST_NUMBER_SETS:
                parts.clear()
            only = np.concatenate([np.zeros(len(self.layout.categories), dtype=np.bool_), observed])
            hidden = self.calibration.hidden(only, self.layout)
            bare = replace(hidden, places=np.broadcast_to(self.layout.starts + NOT_OBSERVED, hidden.places.shape))
            cached = parts[key] = self.likelihood.typicality_in(bare, self.calibration_group)
        return cached

    @cached_property
    def _numbers_parts(self) -> dict[bytes, Float64]:
        return {}

    @cached_property
    def is_always_asked(self) -> bool:
        """Whether it answers every row: where an empty cell of some column is no observation, the table's own rows are partial."""
        return len(self.layout.informative) < len(self.layout.columns)

    @cached_property
    def surely_positive(self) -> float:
        """P(positive) from which the positive class is answered."""
        return max(0.5, min(SURELY_POSITIVE, ALL_BUT * float(self.likelihood.positive.max(initial=0.0))))

    @property
    def most_probability(self) -> float:
        """Largest P(positive) that is answered with the negative class; below 0 where it never is."""
        return -1.0 if self.threshold.value is None else self.threshold.value

    # --- files --------------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """As an .npz archive of plain arrays; equal guards give equal bytes."""
        arrays: dict[str, npt.NDArray[Any]] = dict(self.likelihood.to_arrays())
        arrays["calibration.places"] = self.calibration.places.astype(np.int32)
        arrays["calibration.numbers"] = self.calibration.numbers
        arrays["calibration.group"] = self.calibration_group.astype(np.int32)
        arrays["trained"] = np.array([list(key) for key in sorted(self.trained)], dtype=np.uint8).reshape(len(self.trained), -1)
        arrays |= {"power": self.power, "curve.power": self.curve.power, "curve.margin": self.curve.margin}
        settings = {
            "format": 1,
            "unseen_risk": self.unseen_risk,
            "threshold": asdict(self.threshold),
            "enough": self.enough,
            "strangers": self.curve.strangers,
            "groups": self.curve.groups,
        }
        arrays["settings"] = np.array(json.dumps(settings), dtype=np.str_)
        return to_npz(arrays, compressed=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: if the bytes are no such guard.
        """
        arrays = from_npz(data)
        likelihood = GroupLikelihood.from_arrays(arrays)
        try:
            settings = json.loads(str(arrays["settings"]))
            if settings["format"] != 1:
                raise ValueError(f"not a guard of partial rows of format 1: its format is {settings['format']!r}")
            places = arrays["calibration.places"].astype(np.intp)
            cells = Cells(places, arrays["calibration.numbers"], places != likelihood.layout.starts + NOT_OBSERVED)
            return cls(
                likelihood,
                cells,
                arrays["calibration.group"].astype(np.intp),
                frozenset(bytes(row) for row in arrays["trained"]),
                arrays["power"],
                MarginCurve(arrays["curve.power"], arrays["curve.margin"], settings["strangers"], settings["groups"]),
                float(settings["unseen_risk"]),
                Threshold(**settings["threshold"]),
                float(settings["enough"]),
            )
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"not a guard of partial rows: {error!r}") from error


# --- fitting ---------------------------------------------------------------------------------------------------------


def fit_partial_guard(
    likelihood: GroupLikelihood,
    trained: frozenset[bytes],
    calibration: Cells,
    calibration_group: Index | None,
    strangers: Cells,
    strangers_group: Index,
    *,
    unseen_risk: float,
    seed: int,
) -> PartialGuard:
    """Put a guard together; no threshold is chosen yet, so it never answers with the negative class.

    Args:
        likelihood: of the groups.
        trained: masks that the training rows have, as keys.
        calibration: cells of rows that nothing was fitted on.
        calibration_group: intp [c], their groups among the likelihood's; None: the likeliest one of each.
        strangers: cells of positive rows that nothing was fitted on.
        strangers_group: intp [s], their groups among the likelihood's.
        unseen_risk: see `PartialGuard`.
        seed: of the choice of the rows that are kept, and of what is hidden.
    """
    random = np.random.default_rng(seed)
    sample = calibration.take(rows := np.sort(random.permutation(len(calibration))[:MOST_CALIBRATION]))
    group = likelihood.likeliest(sample) if calibration_group is None else calibration_group[rows]
    power = column_power(likelihood)
    chosen = _evenly(random, strangers_group, MOST_STRANGERS)
    curve = margin_curve(likelihood, power, strangers.take(chosen), strangers_group[chosen], unseen_risk=unseen_risk, random=random)
    nothing = Threshold(None, 0.0, 0.0, 0, 0, "no threshold was chosen")
    return PartialGuard(likelihood, sample, group, trained, power, curve, unseen_risk, nothing)


def column_power(likelihood: GroupLikelihood) -> Float64:
    """How surprised each group would be by the values that positive groups have, column by column, in nats: [columns, K]."""
    positive = likelihood.positive > 0.5
    power = np.zeros((len(likelihood.layout.columns), len(likelihood.names)))
    for at, shares in enumerate(likelihood.shares()):
        others = positive & ~likelihood.silent[at]
        if not len(shares) or not (others if others.any() else ~likelihood.silent[at]).any():
            continue
        typical = shares[:, others if others.any() else ~likelihood.silent[at]].mean(axis=1)[:, np.newaxis]
        surprise = typical * (np.log(np.maximum(typical, 1e-12)) - np.log(np.maximum(shares, LEAST_SHARE)))
        power[at] = np.where(likelihood.silent[at], 0.0, np.maximum(surprise.sum(axis=0), 0.0))
    return power


def margin_curve(
    likelihood: GroupLikelihood, power: Float64, strangers: Cells, group: Index, *, unseen_risk: float, random: np.random.Generator
) -> MarginCurve:
    """Measure which margin strangers reach, by withheld power.

    Args:
        likelihood: of the groups.
        power: [columns, K], see `column_power`.
        strangers: s positive rows.
        group: intp [s], their own groups, which are left out of what is known.
        unseen_risk: share of strangers that may pass.
        random: of the columns that are hidden.
    """
    groups = len(np.unique(group))
    if len(strangers) < 2 or groups < 2:
        return MarginCurve(np.array([0.0]), np.array([np.inf]), len(strangers), groups)
    n, columns = strangers.observed.shape
    # First as they are recorded; then from a few columns to all of them.
    masks = [random_masks(n, columns, random, least=LEAST_COLUMNS if hiding else columns) for hiding in range(HIDINGS)]
    cells = strangers.take(np.tile(np.arange(n), HIDINGS)).hidden(np.vstack(masks), likelihood.layout)
    left_out = np.tile(group, HIDINGS)
    nearest = likelihood.likeliest(cells, left_out=left_out)
    # Only these can be confused with a negative group; of the others the margin need not be known.
    risky = np.flatnonzero(likelihood.positive[nearest] < HALF)
    evidence = likelihood.evidence(cells.take(risky), left_out=left_out[risky])
    margins = np.full(len(cells), -np.inf)
    margins[risky] = np.where(evidence.positive <= HALF, evidence.margin, -np.inf)
    withheld = np.where(cells.observed, 0.0, power.T[nearest]).sum(axis=1)
    return _curve(withheld, margins, unseen_risk, len(cells), groups)


def random_masks(n: int, columns: int, random: np.random.Generator, *, least: int = LEAST_COLUMNS) -> Flags:
    """Masks for n rows, each of any number of columns from the least on: bool [n, columns]."""
    count = random.integers(min(least, columns), columns + 1, n)
    drawn = random.random((n, columns))
    # As many of the smallest: sorting the numbers costs a third of ranking them.
    return np.asarray(drawn <= np.take_along_axis(np.sort(drawn, axis=1), count[:, np.newaxis] - 1, axis=1))


def _curve(withheld: Float64, margins: Float64, risk: float, strangers: int, groups: int) -> MarginCurve:
    order = np.argsort(withheld, kind="stable")
    points = max(1, min(MARGIN_POINTS, len(order) // STRANGERS_A_POINT))
    ends, needed = [], []
    for part in np.array_split(order, points):
        largest = np.sort(margins[part])[::-1]
        allowed = int(risk * len(part))
        ends.append(float(withheld[part[-1]]))
        needed.append(float(largest[min(allowed, len(largest) - 1)]))
    return MarginCurve(np.array(ends), np.maximum(needed, 0.0), strangers, groups)


def _evenly(random: np.random.Generator, group: Index, most: int) -> Index:
    """At most so many rows, as many of each group as can be."""
    order = random.permutation(len(group))
    order = order[np.argsort(group[order], kind="stable")]
    sizes = np.bincount(group) if len(group) else np.zeros(0, dtype=np.intp)
    place = np.empty(len(group), dtype=np.intp)
    place[order] = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(np.lexsort((group, place))[:most])


def with_threshold(guard: PartialGuard, threshold: Threshold) -> PartialGuard:
    """The guard with another threshold."""
    return replace(guard, threshold=threshold)


def read_partial_guard(parts: Mapping[str, bytes]) -> PartialGuard | None:
    """The guard among a bundle's parts; None where the version was made before there was one.

    Raises:
        ValueError: if it is damaged.
    """
    return PartialGuard.from_bytes(parts[PARTIAL_GUARD_FILE]) if PARTIAL_GUARD_FILE in parts else None
