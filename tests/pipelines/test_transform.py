"""The raw table checked, cleaned, split and staged: what goes where, and when nothing does."""

import csv
import itertools
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from s3_server import S3Server
from sporeprint import settings
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary
from sporeprint.data.dataset import concat
from sporeprint.data.parquet_store import RUN_ID, read_table, read_tables
from sporeprint.data.part_files import part_files
from sporeprint.data.training_data import read_input
from sporeprint.errors import ConfigError, DataError, StorageError
from sporeprint.ingestion import splits as pieces
from sporeprint.pipelines.etl import run_etl
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.load import run_load
from sporeprint.pipelines.transform import run_transform
from sporeprint.safety.decision_rule import unit_representatives
from sporeprint.simulation.corruption import Spoil
from sporeprint.simulation.generator import simulate_table

Published = Callable[[Path], dict[str, str]]
#: What each way to spoil a row makes of it: the rule, by kind of column.
RULE = {
    "not_a_number": "number",
    "comma_decimal": "number",
    "overflow": "number",
    "inf": "number",
    "negative": "range",
    "unknown_code": "allowed",
    "missing_target": "required",
    "unknown_target": "allowed",
}


def transformed(raw: dict[str, Any], root: Path, table: str | Path) -> DataSummary:
    """Extract and transform a table in a work directory."""
    chosen = settings.parse(raw)
    run_extract(chosen, root, source=str(table))
    return run_transform(chosen, root).record


def staged(root: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(root / "data" / "staging" / f"{name}.parquet")


def lines(table: Path) -> list[str]:
    return table.read_text(encoding="utf-8").splitlines()


def written(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


# --- rows ------------------------------------------------------------------------------------------------------------


def test_every_row_is_in_exactly_one_part(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    record = transformed(small_config, tmp_path, small_table)
    parts = [staged(tmp_path, name) for name in ("train", "validation", "test")]
    assert sorted(itertools.chain(*(part["_row"].to_list() for part in parts))) == list(range(1800))
    assert staged(tmp_path, "processed")["_row"].to_list() == list(range(1800))
    sizes = Counter(itertools.chain(*(part["_part"].to_list() for part in parts)))
    assert dict(sizes) == dict(record.splits)
    assert set(parts[0]["_part"]) == {"train"}
    assert set(parts[1]["_part"]) == {"early_stop", "calibration", "threshold"}
    assert set(parts[2]["_part"]) == {"test"}
    assert (record.rows, record.rejected, record.good) == (1800, 0, 1800)


def test_the_shares_hold_in_every_group(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    transformed(small_config, tmp_path, small_table)
    train = staged(tmp_path, "train").group_by("_group").len()
    assert len(train) == 30
    assert train["len"].min() in (29, 30)
    assert train["len"].max() in (30, 31)


def test_the_values_are_those_of_the_source(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    transformed(small_config, tmp_path, small_table)
    source = pl.read_csv(small_table, separator=";", infer_schema=False)
    found = staged(tmp_path, "processed")
    names = [*small_config["dataset"]["columns"], "class"]
    numeric = [name for name, column in small_config["dataset"]["columns"].items() if column["kind"] == "numeric"]
    assert found.select(pl.col(names).cast(pl.String, strict=True)).drop(numeric).equals(source.select(names).drop(numeric))
    assert found.select(numeric).equals(source.select(pl.col(numeric).cast(pl.Float64)))


def test_rejected_rows_are_those_of_the_ledger_each_with_its_rule(small_config: dict[str, Any], tmp_path: Path) -> None:
    small_config["validation"]["max_rejected_share"] = 0.5
    made = simulate_table(settings.parse(small_config).dataset, tmp_path / "bad.csv", rows=1800, groups=30, seed=3, spoil=Spoil(share=0.2))
    assert made.ledger is not None
    with made.ledger.open(encoding="utf-8", newline="") as file:
        ledger = list(csv.DictReader(file))
    wanted = {}
    for entry in ledger:
        if entry["kind"] in ("duplicate", "nan"):  # of a number, NaN is a word for missing
            continue
        rule = RULE.get(entry["kind"])
        wanted[int(entry["row"])] = "malformed" if rule is None else f"{rule}:{entry['column']}"
    record = transformed(small_config, tmp_path / "work", made.path)
    found = staged(tmp_path / "work", "rejected")
    assert dict(zip(found["_row"].to_list(), found["rules"].to_list(), strict=True)) == {row: [rule] for row, rule in wanted.items()}
    assert dict(record.by_rule) == dict(Counter(wanted.values()))
    assert record.rejected == len(wanted)
    assert record.malformed == sum(rule == "malformed" for rule in wanted.values())
    processed = staged(tmp_path / "work", "processed")
    assert set(processed["_row"]) == set(range(1800)) - set(wanted)
    missing = {(int(entry["row"]), entry["column"]) for entry in ledger if entry["kind"] == "nan"}
    assert missing
    assert all(processed.filter(pl.col("_row") == row)[column].null_count() == 1 for row, column in missing)
    assert set(found["reason"].is_null()) == {False}


def test_a_rejected_row_is_kept_as_it_was_read(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    small_config["validation"]["max_rejected_share"] = 0.01
    rows = lines(small_table)
    header = rows[0].split(";")
    fields = rows[6].split(";")
    fields[header.index("stem-width")], fields[header.index("cap-shape")] = "17.wrz", "?"
    rows[6], rows[8] = ";".join(fields), rows[8] + ";more"
    transformed(small_config, tmp_path, written(tmp_path / "bad.csv", rows))
    found = staged(tmp_path, "rejected").to_dicts()
    assert [row["_row"] for row in found] == [5, 7]
    assert found[0]["rules"] == ["allowed:cap-shape", "number:stem-width"]
    assert "stem-width: '17.wrz' is not a finite number" in found[0]["reason"]
    assert "cap-shape: '?' is not one of b, c, x, f, s, p, o" in found[0]["reason"]
    assert (found[0]["stem-width"], found[0]["cap-shape"], found[0]["text"]) == ("17.wrz", "?", None)
    assert (found[1]["rules"], found[1]["reason"]) == (["malformed"], "22 fields instead of 21")
    assert found[1]["text"] == rows[8]


@pytest.mark.parametrize("most", [0.0, 0.004])
def test_too_many_rejected_rows_stop_the_run_before_anything_is_replaced(
    most: float, small_config: dict[str, Any], small_copy: Path, small_table: Path, published: Published, tmp_path: Path
) -> None:
    before = published(small_copy)
    small_config["validation"]["max_rejected_share"] = most
    rows = lines(small_table)
    for number in range(1, 10):
        rows[number] = "x" + rows[number]
    message = (
        r"9 of 1,800 rows are rejected \(0.50%; validation.max_rejected_share allows 0.[04]0%\): allowed:class \(9\)\. "
        r"For example row 0: class: 'x.' is not one of e, p; .*\. .* data/validation/rejected/.*parquet\. Nothing was replaced"
    )
    with pytest.raises(DataError, match=message):
        run_etl(settings.parse(small_config), small_copy, source=str(written(tmp_path / "bad.csv", rows)))
    assert published(small_copy) == before
    kept = sorted((small_copy / "data/validation/rejected").glob("*.parquet"))
    assert len(kept) == 2
    assert [path.name for path in (small_copy / "data").iterdir() if "staging" in path.name] == []
    assert pl.read_parquet(kept[-1])["_row"].to_list() == list(range(9))


def test_exactly_as_many_rejected_rows_as_allowed_are_no_reason_to_stop(
    small_config: dict[str, Any], small_table: Path, tmp_path: Path
) -> None:
    small_config["validation"]["max_rejected_share"] = 9 / 1800
    rows = lines(small_table)
    for number in range(1, 10):
        rows[number] = "x" + rows[number]
    assert transformed(small_config, tmp_path, written(tmp_path / "bad.csv", rows)).rejected == 9


def test_no_good_row_at_all_stops_the_run_whatever_is_allowed(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    small_config["validation"]["max_rejected_share"] = 1.0
    rows = lines(small_table)
    bad = written(tmp_path / "bad.csv", [rows[0], *("x" + row for row in rows[1:])])
    with pytest.raises(DataError, match=r"1,800 of 1,800 rows are rejected \(100.00%"):
        transformed(small_config, tmp_path, bad)


def test_batches_make_no_difference(small_config: dict[str, Any], tmp_path: Path) -> None:
    small_config["validation"]["max_rejected_share"] = 0.5
    made = simulate_table(
        settings.parse(small_config).dataset, tmp_path / "bad.csv", rows=30_000, groups=500, seed=3, spoil=Spoil(share=0.02)
    )
    assert made.path.stat().st_size > 1 << 20
    records = {}
    for size in (1, 16):
        small_config["runtime"]["batch_mb"] = size
        records[size] = asdict(transformed(small_config, tmp_path / str(size), made.path))
    ignored = {"run_id", "created", "provenance"}
    assert all(records[1][key] == records[16][key] for key in records[1].keys() - ignored)
    for name in ("processed", "train", "validation", "test", "rejected"):
        assert staged(tmp_path / "1", name).equals(staged(tmp_path / "16", name)), name


@pytest.mark.parametrize("named", ["folder", "pattern", "file://", "s3://"])
def test_eleven_files_give_what_one_gives(
    named: str, small_config: dict[str, Any], small_table: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    one = transformed(small_config, tmp_path / "one", small_table)
    header, *rows = lines(small_table)
    (folder := tmp_path / "parts").mkdir()
    for number in range(11):
        written(folder / f"part-{number:02}.csv", [header, *rows[number * 170 : (number + 1) * 170]])
    source = {"folder": str(folder), "pattern": f"{folder}/part-*.csv", "file://": folder.as_uri()}.get(named)
    if source is None:
        store: S3Server = request.getfixturevalue("object_store")
        for path in folder.iterdir():
            source = store.put(f"eleven/{path.name}", path.read_bytes()).rpartition("/")[0]
    many = transformed(small_config, tmp_path / "many", str(source))
    assert many.fingerprint == one.fingerprint
    assert (many.rows, many.provenance["rows"], many.splits, many.simulated) == (1800, 1800, one.splits, one.simulated)
    for name in ("processed", "train", "validation", "test", "rejected"):
        assert staged(tmp_path / "many", name).equals(staged(tmp_path / "one", name)), name


@pytest.mark.parametrize("groups", ["hold", "do not"])
def test_a_table_of_many_pieces_is_what_it_is_at_once(
    groups: str, small_config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_config |= {"runtime": {"threads": 1}}
    small_config["validation"] |= {"max_rejected_share": 0.5, "duplicates": "drop"}
    chosen = settings.parse(small_config)
    made = simulate_table(chosen.dataset, tmp_path / "bad.csv", rows=1800, groups=30, seed=3, spoil=Spoil(share=0.1))
    header, *rows = lines(made.path)
    (folder := tmp_path / "parts").mkdir()
    rows = rows if groups == "hold" else rows[:-7]
    for number in range(11):
        written(folder / f"part-{number:02}.csv", [header, *rows[number * 170 : (number + 1) * 170]])
    one = transformed(small_config, tmp_path / "one", folder)
    monkeypatch.setattr(pieces, "MOST_ROWS", 400)
    many = transformed(small_config, tmp_path / "many", folder)
    assert replace(many, run_id="", created="", provenance={}) == replace(one, run_id="", created="", provenance={})
    assert many.dropped > 0
    for name in ("processed", "train", "validation", "test", "rejected"):
        table = tmp_path / "many" / "data" / "staging" / f"{name}.parquet"
        assert len(part_files(table, whole=True)) == (1 if name == "rejected" else 6)
        assert pl.concat(map(pl.read_parquet, part_files(table)), how="vertical_relaxed").equals(staged(tmp_path / "one", name)), name
    for root in ("one", "many"):
        run_load(chosen, tmp_path / root)
    read = [
        read_table(Workdir(tmp_path / root).model_input / "train.parquet", chosen.dataset, tuple(chosen.split.shares))
        for root in ("one", "many")
    ]
    assert np.array_equal(read[0].row_hash, read[1].row_hash)
    assert read_input(chosen, Workdir(tmp_path / "many")).record.run_id == many.run_id


def test_a_part_that_is_gone_or_was_changed_since_the_extract_is_named(
    small_config: dict[str, Any], small_table: Path, tmp_path: Path
) -> None:
    header, *rows = lines(small_table)
    (folder := tmp_path / "parts").mkdir()
    for number in range(3):
        written(folder / f"{number}.csv", [header, *rows[number * 600 : (number + 1) * 600]])
    chosen = settings.parse(small_config)
    run_extract(chosen, tmp_path, source=str(folder))
    written(folder / "1.csv", [header, *rows[:600]])
    os.utime(folder / "1.csv", (time.time() + 60,) * 2)
    with pytest.raises(DataError, match=rf"^{folder}/1\.csv has changed since it was extracted; run sporeprint extract again"):
        run_transform(chosen, tmp_path)
    (folder / "2.csv").unlink()
    with pytest.raises(DataError, match=rf"^{folder}/2\.csv is missing; run sporeprint extract again"):
        run_transform(chosen, tmp_path)
    assert not (tmp_path / "data" / "staging").exists()


def test_parquet_gives_what_csv_gives(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    frame = pl.read_csv(small_table, separator=";", infer_schema_length=None)
    frame.write_parquet(tmp_path / "table.parquet")
    transformed(small_config, tmp_path / "a", small_table)
    transformed(small_config, tmp_path / "b", tmp_path / "table.parquet")
    for name in ("processed", "train", "validation", "test"):
        a, b = staged(tmp_path / "a", name), staged(tmp_path / "b", name)
        names = [column for column in a.columns if a.schema[column] == pl.Categorical]
        assert a.with_columns(pl.col(names).cast(pl.String)).equals(b.with_columns(pl.col(names).cast(pl.String))), name


# --- duplicates ------------------------------------------------------------------------------------------------------


@pytest.fixture
def doubled(small_table: Path, tmp_path: Path) -> Path:
    """The small table with every 7th row twice, one of them three times."""
    rows = lines(small_table)
    for number in range(5, 1800, 7):
        if number % 60:  # the last row of a block has none after it in its block
            rows[number + 1] = rows[number]
    rows[8] = rows[5]
    return written(tmp_path / "doubled.csv", rows)


def test_equal_rows_are_shared_out_like_others(small_config: dict[str, Any], doubled: Path, tmp_path: Path) -> None:
    record = transformed(small_config, tmp_path, doubled)
    part = pl.concat(
        [staged(tmp_path, name).select("_row", "_part", "_row_hash").cast({"_part": pl.String}) for name in ("train", "validation", "test")]
    )
    sides = part.group_by("_row_hash").agg(pl.col("_part").n_unique(), pl.len())
    copies = sides.filter(pl.col("len") > 1)
    # Of two copies, both are in one part with probability Σ share².
    together = sum(share**2 for share in small_config["split"].values() if isinstance(share, float))
    assert abs(np.mean(copies["_part"].to_numpy() == 1) - together) < 5 * (together * (1 - together) / len(copies)) ** 0.5
    assert record.duplicates == record.repeats == (sides["len"] - 1).sum() >= 250
    assert record.dropped == 0
    assert sum(record.splits.values()) == 1800


def test_copies_can_be_dropped_and_the_first_one_stays(small_config: dict[str, Any], doubled: Path, tmp_path: Path) -> None:
    small_config["validation"]["duplicates"] = "drop"
    record = transformed(small_config, tmp_path, doubled)
    found = staged(tmp_path, "processed")
    source = pl.read_csv(doubled, separator=";", infer_schema=False).with_row_index("_row")
    firsts = source.unique(subset=[name for name in source.columns if name != "_row"], keep="first", maintain_order=True)
    assert found["_row"].to_list() == firsts["_row"].to_list()
    assert record.duplicates == record.dropped == 1800 - len(firsts)
    assert sum(record.splits.values()) == sum(record.classes.values()) == len(firsts)
    assert record.groups.available


# --- groups ----------------------------------------------------------------------------------------------------------


def test_blocks_of_one_class_each_are_groups(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    record = transformed(small_config, tmp_path, small_table)
    assert asdict(record.groups) == {"available": True, "count": 30, "reason": "30 species blocks of 60 rows, each of one class"}
    assert staged(tmp_path, "processed")["_group"].to_list() == [row // 60 for row in range(1800)]


def test_shuffled_rows_have_no_groups(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    header, *rows = lines(small_table)
    random.Random(1).shuffle(rows)
    record = transformed(small_config, tmp_path, written(tmp_path / "shuffled.csv", [header, *rows]))
    assert not record.groups.available
    assert record.groups.reason == "30 of 30 species blocks of 60 rows hold both classes: the rows are not in species order (shuffled?)"
    assert staged(tmp_path, "processed")["_group"].null_count() == staged(tmp_path, "processed").height == 1800
    assert staged(tmp_path, "train")["_group"].null_count() == staged(tmp_path, "train").height


def test_a_table_that_ends_within_a_block_has_no_groups(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    record = transformed(small_config, tmp_path, written(tmp_path / "cut.csv", lines(small_table)[:-1]))
    assert record.groups.reason == "1,799 rows are no whole number of species blocks of 60 rows"
    assert (record.groups.available, record.groups.count) == (False, 0)


def test_rejected_rows_do_not_move_the_blocks(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    rows = lines(small_table)
    for number in (1, 61, 62, 63, 1800):
        rows[number] = rows[number] + ";more"
    record = transformed(small_config, tmp_path, written(tmp_path / "bad.csv", rows))
    assert (record.rejected, record.groups.available, record.groups.count) == (5, True, 30)
    found = staged(tmp_path, "processed")
    assert (found["_group"] == found["_row"] // 60).all()


def test_a_column_can_name_the_groups(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    small_config["dataset"]["groups"] = {"name": "box", "column": "box"}
    header, *rows = lines(small_table)
    named = [f"{header};box", *(f"{row};box {number % 7}" for number, row in enumerate(rows))]
    named[5] = rows[4] + ";"
    record = transformed(small_config, tmp_path, written(tmp_path / "named.csv", named))
    assert asdict(record.groups) == {"available": True, "count": 7, "reason": "column 'box' names the box of every row"}
    assert dict(record.by_rule) == {"required:box": 1}
    found = staged(tmp_path, "processed")
    assert found["_group"].n_unique() == 7
    assert found.group_by(pl.col("_row") % 7).agg(pl.col("_group").n_unique())["_group"].max() == 1


def test_a_column_can_name_the_clusters(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    small_config["dataset"]["cluster"] = "patient"
    header, *rows = lines(small_table)
    named = [f"{header};patient", *(f"{row};patient {number % 7}" for number, row in enumerate(rows))]
    named[5] = rows[4] + ";"
    record = transformed(small_config, tmp_path, written(tmp_path / "named.csv", named))
    assert dict(record.by_rule) == {"required:patient": 1}
    schema = settings.parse(small_config).dataset
    table = concat(list(read_tables(tmp_path / "data/staging/processed.parquet", schema)))
    assert table.cluster is not None
    assert len(np.unique(table.cluster)) == 7
    assert len(unit_representatives(table)) == 7
    one = table.take(table.row % 7 == 3)
    assert one.cluster is not None
    assert len(np.unique(one.cluster)) == 1
    small_config["dataset"]["cluster"] = schema.target.column
    with pytest.raises(ConfigError, match="declared twice among features, target, group and cluster column"):
        settings.parse(small_config)


def test_without_declared_groups_there_are_none(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    del small_config["dataset"]["groups"]
    record = transformed(small_config, tmp_path, small_table)
    assert record.groups.reason == "the configuration declares no groups (dataset.groups)"
    assert not record.groups.available


# --- classes ---------------------------------------------------------------------------------------------------------


def test_one_class_only_is_refused(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    header, *rows = lines(small_table)
    only = written(tmp_path / "only.csv", [header, *(row for row in rows if row.startswith("e"))])
    message = "the table has one class only: every row is 'edible', none is 'poisonous'; a classifier needs both"
    with pytest.raises(DataError, match=message):
        transformed(small_config, tmp_path, only)
    assert not (tmp_path / "data/staging").exists()


@pytest.mark.parametrize("count", [1, 3])
def test_a_class_too_small_to_split_is_refused(count: int, small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    del small_config["dataset"]["groups"]
    header, *rows = lines(small_table)
    few = [*(row for row in rows if row.startswith("e")), *[row for row in rows if row.startswith("p")][:count]]
    with pytest.raises(
        DataError, match=rf"class 'poisonous' has {count} rows?, too few to split: none is left for '\w+' .*; about 20 rows"
    ):
        transformed(small_config, tmp_path, written(tmp_path / "few.csv", [header, *few]))


# --- the stage -------------------------------------------------------------------------------------------------------


def test_everything_staged_says_which_run_wrote_it(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    record = transformed(small_config, tmp_path, small_table)
    folder = tmp_path / "data/staging"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("processed.parquet", "record.json", "rejected.parquet", "report.html", "test.parquet", "train.parquet", "validation.parquet"),
    ]
    for path in folder.glob("*.parquet"):
        assert pq.read_schema(path).metadata[RUN_ID].decode() == record.run_id, path.name
    assert DataSummary.from_json((folder / "record.json").read_text(encoding="utf-8")) == record


def test_what_a_killed_run_left_behind_goes(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    stale = tmp_path / "data/.staging-killed"
    stale.mkdir(parents=True)
    (stale / "processed.parquet").write_bytes(b"half")
    transformed(small_config, tmp_path, small_table)
    assert [path.name for path in (tmp_path / "data").iterdir() if "staging" in path.name] == ["staging"]


def test_a_failed_transform_leaves_the_stage_before_it(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    record = transformed(small_config, tmp_path, small_table)
    header, *rows = lines(small_table)
    only = written(tmp_path / "only.csv", [header, *(row for row in rows if row.startswith("e"))])
    with pytest.raises(DataError, match="one class only"):
        transformed(small_config, tmp_path, only)
    assert json.loads((tmp_path / "data/staging/record.json").read_text(encoding="utf-8"))["run_id"] == record.run_id


def test_a_stage_that_cannot_be_made_is_a_storage_error(small_config: dict[str, Any], small_table: Path, tmp_path: Path) -> None:
    chosen = settings.parse(small_config)
    run_extract(chosen, tmp_path, source=str(small_table))
    (tmp_path / "data/staging").write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError, match=r"cannot write .*staging.*nothing was replaced"):
        run_transform(chosen, tmp_path)


def test_equal_data_has_an_equal_fingerprint_and_other_data_another(
    small_config: dict[str, Any], small_table: Path, tmp_path: Path
) -> None:
    found = [transformed(small_config, tmp_path / "a", small_table).fingerprint]
    found.append(transformed(small_config, tmp_path / "b", small_table).fingerprint)
    small_config["split"]["seed"] += 1
    found.append(transformed(small_config, tmp_path / "b", small_table).fingerprint)
    small_config["validation"]["duplicates"] = "drop"
    found.append(transformed(small_config, tmp_path / "b", small_table).fingerprint)
    assert found[0] == found[1]
    assert len(set(found)) == 3


# --- the real table --------------------------------------------------------------------------------------------------


def test_the_real_table_is_what_its_description_says(real_run: Path) -> None:
    record = DataSummary.from_json((real_run / "data/validation/summary.json").read_text(encoding="utf-8"))
    assert (record.rows, record.rejected, record.duplicates, record.dropped) == (61_069, 0, 146, 0)
    assert dict(record.classes) == {"edible": 27_181, "poisonous": 33_888}
    assert (record.groups.available, record.groups.count) == (True, 173)
    shares = {name: round(count / record.rows, 3) for name, count in record.missing.items() if count}
    assert shares == {
        "veil-type": 0.948,
        "spore-print-color": 0.896,
        "veil-color": 0.879,
        "stem-root": 0.844,
        "stem-surface": 0.624,
        "gill-spacing": 0.410,
        "cap-surface": 0.231,
        "gill-attachment": 0.162,
        "ring-type": 0.040,
    }


def test_the_parts_of_the_real_table_have_their_shares(real_run: Path) -> None:
    folder = real_run / "data/model_input"
    columns = ["_row", "_part", "_row_hash"]
    tables = [pl.read_parquet(folder / f"{name}.parquet", columns=columns) for name in ("train", "validation", "test")]
    whole = pl.concat([table.with_columns(pl.col("_part").cast(pl.String)) for table in tables])
    assert sorted(whole["_row"].to_list()) == list(range(61_069))
    sides = whole.group_by("_row_hash").agg(pl.col("_part").n_unique(), pl.len())
    assert (sides["len"] - 1).sum() == 146
    shares = {part: count / 61_069 for part, count in whole.group_by("_part").len().iter_rows()}
    assert shares == pytest.approx({"train": 0.5, "early_stop": 0.1, "calibration": 0.1, "threshold": 0.15, "test": 0.15}, abs=0.001)
