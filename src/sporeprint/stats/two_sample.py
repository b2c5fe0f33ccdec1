"""Are two samples from one distribution? From counts on common, ascending bins; the rows themselves are not needed.

The p-values are those of scipy (`ks_2samp`, `chi2_contingency`, `fisher_exact`), to 1e-9; but scipy needs the rows, and for a large
sample half a second a test.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sporeprint.stats.special import gammaln, xlogy

Float64 = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

#: Rows of the larger sample up to which a Kolmogorov-Smirnov p-value is exact, as in scipy.
MOST_EXACT = 10_000
#: n D^2 above which the asymptotic p-value, below 1e-40, does as well: paths far from the diagonal take long to follow.
BEYOND_DOUBT = 50.0
#: Rows up to which all terms of an asymptotic p-value are added up.
MOST_TERMS = 1_000_000
#: Rows of the smaller sample that are expected in a cell. Rarer values go together.
LEAST_EXPECTED = 5.0
#: Expected rows of the smallest cell of a table of four up to which its p-value is exact.
EXACT_FOUR = 100.0


@dataclass(frozen=True, slots=True)
class Tested:
    """A test's result.

    Attributes:
        statistic: Kolmogorov-Smirnov's D, chi-squared or G.
        p: probability of one at least as large, if both samples are from one distribution.
        method: how the p-value was computed, in a word or two.
        cells: what was compared: values, bins or cells of a table.
        error: how much larger the statistic of the numbers themselves can be, where they were binned; 0 where they were not.
    """

    statistic: float
    p: float
    method: str
    cells: int
    error: float = 0.0


# --- Kolmogorov-Smirnov ------------------------------------------------------------------------------------------------


def kolmogorov_smirnov(a: Counts, b: Counts, *, binned: bool = False) -> Tested:
    """The two-sample Kolmogorov-Smirnov test. Where values are tied, or binned, its p-value is too large rather than too small.

    Args:
        a: how often each value occurs in one sample, ascending [k]; at least once in all.
        b: in the other.
        binned: whether a cell may hold different values. D is then that of the cells' ends: within a cell, the two distribution
            functions cannot come farther apart than by the smaller of its two shares.
    """
    n, m = int(a.sum()), int(b.sum())
    largest = int(np.abs(np.cumsum(a) * m - np.cumsum(b) * n).max())  # D n m: whole numbers, nothing is rounded
    statistic = largest / (n * m)
    alike = n * m / (n + m)  # one sample of so many rows, against a known distribution, tells as much
    p = kolmogorov(round(alike), statistic)
    # Of binned values D is a bound anyway: its p-value need not be more exact than that, and paths take long to follow.
    exact = not binned and max(n, m) <= MOST_EXACT and alike * statistic**2 < BEYOND_DOUBT
    p = lattice(largest, n, m) if exact else p
    error = float(np.minimum(a / n, b / m).max()) if binned else 0.0
    return Tested(statistic, min(1.0, max(0.0, p)), "exact" if exact else "asymptotic", len(a), error)


def lattice(largest: int, n: int, m: int) -> float:
    """P(D >= largest / (n m)) for samples of n and m rows without ties, exact.

    All orders of the rows are equally likely: paths from (0, 0) to (n, m). Followed are those that never come as far from the diagonal
    as D says (Hodges 1958); the probabilities of stepping out there are added up, so that small ones are as exact as others.
    """
    if largest <= 0:
        return 1.0
    n, m = min(n, m), max(n, m)
    i = np.arange(n + 1)
    # Inside: |i m - j n| < largest.
    low = np.maximum(0, -((largest - 1 - i * m) // n))
    high = np.minimum(m, (i * m + largest - 1) // n)
    # inside[j] is P(a walk that goes to the next i with probability x, else to the next j, gets to (i, j) without leaving).
    x, y = n / (n + m), m / (n + m)
    inside = np.zeros(m + 1)
    inside[: high[0] + 1] = y ** np.arange(high[0] + 1)
    walk = _Row(y)
    tops, gone_i, gone_j, gone = [inside[high[0]]], [], [], []
    for row in range(1, n + 1):
        before, first, after = low[row - 1], low[row], high[row] + 1
        end = min(first, high[row - 1] + 1)
        if end > before:
            gone_i.append(np.full(end - before, row - 1))
            gone_j.append(np.arange(before, end))
            gone.append(inside[before:end].copy())
        inside[before:first] = 0.0
        inside[first:after] = walk.along(inside[first:after] * x)
        tops.append(inside[after - 1])
    up = _stepped_out(i, high, np.array(tops), n, m, sideways=False)
    across = _stepped_out(np.concatenate(gone_i), np.concatenate(gone_j), np.concatenate(gone), n, m, sideways=True) if gone else 0.0
    return up + across


class _Row:
    """Sums u[j] = v[j] + y u[j - 1] along a row, in pieces so short that no power of y leaves a double."""

    def __init__(self, y: float) -> None:
        self._length = max(1, min(4096, int(200 / -math.log(y))))
        self._down = y ** np.arange(self._length + 1)
        self._up = 1 / self._down

    def along(self, v: Float64) -> Float64:
        """The sums, written over v."""
        carried = 0.0
        for begin in range(0, len(v), self._length):
            piece = v[begin : begin + self._length]
            piece *= self._up[: len(piece)]
            np.cumsum(piece, out=piece)
            piece += carried * self._down[1]
            piece *= self._down[: len(piece)]
            carried = float(piece[-1])
        return v


def _stepped_out(i: Counts, j: Counts, inside: Float64, n: int, m: int, *, sideways: bool) -> float:
    """The probability of the paths that leave from these points: to (i + 1, j) if sideways, else to (i, j + 1)."""
    leave = (inside > 0) & ((i < n) if sideways else (j < m))
    i, j, inside = i[leave], j[leave], inside[leave]
    left_n, left_m = n - i - sideways, m - j - (not sideways)
    paths = np.log(inside) - i * math.log(n / (n + m)) - j * math.log(m / (n + m))
    return float(np.exp(paths + _log_choose(left_n + left_m, left_n) - _log_choose(n + m, n)).sum())


def _log_choose(n: npt.ArrayLike, k: npt.ArrayLike) -> Float64:
    n, k = np.asarray(n, dtype=np.float64), np.asarray(k, dtype=np.float64)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def kolmogorov(n: int, d: float) -> float:
    """P(D_n >= d) of the one-sample statistic, as scipy's `kstwo.sf`: the asymptotic p-value of two samples with n = n1 n2 / (n1 + n2).

    Simard & L'Ecuyer (2011) choose among the formulas; for few rows, and close to 1, scipy computes it.
    """
    if n <= 140 or n * d <= 1 or d >= 0.5 or (n <= 100_000 and n * d**1.5 <= 1.4):
        from scipy.stats import kstwo  # half a second to import, and hardly ever needed

        return float(kstwo.sf(d, n))
    if n > MOST_TERMS and n * d * d >= 10:  # below 1e-8; Maag & Dicaire (1971), good to 1e-12
        return 2 * math.exp(-((6 * n * d + 1) ** 2) / (18 * n))
    return 2 * _one_sided(n, d) if n <= MOST_TERMS and n * d * d >= 2.2 else 1 - _pelz_good(n, d)


def _one_sided(n: int, d: float) -> float:
    """P(D_n+ >= d) (Smirnov 1944; Birnbaum & Tingey 1951), all terms at once: scipy's loop takes half a second for a million rows."""
    j = np.arange(int(n * (1 - d)) + 1, dtype=np.float64)
    over, under = d + j / n, np.maximum(1 - d - j / n, 0.0)
    with np.errstate(divide="ignore"):
        log = _log_choose(np.full_like(j, n), j) + (j - 1) * np.log(over) + np.where(j == n, 0.0, (n - j) * np.log(under))
    return float(d * np.exp(log).sum())


def _pelz_good(n: int, d: float) -> float:
    """P(D_n <= d) by the four terms of Pelz & Good (1976)."""
    pi2, z = math.pi**2, math.sqrt(n) * d
    k = np.arange(1, math.ceil(16 * z / math.pi) + 2)
    odd2 = (2.0 * k - 1) ** 2
    half = np.exp(-pi2 * odd2 / (8 * z * z))
    whole = np.exp(-pi2 * k**2.0 / (2 * z * z))
    root = math.sqrt(2 * math.pi)
    first = root / z * half.sum()
    second = root / (6 * z**4) * ((pi2 / 4 * odd2 - z * z) * half).sum()
    inner = 6 * z**6 + 2 * z**4 + pi2 / 4 * (2 * z**4 - 5 * z * z) * odd2 + pi2**2 / 16 * (1 - 2 * z * z) * odd2**2
    third = root / (72 * z**7) * (inner * half).sum() - root * pi2 / (36 * z**3) * (k**2.0 * whole).sum()
    inner = (
        -30 * z**6 - 90 * z**8 + pi2 * (135 * z**4 - 96 * z**6) / 4 * odd2
        + pi2**2 * (212 * z**4 - 60 * z * z) / 16 * odd2**2 + pi2**3 * (5 - 30 * z * z) / 64 * odd2**3
    )  # fmt: skip
    fourth = root / (6480 * z**10) * (inner * half).sum()
    fourth += root * pi2 / (216 * z**6) * ((3 * z * z - pi2 * k**2.0) * k**2.0 * whole).sum()
    return float(first + second / math.sqrt(n) + third / n + fourth / n**1.5)


# --- tables of counts ---------------------------------------------------------------------------------------------------


def log_likelihood(a: Counts, b: Counts, *, williams: bool = False) -> Tested:
    """The G test (likelihood ratio) of a table of two rows.

    Far out it is better than chi-squared, which takes eighteen rows where five were expected for a thousand times rarer than they are.

    Args:
        a: counts of one sample, [k].
        b: of the other.
        williams: whether to divide G by Williams' (1976) correction, for tables of few rows.
    """
    table, expected = _expected(a, b)
    statistic = max(0.0, 2 * float((xlogy(table, table) - xlogy(table, expected)).sum()))
    cells, total = table.shape[1], table.sum()
    if williams and cells > 1:
        spread = (total * (1 / table.sum(axis=1)).sum() - 1) * (total * (1 / table.sum(axis=0)).sum() - 1)
        statistic /= 1 + spread / (6 * total * (cells - 1))
    return _tail(statistic, cells, "G, Williams" if williams else "G")


def _expected(a: Counts, b: Counts) -> tuple[Float64, Float64]:
    table = np.stack([a, b]).astype(np.float64)
    table = table[:, table.sum(axis=0) > 0]
    return table, np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()


def _tail(statistic: float, cells: int, method: str) -> Tested:
    if cells < 2:
        return Tested(statistic, 1.0, method, cells)
    from scipy.special import chdtrc

    return Tested(statistic, float(chdtrc(cells - 1, statistic)), method, cells)


def fisher(a: int, not_a: int, b: int, not_b: int) -> float:
    """Two-sided p-value of Fisher's exact test: the tables that are no more likely than this one."""
    n, m, hits = a + not_a, b + not_b, a + b
    x = np.arange(max(0, hits - m), min(n, hits) + 1)
    log = _log_choose(np.full_like(x, n), x) + _log_choose(np.full_like(x, m), hits - x)
    log -= _log_choose(np.int64(n + m), np.int64(hits))
    return min(1.0, float(np.exp(log[log <= log[a - x[0]] + 1e-9]).sum()))


def pooled(a: Counts, b: Counts, least: float = LEAST_EXPECTED) -> tuple[Counts, Counts]:
    """A table whose every cell has at least so many expected rows: values that are rarer, in both samples together, go together.

    Which do depends on the sums of both samples alone, the rarest first: so nothing is chosen by what is tested. A table of so few rows
    that it has no two such cells becomes one of one cell.
    """
    both = a + b
    expected = both * (min(a.sum(), b.sum()) / both.sum())
    order = np.argsort(expected, kind="stable")
    starts, filled = [0], 0.0
    for place, rows in enumerate(expected[order].tolist()):
        if filled >= least:
            starts.append(place)
            filled = 0.0
        filled += rows
    if filled < least and len(starts) > 1:
        starts.pop()
    return np.add.reduceat(a[order], starts), np.add.reduceat(b[order], starts)


def homogeneity(a: Counts, b: Counts) -> Tested:
    """Whether two samples have the same shares of values: G of a table without small cells, exact for a small table of four.

    Args:
        a: how often each value occurs in one sample, [k]; at least once in all.
        b: in the other.
    """
    here = (a + b) > 0
    a, b = a[here], b[here]
    cells = pooled(a, b)
    if len(cells[0]) == 1 and len(a) > 1:
        first, scale = int((a + b).argmax()), min(a.sum(), b.sum()) / (a + b).sum()
        if len(a) == 2 or (a + b)[first] * scale >= LEAST_EXPECTED:
            # One value is frequent: it against all others, a small table, which is exact.
            cells = np.array([a.sum() - a[first], a[first]]), np.array([b.sum() - b[first], b[first]])
    a, b = cells
    tested = log_likelihood(a, b, williams=True)
    if len(a) == 2 and (a + b).min() * (min(a.sum(), b.sum()) / (a + b).sum()) < EXACT_FOUR:
        return Tested(tested.statistic, fisher(int(a[0]), int(a[1]), int(b[0]), int(b[1])), "Fisher, exact", 2)
    return tested


def new_values(a: Counts, b: Counts) -> Tested:
    """Whether values that only b has are more than chance: exact, and valid for any number of rare values.

    Given how often each value occurs in both samples together, all c rows of a value are in b with a probability of
    C(m, c) / C(n + m, c), if both are from one distribution. The most frequent one of those is looked at; added to its probability
    are those of all values at least as frequent, which might have been it.

    Returns:
        `statistic` is the share of b's rows whose value a does not have.
    """
    n, m = int(a.sum()), int(b.sum())
    both = (a + b).astype(np.float64)
    new = (a == 0) & (b > 0)
    if not new.any():
        return Tested(0.0, 1.0, "exact", 0)
    fits = both <= m
    alone = np.zeros(len(both))
    alone[fits] = np.exp(_log_choose(np.full(int(fits.sum()), m), both[fits]) - _log_choose(np.full(int(fits.sum()), n + m), both[fits]))
    return Tested(float(b[new].sum() / m), min(1.0, float(alone[both >= both[new].max()].sum())), "exact", int(new.sum()))
