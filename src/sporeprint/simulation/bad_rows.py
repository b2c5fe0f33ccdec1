"""Makes some of the simulated rows bad, and keeps a ledger of what was done."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
import polars as pl

from sporeprint.errors import UsageError
from sporeprint.simulation.corruption import BAD_VALUES, CSV_ONLY, SPOIL_KINDS, WHOLE_ROW, Spoil
from sporeprint.simulation.rows import RowPlan, Tile, csv_bytes
from sporeprint.simulation.world import SEPARATOR, STREAM_SPOIL, Bools, Ints, World, check_names, word_outside


@dataclass(frozen=True, slots=True)
class Fault:
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
class Picks:
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


def fitting_faults(world: World, spoil: Spoil, *, parquet: bool) -> dict[str, tuple[str, ...]]:
    """Kind -> columns it can befall, for the kinds asked for, or for all that can be."""
    check_names("spoil.kinds", spoil.kinds, SPOIL_KINDS)
    schema = world.schema
    numeric = schema.numeric
    if spoil.share and not parquet and any("\n" in word for word in world.words):
        raise UsageError(f"cannot spoil rows of {schema.name!r} in CSV: a code holds a line end; write Parquet, or spoil none")
    where = {
        **dict.fromkeys(("not_a_number", "comma_decimal", "overflow", "nan", "inf"), numeric),
        "negative": tuple(name for name in numeric if (schema.columns[name].min or 0) >= 0 and schema.columns[name].min is not None),
        "unknown_code": tuple(name for name in schema.nominal if schema.columns[name].values is not None),
        **dict.fromkeys(("missing_target", "unknown_target"), (schema.target.column,)),
        **dict.fromkeys(WHOLE_ROW, ("",)),
    }
    fitting = {kind: where[kind] for kind in SPOIL_KINDS if where[kind] and not (parquet and kind in CSV_ONLY)}
    for kind in spoil.kinds:
        if kind not in fitting:
            why = "it cannot be told in Parquet" if parquet and kind in CSV_ONLY else f"no column of {schema.name!r} can have it"
            raise UsageError(f"spoil.kinds has {kind!r}, but {why}; kinds that fit: {', '.join(fitting)}")
    return {kind: columns for kind, columns in fitting.items() if not spoil.kinds or kind in spoil.kinds}


def pick_rows(plan: RowPlan, tile: Tile) -> Picks:
    """The rows of a tile that are made bad, and how."""
    random = plan.world.random(STREAM_SPOIL, plan.draw, tile.number)
    rows = np.flatnonzero(random.random(len(tile.group)) < plan.spoil.share)
    faults = list(plan.faults.items())
    which = random.integers(0, len(faults), len(rows))
    where = random.random(len(rows))
    duplicate = np.array([kind == "duplicate" for kind, _ in faults])[which]
    source = np.where(duplicate, _source(rows, duplicate, tile.group), rows)
    copies = np.flatnonzero(source >= 0)
    chosen = [faults[number] for number in which[copies].tolist()]
    return Picks(
        rows=rows[copies],
        kinds=[kind for kind, _ in chosen],
        columns=[columns[int(place * len(columns))] for (_, columns), place in zip(chosen, where[copies].tolist(), strict=True)],
        source=source[copies],
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


def spoil_rows(plan: RowPlan, tile: Tile, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    """The rows of a tile with its duplicates in their places, and every fault."""
    picks = pick_rows(plan, tile)
    order = np.arange(frame.height)
    order[picks.rows] = picks.source
    frame = frame[order]
    return frame, _faults(plan.world, tile.first, frame, picks)


def _faults(world: World, first: int, frame: pl.DataFrame, picks: Picks) -> list[Fault]:
    text = io.StringIO(csv_bytes(frame[picks.rows], world).decode(), newline="")
    lines = csv.reader(text, delimiter=SEPARATOR)
    columns = frame.columns
    faults = []
    for row, kind, column, source, fields in zip(
        picks.rows.tolist(), picks.kinds, picks.columns, picks.source.tolist(), lines, strict=True
    ):
        if column:
            at = columns.index(column)
            bad = _bad_value(world, kind, column)
            faults.append(Fault(row, column, kind, fields[at], bad, (*fields[:at], bad, *fields[at + 1 :])))
        elif kind == "duplicate":
            faults.append(Fault(row, "", kind, "", str(first + source), tuple(fields)))
        else:
            cut = fields[:-1] if kind == "too_few_fields" else [*fields, "extra"]
            faults.append(Fault(row, "", kind, str(len(fields)), str(len(cut)), tuple(cut)))
    return faults


def _bad_value(world: World, kind: str, column: str) -> str:
    text = BAD_VALUES[kind]
    if text is None:
        schema = world.schema
        text = word_outside(schema.target.values if column == schema.target.column else schema.columns[column].values or ())
    return text
