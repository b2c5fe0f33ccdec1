import csv
import json
import re
import resource
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, KFold
from sklearn.tree import DecisionTreeClassifier

from sporeprint.data.coded_table import Codes
from sporeprint.data.cross_field_rules import contradictory
from sporeprint.errors import StorageError, UsageError
from sporeprint.schema import DatasetSchema
from sporeprint.settings import load_settings
from sporeprint.simulation.corruption import CSV_ONLY, SPOIL_KINDS, Spoil
from sporeprint.simulation.drift import Drift
from sporeprint.simulation.generator import SimulatedTable, simulate_names, simulate_table
from sporeprint.simulation.world import TILE_ROWS

Row = list[str]


ILL = {"column": "ill", "positive": "yes", "values": {"no": "healthy", "yes": "ill"}}


def schema(columns: dict[str, Any], *, groups: dict[str, Any] | None = None, target: dict[str, Any] = ILL) -> DatasetSchema:
    return DatasetSchema.model_validate({"name": "tiny", "target": target, "columns": columns, "groups": groups})


NOMINAL = schema(
    {
        "a": {"kind": "nominal"},
        "b": {"kind": "nominal", "required": True},
        "c": {"kind": "nominal", "values": {"x": "eks", "y": "why"}},
        "d": {"kind": "nominal", "values": {"1": "one", "2": "two", "3": "three", "4": "four"}},
    }
)
NUMERIC = schema(
    {
        "open": {"kind": "numeric"},
        "signed": {"kind": "numeric", "min": -1, "max": 1},
        "narrow": {"kind": "numeric", "min": 0.0011, "max": 0.0019, "required": True},
        "below": {"kind": "numeric", "max": -5},
        "only": {"kind": "numeric", "min": 0.125, "max": 0.125},
        "vast": {"kind": "numeric", "min": -1e300, "max": 1e300},
    },
    groups={"name": "patient", "column": "patient"},
)
ONE = schema({"a": {"kind": "nominal"}, "x": {"kind": "numeric", "min": 0, "max": 100}})


@pytest.fixture(scope="session")
def mushroom(config_file: Path) -> DatasetSchema:
    return load_settings(config_file, environ={}).dataset


@pytest.fixture(params=["mushroom", "nominal", "numeric", "one"])
def any_schema(request: pytest.FixtureRequest, mushroom: DatasetSchema) -> DatasetSchema:
    return {"mushroom": mushroom, "nominal": NOMINAL, "numeric": NUMERIC, "one": ONE}[request.param]


def read(path: Path) -> tuple[Row, list[Row]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter=";")
    return header, rows


def ledger(made: SimulatedTable) -> list[dict[str, str]]:
    assert made.ledger is not None
    with made.ledger.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def frame(dataset: DatasetSchema, folder: Path, **options: Any) -> pl.DataFrame:
    made = simulate_table(dataset, folder / "frame.parquet", **{"rows": 5_000, "groups": 20, "seed": 3, **options})
    return pl.read_parquet(made.path)


# --- the same again -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_same_arguments_give_the_same_bytes(mushroom: DatasetSchema, tmp_path: Path, suffix: str) -> None:
    one, two = (tmp_path / name / f"t.{suffix}" for name in ("one", "two"))
    for out in (one, two):
        simulate_table(mushroom, out, rows=3_000, groups=9, seed=5, spoil=Spoil(0.1), drift=Drift(0.5, 1.0, 0.1, missing=0.1))
    for name in (f"t.{suffix}", f"t.{suffix}.ledger.csv", f"t.{suffix}.simulated.json"):
        assert (one.parent / name).read_bytes() == (two.parent / name).read_bytes()


def test_another_seed_gives_another_world(tmp_path: Path) -> None:
    assert not frame(ONE, tmp_path, seed=3).equals(frame(ONE, tmp_path, seed=4))


def test_another_draw_gives_other_rows_of_the_same_species(mushroom: DatasetSchema, tmp_path: Path) -> None:
    first, second = (frame(mushroom, tmp_path, draw=draw) for draw in (0, 1))
    assert first["class"].equals(second["class"])
    assert not first["cap-diameter"].equals(second["cap-diameter"])
    diameters = [made["cap-diameter"].to_numpy().reshape(20, 250) for made in (first, second)]
    assert np.nanmean(diameters[0], axis=1) == pytest.approx(np.nanmean(diameters[1], axis=1), rel=0.1)


def test_threads_do_not_change_the_file(tmp_path: Path) -> None:
    rows = 3 * TILE_ROWS + 17
    for threads in (1, 3):
        simulate_table(
            ONE, tmp_path / f"{threads}.csv", rows=rows, groups=40, seed=1, threads=threads, spoil=Spoil(0.001), drift=Drift(0.3, 2.0)
        )
    for name in ("{}.csv", "{}.csv.ledger.csv"):
        assert (tmp_path / name.format(1)).read_bytes() == (tmp_path / name.format(3)).read_bytes()


def test_the_first_rows_do_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    short = simulate_table(ONE, tmp_path / "short.csv", rows=TILE_ROWS, groups=2**10, seed=1)
    long = simulate_table(ONE, tmp_path / "long.csv", rows=3 * TILE_ROWS, groups=3 * 2**10, seed=1)
    text = short.path.read_bytes()
    assert long.path.read_bytes()[: len(text)] == text


# --- blocks ---------------------------------------------------------------------------------------------------------


@given(st.data())
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_in_even_blocks_of_one_class(tmp_path: Path, data: st.DataObject) -> None:
    rows = data.draw(st.integers(2, 3_000), label="rows")
    groups = data.draw(st.integers(2, rows), label="groups")
    seed = data.draw(st.integers(0, 2**70), label="seed")
    made = simulate_table(NUMERIC, tmp_path / "t.csv", rows=rows, groups=groups, seed=seed)
    simulate_names(NUMERIC, tmp_path / "names.csv", groups=groups, seed=seed)
    header, table = read(made.path)
    _, names = read(tmp_path / "names.csv")
    size, longer = divmod(rows, groups)
    sizes = [size] * (groups - longer) + [size + 1] * longer
    assert header == list(NUMERIC.table_columns)
    assert [(row[1], row[0]) for row in table] == [(name, code) for (name, code), n in zip(names, sizes, strict=True) for _ in range(n)]
    assert {row[0] for row in table} == {"yes", "no"}


def test_blocks_are_the_declared_ones_where_the_rows_fill_them(mushroom: DatasetSchema, tmp_path: Path) -> None:
    made = frame(mushroom, tmp_path, rows=173 * 353, groups=173)
    classes = made.group_by(pl.int_range(pl.len()) // 353).agg(pl.col("class").n_unique())
    assert classes["class"].to_list() == [1] * 173
    assert 0.4 < (made["class"] == "p").mean() < 0.7  # type: ignore[operator]  # a mean of booleans is a float


def test_a_block_may_be_larger_than_what_is_drawn_at_a_time(tmp_path: Path) -> None:
    made = frame(ONE, tmp_path, rows=5 * TILE_ROWS // 2, groups=2)
    half = made.height // 2
    assert made["ill"][:half].n_unique() == made["ill"][half:].n_unique() == 1
    assert made["ill"][0] != made["ill"][-1]


def test_no_two_tiles_are_alike(tmp_path: Path) -> None:
    numbers = frame(ONE, tmp_path, rows=2 * TILE_ROWS, groups=2)["x"]
    first, second = (part.to_numpy() for part in (numbers[:TILE_ROWS], numbers[TILE_ROWS:]))
    both = ~np.isnan(first) & ~np.isnan(second)
    assert abs(np.corrcoef(first[both], second[both])[0, 1]) < 0.02


def test_as_many_groups_as_rows(tmp_path: Path) -> None:
    made = frame(ONE, tmp_path, rows=TILE_ROWS + 5, groups=TILE_ROWS + 5)
    assert (made["ill"] == "yes").mean() == pytest.approx(0.55, abs=0.01)


# --- what stands in the rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [True, False])
def test_every_value_is_one_the_schema_allows(any_schema: DatasetSchema, tmp_path: Path, missing: bool) -> None:
    made = frame(any_schema, tmp_path, missing=missing)
    assert made.columns == list(any_schema.table_columns)
    for name, column in any_schema.columns.items():
        values = made[name].drop_nulls()
        if name in any_schema.nominal:
            assert set(values) <= set(column.values or {f"v{number}" for number in range(1, 10)})
        else:
            assert values.is_finite().all()
            assert column.min is None or (values >= column.min).all()
            assert column.max is None or (values <= column.max).all()
        if column.required or not missing:
            assert made[name].null_count() == 0
    assert set(made[any_schema.target.column]) == set(any_schema.target.values)
    assert made.select(*any_schema.columns).null_count().sum_horizontal().item() > 0 or not missing


def test_no_row_contradicts_itself(mushroom: DatasetSchema, tmp_path: Path) -> None:
    made = frame(mushroom, tmp_path, rows=30_000, groups=100)
    assert contradictory(Codes.of(made, mushroom), mushroom) == {}
    # Not for want of rows that could.
    free = frame(mushroom.model_copy(update={"contradictions": ()}), tmp_path, rows=30_000, groups=100)
    assert len(contradictory(Codes.of(free, mushroom), mushroom)) >= 4


def test_columns_are_missing_for_whole_species_or_now_and_then(mushroom: DatasetSchema, tmp_path: Path) -> None:
    # Without contradictions: to avoid these, some values are left out too.
    made = frame(mushroom.model_copy(update={"contradictions": ()}), tmp_path, rows=60_000, groups=60)
    shares = np.stack([made[name].is_null().to_numpy().reshape(60, 1_000).mean(axis=1) for name in mushroom.columns], axis=1)
    assert ((shares == 1) | (shares < 0.02)).all()
    assert (shares.mean(axis=0) > 0.5).sum() >= 3
    assert (shares.mean(axis=0) < 0.02).sum() >= 9


def test_csv_has_two_decimals_and_parquet_the_same_numbers(mushroom: DatasetSchema, tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        simulate_table(mushroom, tmp_path / f"t.{suffix}", rows=2_000, groups=10, seed=8)
    parquet = pl.read_parquet(tmp_path / "t.parquet")
    assert parquet.equals(pl.read_csv(tmp_path / "t.csv", separator=";", schema=parquet.schema))
    assert parquet.schema == {name: pl.Float64 if name in mushroom.numeric else pl.String for name in mushroom.table_columns}
    header, rows = read(tmp_path / "t.csv")
    numbers = {row[header.index("stem-width")] for row in rows}
    assert all(re.fullmatch(r"\d+\.\d\d|", number) for number in numbers)


def test_narrow_bounds_get_the_decimals_they_need(tmp_path: Path) -> None:
    made = frame(NUMERIC, tmp_path)
    assert made["narrow"].n_unique() > 50
    assert set(made["only"].drop_nulls()) == {0.125}
    simulate_table(NUMERIC, tmp_path / "t.csv", rows=100, groups=5, seed=1)
    header, rows = read(tmp_path / "t.csv")
    assert all(re.fullmatch(r"-?\d+\.\d{7}|", row[header.index("signed")]) for row in rows)


def test_codes_that_need_quotes_are_quoted(tmp_path: Path) -> None:
    odd = schema({"a": {"kind": "nominal", "values": {'say "so"': "s", "x;y": "t", "ü": "u"}}, "b;c": {"kind": "numeric"}})
    made = simulate_table(odd, tmp_path / "t.csv", rows=500, groups=20, seed=1, spoil=Spoil(0.2, ("not_a_number", "too_many_fields")))
    header, rows = read(made.path)
    assert header == ["ill", "a", "b;c"]
    assert {row[1] for row in rows} - {""} == {'say "so"', "x;y", "ü"}
    assert {len(row) for row in rows} == {3, 4}


def test_known_species_are_easy_and_unseen_ones_hard(mushroom: DatasetSchema, tmp_path: Path) -> None:
    made = frame(mushroom, tmp_path, rows=173 * 100, groups=173, seed=7)
    X = made.select(pl.col(*mushroom.numeric).fill_null(0), pl.col(*mushroom.nominal).fill_null("-").rank("dense")).to_numpy()
    y = (made["class"] == "p").to_numpy()
    group = np.arange(len(y)) // 100
    seen = _auc(X, y, list(KFold(3, shuffle=True, random_state=1).split(X)))
    unseen = _auc(X, y, list(GroupKFold(5, shuffle=True, random_state=1).split(X, y, group)))
    assert seen > 0.95
    assert 0.35 < unseen < 0.75


def _auc(X: npt.NDArray[np.float64], y: npt.NDArray[np.bool_], folds: Sequence[tuple[Any, Any]]) -> float:
    scores = np.zeros(len(y))
    for train, test in folds:
        tree = DecisionTreeClassifier(min_samples_leaf=2, random_state=0).fit(X[train], y[train])
        scores[test] = tree.predict_proba(X[test])[:, 1]
    return float(roc_auc_score(y, scores))


# --- marks, names, progress, memory ---------------------------------------------------------------------------------


def test_every_file_is_marked_as_simulated(tmp_path: Path) -> None:
    made = simulate_table(ONE, tmp_path / "t.parquet", rows=10, groups=2, seed=4, draw=2, drift=Drift(0.5, 1.0))
    metadata = pq.read_schema(made.path).metadata
    assert metadata[b"sporeprint.simulated"] == b"true"
    told = json.loads(made.sidecar.read_text())
    assert made.sidecar == tmp_path / "t.parquet.simulated.json"
    assert (told["simulated"], told["rows"], told["groups"], told["seed"], told["draw"]) == (True, 10, 2, 4, 2)
    assert told["drift"]["numeric_shift"] == 1.0
    assert told["schema"] == ONE.fingerprint()
    assert json.loads(metadata[b"sporeprint.simulation"])["seed"] == 4


def test_names_say_that_they_are_simulated(mushroom: DatasetSchema, tmp_path: Path) -> None:
    simulate_names(mushroom, tmp_path / "names.csv", groups=1_100, seed=2)
    header, rows = read(tmp_path / "names.csv")
    assert header == ["family", "name", "class"]
    assert rows[0][:2] == ["Simulated family 01", "Simulated species 001"]
    assert rows[-1][1] == "Simulated species 1100"
    assert len({row[1] for row in rows}) == 1_100
    made = frame(mushroom, tmp_path, rows=2_200, groups=1_100, seed=2)
    assert [row[2] for row in rows] == made["class"].gather_every(2).to_list()


class Counted:
    """Progress that is kept."""

    def __init__(self) -> None:
        self.announced: int | None = None
        self.done = 0

    def total(self, amount: int | None) -> None:
        self.announced = amount

    def advance(self, amount: int) -> None:
        self.done += amount

    def text(self, text: str) -> None:
        assert text == "simulating 150,000 rows"


def test_progress_counts_rows(tmp_path: Path) -> None:
    progress = Counted()
    simulate_table(ONE, tmp_path / "t.csv", rows=150_000, groups=3, seed=1, progress=progress)
    assert progress.announced == progress.done == 150_000


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def peak(tiles: int) -> int:
        tracemalloc.start()
        simulate_table(ONE, tmp_path / "t.csv", rows=tiles * TILE_ROWS, groups=tiles * 300, seed=1)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(24) < 2 * peak(6)  # what waits for the writer varies; all of it would be four times as much


# --- drift ----------------------------------------------------------------------------------------------------------


def test_before_its_start_drift_changes_nothing(any_schema: DatasetSchema, tmp_path: Path) -> None:
    drift = Drift(start=0.4, numeric_shift=1.0 if any_schema.numeric else 0.0, missing=0.3)
    calm, drifted = frame(any_schema, tmp_path), frame(any_schema, tmp_path, drift=drift)
    assert drift.first_row(5_000) == 2_000
    assert calm[:2_000].equals(drifted[:2_000])
    assert not calm[2_000:].equals(drifted[2_000:])


def test_numbers_shift_by_standard_deviations_of_their_species(mushroom: DatasetSchema, tmp_path: Path) -> None:
    calm, drifted = (frame(mushroom, tmp_path, drift=Drift(numeric_shift=shift, columns=("stem-width",))) for shift in (0.0, 1.5))
    assert calm.drop("stem-width").equals(drifted.drop("stem-width"))
    before, after = (made["stem-width"].to_numpy().reshape(20, 250) for made in (calm, drifted))
    assert np.nanmean(after - before, axis=1) / np.nanstd(before, axis=1) == pytest.approx(1.5, rel=0.15)


def test_shifted_numbers_stay_within_bounds(tmp_path: Path) -> None:
    for shift, edges in ((-1e6, (-1.0, 0.0011)), (1e6, (1.0, 0.0019))):
        drifted = frame(NUMERIC, tmp_path, drift=Drift(numeric_shift=shift))
        assert [set(drifted[name].drop_nulls()) for name in ("signed", "narrow")] == [{edge} for edge in edges]


def test_a_new_category_is_one_that_no_row_had(mushroom: DatasetSchema, tmp_path: Path) -> None:
    calm = frame(mushroom, tmp_path, rows=60_000, groups=2_000)
    drifted = frame(mushroom, tmp_path, rows=60_000, groups=2_000, drift=Drift(new_category=0.2))
    seen = 0
    for name in mushroom.nominal:
        values = mushroom.columns[name].values or {}
        new = set(drifted[name].drop_nulls()) - set(calm[name].drop_nulls())
        assert new <= set(values)
        assert len(new) == (len(values) >= 4), name
        if new:
            assert drifted[name].is_in(list(new)).sum() == pytest.approx(12_000, abs=600)
            seen += 1
    assert seen == 13


def test_an_undeclared_category_is_outside_every_dictionary(tmp_path: Path) -> None:
    drifted = frame(NOMINAL, tmp_path, drift=Drift(new_category=0.5, undeclared=True))
    assert all((drifted[name] == "?").sum() > 2_000 for name in NOMINAL.nominal)


def test_drift_takes_values_away_but_not_required_ones(tmp_path: Path) -> None:
    drifted = frame(NOMINAL, tmp_path, drift=Drift(missing=1.0))
    assert {name: drifted[name].null_count() for name in NOMINAL.nominal} == {"a": 5_000, "b": 0, "c": 5_000, "d": 5_000}


# --- bad rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "rows"), [(0.05, 20_000), (1.0, 400)])
def test_the_ledger_says_exactly_what_was_spoilt(mushroom: DatasetSchema, tmp_path: Path, share: float, rows: int) -> None:
    kinds = check_ledger(mushroom, tmp_path, rows=rows, groups=10, spoil=Spoil(share))
    assert set(kinds) == set(SPOIL_KINDS) or share == 1
    assert sum(kinds.values()) == pytest.approx(share * rows, rel=0.2)


def test_the_ledger_holds_over_small_blocks_and_past_the_first_tile(tmp_path: Path) -> None:
    kinds = check_ledger(ONE, tmp_path, rows=132_000, groups=44_000, spoil=Spoil(0.6, ("duplicate", "nan")))
    assert kinds["duplicate"] > 10_000


def check_ledger(dataset: DatasetSchema, folder: Path, *, rows: int, groups: int, spoil: Spoil) -> Counter[str]:
    """Hold a spoilt file against the same one unspoilt, row by row; how many of each kind."""
    header, clean = read(simulate_table(dataset, folder / "clean.csv", rows=rows, groups=groups, seed=6).path)
    made = simulate_table(dataset, folder / "bad.csv", rows=rows, groups=groups, seed=6, spoil=spoil)
    _, bad = read(made.path)
    entries = {int(entry["row"]): entry for entry in ledger(made)}
    assert len(entries) == len(ledger(made)) == made.spoilt
    assert bad == [by_the_ledger(number, entries.get(number), header, clean, rows // groups) for number in range(rows)]
    return Counter(entry["kind"] for entry in entries.values())


def by_the_ledger(number: int, entry: dict[str, str] | None, header: Row, clean: list[Row], block: int) -> Row:
    row = clean[number]
    if entry is None:
        return row
    if entry["column"]:
        at = header.index(entry["column"])
        assert row[at] == entry["original"]
        return [*row[:at], entry["spoilt"], *row[at + 1 :]]
    if entry["kind"] == "duplicate":
        copied = int(entry["spoilt"])
        assert copied < number
        assert copied // block == number // block
        return clean[copied]
    assert len(row) == int(entry["original"]) == len(header)
    assert int(entry["spoilt"]) - len(header) == {"too_few_fields": -1, "too_many_fields": 1}[entry["kind"]]
    return [*row, "extra"][: int(entry["spoilt"])]


BAD_TEXT = {
    "not_a_number": "17.wrz",
    "comma_decimal": "1,5",
    "overflow": "1e400",
    "negative": "-3",
    "nan": "NaN",
    "inf": "inf",
    "unknown_code": "?",
    "missing_target": "",
    "unknown_target": "?",
}


@pytest.mark.parametrize("kind", SPOIL_KINDS)
def test_each_kind_can_be_had_alone(mushroom: DatasetSchema, tmp_path: Path, kind: str) -> None:
    made = simulate_table(mushroom, tmp_path / "t.csv", rows=500, groups=5, seed=6, spoil=Spoil(0.5, (kind,)))
    entries = ledger(made)
    assert 150 < len(entries) < 350
    assert {entry["kind"] for entry in entries} == {kind}
    if kind in BAD_TEXT:
        assert {entry["spoilt"] for entry in entries} == {BAD_TEXT[kind]}
        kinds = {"unknown_code": mushroom.nominal, "missing_target": ("class",), "unknown_target": ("class",)}
        assert {entry["column"] for entry in entries} == set(kinds.get(kind, mushroom.numeric))
    else:
        assert {entry["column"] for entry in entries} == {""}


def test_parquet_holds_the_faults_that_csv_tells(mushroom: DatasetSchema, tmp_path: Path) -> None:
    kinds = tuple(kind for kind in SPOIL_KINDS if kind not in CSV_ONLY)
    made = {
        suffix: simulate_table(mushroom, tmp_path / f"t.{suffix}", rows=3_000, groups=10, seed=6, spoil=Spoil(0.3, kinds))
        for suffix in ("csv", "parquet")
    }
    assert ledger(made["csv"]) == ledger(made["parquet"])
    parquet = pl.read_parquet(made["parquet"].path)
    assert parquet.equals(pl.read_csv(made["csv"].path, separator=";", schema=parquet.schema))
    told = [int(entry["row"]) for entry in ledger(made["csv"]) if (entry["kind"], entry["column"]) == ("nan", "cap-diameter")]
    assert parquet["cap-diameter"].is_nan().fill_null(value=False).arg_true().to_list() == told


def test_parquet_has_all_kinds_that_it_can_hold(mushroom: DatasetSchema, tmp_path: Path) -> None:
    made = simulate_table(mushroom, tmp_path / "t.parquet", rows=3_000, groups=10, seed=6, spoil=Spoil(0.3))
    assert {entry["kind"] for entry in ledger(made)} == set(SPOIL_KINDS) - CSV_ONLY


def test_kinds_are_alike_often(mushroom: DatasetSchema, tmp_path: Path) -> None:
    made = simulate_table(mushroom, tmp_path / "t.csv", rows=24_000, groups=10, seed=6, spoil=Spoil(0.5))
    counts = Counter(entry["kind"] for entry in ledger(made))
    assert all(counts[kind] == pytest.approx(1_000, abs=150) for kind in SPOIL_KINDS)


def test_a_word_outside_the_dictionary_is_outside_of_it(tmp_path: Path) -> None:
    odd = schema(
        {"a": {"kind": "nominal", "values": {"?": "asked", "x": "answered"}}},
        target={"column": "t", "positive": "?", "values": {"?": "maybe", "??": "surely"}},
    )
    made = simulate_table(odd, tmp_path / "t.csv", rows=200, groups=5, seed=1, spoil=Spoil(0.5, ("unknown_code", "unknown_target")))
    assert {(entry["column"], entry["spoilt"]) for entry in ledger(made)} == {("a", "??"), ("t", "???")}


def test_a_ledger_of_an_earlier_table_goes(tmp_path: Path) -> None:
    spoilt = simulate_table(ONE, tmp_path / "t.csv", rows=100, groups=5, seed=1, spoil=Spoil(0.5))
    assert spoilt.ledger is not None
    assert spoilt.ledger.exists()
    sound = simulate_table(ONE, tmp_path / "t.csv", rows=100, groups=5, seed=1)
    assert sound.ledger is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.csv.simulated.json"]


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, r"rows is 0; allowed is 2 to 1,000,000,000,000"),
        ({"rows": 10**13}, r"rows is 10000000000000; allowed is 2 to 1,000,000,000,000"),
        ({"groups": 1}, r"groups is 1; allowed is 2 to 100 \(one for each class"),
        ({"groups": 101}, r"groups is 101; allowed is 2 to 100"),
        ({"seed": -1}, r"seed is -1; allowed is 0 or more"),
        ({"draw": -1}, r"draw is -1; allowed is 0 or more"),
        ({"threads": 0}, r"threads is 0; allowed is 1 or more"),
        ({"spoil": Spoil(1.5)}, r"spoil.share is 1.5; allowed is 0 to 1 \(a share of the rows\)"),
        ({"spoil": Spoil(float("nan"))}, r"spoil.share is nan; allowed is 0 to 1"),
        ({"drift": Drift(-0.1)}, r"drift.start is -0.1; allowed is 0 to 1"),
        ({"drift": Drift(new_category=2)}, r"drift.new_category is 2; allowed is 0 to 1"),
        ({"drift": Drift(missing=-1)}, r"drift.missing is -1; allowed is 0 to 1"),
        ({"drift": Drift(numeric_shift=float("inf"))}, r"drift.numeric_shift is inf; allowed is any finite number"),
        (
            {"drift": Drift(columns=("cap-diametre",))},
            r"drift.columns has no 'cap-diametre' \(did you mean 'cap-diameter'\?\); allowed are: cap-",
        ),
        (
            {"drift": Drift(new_category=0.1, columns=("veil-type", "stem-width"))},
            r"drift.new_category is 0.1, but no drifting column can show it; columns that can: cap-shape",
        ),
        ({"spoil": Spoil(0.1, ("negativ",))}, r"spoil.kinds has no 'negativ' \(did you mean 'negative'\?\); allowed are: not_a_number"),
    ],
)
def test_what_cannot_be_is_refused(mushroom: DatasetSchema, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulate_table(mushroom, tmp_path / "t.csv", **{"rows": 100, "groups": 5, "seed": 1, **options})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("dataset", "name", "kind", "message"),
    [
        (
            NUMERIC,
            "t.parquet",
            "overflow",
            r"has 'overflow', but it cannot be told in Parquet; kinds that fit: negative, nan, inf",
        ),
        (NOMINAL, "t.csv", "nan", r"has 'nan', but no column of 'tiny' can have it; kinds that fit: unknown_code, missing_target"),
        (NUMERIC, "t.csv", "unknown_code", r"has 'unknown_code', but no column of 'tiny' can have it"),
    ],
)
def test_a_fault_that_does_not_fit_is_refused(tmp_path: Path, dataset: DatasetSchema, name: str, kind: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulate_table(dataset, tmp_path / name, rows=100, groups=5, seed=1, spoil=Spoil(0.1, (kind,)))


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.csv.gz"])
def test_another_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"cannot simulate to '{re.escape(name)}': the name must end in .csv or .parquet"):
        simulate_table(ONE, tmp_path / name, rows=100, groups=5, seed=1)


def test_bounds_that_hold_too_few_numbers_are_refused(tmp_path: Path) -> None:
    tight = schema({"x": {"kind": "numeric", "min": 1, "max": 1.0000001}})
    with pytest.raises(UsageError, match=r"cannot invent numbers for column 'x' from 1.0 to 1.0000001: fewer than a thousand"):
        simulate_table(tight, tmp_path / "t.csv", rows=100, groups=5, seed=1)


def test_a_code_with_a_line_end_cannot_be_spoilt_in_csv(tmp_path: Path) -> None:
    odd = schema({"a": {"kind": "nominal", "values": {"x\ny": "two lines", "z": "one"}}})
    with pytest.raises(UsageError, match=r"cannot spoil rows of 'tiny' in CSV: a code holds a line end; write Parquet"):
        simulate_table(odd, tmp_path / "t.csv", rows=100, groups=5, seed=1, spoil=Spoil(0.1))
    _, rows = read(simulate_table(odd, tmp_path / "t.csv", rows=100, groups=5, seed=1).path)
    assert {row[1] for row in rows} <= {"x\ny", "z", ""}


def test_names_need_groups_a_csv_name_and_numbers_in_bounds(mushroom: DatasetSchema, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dataset 'tiny' declares no groups"):
        simulate_names(ONE, tmp_path / "n.csv", groups=5, seed=1)
    with pytest.raises(UsageError, match=r"cannot write the names to 'n.parquet': they are a .csv file"):
        simulate_names(mushroom, tmp_path / "n.parquet", groups=5, seed=1)
    with pytest.raises(UsageError, match=r"groups is 1; allowed is 2 to"):
        simulate_names(mushroom, tmp_path / "n.csv", groups=1, seed=1)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_where_nothing_can_be_written_nothing_is_left(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / f"t.{suffix}"
    with pytest.raises(StorageError, match=f"cannot write {re.escape(str(out))}: .*nothing was replaced"):
        simulate_table(ONE, out, rows=100, groups=5, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_run_that_is_broken_off_leaves_what_was_there(tmp_path: Path, suffix: str) -> None:
    class Enough(Counted):
        def text(self, text: str) -> None:
            """Say nothing."""

        def advance(self, amount: int) -> None:
            raise KeyboardInterrupt

    out = tmp_path / f"t.{suffix}"
    out.write_text("what was there")
    with pytest.raises(KeyboardInterrupt):
        simulate_table(ONE, out, rows=3 * TILE_ROWS, groups=5, seed=1, spoil=Spoil(0.001), progress=Enough())
    assert [path.read_text() for path in tmp_path.iterdir()] == ["what was there"]


@pytest.mark.parametrize("spoil", [Spoil(), Spoil(0.01)])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path, suffix: str, spoil: Spoil) -> None:
    out = tmp_path / f"t.{suffix}"
    out.write_text("what was there")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with pytest.raises(StorageError, match=rf"cannot write {re.escape(str(out))}.*: File too large; nothing was replaced"):
            simulate_table(ONE, out, rows=2 * TILE_ROWS, groups=5, seed=1, spoil=spoil)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["what was there"]
