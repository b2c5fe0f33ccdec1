"""Writes simulated tiles as CSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import polars as pl

from sporeprint import __version__
from sporeprint.common.files import atomic_path
from sporeprint.common.optional_dependencies import Lazy

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa, pq = Lazy("pyarrow"), Lazy("pyarrow.parquet")
from sporeprint.simulation.bad_rows import Fault, spoil_rows
from sporeprint.simulation.rows import RowPlan, Tile, csv_bytes, draw_rows
from sporeprint.simulation.world import MARK, SEPARATOR, TILE_ROWS


@dataclass(frozen=True, slots=True, eq=False)
class MadeTile:
    """A tile, ready to be written."""

    first: int
    rows: int
    rendered: Any
    faults: Sequence[Fault]


def make_tile(plan: RowPlan, writer: TableWriter, tile: Tile) -> MadeTile:
    """Draw a tile, make some of its rows bad, and render it."""
    frame, faults = draw_rows(plan, tile), list[Fault]()
    if plan.spoil.share > 0:
        frame, faults = spoil_rows(plan, tile, frame)
    return MadeTile(tile.first, frame.height, writer.render(frame, faults), faults)


def open_ledger(files: contextlib.ExitStack, path: Path) -> Callable[[Iterable[Sequence[object]]], None]:
    """A function that appends rows to the ledger of bad rows."""
    file = files.enter_context(files.enter_context(atomic_path(path)).open("w", encoding="utf-8", newline=""))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("row", "column", "kind", "original", "spoilt"))
    return writer.writerows


class TableWriter(Protocol):
    """One format. `render` is called from several threads at once, `write` with the results in order."""

    def render(self, frame: pl.DataFrame, faults: Sequence[Fault]) -> Any:
        """A tile in the form of the file."""

    def write(self, rendered: Any) -> None:
        """Append a rendered tile."""

    def close(self) -> None:
        """Write the end of the file."""


class CsvWriter:
    """CSV, rendered by Polars; bad rows line by line."""

    def __init__(self, plan: RowPlan, file: IO[bytes]) -> None:
        self._world = plan.world
        self._file = file
        file.write(f"{_line(plan.world.schema.table_columns)}\n".encode())

    def render(self, frame: pl.DataFrame, faults: Sequence[Fault]) -> bytes:
        """Lines of CSV."""
        text = csv_bytes(frame, self._world)
        if not faults:
            return text
        lines = text.decode().split("\n")
        for fault in faults:
            lines[fault.row] = _line(fault.fields)
        return "\n".join(lines).encode()

    def write(self, rendered: bytes) -> None:
        """Append them."""
        self._file.write(rendered)

    def close(self) -> None:
        """Nothing is held back."""


class ParquetTableWriter:
    """Parquet, without an Arrow schema inside."""

    """Row groups are tiles, so that the bytes do not depend on anything else."""

    def __init__(self, plan: RowPlan, file: IO[bytes]) -> None:
        self._file = file
        self._metadata = {MARK: "true", "sporeprint.simulation": json.dumps(description(plan))}
        self._writer: pq.ParquetWriter | None = None

    def render(self, frame: pl.DataFrame, faults: Sequence[Fault]) -> pa.Table:
        """An Arrow table."""
        return _with_bad_values(frame, faults).to_arrow(compat_level=pl.CompatLevel.oldest())

    def write(self, rendered: pa.Table) -> None:
        """Append it."""
        if self._writer is None:
            # Without the Arrow schema inside, readers see plain strings where Enums were written.
            self._writer = pq.ParquetWriter(self._file, rendered.schema, store_schema=False)
            self._writer.add_key_value_metadata(self._metadata)
        self._writer.write_table(rendered, row_group_size=TILE_ROWS)

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()


def _with_bad_values(frame: pl.DataFrame, faults: Sequence[Fault]) -> pl.DataFrame:
    for name in {fault.column: None for fault in faults if fault.column}:
        mine = [fault for fault in faults if fault.column == name]
        column = frame[name]
        values = [float(fault.spoilt) if column.dtype.is_numeric() else fault.spoilt or None for fault in mine]
        frame = frame.with_columns(column.scatter([fault.row for fault in mine], pl.Series(values)))
    return frame


def _line(fields: Sequence[str]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=SEPARATOR, lineterminator="").writerow(fields)
    return buffer.getvalue()


def description(plan: RowPlan) -> dict[str, Any]:
    """What the file's note says: that it is simulated, and with which options."""
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
