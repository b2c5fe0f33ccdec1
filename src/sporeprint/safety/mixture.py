"""What the guard compares a row with where no groups are declared: clusters of the training rows, each of one class.

k-means++ and mini-batches (Sculley 2010) on the encoded rows give a start; classification EM (Celeux, Govaert 1992) with the
guard's own distributions moves every row to the cluster that it is most likely in, until few move.
"""

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes
from sporeprint.safety.novelty_guard import fit_components, row_blocks, scale_of
from sporeprint.schema import DatasetSchema

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


def groups_are_usable(group: npt.NDArray[np.int64], wish: str) -> bool:
    """Whether declared groups are to be the components: as wished; with `auto` where most have enough rows and they are not too many."""
    if wish == "groups":
        return True
    sizes = np.unique(group, return_counts=True)[1]
    return len(sizes) <= MOST_GROUPS and float(np.median(sizes)) >= 2 * LEAST_ROWS


def group_components(group: npt.NDArray[np.int64]) -> tuple[Index, npt.NDArray[np.int64]]:
    """Components of declared groups: the component of each row [n], and the group that each component is [K]."""
    names, component = np.unique(group, return_inverse=True)
    return component.astype(np.intp), names


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


def _clusters(codes: Codes, schema: DatasetSchema, count: int, seed: int) -> Index:
    cluster = _start(codes, count, seed)
    labels = np.zeros(codes.rows, dtype=np.int8)
    for _ in range(PASSES):
        sizes = np.bincount(cluster)
        large = np.flatnonzero(sizes >= min(LEAST_ROWS, sizes.max()))
        place = np.full(len(sizes), -1, dtype=np.intp)
        place[large] = np.arange(len(large))
        mine = place[cluster] >= 0
        fitted = fit_components(codes.take(mine), labels[mine], place[cluster[mine]], np.full(len(large), -1, dtype=np.int64), schema)
        fitted.weights[0] = np.log(sizes[large] / sizes[large].sum())  # here a row's likelihood counts, not how typical it is
        moved = fitted.novelty(codes).component
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
        mean, sd = scale_of(values[present])
        parts.append(np.where(present, (values - mean) / sd, 0.0).astype(np.float32)[:, np.newaxis])
    return np.hstack(parts)
