"""The component of every row the guards know: groups or clusters, in memory or read in batches."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from safety_support import SCHEMA, species
from sporeprint.common.batches import BatchSequence
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.row_sample import smallest
from sporeprint.data.training_data import KnownRows
from sporeprint.safety.cells import Cells, observed_masks
from sporeprint.safety.component_counts import count_components
from sporeprint.safety.decision_rule import fit_guards
from sporeprint.safety.group_likelihood import fit_group_likelihood
from sporeprint.safety.known_components import KnownComponents, find_components
from sporeprint.settings import GuardSettings

ROWS, CALIBRATE, TEST = species(3000), species(800, seed=1), species(800, seed=2)
SETTINGS = GuardSettings(clusters=8, coverage=0.9)


def stored(rows: Observations, most: int) -> KnownRows:
    """Rows as files have them: in batches, and a sample of them in memory."""
    parts = BatchSequence([rows.take(part) for part in np.array_split(np.arange(len(rows.y)), 4)])
    return KnownRows(parts, smallest(rows, most), is_whole=False)


def found(known: KnownRows) -> tuple[KnownComponents, np.ndarray]:
    components = find_components(known, SCHEMA, SETTINGS, 1)
    return components, np.concatenate([rows.component for rows in components.batches])


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=60))
def test_groups_come_back_from_their_components(group: list[int]) -> None:
    rows = replace(ROWS.take(np.arange(len(group))), group=np.array(group, dtype=np.int64))
    components = find_components(KnownRows.of(rows), SCHEMA, GuardSettings(components="groups"), 1)
    (only,) = components.batches
    assert components.names[only.component].tolist() == group
    assert components.names.tolist() == sorted(set(group))


def test_groups_in_batches_are_those_of_the_whole() -> None:
    (whole, expected), (parts, component) = found(KnownRows.of(ROWS)), found(stored(ROWS, 1000))
    assert parts.names.tolist() == whole.names.tolist()
    assert component.tolist() == expected.tolist()


def test_clusters_of_a_sample_are_found_in_all_rows_each_of_one_class() -> None:
    components, component = found(stored(replace(ROWS, group=None), 1000))
    assert (components.names == -1).all()
    assert len(components.names) > 2
    counted = count_components(components.batches, len(components.names), SCHEMA).values
    assert (counted.sizes > 0).all()
    assert np.isin(counted.positives / counted.sizes, (0, 1)).all()
    assert np.bincount(component).tolist() == counted.sizes.tolist()


def test_rows_are_chosen_of_every_component() -> None:
    rare = replace(ROWS, group=np.where(np.arange(3000) % 300 == 0, 9, np.asarray(ROWS.group)))
    components, _ = found(stored(rare, 700))
    sizes = count_components(components.batches, 7, SCHEMA).values.sizes
    chosen, masks = components.chosen(sizes, SCHEMA)
    counts = np.bincount(chosen.component, minlength=7)
    assert counts[-1] == 10
    assert (counts[:-1] > 60).all()
    assert counts.sum() < 800
    assert masks == observed_masks(ROWS.codes, SCHEMA)


def test_masks_are_those_of_the_cells() -> None:
    layout = fit_group_likelihood(ROWS.codes, ROWS.y, np.asarray(ROWS.group, dtype=np.intp), np.arange(6), SCHEMA).layout
    packed = np.packbits(Cells.of_codes(ROWS.codes, layout).observed, axis=1)
    assert observed_masks(ROWS.codes, SCHEMA) == {row.tobytes() for row in packed}


def test_guards_of_stored_rows_are_those_of_rows_in_memory_where_the_sample_has_all() -> None:
    whole, partial = fit_guards(KnownRows.of(ROWS), CALIBRATE, TEST, SCHEMA, SETTINGS, seed=1)
    parts, partial_of_parts = fit_guards(stored(ROWS, 3000), CALIBRATE, TEST, SCHEMA, SETTINGS, seed=1)
    # Not to the last bit: means are added up in another order, and of rows of large groups not all are chosen for the medians.
    np.testing.assert_allclose(parts.weights[1:], whole.weights[1:], atol=1e-9)
    np.testing.assert_allclose(parts.weights[0], whole.weights[0], atol=0.3)
    assert partial.trained == partial_of_parts.trained
    both = concat([CALIBRATE, TEST])
    assert (np.abs(parts.novelty(both.codes).p - whole.novelty(both.codes).p) < 0.05).mean() > 0.99
