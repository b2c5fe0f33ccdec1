"""The world that simulated rows are drawn from: what columns and species are like."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from sporeprint.errors import UsageError, nearest
from sporeprint.schema import Column, DatasetSchema
from sporeprint.simulation.corruption import Spoil
from sporeprint.simulation.drift import Drift

TILE_ROWS: Final = 131_072
SHELF_GROUPS: Final = 1_024
MOST_ROWS: Final = 10**12
SUFFIXES: Final = (".csv", ".parquet")
SEPARATOR: Final = ";"
#: Key in a Parquet file's metadata.
MARK: Final = "sporeprint.simulated"
POSITIVE_SHARE: Final = 0.55
#: Share of the species for which a nominal column was never noted: these, evenly over the columns, as in the real table.
NEVER_NOTED: Final = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0.04, 0.16, 0.23, 0.41, 0.62, 0.84, 0.88, 0.90, 0.95)
#: How many codes a species has in a nominal column: one, two, three, four.
CODES_OF_SPECIES: Final = (0.60, 0.25, 0.10, 0.05)
CODES_INVENTED: Final = 8
#: Of a longer dictionary only the first codes are used.
MOST_CODES: Final = 1_000
FARTHEST: Final = 1e9
MOST_DECIMALS: Final = 9
#: Standard deviation of what the class adds to a code's log-weight, and to the log of a numeric centre.
NOMINAL_SIGNAL: Final = 0.2
NUMERIC_SIGNAL: Final = 0.07
SLOTS: Final = 16
STREAM_COLUMNS, STREAM_SPECIES, STREAM_ROWS, STREAM_DRIFT, STREAM_SPOIL = range(5)
Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CodeNumbers = npt.NDArray[np.unsignedinteger[Any]]


def suffix_of(out: Path) -> str:
    """The format of a file, by the ending of its name.

    Raises:
        UsageError: another ending.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"cannot simulate to {out.name!r}: the name must end in {' or '.join(SUFFIXES)}, which is the format")
    return suffix


def check_numbers(rows: int, groups: int, seed: int, draw: int = 0, threads: int = 1) -> None:
    """Refuse numbers of rows, groups, seeds or threads that cannot be. Raises: UsageError."""
    check_between("rows", rows, 2, MOST_ROWS, "one for each class at least")
    check_between("groups", groups, 2, rows, "one for each class at least, and one row for each at least")
    check_between("seed", seed, 0)
    check_between("draw", draw, 0)
    check_between("threads", threads, 1)


def check_shares(drift: Drift, spoil: Spoil) -> None:
    """Refuse shares that cannot be. Raises: UsageError."""
    check_between("spoil.share", spoil.share, 0, 1, "a share of the rows")
    for name in ("start", "new_category", "missing"):
        check_between(f"drift.{name}", getattr(drift, name), 0, 1, "a share of the rows")
    if not math.isfinite(drift.numeric_shift):
        raise UsageError(f"drift.numeric_shift is {drift.numeric_shift}; allowed is any finite number of standard deviations")


def check_between(name: str, value: float, low: int, high: int | None = None, why: str = "") -> None:
    """Refuse a value out of its range. Raises: UsageError."""
    if not (value >= low and (high is None or value <= high)):  # so that NaN is refused too
        allowed = f"{low:,} or more" if high is None else f"{low:,} to {high:,}"
        raise UsageError(f"{name} is {value}; allowed is {allowed}{f' ({why})' if why else ''}")


def check_names(what: str, names: Iterable[str], allowed: Sequence[str]) -> None:
    """Refuse names that are not among the allowed ones. Raises: UsageError."""
    for name in names:
        if name not in allowed:
            raise UsageError(f"{what} has no {name!r}{nearest(name, allowed)}; allowed are: {', '.join(allowed)}")


@dataclass(frozen=True, slots=True, eq=False)
class NumericWorld:
    """A numeric column. Values are whole ticks of 10^-decimals, so that CSV and Parquet hold the very same numbers.

    Attributes:
        low: smallest tick.
        high: largest tick.
        class_shift: added to the log of a centre, by class (negative, positive).
    """

    name: str
    required: bool
    low: float
    high: float
    class_shift: Floats


@dataclass(frozen=True, slots=True, eq=False)
class NominalWorld:
    """A nominal column.

    Attributes:
        codes: what species use, then (if there is one) the spare code of the dictionary, then one outside of it.
        used: how many of the codes species use.
        spare: number of the spare code.
        never_noted: share of the species that have no value here.
        log_weights: float [2, used], how common a code is among species of the negative and of the positive class.
    """

    name: str
    required: bool
    codes: tuple[str, ...]
    used: int
    spare: int | None
    never_noted: float
    log_weights: Floats

    @property
    def outside(self) -> int:
        """Number of the code that is not in the dictionary."""
        return len(self.codes) - 1

    @property
    def none(self) -> int:
        """The number that stands for no code: the largest of the type, which is a byte where that is enough."""
        return 255 if len(self.codes) < 255 else 65_535


@dataclass(frozen=True, slots=True, eq=False)
class SpeciesTraits:
    """Some species in a row.

    Attributes:
        first: number of the first one.
        positive: bool [species].
        slots: for each nominal column int [species, 16], a code's number as often as the species has that code.
        centre: float [numeric, species], in ticks.
        spread: float [numeric, species], standard deviation in ticks.
    """

    first: int
    positive: Bools
    slots: tuple[CodeNumbers, ...]
    centre: Floats
    spread: Floats


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Everything that the seed decides, rows apart."""

    schema: DatasetSchema
    seed: int
    missing: bool
    decimals: int
    numeric: tuple[NumericWorld, ...]
    nominal: tuple[NominalWorld, ...]

    @property
    def words(self) -> Iterator[str]:
        """Every text that a row may hold."""
        return itertools.chain(target_codes(self.schema), (group_name(self.schema, 0),), *(column.codes for column in self.nominal))

    @property
    def quotes(self) -> Literal["never", "necessary"]:
        """How CSV is to be quoted: looking for what needs it takes half of the writing, so not where nothing can."""
        return "necessary" if any(mark in word for word in self.words for mark in f'{SEPARATOR}"\r\n') else "never"

    def random(self, *stream: int) -> np.random.Generator:
        """A random stream of its own for each key."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))

    def shelf(self, number: int) -> SpeciesTraits:
        """The species of one shelf."""
        random = self.random(STREAM_SPECIES, number)
        positive = random.random(SHELF_GROUPS) < POSITIVE_SHARE
        if number == 0:
            positive[1] = ~positive[0]  # so that both classes occur among any two species or more
        slots = tuple(_draw_slots(column, positive, random) for column in self.nominal)
        centre, spread = np.empty((2, len(self.numeric), SHELF_GROUPS))
        for place, column in enumerate(self.numeric):
            centre[place], spread[place] = _draw_interval(column, positive, random)
        return SpeciesTraits(number * SHELF_GROUPS, positive, slots, centre, spread)

    def species(self, shelves: range) -> SpeciesTraits:
        """The species of some shelves in a row."""
        kinds = [self.shelf(number) for number in shelves]
        if len(kinds) == 1:
            return kinds[0]
        return SpeciesTraits(
            kinds[0].first,
            np.concatenate([each.positive for each in kinds]),
            tuple(np.concatenate(parts) for parts in zip(*(each.slots for each in kinds), strict=True)),
            np.concatenate([each.centre for each in kinds], axis=1),
            np.concatenate([each.spread for each in kinds], axis=1),
        )


def _draw_slots(column: NominalWorld, positive: Bools, random: np.random.Generator) -> CodeNumbers:
    """For each species the codes it has, each in as many of 16 slots as is its share."""
    species = len(positive)
    # The largest of log-weight + Gumbel noise: a weighted choice without putting back (Gumbel top-k, Vieira 2014).
    keys = column.log_weights[positive.astype(np.intp)] + random.gumbel(size=(species, column.used))
    most = min(len(CODES_OF_SPECIES), column.used)
    chosen = np.argsort(-keys, axis=1)[:, :most]
    count = 1 + np.searchsorted(np.cumsum(CODES_OF_SPECIES[: most - 1]), random.random(species), side="right")
    weights = (0.3 + random.random((species, most))) * (np.arange(most) < count[:, None])
    ends = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True) * SLOTS
    which = (np.arange(SLOTS)[None, :, None] + 0.5 > ends[:, None, :-1]).sum(axis=2)
    slots = np.take_along_axis(chosen, which, axis=1).astype(np.min_scalar_type(column.none))
    slots[random.random(species) < column.never_noted] = column.none
    return slots


def _draw_interval(column: NumericWorld, positive: Bools, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Centre and standard deviation for each species, in ticks: log-normal, well within the column's bounds."""
    width = column.high - column.low
    size = np.exp(0.6 * random.standard_normal(len(positive)) + column.class_shift[positive.astype(np.intp)])
    above_low = np.minimum(0.06 * size, 0.7) * width
    return column.low + above_low, above_low * random.uniform(0.08, 0.18, len(positive))


def draw_world(schema: DatasetSchema, seed: int, *, missing: bool) -> World:
    """Draw the columns of a world from a seed."""
    bounds = {name: _bounds(schema.columns[name]) for name in schema.numeric}
    decimals = max([2, *(_decimals(name, low, high) for name, (low, high) in bounds.items())])
    rates = _rates(len(schema.nominal), np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM_COLUMNS,))))
    streams = World(schema, seed, missing, decimals, (), ())
    numeric = tuple(
        _numeric(name, schema.columns[name], bounds[name], decimals, streams.random(STREAM_COLUMNS, place))
        for place, name in enumerate(schema.columns)
        if name in schema.numeric
    )
    nominal = tuple(
        _nominal(name, schema.columns[name], rates.pop() if missing else 0.0, streams.random(STREAM_COLUMNS, place))
        for place, name in enumerate(schema.columns)
        if name in schema.nominal
    )
    return World(schema, seed, missing, decimals, numeric, nominal)


def _rates(columns: int, random: np.random.Generator) -> list[float]:
    spread = [float(NEVER_NOTED[place * len(NEVER_NOTED) // columns]) for place in range(columns)]
    random.shuffle(spread)
    return spread


def _numeric(name: str, column: Column, bounds: tuple[float, float], decimals: int, random: np.random.Generator) -> NumericWorld:
    low, high = (bound * 10.0**decimals for bound in bounds)
    shift = NUMERIC_SIGNAL * random.standard_normal() * np.array([-1.0, 1.0])
    return NumericWorld(name, column.required, math.ceil(low), math.floor(high), shift)


def _nominal(name: str, column: Column, never_noted: float, random: np.random.Generator) -> NominalWorld:
    declared = list(column.values or ())[:MOST_CODES]
    codes = declared or [f"v{number}" for number in range(1, CODES_INVENTED + 2)]
    random.shuffle(codes)
    used = len(codes) - 1 if not declared or len(declared) >= 4 else len(codes)
    common = random.standard_normal(used)
    signal = NOMINAL_SIGNAL * random.standard_normal(used)
    return NominalWorld(
        name=name,
        required=column.required,
        codes=(*codes, word_outside(column.values or ())),
        used=used,
        spare=used if used < len(codes) else None,
        never_noted=0.0 if column.required else never_noted,
        log_weights=np.stack([common - signal, common + signal]),
    )


def word_outside(words: Iterable[str]) -> str:
    """A word that is none of the given ones."""
    taken = set(words)
    return next(word for number in range(len(taken) + 1) if (word := "?" * (number + 1)) not in taken)


def _bounds(column: Column) -> tuple[float, float]:
    """The range to invent numbers in: what is declared, up to a billion either way, and a hundred where it is open."""
    low, high = column.min, column.max
    if low is None:
        low = 0.0 if high is None or high > 0 else high - 100.0
    if high is None:
        high = low + 100.0
    return max(low, -FARTHEST), min(high, FARTHEST)


def _decimals(name: str, low: float, high: float) -> int:
    """Digits after the point, so that a thousand different numbers fit between the bounds (or the only one there is)."""
    for decimals in range(2, MOST_DECIMALS + 1):
        scale = 10.0**decimals
        if math.floor(high * scale) - math.ceil(low * scale) >= 1000 or (low == high and round(low, decimals) == low):
            return decimals
    raise UsageError(
        f"cannot invent numbers for column {name!r} from {low!r} to {high!r}: fewer than a thousand with {MOST_DECIMALS} decimals "
        f"fit there (within {FARTHEST:,.0f} either way); widen its min and max"
    )


def group_name(schema: DatasetSchema, number: int) -> str:
    """The name of a simulated group, for people."""
    kind = "group" if schema.groups is None else schema.groups.name
    return f"Simulated {kind} {number + 1:03d}"


def target_codes(schema: DatasetSchema) -> tuple[str, str, str]:
    """Negative, positive, and a word that is neither."""
    return schema.target.negative, schema.target.positive, word_outside(schema.target.values)


def drifting_columns(world: World, drift: Drift) -> frozenset[str]:
    """The columns that drift, checked: each effect asked for must have a column to show in."""
    features = tuple(world.schema.columns)
    check_names("drift.columns", drift.columns, features)
    chosen = frozenset(drift.columns or features)
    reach = {
        "numeric_shift": {column.name for column in world.numeric},
        "new_category": {column.name for column in world.nominal if drift.undeclared or column.spare is not None},
        "missing": {name for name in features if not world.schema.columns[name].required},
    }
    for effect, columns in reach.items():
        if getattr(drift, effect) and not chosen & columns:
            able = ", ".join(name for name in features if name in columns) or "none"
            raise UsageError(f"drift.{effect} is {getattr(drift, effect)}, but no drifting column can show it; columns that can: {able}")
    return chosen
