"""What the guard compares a row with where no groups are declared: clusters of the training rows, each of one class.

k-means++ and mini-batches (Sculley 2010) on the encoded rows give a start; classification EM (Celeux, Govaert 1992) with the
guard's own distributions moves every row to the cluster that it is most likely in, until few move.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.safety.component_counts import scale_of
from sporeprint.safety.novelty_guard import Guard, fit_components, row_blocks
from sporeprint.schema import DatasetSchema
from sporeprint.stats.moments import RunningMoments

Index = npt.NDArray[np.intp]

#: Rows of a cluster at the least; smaller ones are given to the others.
LEAST_ROWS = 10
#: Groups that are components of their own at the most: each costs as much per row as a cluster.
MOST_GROUPS = 1000
#: Passes over the rows at most.
PASSES = 20
#: Share of rows that move in a pass below which there is no further one.
SETTLED = 0.002
#: Rows that k-means starts from.
START_ROWS = 50_000


def groups_are_usable(sizes: npt.NDArray[np.int64], wish: str) -> bool:
    """Whether declared groups of so many rows are to be the components: as wished; with `auto` where most are large, and they are few."""
    if wish == "groups":
        return True
    return len(sizes) <= MOST_GROUPS and float(np.median(sizes)) >= 2 * LEAST_ROWS


def cluster_components(
    codes: Codes, y: npt.NDArray[np.int8], schema: DatasetSchema, *, clusters: int, seed: int
) -> tuple[Index, npt.NDArray[np.int64]]:
    """Components found by clustering each class for itself, in proportion to its rows.

    Args:
        codes: n rows.
        y: int8 [n].
        schema: the contract.
        clusters: how many, at most.
        seed: of the start.

    Returns:
        int [n], the component of each row, 0 ... K - 1, none empty; int64 [K], -1 for each.
    """
    component = np.empty(codes.rows, dtype=np.intp)
    used, positive = 0, int(y.sum())
    share = min(max(round(clusters * positive / codes.rows), 1), clusters - 1) if 0 < positive < codes.rows else clusters * (positive > 0)
    for label, count in ((0, clusters - share), (1, share)):
        rows = np.flatnonzero(y == label)
        if not len(rows):
            continue
        cluster = _clusters(codes.take(rows), schema, max(1, min(count, len(rows) // LEAST_ROWS)), seed)
        component[rows] = cluster + used
        used += int(cluster.max()) + 1
    return component, np.full(used, -1, dtype=np.int64)


class ClusterOf:
    """The cluster of each row of a table of which a sample was clustered: the likeliest of those of the row's class.

    Args:
        codes: the sample.
        y: int8 [n], its labels.
        component: int [n], the cluster of each of its rows, as `cluster_components` gives them.
        schema: the contract.

    Attributes:
        count: how many clusters there are, each with a row of the sample.
    """

    def __init__(self, codes: Codes, y: npt.NDArray[np.int8], component: Index, schema: DatasetSchema) -> None:
        self._of_class: dict[int, tuple[int, Guard]] = {}
        self.count = 0
        for label in np.unique(y).tolist():
            rows = np.flatnonzero(y == label)
            mine = codes.take(rows)
            guard = _likelihoods(mine, component[rows] - component[rows].min(), schema)
            used = np.unique(guard.novelty(mine).component)
            guard = replace(guard, weights=guard.weights[:, used], names=guard.names[used], positive=guard.positive[used])
            self._of_class[label] = self.count, guard
            self.count += len(used)

    def __call__(self, rows: Observations) -> Index:
        """The cluster of each of n rows; of a class that the sample has no row of, the first one."""
        component = np.zeros(len(rows.y), dtype=np.intp)
        for label, (first, guard) in self._of_class.items():
            mine = np.flatnonzero(rows.y == label)
            component[mine] = first + guard.novelty(rows.codes.take(mine)).component
        return component


def _likelihoods(codes: Codes, cluster: Index, schema: DatasetSchema) -> Guard:
    """A guard with which a row's likelihood in a cluster counts, not how typical it is there."""
    sizes = np.bincount(cluster)
    names = np.full(len(sizes), -1, dtype=np.int64)
    fitted = fit_components(codes, np.zeros(codes.rows, dtype=np.int8), cluster, names, schema)
    fitted.weights[0] = np.log(sizes / sizes.sum())
    return fitted


def _clusters(codes: Codes, schema: DatasetSchema, count: int, seed: int) -> Index:
    cluster = _start(codes, count, seed)
    for _ in range(PASSES):
        sizes = np.bincount(cluster)
        large = np.flatnonzero(sizes >= min(LEAST_ROWS, sizes.max()))
        place = np.full(len(sizes), -1, dtype=np.intp)
        place[large] = np.arange(len(large))
        mine = place[cluster] >= 0
        moved = _likelihoods(codes.take(mine), place[cluster[mine]], schema).novelty(codes).component
        changed = float((moved != place[cluster]).mean())
        cluster = np.unique(moved, return_inverse=True)[1].astype(np.intp)
        if changed < SETTLED:
            break
    return cluster


def _start(codes: Codes, count: int, seed: int) -> Index:
    from sklearn.cluster import MiniBatchKMeans

    features = _encoded(codes)
    means = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=4096, reassignment_ratio=0.0, max_iter=20)
    chosen = np.random.default_rng(seed).choice(codes.rows, min(codes.rows, START_ROWS), replace=False)
    means.fit(features[np.sort(chosen)])
    return np.concatenate([means.predict(features[rows]) for rows in row_blocks(codes.rows)]).astype(np.intp)


def _encoded(codes: Codes) -> npt.NDArray[np.float32]:
    """One-hot values (missing is one) and standardised numbers: float32 [n, m]."""
    parts = [np.eye(len(codes.vocabulary[name]) + 2, dtype=np.float32)[values + np.int16(1)] for name, values in codes.nominal.items()]
    for values in codes.numeric.values():
        present = ~np.isnan(values)
        mean, sd = scale_of(RunningMoments.of(values[present]))
        parts.append(np.where(present, (values - mean) / sd, 0.0).astype(np.float32)[:, np.newaxis])
    return np.hstack(parts)
