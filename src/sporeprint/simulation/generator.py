"""Invented data for any schema: any number of rows, streamed, seeded, in blocks of species, with drift and bad rows on demand.

It stands in for the real table where that cannot be had, and is the source for tests of scale, drift and faults. Nothing
in it was observed: every file is marked (see `simulate`).

The model of a world: a species has a class, an interval for every numeric feature, one to four codes for every nominal
one, and some features nobody noted for it at all. What tells its class beyond what tells the species is weak, so that
known species are easy and unseen ones hard, as in the real table.

Rows are drawn in tiles of `TILE_ROWS`, each from a random stream of its own, and species in shelves of `SHELF_GROUPS`,
likewise. So memory does not grow with rows or species, and no row depends on how many are drawn or written at a time.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint import __version__
from sporeprint.common.files import atomic_path, atomic_write
from sporeprint.common.optional_dependencies import Lazy
from sporeprint.common.parallel import ahead
from sporeprint.common.progress import Progress, SilentProgress
from sporeprint.errors import UsageError, nearest
from sporeprint.schema import Column, Condition, DatasetSchema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa, pq = Lazy("pyarrow"), Lazy("pyarrow.parquet")

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

_SLOTS: Final = 16
_COLUMNS, _SPECIES, _ROWS, _DRIFT, _SPOIL = range(5)

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CodeNumbers = npt.NDArray[np.unsignedinteger[Any]]


# --- what can be asked for ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drift:
    """How rows change from some row on. The default changes nothing.

    Species and all other values stay what they are without drift, so two files can be compared cell by cell.

    Attributes:
        start: share of the rows that come before, 0 to 1. NOTE: rows come in blocks, so the species after it are others
            anyway; to compare the same species with and without drift use a second file with another `draw`.
        numeric_shift: added to every numeric value, in standard deviations of its species (about 13 % of its centre),
            within the column's min and max.
        new_category: share of the rows that, in each nominal column, get a code that no row without drift has. It is one of
            the dictionary: a declared dictionary of four codes or more has one that no species uses; smaller ones are
            left alone. Where the schema lists no codes it is one more code.
        undeclared: whether that code is one the dictionary does not have instead; then in every nominal column.
        missing: share of the rows that, in each column that is not required, lose their value.
        columns: the columns that change; none named: all.
    """

    start: float = 0.0
    numeric_shift: float = 0.0
    new_category: float = 0.0
    undeclared: bool = False
    missing: float = 0.0
    columns: tuple[str, ...] = ()

    def first_row(self, rows: int) -> int:
        """Number of the first row that may differ."""
        return math.ceil(self.start * rows)


@dataclass(frozen=True, slots=True)
class Spoil:
    """Bad rows on demand. The default spoils none.

    Attributes:
        share: share of the rows to spoil, 0 to 1, each row by itself. A `duplicate` with no sound earlier row of its block
            to copy is left sound.
        kinds: which of `SPOIL_KINDS`, all alike often; none named: every one that the schema and the format allow.
    """

    share: float = 0.0
    kinds: tuple[str, ...] = ()


#: What replaces a value, by kind; for codes it is a word that no dictionary has. Parquet holds numbers, not their text, so
#: the kinds of `CSV_ONLY` cannot occur there.
_BAD_VALUES: Final = {
    "not_a_number": "17.wrz",
    "comma_decimal": "1,5",
    "overflow": "1e400",
    "negative": "-3",
    "nan": "NaN",
    "inf": "inf",
    "unknown_code": None,
    "missing_target": "",
    "unknown_target": None,
}
_WHOLE_ROW: Final = ("too_few_fields", "too_many_fields", "duplicate")
SPOIL_KINDS: Final = (*_BAD_VALUES, *_WHOLE_ROW)
CSV_ONLY: Final = frozenset({"not_a_number", "comma_decimal", "overflow", "too_few_fields", "too_many_fields"})


@dataclass(frozen=True, slots=True)
class Simulation:
    """What was written.

    Attributes:
        path: the table.
        rows: data rows in it.
        groups: blocks (species).
        seed: what it was drawn with.
        spoilt: rows that were spoilt, as listed in the ledger.
        sidecar: JSON beside the table: that it is simulated, and with which options.
        ledger: CSV beside the table (row, column, kind, original, spoilt); None where nothing was to be spoilt.
    """

    path: Path
    rows: int
    groups: int
    seed: int
    spoilt: int
    sidecar: Path
    ledger: Path | None


def simulate(
    schema: DatasetSchema,
    out: Path,
    *,
    rows: int,
    groups: int,
    seed: int,
    draw: int = 0,
    drift: Drift | None = None,
    spoil: Spoil | None = None,
    missing: bool = True,
    threads: int = 2,
    progress: Progress | None = None,
) -> Simulation:
    """Write a table of invented rows, to CSV (UTF-8, ';', header, LF line ends) or Parquet, by `out`'s suffix.

    Rows come in one block a group, in blocks of equal size (the last ones one row longer where it does not come out even).
    The same arguments give the same bytes with the same versions of the libraries.

    The file is marked as simulated: `<out>.simulated.json` beside it, and in Parquet the metadata key `sporeprint.simulated`.
    With `spoil`, `<out>.ledger.csv` lists each spoilt row once: its number (0-based, header not counted), the column
    (empty: the whole row), the kind, what stood there and what stands there now. Where a row has too few or many fields
    the last two are numbers of fields; for a duplicate the last is the number of the row it is a copy of. The table appears
    after the files beside it.

    Args:
        schema: the contract; columns without a dictionary get codes v1, v2, ...
        out: the file to write or replace.
        rows: 2 to `MOST_ROWS`.
        groups: 2 to `rows`.
        seed: of the world: its species and their rows.
        draw: of the rows: another number gives other rows of the same species.
        drift: what changes, from which row on.
        spoil: which rows are made bad, and how.
        missing: whether values may be missing. A required column never misses one.
        threads: tiles drawn and formatted at once; decides speed and memory (some 50 MB each) only.
        progress: advances by rows.

    Raises:
        UsageError: if an argument is out of bounds, naming it, its value and what is allowed.
        StorageError: if a file cannot be written; the table that was there before is still there.

    >>> from pathlib import Path
    >>> from sporeprint import load_settings, simulate_table
    >>> simulate_table(load_settings(CONFIG).dataset, Path("table.csv"), rows=1000, groups=20, seed=1).rows
    1000
    """
    drift, spoil, progress = drift or Drift(), spoil or Spoil(), progress or SilentProgress()
    parquet = _suffix(out) == ".parquet"
    _check_numbers(rows, groups, seed, draw, threads)
    _check_shares(drift, spoil)
    world = _world(schema, seed, missing=missing)
    plan = _Plan(
        world=world,
        blocks=_Blocks(rows, groups),
        draw=draw,
        drift=drift,
        drifting=_drifting(world, drift),
        spoil=spoil,
        faults=_faults_that_fit(world, spoil, parquet=parquet),
    )
    progress.total(rows)
    progress.text(f"simulating {rows:,} rows")
    return _write(plan, out, parquet=parquet, threads=threads, progress=progress)


def simulate_names(schema: DatasetSchema, out: Path, *, groups: int, seed: int) -> None:
    """Write the table of group names that goes with `simulate` of the same seed: CSV, one row a group, in block order.

    Columns are the schema's family column (if declared), name column and target; names say that they are simulated.

    Raises:
        UsageError: if the schema declares no groups, or a number is out of bounds.
        StorageError: if the file cannot be written.
    """
    if schema.groups is None:
        raise UsageError(f"dataset {schema.name!r} declares no groups, so there is nothing to name; declare dataset.groups")
    if _suffix(out) != ".csv":
        raise UsageError(f"cannot write the names to {out.name!r}: they are a .csv file; give such a name")
    _between("groups", groups, 2, MOST_ROWS)
    _between("seed", seed, 0)
    world = _world(schema, seed, missing=True)
    family = [schema.groups.family_column] if schema.groups.family_column is not None else []
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=SEPARATOR, lineterminator="\n")
        writer.writerow([*family, schema.groups.name_column, schema.target.column])
        for first in range(0, groups, SHELF_GROUPS):
            positive = world.shelf(first // SHELF_GROUPS).positive[: groups - first].tolist()
            for number, is_positive in enumerate(positive, start=first):
                families = [f"Simulated family {number // 8 + 1:02d}"] if family else []
                code = schema.target.positive if is_positive else schema.target.negative
                writer.writerow([*families, _group_name(schema, number), code])


# --- refusals -------------------------------------------------------------------------------------------------------


def _suffix(out: Path) -> str:
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"cannot simulate to {out.name!r}: the name must end in {' or '.join(SUFFIXES)}, which is the format")
    return suffix


def _check_numbers(rows: int, groups: int, seed: int, draw: int = 0, threads: int = 1) -> None:
    _between("rows", rows, 2, MOST_ROWS, "one for each class at least")
    _between("groups", groups, 2, rows, "one for each class at least, and one row for each at least")
    _between("seed", seed, 0)
    _between("draw", draw, 0)
    _between("threads", threads, 1)


def _check_shares(drift: Drift, spoil: Spoil) -> None:
    _between("spoil.share", spoil.share, 0, 1, "a share of the rows")
    for name in ("start", "new_category", "missing"):
        _between(f"drift.{name}", getattr(drift, name), 0, 1, "a share of the rows")
    if not math.isfinite(drift.numeric_shift):
        raise UsageError(f"drift.numeric_shift is {drift.numeric_shift}; allowed is any finite number of standard deviations")


def _between(name: str, value: float, low: int, high: int | None = None, why: str = "") -> None:
    if not (value >= low and (high is None or value <= high)):  # so that NaN is refused too
        allowed = f"{low:,} or more" if high is None else f"{low:,} to {high:,}"
        raise UsageError(f"{name} is {value}; allowed is {allowed}{f' ({why})' if why else ''}")


def _known(what: str, names: Iterable[str], allowed: Sequence[str]) -> None:
    for name in names:
        if name not in allowed:
            raise UsageError(f"{what} has no {name!r}{nearest(name, allowed)}; allowed are: {', '.join(allowed)}")


# --- the world: what columns and species are like -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Numeric:
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
class _Nominal:
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
class _Species:
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
class _World:
    """Everything that the seed decides, rows apart."""

    schema: DatasetSchema
    seed: int
    missing: bool
    decimals: int
    numeric: tuple[_Numeric, ...]
    nominal: tuple[_Nominal, ...]

    @property
    def words(self) -> Iterator[str]:
        """Every text that a row may hold."""
        return itertools.chain(_target_codes(self.schema), (_group_name(self.schema, 0),), *(column.codes for column in self.nominal))

    @property
    def quotes(self) -> Literal["never", "necessary"]:
        """How CSV is to be quoted: looking for what needs it takes half of the writing, so not where nothing can."""
        return "necessary" if any(mark in word for word in self.words for mark in f'{SEPARATOR}"\r\n') else "never"

    def random(self, *stream: int) -> np.random.Generator:
        """A random stream of its own for each key."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))

    def shelf(self, number: int) -> _Species:
        """The species of one shelf."""
        random = self.random(_SPECIES, number)
        positive = random.random(SHELF_GROUPS) < POSITIVE_SHARE
        if number == 0:
            positive[1] = ~positive[0]  # so that both classes occur among any two species or more
        slots = tuple(_draw_slots(column, positive, random) for column in self.nominal)
        centre, spread = np.empty((2, len(self.numeric), SHELF_GROUPS))
        for place, column in enumerate(self.numeric):
            centre[place], spread[place] = _draw_interval(column, positive, random)
        return _Species(number * SHELF_GROUPS, positive, slots, centre, spread)

    def species(self, shelves: range) -> _Species:
        """The species of some shelves in a row."""
        found = [self.shelf(number) for number in shelves]
        if len(found) == 1:
            return found[0]
        return _Species(
            found[0].first,
            np.concatenate([each.positive for each in found]),
            tuple(np.concatenate(parts) for parts in zip(*(each.slots for each in found), strict=True)),
            np.concatenate([each.centre for each in found], axis=1),
            np.concatenate([each.spread for each in found], axis=1),
        )


def _draw_slots(column: _Nominal, positive: Bools, random: np.random.Generator) -> CodeNumbers:
    """For each species the codes it has, each in as many of 16 slots as is its share."""
    species = len(positive)
    # The largest of log-weight + Gumbel noise: a weighted choice without putting back (Gumbel top-k, Vieira 2014).
    keys = column.log_weights[positive.astype(np.intp)] + random.gumbel(size=(species, column.used))
    most = min(len(CODES_OF_SPECIES), column.used)
    chosen = np.argsort(-keys, axis=1)[:, :most]
    count = 1 + np.searchsorted(np.cumsum(CODES_OF_SPECIES[: most - 1]), random.random(species), side="right")
    weights = (0.3 + random.random((species, most))) * (np.arange(most) < count[:, None])
    ends = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True) * _SLOTS
    which = (np.arange(_SLOTS)[None, :, None] + 0.5 > ends[:, None, :-1]).sum(axis=2)
    slots = np.take_along_axis(chosen, which, axis=1).astype(np.min_scalar_type(column.none))
    slots[random.random(species) < column.never_noted] = column.none
    return slots


def _draw_interval(column: _Numeric, positive: Bools, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Centre and standard deviation for each species, in ticks: log-normal, well within the column's bounds."""
    width = column.high - column.low
    size = np.exp(0.6 * random.standard_normal(len(positive)) + column.class_shift[positive.astype(np.intp)])
    above_low = np.minimum(0.06 * size, 0.7) * width
    return column.low + above_low, above_low * random.uniform(0.08, 0.18, len(positive))


def _world(schema: DatasetSchema, seed: int, *, missing: bool) -> _World:
    bounds = {name: _bounds(schema.columns[name]) for name in schema.numeric}
    decimals = max([2, *(_decimals(name, low, high) for name, (low, high) in bounds.items())])
    rates = _rates(len(schema.nominal), np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_COLUMNS,))))
    streams = _World(schema, seed, missing, decimals, (), ())
    numeric = tuple(
        _numeric(name, schema.columns[name], bounds[name], decimals, streams.random(_COLUMNS, place))
        for place, name in enumerate(schema.columns)
        if name in schema.numeric
    )
    nominal = tuple(
        _nominal(name, schema.columns[name], rates.pop() if missing else 0.0, streams.random(_COLUMNS, place))
        for place, name in enumerate(schema.columns)
        if name in schema.nominal
    )
    return _World(schema, seed, missing, decimals, numeric, nominal)


def _rates(columns: int, random: np.random.Generator) -> list[float]:
    spread = [float(NEVER_NOTED[place * len(NEVER_NOTED) // columns]) for place in range(columns)]
    random.shuffle(spread)
    return spread


def _numeric(name: str, column: Column, bounds: tuple[float, float], decimals: int, random: np.random.Generator) -> _Numeric:
    low, high = (bound * 10.0**decimals for bound in bounds)
    shift = NUMERIC_SIGNAL * random.standard_normal() * np.array([-1.0, 1.0])
    return _Numeric(name, column.required, math.ceil(low), math.floor(high), shift)


def _nominal(name: str, column: Column, never_noted: float, random: np.random.Generator) -> _Nominal:
    declared = list(column.values or ())[:MOST_CODES]
    codes = declared or [f"v{number}" for number in range(1, CODES_INVENTED + 2)]
    random.shuffle(codes)
    used = len(codes) - 1 if not declared or len(declared) >= 4 else len(codes)
    common = random.standard_normal(used)
    signal = NOMINAL_SIGNAL * random.standard_normal(used)
    return _Nominal(
        name=name,
        required=column.required,
        codes=(*codes, _word_outside(column.values or ())),
        used=used,
        spare=used if used < len(codes) else None,
        never_noted=0.0 if column.required else never_noted,
        log_weights=np.stack([common - signal, common + signal]),
    )


def _word_outside(words: Iterable[str]) -> str:
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


def _group_name(schema: DatasetSchema, number: int) -> str:
    kind = "group" if schema.groups is None else schema.groups.name
    return f"Simulated {kind} {number + 1:03d}"


# --- rows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Which group a row is of: consecutive blocks of equal size, the last `rows % groups` ones a row longer."""

    rows: int
    groups: int

    def group_of(self, rows: Ints) -> Ints:
        size, longer = divmod(self.rows, self.groups)
        border = (self.groups - longer) * size
        group = np.where(rows < border, rows // size, self.groups - longer + (rows - border) // (size + 1))
        return group if self.groups > 2**31 else group.astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is to be written.

    Attributes:
        drifting: names of the columns that drift.
        faults: kind -> columns it can befall; an empty name is the whole row.
    """

    world: _World
    blocks: _Blocks
    draw: int
    drift: Drift
    drifting: frozenset[str]
    spoil: Spoil
    faults: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Tile:
    """Consecutive rows to draw.

    Attributes:
        number: of the tile.
        group: int32 [rows], the row's group, counted over the whole table.
        species: those of the rows, and maybe more.
    """

    number: int
    group: Ints
    species: _Species

    @property
    def first(self) -> int:
        """Number of the first row."""
        return self.number * TILE_ROWS


def _tiles(plan: _Plan) -> Iterator[_Tile]:
    shelves, species = range(0), None
    for number in range(-(-plan.blocks.rows // TILE_ROWS)):
        rows = np.arange(number * TILE_ROWS, min((number + 1) * TILE_ROWS, plan.blocks.rows))
        group = plan.blocks.group_of(rows)
        needed = range(int(group[0]) // SHELF_GROUPS, int(group[-1]) // SHELF_GROUPS + 1)
        if species is None or needed != shelves:
            shelves, species = needed, plan.world.species(needed)
        yield _Tile(number, group, species)


@dataclass(frozen=True, slots=True, eq=False)
class _Draws:
    """What the columns of a tile are drawn from.

    Attributes:
        sound: random stream of the rows without drift.
        drift: random stream of what drift does to them.
        species: int [rows], place of the row's species among those at hand.
        drifted: bool [rows], whether drift has begun.
    """

    sound: np.random.Generator
    drift: np.random.Generator
    species: Ints
    drifted: Bools

    def bytes(self) -> npt.NDArray[np.uint8]:
        return self.sound.integers(0, 256, len(self.species), dtype=np.uint8)

    def share_of_drifted(self, share: float) -> Bools:
        """Each drifted row with this probability."""
        return self.drifted & (self.drift.random(len(self.species), dtype=np.float32) < share)


def _draw_rows(plan: _Plan, tile: _Tile) -> pl.DataFrame:
    """Exactly the schema's table columns; nominal ones as Enum."""
    world, schema, species = plan.world, plan.world.schema, tile.species
    draws = _Draws(
        sound=world.random(_ROWS, plan.draw, tile.number),
        drift=world.random(_DRIFT, plan.draw, tile.number),
        species=tile.group - species.first,
        drifted=np.arange(tile.first, tile.first + len(tile.group)) >= plan.drift.first_row(plan.blocks.rows),
    )
    made = {schema.target.column: _enum(species.positive.take(draws.species).view(np.uint8), _target_codes(schema))}
    if schema.groups is not None and schema.groups.column is not None:
        names = [_group_name(schema, each) for each in range(int(tile.group[0]), int(tile.group[-1]) + 1)]
        made[schema.groups.column] = pl.Series(names).gather(tile.group - tile.group[0])
    for nominal, slots in zip(world.nominal, species.slots, strict=True):
        made[nominal.name] = _enum(_draw_codes(plan, nominal, slots, draws), nominal.codes)
    for numeric, centre, spread in zip(world.numeric, species.centre, species.spread, strict=True):
        made[numeric.name] = pl.Series(_draw_numbers(plan, numeric, centre, spread, draws), nan_to_null=True)
    frame = pl.DataFrame({name: made[name] for name in schema.table_columns})
    return _consistent(frame, schema) if world.missing else frame


def _consistent(frame: pl.DataFrame, schema: DatasetSchema) -> pl.DataFrame:
    """The rows without the contradictions that the schema declares: nobody noted the last of the values in question."""
    for item in schema.contradictions:
        free = [name for name in item.when if not schema.columns[name].required]
        if free:
            holds = pl.all_horizontal([_holds(name, condition) for name, condition in item.when.items()])
            frame = frame.with_columns(pl.when(~holds).then(pl.col(free[-1])).alias(free[-1]))
    return frame


def _holds(name: str, condition: Condition) -> pl.Expr:
    """Whether a value fulfils a condition; a missing one fulfils none."""
    value = pl.col(name)
    text = value.cast(pl.String)
    parts = [
        *([text.is_in(list(condition.one_of))] if condition.one_of is not None else []),
        *([~text.is_in(list(condition.none_of))] if condition.none_of is not None else []),
        *([value > condition.above] if condition.above is not None else []),
        *([value < condition.below] if condition.below is not None else []),
    ]
    return pl.all_horizontal(parts).fill_null(value=False)


def _draw_codes(plan: _Plan, column: _Nominal, slots: CodeNumbers, draws: _Draws) -> CodeNumbers:
    byte = draws.bytes()  # four bits of it choose the slot; the one in 256 that is zero: not noted
    codes = slots.reshape(-1).take(draws.species * _SLOTS + (byte & (_SLOTS - 1)))
    if plan.world.missing and not column.required:
        codes[byte == 0] = column.none
    if column.name in plan.drifting:
        new = column.outside if plan.drift.undeclared else column.spare
        if plan.drift.new_category and new is not None:
            codes[draws.share_of_drifted(plan.drift.new_category)] = new
        if plan.drift.missing and not column.required:
            codes[draws.share_of_drifted(plan.drift.missing)] = column.none
    return codes


def _draw_numbers(plan: _Plan, column: _Numeric, centre: Floats, spread: Floats, draws: _Draws) -> Floats:
    noise = np.clip(draws.sound.standard_normal(len(draws.species), dtype=np.float32), -3, 3).astype(np.float64)
    byte = draws.bytes()
    drifting = column.name in plan.drifting
    if drifting and plan.drift.numeric_shift:
        noise += plan.drift.numeric_shift * draws.drifted
    ticks = np.rint(centre.take(draws.species) + noise * spread.take(draws.species))
    values = np.clip(ticks, column.low, column.high) / 10.0**plan.world.decimals + 0.0  # + 0.0: no negative zero
    if plan.world.missing and not column.required:
        values[byte == 0] = np.nan
    if drifting and plan.drift.missing and not column.required:
        values[draws.share_of_drifted(plan.drift.missing)] = np.nan
    return values


def _target_codes(schema: DatasetSchema) -> tuple[str, str, str]:
    """Negative, positive, and a word that is neither."""
    return schema.target.negative, schema.target.positive, _word_outside(schema.target.values)


def _enum(codes: CodeNumbers, words: Sequence[str]) -> pl.Series:
    return pl.Series(codes).cat.to(pl.Enum(words), strict=False)  # not strict: what is no code is missing


def _drifting(world: _World, drift: Drift) -> frozenset[str]:
    """The columns that drift, checked: each effect asked for must have a column to show in."""
    features = tuple(world.schema.columns)
    _known("drift.columns", drift.columns, features)
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


# --- bad rows -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fault:
    """One spoilt row.

    Attributes:
        row: within the tile.
        column: empty: the whole row.
        fields: the row as CSV has it.
    """

    row: int
    column: str
    kind: str
    original: str
    spoilt: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Picks:
    """Which rows of a tile are spoilt, in order.

    Attributes:
        rows: int [picks].
        kinds: one a pick.
        columns: one a pick; empty: the whole row.
        source: int [picks], for duplicates the row to copy; else the row itself.
    """

    rows: Ints
    kinds: list[str]
    columns: list[str]
    source: Ints


def _faults_that_fit(world: _World, spoil: Spoil, *, parquet: bool) -> dict[str, tuple[str, ...]]:
    """Kind -> columns it can befall, for the kinds asked for, or for all that can be."""
    _known("spoil.kinds", spoil.kinds, SPOIL_KINDS)
    schema = world.schema
    numeric = schema.numeric
    if spoil.share and not parquet and any("\n" in word for word in world.words):
        raise UsageError(f"cannot spoil rows of {schema.name!r} in CSV: a code holds a line end; write Parquet, or spoil none")
    where = {
        **dict.fromkeys(("not_a_number", "comma_decimal", "overflow", "nan", "inf"), numeric),
        "negative": tuple(name for name in numeric if (schema.columns[name].min or 0) >= 0 and schema.columns[name].min is not None),
        "unknown_code": tuple(name for name in schema.nominal if schema.columns[name].values is not None),
        **dict.fromkeys(("missing_target", "unknown_target"), (schema.target.column,)),
        **dict.fromkeys(_WHOLE_ROW, ("",)),
    }
    fitting = {kind: where[kind] for kind in SPOIL_KINDS if where[kind] and not (parquet and kind in CSV_ONLY)}
    for kind in spoil.kinds:
        if kind not in fitting:
            why = "it cannot be told in Parquet" if parquet and kind in CSV_ONLY else f"no column of {schema.name!r} can have it"
            raise UsageError(f"spoil.kinds has {kind!r}, but {why}; kinds that fit: {', '.join(fitting)}")
    return {kind: columns for kind, columns in fitting.items() if not spoil.kinds or kind in spoil.kinds}


def _pick(plan: _Plan, tile: _Tile) -> _Picks:
    random = plan.world.random(_SPOIL, plan.draw, tile.number)
    rows = np.flatnonzero(random.random(len(tile.group)) < plan.spoil.share)
    faults = list(plan.faults.items())
    which = random.integers(0, len(faults), len(rows))
    where = random.random(len(rows))
    duplicate = np.array([kind == "duplicate" for kind, _ in faults])[which]
    source = np.where(duplicate, _source(rows, duplicate, tile.group), rows)
    kept = np.flatnonzero(source >= 0)
    chosen = [faults[number] for number in which[kept].tolist()]
    return _Picks(
        rows=rows[kept],
        kinds=[kind for kind, _ in chosen],
        columns=[columns[int(place * len(columns))] for (_, columns), place in zip(chosen, where[kept].tolist(), strict=True)],
        source=source[kept],
    )


def _source(rows: Ints, duplicate: Bools, group: Ints) -> Ints:
    """For each picked row the last sound row before it in its block, or -1. Only within the tile, which is all there is."""
    place = np.arange(len(group))
    first = np.r_[True, group[1:] != group[:-1]]
    sound = np.ones(len(group), dtype=np.bool_)
    # The first row of a block has nothing to copy: it stays sound, and can be copied itself.
    sound[rows[~(duplicate & first[rows])]] = False
    last_sound = np.maximum.accumulate(np.where(sound, place, -1))[rows]
    begin = np.maximum.accumulate(np.where(first, place, 0))[rows]
    return np.where((last_sound >= begin) & (last_sound < rows), last_sound, -1)


def _spoil(plan: _Plan, tile: _Tile, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[_Fault]]:
    """The rows of a tile with its duplicates in their places, and every fault."""
    picks = _pick(plan, tile)
    order = np.arange(frame.height)
    order[picks.rows] = picks.source
    frame = frame[order]
    return frame, _faults(plan.world, tile.first, frame, picks)


def _faults(world: _World, first: int, frame: pl.DataFrame, picks: _Picks) -> list[_Fault]:
    text = io.StringIO(_csv(frame[picks.rows], world).decode(), newline="")
    lines = csv.reader(text, delimiter=SEPARATOR)
    columns = frame.columns
    found = []
    for row, kind, column, source, fields in zip(
        picks.rows.tolist(), picks.kinds, picks.columns, picks.source.tolist(), lines, strict=True
    ):
        if column:
            at = columns.index(column)
            bad = _bad_value(world, kind, column)
            found.append(_Fault(row, column, kind, fields[at], bad, (*fields[:at], bad, *fields[at + 1 :])))
        elif kind == "duplicate":
            found.append(_Fault(row, "", kind, "", str(first + source), tuple(fields)))
        else:
            cut = fields[:-1] if kind == "too_few_fields" else [*fields, "extra"]
            found.append(_Fault(row, "", kind, str(len(fields)), str(len(cut)), tuple(cut)))
    return found


def _bad_value(world: _World, kind: str, column: str) -> str:
    text = _BAD_VALUES[kind]
    if text is None:
        schema = world.schema
        text = _word_outside(schema.target.values if column == schema.target.column else schema.columns[column].values or ())
    return text


# --- files ----------------------------------------------------------------------------------------------------------


def _write(plan: _Plan, out: Path, *, parquet: bool, threads: int, progress: Progress) -> Simulation:
    sidecar, ledger = out.with_name(f"{out.name}.simulated.json"), out.with_name(f"{out.name}.ledger.csv")
    spoiling = plan.spoil.share > 0
    spoilt = 0
    # What is entered first is published last: the table, so that it is never seen without its mark.
    with contextlib.ExitStack() as files:
        file = files.enter_context(files.enter_context(atomic_path(out)).open("wb"))
        writer = files.enter_context(contextlib.closing(_Parquet(plan, file) if parquet else _Csv(plan, file)))
        note = _ledger(files, ledger) if spoiling else None
        for made in ahead(functools.partial(_make, plan, writer), _tiles(plan), workers=threads):
            writer.write(made.rendered)
            if note:
                note((made.first + fault.row, fault.column, fault.kind, fault.original, fault.spoilt) for fault in made.faults)
            spoilt += len(made.faults)
            progress.advance(made.rows)
        writer.close()
        file.flush()
        if not spoiling:
            ledger.unlink(missing_ok=True)  # of an earlier table of this name
        atomic_write(sidecar, json.dumps({**_description(plan), "spoilt_rows": spoilt}, indent=1) + "\n")
    return Simulation(out, plan.blocks.rows, plan.blocks.groups, plan.world.seed, spoilt, sidecar, ledger if spoiling else None)


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """A tile, ready to be written."""

    first: int
    rows: int
    rendered: Any
    faults: Sequence[_Fault]


def _make(plan: _Plan, writer: _Writer, tile: _Tile) -> _Made:
    frame, faults = _draw_rows(plan, tile), list[_Fault]()
    if plan.spoil.share > 0:
        frame, faults = _spoil(plan, tile, frame)
    return _Made(tile.first, frame.height, writer.render(frame, faults), faults)


def _ledger(files: contextlib.ExitStack, path: Path) -> Callable[[Iterable[Sequence[object]]], None]:
    file = files.enter_context(files.enter_context(atomic_path(path)).open("w", encoding="utf-8", newline=""))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("row", "column", "kind", "original", "spoilt"))
    return writer.writerows


def _description(plan: _Plan) -> dict[str, Any]:
    return {
        "simulated": True,
        "version": __version__,
        "dataset": plan.world.schema.name,
        "schema": plan.world.schema.fingerprint(),
        "rows": plan.blocks.rows,
        "groups": plan.blocks.groups,
        "seed": plan.world.seed,
        "draw": plan.draw,
        "missing": plan.world.missing,
        "drift": asdict(plan.drift),
        "spoil": {"share": plan.spoil.share, "kinds": list(plan.faults)},
    }


class _Writer(Protocol):
    """One format. `render` is called from several threads at once, `write` with the results in order."""

    def render(self, frame: pl.DataFrame, faults: Sequence[_Fault]) -> Any: ...

    def write(self, rendered: Any) -> None: ...

    def close(self) -> None: ...


class _Csv:
    def __init__(self, plan: _Plan, file: IO[bytes]) -> None:
        self._world = plan.world
        self._file = file
        file.write(f"{_line(plan.world.schema.table_columns)}\n".encode())

    def render(self, frame: pl.DataFrame, faults: Sequence[_Fault]) -> bytes:
        text = _csv(frame, self._world)
        if not faults:
            return text
        lines = text.decode().split("\n")
        for fault in faults:
            lines[fault.row] = _line(fault.fields)
        return "\n".join(lines).encode()

    def write(self, rendered: bytes) -> None:
        self._file.write(rendered)

    def close(self) -> None:
        """Nothing is held back."""


class _Parquet:
    """Row groups are tiles, so that the bytes do not depend on anything else."""

    def __init__(self, plan: _Plan, file: IO[bytes]) -> None:
        self._file = file
        self._metadata = {MARK: "true", "sporeprint.simulation": json.dumps(_description(plan))}
        self._writer: pq.ParquetWriter | None = None

    def render(self, frame: pl.DataFrame, faults: Sequence[_Fault]) -> pa.Table:
        return _with_bad_values(frame, faults).to_arrow(compat_level=pl.CompatLevel.oldest())

    def write(self, rendered: pa.Table) -> None:
        if self._writer is None:
            # Without the Arrow schema inside, readers see plain strings where Enums were written.
            self._writer = pq.ParquetWriter(self._file, rendered.schema, store_schema=False)
            self._writer.add_key_value_metadata(self._metadata)
        self._writer.write_table(rendered, row_group_size=TILE_ROWS)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _with_bad_values(frame: pl.DataFrame, faults: Sequence[_Fault]) -> pl.DataFrame:
    for name in {fault.column: None for fault in faults if fault.column}:
        mine = [fault for fault in faults if fault.column == name]
        column = frame[name]
        values = [float(fault.spoilt) if column.dtype.is_numeric() else fault.spoilt or None for fault in mine]
        frame = frame.with_columns(column.scatter([fault.row for fault in mine], pl.Series(values)))
    return frame


def _csv(frame: pl.DataFrame, world: _World) -> bytes:
    buffer = io.BytesIO()  # a write to the disk must fail as an OSError, which it does not inside Polars
    frame.write_csv(buffer, include_header=False, separator=SEPARATOR, float_precision=world.decimals, quote_style=world.quotes)
    return buffer.getvalue()


def _line(fields: Sequence[str]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=SEPARATOR, lineterminator="").writerow(fields)
    return buffer.getvalue()
