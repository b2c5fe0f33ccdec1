"""Counts of parts of the rows, merged, give the guard and the likelihoods of the whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from safety_support import SCHEMA, species
from sporeprint.common.batches import BatchSequence
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.safety.component_counts import ComponentCounts, ComponentRows, count_components
from sporeprint.safety.group_likelihood import likelihood_of
from sporeprint.safety.novelty_guard import fit_components, guard_of

ROWS = species(900)
WHOLE = ComponentRows(ROWS.codes, ROWS.y, np.asarray(ROWS.group, dtype=np.intp))
NAMES = np.arange(6)


def part(rows: Observations, turned: bool) -> ComponentRows:
    """Rows as a batch has them: perhaps in another vocabulary."""
    codes = rows.codes
    if turned:
        vocabulary = {name: tuple(reversed(values)) for name, values in codes.vocabulary.items()}
        places = {name: np.array([0, *range(len(values), 0, -1)], dtype=np.int16) for name, values in vocabulary.items()}
        codes = Codes(vocabulary, {name: places[name][values] for name, values in codes.nominal.items()}, codes.numeric, codes.rows)
    return ComponentRows(codes, rows.y, np.asarray(rows.group, dtype=np.intp))


@settings(max_examples=20)
@given(st.lists(st.integers(1, 899), min_size=1, max_size=5, unique=True))
def test_parts_give_the_guard_of_the_whole(cuts: list[int]) -> None:
    batches = [part(ROWS.take(rows), turned=bool(number % 2)) for number, rows in enumerate(np.split(np.arange(900), sorted(cuts)))]
    counted: ComponentCounts = count_components(BatchSequence(batches), 6, SCHEMA)
    found, expected = guard_of(counted, WHOLE, NAMES), fit_components(ROWS.codes, ROWS.y, WHOLE.component, NAMES, SCHEMA)
    assert found.ranges == expected.ranges
    assert found.most_missing == expected.most_missing
    np.testing.assert_array_equal(found.positive, expected.positive)
    np.testing.assert_allclose(found.novelty(ROWS.codes).typicality, expected.novelty(ROWS.codes).typicality, atol=2e-6)
    known = likelihood_of(counted, WHOLE, NAMES, SCHEMA)
    of_whole = likelihood_of(count_components(BatchSequence([WHOLE]), 6, SCHEMA), WHOLE, NAMES, SCHEMA)
    for name in ("means", "spreads", "correlation", "prior"):
        np.testing.assert_allclose(getattr(known, name), getattr(of_whole, name), atol=1e-9)


def test_values_are_named_in_the_order_in_which_they_come() -> None:
    first, second = part(ROWS.take(np.arange(450)), turned=True), part(ROWS.take(np.arange(450, 900)), turned=False)
    assert count_components(BatchSequence([first, second]), 6, SCHEMA).values.vocabulary["cap"] == ("e", "d", "c", "b", "a")
