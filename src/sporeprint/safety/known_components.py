"""The component of every row that the guards know: its declared group, or a cluster; read batch by batch."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

    def __iter__(self) -> Iterator[ComponentRows]:
        """Batch by batch."""
        return (ComponentRows(rows.codes, rows.y, self.of(rows)) for rows in self.known.batches)

    def chosen(self, sizes: Int64, schema: DatasetSchema) -> tuple[ComponentRows, frozenset[bytes]]:
        """Rows of every component, and the sets of observed columns that occur in any row (see `observed_masks`).

        Args:
            sizes: int64 [K], rows of each component.
            schema: the contract.

        Returns:
            All rows where they are in memory; else about as many as the sample has, by hash, as many of each component as can be.
        """
        masks: set[bytes] = set()
        if self.known.is_whole:
            rows, component = self.known.sample, self.of(self.known.sample)
            return ComponentRows(rows.codes, rows.y, component), observed_masks(rows.codes, schema)
        share = np.minimum(len(self.known.sample.y) / len(sizes) / sizes, 1.0)
        limits = (share * (2.0**64 - 2048)).astype(np.uint64)
        tables, components = [], []
        for rows in self.known.batches:
            masks |= observed_masks(rows.codes, schema)
            component = self.of(rows)
            near = row_keys(rows) <= limits[component]
            tables.append(rows.take(near))
            components.append(component[near])
        table = concat(tables)
        return ComponentRows(table.codes, table.y, np.concatenate(components)), frozenset(masks)


def find_components(known: KnownRows, schema: DatasetSchema, settings: GuardSettings, seed: int) -> KnownComponents:
    """Declared groups, where they can be used; else clusters, which are made of the sample.

    Args:
        known: the rows.
        schema: the contract.
        settings: see `GuardSettings`.
        seed: of the clustering.
    """
    if settings.components != "clusters" and (sizes := _group_sizes(known)):
        names = np.array(sorted(sizes), dtype=np.int64)
        if groups_are_usable(np.array(list(sizes.values())), settings.components):
            return KnownComponents(known, names, lambda rows: np.searchsorted(names, rows.group).astype(np.intp))  # type: ignore[arg-type]
    held = known.sample
    component, names = cluster_components(held.codes, held.y, schema, clusters=settings.clusters, seed=seed)
    if known.is_whole:
        return KnownComponents(known, names, lambda _: component)
    cluster_of = ClusterOf(held.codes, held.y, component, schema)
    return KnownComponents(known, np.full(cluster_of.count, -1, dtype=np.int64), cluster_of)


def _group_sizes(known: KnownRows) -> Counter[int]:
    """Rows of every group; empty where some row has none."""
    sizes: Counter[int] = Counter()
    for rows in known.batches:
        if rows.group is None:
            return Counter()
        groups, counts = np.unique(rows.group, return_counts=True)
        sizes.update(dict(zip(groups.tolist(), counts.tolist(), strict=True)))
    return sizes
