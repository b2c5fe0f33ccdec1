"""A sample by hash is the same in whatever batches a table is read, and takes of every part and every copy its share."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_support import species
from sporeprint.common.batches import BatchSequence
from sporeprint.data.dataset import concat
from sporeprint.data.row_sample import row_keys, sample, smallest

ROWS = species(3000)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 3000), max_size=6), st.integers(1, 2999))
def test_the_batches_do_not_matter(cuts: list[int], most: int) -> None:
    batches = [ROWS.take(part) for part in np.split(np.arange(3000), sorted(cuts)) if len(part)]
    found = sample(BatchSequence(batches), 3000, most)
    assert found.row.tolist() == smallest(ROWS, most).row.tolist()
    assert len(found.row) == most
    assert (np.diff(found.row) > 0).all()


def test_a_small_table_is_whole() -> None:
    assert sample(BatchSequence([ROWS]), 3000, 3000) is ROWS
    assert smallest(ROWS, 3000) is ROWS


def test_samples_of_two_parts_hold_the_sample_of_both() -> None:
    parts = [ROWS.take(np.arange(0, 2000)), ROWS.take(np.arange(2000, 3000))]
    both = smallest(concat([smallest(part, 600) for part in parts]), 600)
    assert both.row.tolist() == smallest(ROWS, 600).row.tolist()
    assert (both.row < 2000).sum() == pytest.approx(400, abs=45)


def test_copies_are_chosen_one_by_one() -> None:
    copies = replace(ROWS, row_hash=np.repeat(np.array([1, 2], dtype=np.uint64), 1500))
    first = (smallest(copies, 500).row_hash == 1).sum()
    assert first == pytest.approx(250, abs=45)
    assert len(np.unique(row_keys(copies))) == 3000
