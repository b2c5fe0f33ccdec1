"""The component of every row that the guards know: its declared group, or a cluster; read batch by batch."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.batches import BatchView
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.row_sample import row_keys
from sporeprint.data.training_data import KnownRows
from sporeprint.safety.cells import observed_masks
from sporeprint.safety.component_counts import ComponentRows
from sporeprint.safety.mixture import ClusterOf, cluster_components, groups_are_usable
from sporeprint.schema import DatasetSchema
from sporeprint.settings import GuardSettings

Index = npt.NDArray[np.intp]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class KnownComponents:
    """Rows, each with its component; readable again and again.

    Attributes:
        known: the rows.
        names: int64 [K], the group that each component is; -1 for a cluster.
        of: the component of each row of a batch.
    """

    known: KnownRows
    names: Int64
    of: Callable[[Observations], Index]

    @property
    def batches(self) -> BatchView[Observations, ComponentRows]:
        """Batch by batch."""
        return BatchView(self.known.batches, partial(_component_rows, self.of))

    def chosen(self, sizes: Int64, schema: DatasetSchema) -> tuple[ComponentRows, frozenset[bytes]]:
        """Rows of every component, and the sets of observed columns that occur in any row (see `observed_masks`).

        Args:
            sizes: int64 [K], rows of each component.
            schema: the contract.

        Returns:
            All rows where they are in memory; else about as many as the sample has, by hash, as many of each component as can be.
        """
        if self.known.is_whole:
            rows, component = self.known.sample, self.of(self.known.sample)
            return ComponentRows(rows.codes, rows.y, component), observed_masks(rows.codes, schema)
        share = np.minimum(len(self.known.sample.y) / len(sizes) / sizes, 1.0)
        limits = (share * (2.0**64 - 2048)).astype(np.uint64)
        chosen = self.known.batches.total(partial(ChosenRows.of, self.of, limits, schema))
        table = concat(list(chosen.tables))
        return ComponentRows(table.codes, table.y, np.concatenate(chosen.components)), chosen.masks


@dataclass(frozen=True)
class ChosenRows:
    """Rows of every component by hash, the component of each, and the sets of observed columns of all rows they were chosen from."""

    tables: tuple[Observations, ...]
    components: tuple[Index, ...]
    masks: frozenset[bytes]

    @classmethod
    def of(
        cls, component_of: Callable[[Observations], Index], limits: npt.NDArray[np.uint64], schema: DatasetSchema, rows: Observations
    ) -> Self:
        """Of some rows; the largest hash of each component is a limit."""
        component = component_of(rows)
        near = row_keys(rows) <= limits[component]
        return cls((rows.take(near),), (component[near],), observed_masks(rows.codes, schema))

    def merge(self, other: Self) -> Self:
        """Of both."""
        return type(self)((*self.tables, *other.tables), (*self.components, *other.components), self.masks | other.masks)


def find_components(known: KnownRows, schema: DatasetSchema, settings: GuardSettings, seed: int) -> KnownComponents:
    """Declared groups, where they can be used; else clusters, which are made of the sample.

    Args:
        known: the rows.
        schema: the contract.
        settings: see `GuardSettings`.
        seed: of the clustering.
    """
    if settings.components != "clusters" and (sizes := known.batches.total(GroupSizes.of).rows):
        names = np.array(sorted(sizes), dtype=np.int64)
        if groups_are_usable(np.array(list(sizes.values())), settings.components):
            return KnownComponents(known, names, partial(_group_place, names))
    held = known.sample
    component, names = cluster_components(held.codes, held.y, schema, clusters=settings.clusters, seed=seed)
    if known.is_whole:
        return KnownComponents(known, names, lambda _: component)
    cluster_of = ClusterOf(held.codes, held.y, component, schema)
    return KnownComponents(known, np.full(cluster_of.count, -1, dtype=np.int64), cluster_of)


def _component_rows(component_of: Callable[[Observations], Index], rows: Observations) -> ComponentRows:
    return ComponentRows(rows.codes, rows.y, component_of(rows))


def _group_place(names: Int64, rows: Observations) -> Index:
    return np.searchsorted(names, rows.group).astype(np.intp)  # type: ignore[arg-type]


@dataclass(frozen=True)
class GroupSizes:
    """Rows of every group; None where some row has none."""

    rows: Mapping[int, int] | None

    @classmethod
    def of(cls, rows: Observations) -> Self:
        """Of some rows."""
        if rows.group is None:
            return cls(None)
        groups, counts = np.unique(rows.group, return_counts=True)
        return cls(dict(zip(groups.tolist(), counts.tolist(), strict=True)))

    def merge(self, other: Self) -> Self:
        """Of both."""
        return type(self)(None if self.rows is None or other.rows is None else Counter(self.rows) + Counter(other.rows))
