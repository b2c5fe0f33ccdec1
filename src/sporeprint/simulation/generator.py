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
import json
from dataclasses import dataclass
from pathlib import Path

from sporeprint.common.files import atomic_path, atomic_write
from sporeprint.common.parallel import ahead
from sporeprint.common.progress import Progress, SilentProgress
from sporeprint.errors import UsageError
from sporeprint.schema import DatasetSchema
from sporeprint.simulation.bad_rows import fitting_faults
from sporeprint.simulation.corruption import Spoil
from sporeprint.simulation.drift import Drift
from sporeprint.simulation.rows import Blocks, RowPlan, tiles_of
from sporeprint.simulation.table_writer import CsvWriter, ParquetTableWriter, description, make_tile, open_ledger
from sporeprint.simulation.world import (
    MOST_ROWS,
    SEPARATOR,
    SHELF_GROUPS,
    check_between,
    check_numbers,
    check_shares,
    draw_world,
    drifting_columns,
    group_name,
    suffix_of,
)


@dataclass(frozen=True, slots=True)
class SimulatedTable:
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


def simulate_table(
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
) -> SimulatedTable:
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
    parquet = suffix_of(out) == ".parquet"
    check_numbers(rows, groups, seed, draw, threads)
    check_shares(drift, spoil)
    world = draw_world(schema, seed, missing=missing)
    plan = RowPlan(
        world=world,
        blocks=Blocks(rows, groups),
        draw=draw,
        drift=drift,
        drifting=drifting_columns(world, drift),
        spoil=spoil,
        faults=fitting_faults(world, spoil, parquet=parquet),
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
    if suffix_of(out) != ".csv":
        raise UsageError(f"cannot write the names to {out.name!r}: they are a .csv file; give such a name")
    check_between("groups", groups, 2, MOST_ROWS)
    check_between("seed", seed, 0)
    world = draw_world(schema, seed, missing=True)
    family = [schema.groups.family_column] if schema.groups.family_column is not None else []
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=SEPARATOR, lineterminator="\n")
        writer.writerow([*family, schema.groups.name_column, schema.target.column])
        for first in range(0, groups, SHELF_GROUPS):
            positive = world.shelf(first // SHELF_GROUPS).positive[: groups - first].tolist()
            for number, is_positive in enumerate(positive, start=first):
                families = [f"Simulated family {number // 8 + 1:02d}"] if family else []
                code = schema.target.positive if is_positive else schema.target.negative
                writer.writerow([*families, group_name(schema, number), code])


def _write(plan: RowPlan, out: Path, *, parquet: bool, threads: int, progress: Progress) -> SimulatedTable:
    sidecar, ledger = out.with_name(f"{out.name}.simulated.json"), out.with_name(f"{out.name}.ledger.csv")
    spoiling = plan.spoil.share > 0
    spoilt = 0
    # What is entered first is published last: the table, so that it is never seen without its mark.
    with contextlib.ExitStack() as files:
        file = files.enter_context(files.enter_context(atomic_path(out)).open("wb"))
        writer = files.enter_context(contextlib.closing(ParquetTableWriter(plan, file) if parquet else CsvWriter(plan, file)))
        note = open_ledger(files, ledger) if spoiling else None
        for made in ahead(functools.partial(make_tile, plan, writer), tiles_of(plan), workers=threads):
            writer.write(made.rendered)
            if note:
                note((made.first + fault.row, fault.column, fault.kind, fault.original, fault.spoilt) for fault in made.faults)
            spoilt += len(made.faults)
            progress.advance(made.rows)
        writer.close()
        file.flush()
        if not spoiling:
            ledger.unlink(missing_ok=True)  # of an earlier table of this name
        atomic_write(sidecar, json.dumps({**description(plan), "spoilt_rows": spoilt}, indent=1) + "\n")
    return SimulatedTable(out, plan.blocks.rows, plan.blocks.groups, plan.world.seed, spoilt, sidecar, ledger if spoiling else None)
