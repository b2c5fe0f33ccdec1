"""Loads into an embedded warehouse: new files, and at the end the manifest that names them."""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from sporeprint.common.files import sync_path
from sporeprint.common.timestamps import DAY_US
from sporeprint.storage.warehouse import aggregation, star_schema
from sporeprint.storage.warehouse.manifest import WarehouseFile, WarehouseManifest, publish
from sporeprint.storage.warehouse.protocol import TRAINING
from sporeprint.storage.warehouse.star_schema import WAITING_US, StarTable, TableKind

#: The day of an outcome whose prediction has not come.
WAITING = "waiting"
#: A day with more files than this, each smaller than `SMALL`, gets one in their place.
MOST_SMALL, SMALL = 16, 32 << 20
#: Rows of a group within a file: what is decompressed at a time.
GROUP_ROWS = 100_000


class ParquetLoad:
    """Files on their way into a manifest."""

    def __init__(self, folder: Path, before: WarehouseManifest) -> None:
        self._folder = folder
        self._before = self._after = before
        self._written: set[str] = set()
        self._added: dict[str, list[pl.DataFrame]] = {}

    def find(self, ids: pl.Series, created_us: tuple[int, int] | None = None) -> pl.DataFrame:
        """Predictions that are there."""
        parts = self._holding(star_schema.FACT_PREDICTION, ids)
        if created_us is not None:
            parts = [part for part in parts if part.first_us <= created_us[1] and created_us[0] <= part.last_us]
        return self._rows(star_schema.FACT_PREDICTION, parts, ids, ("prediction_id", *star_schema.OF_PREDICTION))

    def outcomes(self, ids: pl.Series) -> pl.DataFrame:
        """Outcomes that are there."""
        return self._rows(star_schema.FACT_OUTCOME, self._holding(star_schema.FACT_OUTCOME, ids), ids, star_schema.FACT_OUTCOME.names)

    def waiting(self) -> bool:
        """Whether any outcome waits for its prediction."""
        return WAITING in self._after.files.get(star_schema.FACT_OUTCOME.name, {})

    def append(self, table: StarTable, rows: pl.DataFrame) -> None:
        """One more file for each day."""
        for day, part in _by_day(table, rows):
            self._set(table.name, day, (*self._files(table.name, day), self._write(table, day, part)))
            self._tidy(table, day)

    def put(self, table: StarTable, rows: pl.DataFrame, *, keep: bool = False) -> None:
        """Each day's file anew, with these rows."""
        # Whoever waited waits no more: the key is the same, the day is another.
        if table.kind is TableKind.FACT and self.waiting() and not rows.is_empty():
            self._rewrite(table, WAITING, lambda there: there.join(rows, on=list(table.key), how="anti", maintain_order="left"))
        for day, part in _by_day(table, rows):

            def merged(there: pl.DataFrame, part: pl.DataFrame = part) -> pl.DataFrame:
                return pl.concat([there, part]).unique(list(table.key), keep="first" if keep else "last", maintain_order=True)

            self._rewrite(table, day, merged)

    def add(self, table: StarTable, rows: pl.DataFrame) -> None:
        """Kept for the end: each day's file is written anew only once."""
        self._added.setdefault(table.name, []).append(rows.select(table.names))

    def _add_up(self) -> None:
        for name, parts in self._added.items():
            table = star_schema.TABLES[name]
            for day, part in _by_day(table, aggregation.add_up(table, parts)):

                def added(there: pl.DataFrame, table: StarTable = table, part: pl.DataFrame = part) -> pl.DataFrame:
                    return aggregation.add_up(table, [there, part])

                self._rewrite(table, day, added)
        self._added.clear()

    def training(self, sources: Sequence[Path], record: Mapping[str, Any]) -> None:
        """Further names for the same bytes, or copies where the file system knows no links."""
        parts = []
        for source in sources:
            name = self._new_name(TRAINING, "")
            target = self._folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._written.add(name)
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
            parts.append(WarehouseFile(name, pl.scan_parquet(target).select(pl.len()).collect().item(), target.stat().st_size))
        self._set(TRAINING, "", tuple(parts))
        self.note(TRAINING, dict(record))

    def note(self, name: str, value: Any) -> None:
        """Keep a value with the files."""
        self._after = replace(self._after, notes={**self._after.notes, name: value})

    def publish(self, grace_s: float) -> None:
        """Make what was written visible; nothing where nothing was. What was replaced is listed for so many seconds."""
        self._add_up()
        if self._after == self._before:
            return
        for name in self._written & self._after.every():
            sync_path(self._folder / name)
        for folder in {(self._folder / name).parent for name in self._written}:
            if folder.exists():
                sync_path(folder)
        now = time.time()
        gone = dict.fromkeys(self._before.every() - self._after.every(), now)
        retired = {name: at for name, at in {**self._before.retired, **gone}.items() if now - at <= grace_s}
        publish(self._folder, replace(self._after, generation=self._before.generation + 1, retired=retired))

    def _files(self, table: str, day: str) -> tuple[WarehouseFile, ...]:
        return self._after.files.get(table, {}).get(day, ())

    def _set(self, table: str, day: str, parts: tuple[WarehouseFile, ...]) -> None:
        self._after = self._after.with_files(table, day, parts)

    def _rewrite(self, table: StarTable, day: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        parts = self._files(table.name, day)
        there = self._read(table, parts)
        rows = change(there)
        if not rows.equals(there):
            self._set(table.name, day, () if rows.is_empty() else (self._write(table, day, rows),))
            self._drop(parts)

    def _tidy(self, table: StarTable, day: str) -> None:
        """Many small files make one: opening a file takes as long as reading ten thousand rows."""
        parts = self._files(table.name, day)
        small = [part for part in parts if part.bytes < SMALL]
        if len(small) > MOST_SMALL:
            large = tuple(part for part in parts if part.bytes >= SMALL)
            self._set(table.name, day, (*large, self._write(table, day, self._read(table, small))))
            self._drop(small)

    def _read(self, table: StarTable, parts: Iterable[WarehouseFile]) -> pl.DataFrame:
        frames = [pl.read_parquet(self._folder / part.file) for part in parts]
        # Files of an earlier release lack a column.
        return pl.concat([aggregation.empty(table), *frames], how="diagonal")

    def _holding(self, table: StarTable, ids: pl.Series) -> list[WarehouseFile]:
        """The files in which these ids can be."""
        if ids.is_empty():
            return []
        low, high = str(ids.min()), str(ids.max())
        return [part for part in self._after.parts(table.name) if part.first_id <= high and low <= part.last_id]

    def _rows(self, table: StarTable, parts: list[WarehouseFile], ids: pl.Series, names: tuple[str, ...]) -> pl.DataFrame:
        id_frame = pl.DataFrame({"prediction_id": ids.unique()})
        frames = [aggregation.empty(table).select(names)]
        for part in parts:
            path = self._folder / part.file
            # The ids alone first: most files hold none of them, and the rest of a row is longer.
            there = pl.read_parquet(path, columns=["prediction_id"]).with_row_index("place").join(id_frame, on="prediction_id", how="semi")
            if not there.is_empty():
                present = pl.read_parquet_schema(path)
                frames.append(pl.read_parquet(path, columns=[name for name in names if name in present])[there["place"].sort()])
        return pl.concat(frames, how="diagonal")

    def _new_name(self, table: str, day: str) -> str:
        return "/".join([table, *([day] if day else []), f"{self._before.generation + 1:08}-{secrets.token_hex(4)}.parquet"])

    def _write(self, table: StarTable, day: str, rows: pl.DataFrame) -> WarehouseFile:
        name = self._new_name(table.name, day)
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._written.add(name)
        rows.write_parquet(path, compression="zstd", compression_level=1, row_group_size=GROUP_ROWS)
        ids = (str(rows["prediction_id"].min()), str(rows["prediction_id"].max())) if "prediction_id" in table.names else ("", "")
        times: Any = (rows[table.by].min(), rows[table.by].max()) if table.by is not None else (0, 0)
        return WarehouseFile(name, rows.height, path.stat().st_size, *ids, *times)

    def _drop(self, parts: Iterable[WarehouseFile]) -> None:
        """What this very load wrote, nobody has seen."""
        for part in parts:
            if part.file in self._written:
                self._written.discard(part.file)
                (self._folder / part.file).unlink(missing_ok=True)


def _by_day(table: StarTable, rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Rows of each day, sorted by key."""
    if rows.is_empty():
        return
    if table.by is None:
        yield "", rows.select(table.names)
        return
    by = pl.col(table.by)
    day = pl.when(by == WAITING_US).then(WAITING_US).otherwise(by - by % DAY_US)
    for (first,), part in sorted(rows.group_by(day.alias("first"), maintain_order=True), key=lambda item: str(item[0])):
        yield _day(first), part.select(table.names).sort(table.key)


def _day(first_us: Any) -> str:
    return WAITING if first_us == WAITING_US else f"{datetime.fromtimestamp(first_us // 1_000_000, UTC):%Y-%m-%d}"
