"""Simulated rows, drawn in tiles from a world."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.schema import Condition, DatasetSchema
from sporeprint.simulation.corruption import Spoil
from sporeprint.simulation.drift import Drift
from sporeprint.simulation.world import (
    SEPARATOR,
    SHELF_GROUPS,
    SLOTS,
    STREAM_DRIFT,
    STREAM_ROWS,
    TILE_ROWS,
    Bools,
    CodeNumbers,
    Floats,
    Ints,
    NominalWorld,
    NumericWorld,
    SpeciesTraits,
    World,
    group_name,
    target_codes,
)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which group a row is of: consecutive blocks of equal size, the last `rows % groups` ones a row longer."""

    rows: int
    groups: int

    def group_of(self, rows: Ints) -> Ints:
        """Int [n], the group of each row."""
        size, longer = divmod(self.rows, self.groups)
        border = (self.groups - longer) * size
        group = np.where(rows < border, rows // size, self.groups - longer + (rows - border) // (size + 1))
        return group if self.groups > 2**31 else group.astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class RowPlan:
    """What is to be written.

    Attributes:
        drifting: names of the columns that drift.
        faults: kind -> columns it can befall; an empty name is the whole row.
    """

    world: World
    blocks: Blocks
    draw: int
    drift: Drift
    drifting: frozenset[str]
    spoil: Spoil
    faults: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """Consecutive rows to draw.

    Attributes:
        number: of the tile.
        group: int32 [rows], the row's group, counted over the whole table.
        species: those of the rows, and maybe more.
    """

    number: int
    group: Ints
    species: SpeciesTraits

    @property
    def first(self) -> int:
        """Number of the first row."""
        return self.number * TILE_ROWS


def tiles_of(plan: RowPlan) -> Iterator[Tile]:
    """The tiles of a table, in order."""
    shelves, species = range(0), None
    for number in range(-(-plan.blocks.rows // TILE_ROWS)):
        rows = np.arange(number * TILE_ROWS, min((number + 1) * TILE_ROWS, plan.blocks.rows))
        group = plan.blocks.group_of(rows)
        needed = range(int(group[0]) // SHELF_GROUPS, int(group[-1]) // SHELF_GROUPS + 1)
        if species is None or needed != shelves:
            shelves, species = needed, plan.world.species(needed)
        yield Tile(number, group, species)


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
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
        """uint8 [n], random bytes of the rows."""
        return self.sound.integers(0, 256, len(self.species), dtype=np.uint8)

    def share_of_drifted(self, share: float) -> Bools:
        """Each drifted row with this probability."""
        return self.drifted & (self.drift.random(len(self.species), dtype=np.float32) < share)


def draw_rows(plan: RowPlan, tile: Tile) -> pl.DataFrame:
    """Exactly the schema's table columns; nominal ones as Enum."""
    world, schema, species = plan.world, plan.world.schema, tile.species
    draws = Draws(
        sound=world.random(STREAM_ROWS, plan.draw, tile.number),
        drift=world.random(STREAM_DRIFT, plan.draw, tile.number),
        species=tile.group - species.first,
        drifted=np.arange(tile.first, tile.first + len(tile.group)) >= plan.drift.first_row(plan.blocks.rows),
    )
    made = {schema.target.column: enum_series(species.positive.take(draws.species).view(np.uint8), target_codes(schema))}
    if schema.groups is not None and schema.groups.column is not None:
        names = [group_name(schema, each) for each in range(int(tile.group[0]), int(tile.group[-1]) + 1)]
        made[schema.groups.column] = pl.Series(names).gather(tile.group - tile.group[0])
    for nominal, slots in zip(world.nominal, species.slots, strict=True):
        made[nominal.name] = enum_series(_draw_codes(plan, nominal, slots, draws), nominal.codes)
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


def _draw_codes(plan: RowPlan, column: NominalWorld, slots: CodeNumbers, draws: Draws) -> CodeNumbers:
    byte = draws.bytes()  # four bits of it choose the slot; the one in 256 that is zero: not noted
    codes = slots.reshape(-1).take(draws.species * SLOTS + (byte & (SLOTS - 1)))
    if plan.world.missing and not column.required:
        codes[byte == 0] = column.none
    if column.name in plan.drifting:
        new = column.outside if plan.drift.undeclared else column.spare
        if plan.drift.new_category and new is not None:
            codes[draws.share_of_drifted(plan.drift.new_category)] = new
        if plan.drift.missing and not column.required:
            codes[draws.share_of_drifted(plan.drift.missing)] = column.none
    return codes


def _draw_numbers(plan: RowPlan, column: NumericWorld, centre: Floats, spread: Floats, draws: Draws) -> Floats:
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


def enum_series(codes: CodeNumbers, words: Sequence[str]) -> pl.Series:
    """Codes as words; what is no code is missing."""
    return pl.Series(codes).cat.to(pl.Enum(words), strict=False)  # not strict: what is no code is missing


def csv_bytes(frame: pl.DataFrame, world: World) -> bytes:
    """A frame as lines of CSV."""
    buffer = io.BytesIO()  # a write to the disk must fail as an OSError, which it does not inside Polars
    frame.write_csv(buffer, include_header=False, separator=SEPARATOR, float_precision=world.decimals, quote_style=world.quotes)
    return buffer.getvalue()
