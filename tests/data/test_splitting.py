"""Which part a row falls into: exact shares, copies shared out like other rows, and the label decides nothing."""

import hashlib
import itertools
import math
import struct
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sporeprint.data import splitting as split
from sporeprint.data.coded_table import Codes
from sporeprint.data.splitting import (
    CopyNumbers,
    HashSet,
    check_counts,
    draws,
    group_parts,
    labelled_hashes,
    ordered_parts,
    parts,
    repeated,
    row_hashes,
)
from sporeprint.errors import DataError
from support import NUMERIC, Labelled, codes, dataset, labels, nominal, tables

SHARES = {"train": 0.5, "early_stop": 0.1, "calibration": 0.1, "threshold": 0.15, "test": 0.15}

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


def some_hashes(rows: int, seed: int = 0) -> Hashes:
    return np.random.default_rng(seed).integers(0, 2**64, rows, dtype=np.uint64)


# --- row hashes ------------------------------------------------------------------------------------------------------

SCHEMA = dataset({"a": nominal("x", "y"), "b": nominal("x", "y"), "n": NUMERIC, "m": NUMERIC})
COLUMNS: dict[str, list[Any]] = {
    "a": ["x", "y", None, "?", "x", "x"],
    "b": ["y", "x", None, "?", "y", "y"],
    "n": [1.5, 1.5, None, 0.0, -0.0, 2.0],
    "m": [2.0, 2.0, None, 0.0, 0.0, 1.5],
}
LABELS = labels(0, 1, 1, 0, 1, 0)


def by_the_book(table: Codes, seed: int) -> list[int]:
    """The same hash in plain integers."""
    mask = 2**64 - 1

    def text(name: str, value: str) -> int:
        return int.from_bytes(hashlib.blake2b(f"{name}\0{value}".encode(), digest_size=8).digest(), "little")

    def mix(state: int, value: int) -> int:
        state = (state ^ value) * 0x9E3779B97F4A7C15 & mask
        return state ^ (state >> 32)

    found = []
    for row in range(table.rows):
        state = text("seed", str(seed))
        for name, values in table.nominal.items():
            word = ["\0unknown", "\0missing", *table.vocabulary[name]][int(values[row]) + 1]
            state = mix(state, text(name, word))
        for name, numbers in table.numeric.items():
            number = math.nan if math.isnan(numbers[row]) else float(numbers[row]) + 0.0
            bits = int(struct.unpack("<Q", struct.pack("<d", number))[0])
            state = mix(state, bits * (text(name, "\0number") | 1) & mask)
        found.append(mix(state, 0))
    return found


def test_hashes_stay_the_same_from_version_to_version() -> None:
    # A hash that changed would make training rows of one version the test rows of the next.
    assert row_hashes(codes(COLUMNS, SCHEMA), seed=7).tolist() == [
        3531682374956685822,
        7010698567433206779,
        6165593537153141411,
        1648919448818928930,
        10678690059565273532,
        17575249785698732377,
    ]


@given(tables(), st.integers(0, 2**32))
def test_hashes_are_those_of_the_book(table: Labelled, seed: int) -> None:
    found = row_hashes(table.codes, seed=seed)
    assert found.dtype == np.uint64
    assert found.tolist() == by_the_book(table.codes, seed)


@given(tables(), st.randoms(use_true_random=False))
def test_a_hash_is_of_the_values_not_of_their_codes(table: Labelled, random: Any) -> None:
    turned = {name: tuple(random.sample([*values, "\0other"], len(values) + 1)) for name, values in table.codes.vocabulary.items()}
    back = {name: [0, *(turned[name].index(value) + 1 for value in values), -1] for name, values in table.codes.vocabulary.items()}
    nominal = {name: np.array([back[name][value] for value in values], dtype=np.int16) for name, values in table.codes.nominal.items()}
    other = Codes(turned, nominal, table.codes.numeric, table.codes.rows)
    assert row_hashes(other, seed=1).tolist() == row_hashes(table.codes, seed=1).tolist()


def test_different_rows_have_different_hashes_and_equal_ones_the_same() -> None:
    found = row_hashes(codes(COLUMNS, SCHEMA), seed=7).tolist()
    assert len(set(found)) == len(found)
    twice = row_hashes(codes({name: values * 2 for name, values in COLUMNS.items()}, SCHEMA), seed=7).tolist()
    assert twice == found * 2


def test_labelled_hashes_are_equal_for_exact_copies_only() -> None:
    hashes = np.array([5, 5, 5, 9], dtype=np.uint64)
    found = labelled_hashes(hashes, labels(0, 1, 0, 0)).tolist()
    assert found[0] == found[2]
    assert len(set(found)) == 3
    assert hashes.tolist() == [5, 5, 5, 9]


def test_everything_in_a_row_counts_and_so_does_the_seed() -> None:
    row: dict[str, list[Any]] = {"a": ["x"], "b": ["y"], "n": [1.0], "m": [2.0]}
    others: list[tuple[dict[str, list[Any]], int]] = [
        *((row, 7), (row, 8)),
        *(({**row, **change}, 7) for change in ({"a": ["y"]}, {"a": [None]}, {"a": ["?"]}, {"n": [1.0000000000000002]}, {"n": [None]})),
        *(({**row, **change}, 7) for change in ({"a": ["y"], "b": ["x"]}, {"n": [2.0], "m": [1.0]}, {"m": [0.0]}, {"m": [-2.0]})),
    ]
    found = [row_hashes(codes(columns, SCHEMA), seed=seed).tolist()[0] for columns, seed in others]
    assert len(set(found)) == len(others)


def test_both_zeros_are_one_and_every_nan_is_missing() -> None:
    schema = dataset({"n": NUMERIC})
    zeros = row_hashes(codes({"n": [0.0, -0.0]}, schema), seed=7)
    assert zeros[0] == zeros[1]
    other_nan = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x7FF8000000000000], dtype=np.uint64).view(np.float64)
    assert np.isnan(other_nan).all()
    assert len(set(row_hashes(Codes({}, {}, {"n": other_nan}, 3), seed=7).tolist())) == 1


def test_hashes_of_similar_rows_are_spread_evenly() -> None:
    # 4,096 rows that differ in one number: χ² over 64 bins by the highest bits has 63 degrees of
    # freedom, mean 63 and standard deviation 11.2.
    for column, step in itertools.product(("n", "m"), (0.01, 1, 0.25, 2.0**40)):
        values = [10 + number * step for number in range(4096)]
        table = codes({"a": ["x"] * 4096, "b": [None] * 4096, **dict.fromkeys(("n", "m"), [1.0] * 4096), column: values}, SCHEMA)
        found = row_hashes(table, seed=7)
        counts = np.bincount((found >> np.uint64(58)).astype(np.intp), minlength=64)
        assert len(set(found.tolist())) == 4096
        assert ((counts - 64) ** 2 / 64).sum() < 63 + 5 * 11.2


# --- shares ----------------------------------------------------------------------------------------------------------

ROWS = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2**64 - 1)), min_size=1, max_size=60)
SOME_SHARES = st.lists(st.integers(1, 9), min_size=2, max_size=5).map(
    lambda weights: {f"part {number}": weight / sum(weights) for number, weight in enumerate(weights)}
)


def arrays(rows: list[tuple[int, int]]) -> tuple[Hashes, np.ndarray[Any, np.dtype[np.int64]]]:
    strata, hashes = zip(*rows, strict=True)
    return np.array(hashes, dtype=np.uint64), np.array(strata, dtype=np.int64)


@given(ROWS.map(lambda rows: list({value: (stratum, value) for stratum, value in rows}.values())), SOME_SHARES)
def test_every_part_has_its_share_of_every_stratum_to_within_one_row(rows: list[tuple[int, int]], shares: dict[str, float]) -> None:
    hashes, strata = arrays(rows)
    found = parts(hashes, strata, shares)
    assert found.dtype == np.int8
    for stratum in set(strata.tolist()):
        counts = np.bincount(found[strata == stratum], minlength=len(shares))
        assert np.abs(counts - counts.sum() * np.array(list(shares.values()))).max() <= 1 + 1e-9


@given(st.lists(st.sampled_from([0, 1, 2, 2**63, 2**64 - 1]), max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_copies_are_numbered_in_the_order_of_the_table(rows: list[int], cuts: list[int]) -> None:
    hashes = np.array(rows, dtype=np.uint64)
    numbers = CopyNumbers(np.array(sorted({value for value in rows if rows.count(value) > 1}), dtype=np.uint64))
    found = [number for batch in np.split(hashes, sorted(min(cut, len(rows)) for cut in cuts)) for number in numbers(batch).tolist()]
    assert found == [rows[:place].count(value) for place, value in enumerate(rows)]


def test_hashes_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    color, size = np.arange(40) % 3, np.where(np.arange(40) % 7 == 0, np.nan, np.arange(40) / 3)
    table = Codes({"color": ("r", "g")}, {"color": color.astype(np.int16)}, {"size": size}, rows=40)
    whole = row_hashes(table, seed=7).tolist()
    for at_once in (1, 13, 39, 40):
        monkeypatch.setattr(split, "HASHED_AT_ONCE", at_once)
        assert row_hashes(table, seed=7).tolist() == whole


def test_hashes_of_a_set_are_found_with_their_places() -> None:
    known = np.array([1, 2, 2**63, 2**64 - 1], dtype=np.uint64)
    rows, place = HashSet(known).places(np.array([3, 2**64 - 1, 1, 1, 2**63 + 1, 2**63], dtype=np.uint64))
    assert (rows.tolist(), place.tolist()) == ([1, 2, 3, 5], [3, 0, 0, 2])
    assert [each.tolist() for each in HashSet(known[:0]).places(known)] == [[], []]


def test_a_first_row_draws_its_hash_and_every_copy_something_else() -> None:
    hashes = np.repeat(some_hashes(20), 50)
    copies = np.tile(np.arange(50), 20)
    found = draws(hashes, copies)
    assert found[copies == 0].tolist() == hashes[copies == 0].tolist()
    assert len(set(found.tolist())) == 1000
    counts = np.bincount((found >> np.uint64(60)).astype(np.intp), minlength=16)
    assert ((counts - 62.5) ** 2 / 62.5).sum() < 15 + 5 * 5.5


def test_rows_that_repeat_have_their_shares_in_every_part() -> None:
    # 32 different rows, 125 times each: every part holds about its share of each.
    hashes = np.repeat(some_hashes(32), 125)
    found = parts(draws(hashes, CopyNumbers(np.unique(hashes))(hashes)), np.zeros(4000, dtype=np.int64), SHARES)
    for value in np.unique(hashes):
        counts = np.bincount(found[hashes == value], minlength=5)
        for count, share in zip(counts.tolist(), SHARES.values(), strict=True):
            assert abs(count - 125 * share) < 5 * math.sqrt(125 * share * (1 - share))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=60), st.integers(0, 9))
def test_whole_groups_are_in_one_part(rows: list[tuple[int, int]], seed: int) -> None:
    group, y = (np.array(values) for values in zip(*rows, strict=True))
    found = group_parts(group, y.astype(np.int8), SHARES, seed=seed)
    assert len({*zip(group.tolist(), found.tolist(), strict=True)}) == len(set(group.tolist()))


def test_groups_give_every_part_its_share_of_both_classes() -> None:
    group = np.repeat(np.arange(400), 5)
    y = (group % 4 == 0).astype(np.int8)
    found = group_parts(group, y, SHARES, seed=7)
    for label in (0, 1):
        shares = np.bincount(found[y == label], minlength=5) / (y == label).sum()
        assert np.abs(shares - list(SHARES.values())).max() < 0.02


@given(st.lists(st.floats(-5, 5, allow_nan=False).map(lambda value: round(value, 1)), min_size=1, max_size=60))
def test_in_time_no_part_begins_before_the_one_before_it_ends(times: list[float]) -> None:
    key = np.array(times)
    found = ordered_parts(key, SHARES)
    order = np.argsort(key, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    assert len({*zip(times, found.tolist(), strict=True)}) == len(set(times))


DIFFERENT_ROWS = ROWS.map(lambda rows: list({value: (stratum, value) for stratum, value in rows}.values()))


@given(DIFFERENT_ROWS, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_rows_does_not_matter(rows: list[tuple[int, int]], random: Any, stratified: bool) -> None:
    hashes, strata = arrays(rows)
    order = np.array(random.sample(range(len(rows)), len(rows)))
    whole = parts(hashes, strata if stratified else None, SHARES)
    assert parts(hashes[order], strata[order] if stratified else None, SHARES).tolist() == whole[order].tolist()


@given(ROWS, ROWS)
def test_more_rows_in_one_stratum_leave_the_others_as_they_were(rows: list[tuple[int, int]], more: list[tuple[int, int]]) -> None:
    hashes, strata = arrays(rows)
    longer, wider = arrays([*rows, *((5, value) for _, value in more)])
    assert parts(longer, wider, SHARES)[: len(rows)].tolist() == parts(hashes, strata, SHARES).tolist()


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.lists(st.integers(0, 2**64 - 1)))
def test_where_the_hash_alone_decides_a_row_keeps_its_part_when_others_come(hashes: list[int], more: list[int]) -> None:
    few, many = np.array(hashes, dtype=np.uint64), np.array([*hashes, *more], dtype=np.uint64)
    assert parts(many, None, SHARES)[: len(few)].tolist() == parts(few, None, SHARES).tolist()


def test_small_strata_do_not_all_round_the_same_way() -> None:
    # 2,000 strata of 3 rows each: no part of 10 % has a whole row in one, and yet each has its share of all rows.
    strata = np.repeat(np.arange(2000), 3)
    counts = np.bincount(parts(some_hashes(6000), strata, SHARES), minlength=5)
    for count, share in zip(counts.tolist(), SHARES.values(), strict=True):
        assert abs(count - 6000 * share) < 5 * math.sqrt(6000 * share * (1 - share))


def test_where_the_hash_alone_decides_the_shares_are_right() -> None:
    counts = np.bincount(parts(some_hashes(100_000), None, SHARES), minlength=5)
    for count, share in zip(counts.tolist(), SHARES.values(), strict=True):
        assert abs(count - 100_000 * share) < 5 * math.sqrt(100_000 * share * (1 - share))


def test_the_smallest_and_the_largest_hash_have_a_part() -> None:
    assert parts(np.array([0, 2**62, 2**63, 2**64 - 1], dtype=np.uint64), None, {"a": 0.5, "b": 0.5}).tolist() == [0, 0, 1, 1]
    assert parts(some_hashes(1000), None, {"a": 1.0}).tolist() == [0] * 1000
    assert parts(np.array([0, 2**64 - 1], dtype=np.uint64), np.array([0, 0]), {"a": 0.5, "b": 0.5}).tolist() == [0, 1]


def test_another_seed_gives_another_split() -> None:
    table = codes({"n": [float(number) for number in range(1000)]}, dataset({"n": NUMERIC}))
    strata = np.zeros(1000, dtype=np.int64)
    first, again, other = (parts(row_hashes(table, seed=seed), strata, SHARES) for seed in (7, 7, 8))
    assert first.tolist() == again.tolist()
    alike = float((first == other).mean())
    expected = sum(share**2 for share in SHARES.values())
    assert abs(alike - expected) < 5 * math.sqrt(expected * (1 - expected) / 1000)


# --- counts ----------------------------------------------------------------------------------------------------------

WORDS = ("edible", "poisonous")


def test_enough_rows_of_each_class_are_no_reason_to_stop() -> None:
    check_counts(np.ones((2, 5), dtype=np.int64), SHARES, WORDS)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[0] * 5, [5, 1, 1, 1, 1]], "the table has one class only: every row is 'poisonous', none is 'edible'; a classifier needs both"),
        ([[5, 1, 1, 1, 1], [0] * 5], "the table has one class only: every row is 'edible', none is 'poisonous'; a classifier needs both"),
        (
            [[5, 1, 1, 1, 1], [3, 0, 1, 0, 1]],
            "class 'poisonous' has 5 rows, too few to split: none is left for 'early_stop' (10% of the rows); "
            "about 20 rows of each class are needed",
        ),
        (
            [[5, 1, 1, 1, 0], [5, 1, 1, 1, 1]],
            "class 'edible' has 8 rows, too few to split: none is left for 'test' (15% of the rows); "
            "about 20 rows of each class are needed",
        ),
    ],
)
def test_a_part_without_a_class_stops_the_run(counts: list[list[int]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        check_counts(np.array(counts), SHARES, WORDS)
    assert str(caught.value) == message


def test_as_many_rows_as_the_message_asks_for_are_enough() -> None:
    for seed in range(200):
        counts = np.bincount(parts(some_hashes(20, seed), np.full(20, seed), SHARES), minlength=5)
        check_counts(np.array([counts, counts]), SHARES, WORDS)


# --- equal rows ------------------------------------------------------------------------------------------------------


@hypothesis_settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 7), max_size=8), max_size=6),
    st.sampled_from([1, 2, 3, 5, 8, 1000]),
    st.sampled_from([1, 2**61 - 1, 2**61]),
)
def test_repeated_rows_are_those_that_counting_finds(batches: list[list[int]], at_once: int, spread: int) -> None:
    hashes = [np.array(batch, dtype=np.uint64) * np.uint64(spread) for batch in batches]
    counted = Counter(value for batch in hashes for value in batch.tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "HASHES_AT_ONCE", at_once)
        found, copies = repeated(lambda: iter(hashes), sum(counted.values()))
    assert found.dtype == np.uint64
    assert found.tolist() == sorted(value for value, count in counted.items() if count > 1)
    assert copies == sum(count - 1 for count in counted.values())


def test_looking_for_repeated_rows_leaves_the_batches_as_they_are() -> None:
    batch = np.array([3, 1, 3, 2], dtype=np.uint64)
    assert repeated(lambda: [batch], 4)[1] == 1
    assert batch.tolist() == [3, 1, 3, 2]


def test_a_pass_holds_only_its_part_of_the_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "HASHES_AT_ONCE", 1000)
    passes = []
    hashes = np.concatenate([some_hashes(4000), some_hashes(4000)[:10]])

    def batches() -> list[Hashes]:
        passes.append(1)
        return [hashes]

    found, copies = repeated(batches, len(hashes))
    assert (len(found), copies, len(passes)) == (10, 10, 5)
