"""p-values are scipy's; tables with rare values keep their level; new values are judged by how often they could have been new."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sporeprint.stats import two_sample
from sporeprint.stats.histogram import Histogram, common


def counted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, a, b = common(Histogram.of(x, 10**6), Histogram.of(y, 10**6)) if len(x) + len(y) < 30_000 else (0, *_distinct(x, y))
    return a, b


def _distinct(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.union1d(x, y)
    return tuple(np.bincount(np.searchsorted(values, z), minlength=len(values)) for z in (x, y))  # type: ignore[return-value]


SIZES = [(5, 7), (1, 40), (20, 20), (50, 80), (300, 1000), (1000, 9160), (1000, 1001), (1000, 12_000), (150, 30_000), (30_000, 25_000)]


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("digits", [1, 9])
def test_kolmogorov_smirnov_is_scipys(n: int, m: int, shift: float, digits: int) -> None:
    draw = np.random.default_rng(n + m)
    x, y = draw.normal(size=n).round(digits), draw.normal(shift, 1, size=m).round(digits)
    found, wanted = two_sample.kolmogorov_smirnov(*counted(x, y)), stats.ks_2samp(x, y)
    assert found.statistic == pytest.approx(wanted.statistic, abs=1e-12)
    assert found.p == pytest.approx(wanted.pvalue, abs=1e-9)


def test_small_p_values_are_scipys_too() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=1000), draw.normal(0.45, 1, size=9160)
    found, wanted = two_sample.kolmogorov_smirnov(*counted(x, y)), stats.ks_2samp(x, y)
    assert wanted.pvalue < 1e-20
    assert math.log(found.p) == pytest.approx(math.log(wanted.pvalue), abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(3, 4), (4, 4), (2, 6)])
def test_the_lattice_counts_all_orders(n: int, m: int) -> None:
    """Every order of n + m rows is looked at."""
    gaps = []
    for places in itertools.combinations(range(n + m), n):
        steps = np.where(np.isin(np.arange(n + m), places), m, -n)
        gaps.append(int(np.abs(np.cumsum(steps)).max()))
    for largest in range(n * m + 1):
        assert two_sample.lattice(largest, n, m) == pytest.approx(np.mean(np.array(gaps) >= largest), abs=1e-12)


@pytest.mark.parametrize("n", [20, 141, 1000, 9000, 500_000])
@pytest.mark.parametrize("z", [0.3, 0.6, 1.0, 1.45, 1.5, 2.5, 4.0])
def test_the_asymptotic_p_value_is_scipys(n: int, z: float) -> None:
    d = z / math.sqrt(n)
    assert two_sample.kolmogorov(n, d) == pytest.approx(float(stats.kstwo.sf(d, n)), abs=1e-10)


def test_the_asymptotic_p_value_of_more_rows_than_scipy_can_do() -> None:
    for z in (1.5, 3.0, 3.3):
        limit = 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * z * z) for k in range(1, 20))
        assert two_sample.kolmogorov(30_000_000, z / math.sqrt(3e7)) == pytest.approx(limit, rel=2e-3)
    assert two_sample.kolmogorov(30_000_000, 0.4) == 0.0


def test_a_binned_statistic_is_off_by_no_more_than_it_says() -> None:
    draw = np.random.default_rng(5)
    x, y = draw.normal(size=3000), draw.normal(0.05, 1.1, size=4000)
    a, b = Histogram.of(x, 40), Histogram.of(y, 40)
    _, p, q = common(a, b)
    found = two_sample.kolmogorov_smirnov(p, q, binned=True)
    exact = stats.ks_2samp(x, y).statistic
    assert found.statistic <= exact + 1e-12
    assert exact <= found.statistic + found.error + 1e-12


TABLES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=8)


@given(TABLES.filter(lambda table: all(any(row) for row in zip(*table, strict=True))))
def test_tables_are_scipys(table: list[tuple[int, int]]) -> None:
    a, b = np.array(table).T
    here = (a + b) > 0
    found = two_sample.log_likelihood(a, b)
    expected = stats.chi2_contingency(np.stack([a[here], b[here]]), correction=False, lambda_="log-likelihood")
    assert found.p == pytest.approx(expected.pvalue, abs=1e-9)
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-9)


@given(*[st.integers(0, 60)] * 4)
def test_fisher_is_scipys(a: int, b: int, c: int, d: int) -> None:
    if a + b and c + d:
        assert two_sample.fisher(a, b, c, d) == pytest.approx(stats.fisher_exact([[a, b], [c, d]]).pvalue, abs=1e-9)


def test_rare_values_go_together() -> None:
    a, b = np.array([500, 480, 10, 6, 4]), np.array([50, 48, 1, 1, 0])
    p, q = two_sample.pooled(a, b)
    assert (p.tolist(), q.tolist()) == ([500, 500], [50, 50])
    found = two_sample.homogeneity(a, b)
    assert (found.cells, found.method) == (2, "Fisher, exact")
    p, q = two_sample.pooled(np.full(30, 20), np.full(30, 2))
    assert (p.tolist(), q.tolist()) == ([60] * 10, [6] * 10)
    assert [cells.tolist() for cells in two_sample.pooled(np.array([500, 400]), np.array([50, 60]))] == [[400, 500], [60, 50]]
    assert len(two_sample.pooled(np.array([500, 400]), np.array([3, 3]))[0]) == 1


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), min_size=1, max_size=12).filter(lambda table: any(b for _, b in table)))
def test_no_cell_is_small_and_none_is_lost(table: list[tuple[int, int]]) -> None:
    a, b = np.array(table).T
    p, q = two_sample.pooled(a, b)
    assert (p.sum(), q.sum()) == (a.sum(), b.sum())
    smaller = min(a.sum(), b.sum()) / (a.sum() + b.sum())
    assert len(p) == 1 or ((p + q) * smaller).min() >= 5 - 1e-9


@pytest.mark.parametrize(("values", "ratio"), [(2, 0.6), (4, 0.6), (12, 0.6), (60, 0.9), (400, 1.0)])
def test_far_out_the_level_of_a_table_holds(values: int, ratio: float) -> None:
    """At the levels that alarms are raised at, with values of every rarity, a window of 300 against a reference of 9,160 rows."""
    draw = np.random.default_rng(values)
    shares = ratio ** np.arange(values)
    level, trials = 2e-3, 3000
    reference = draw.multinomial(9160, shares / shares.sum(), size=trials)
    window = draw.multinomial(300, shares / shares.sum(), size=trials)
    hits = sum(two_sample.homogeneity(a, b).p <= level for a, b in zip(reference, window, strict=True))
    assert hits <= stats.binom.ppf(0.9999, trials, level)


def test_many_rare_values_are_still_compared() -> None:
    draw = np.random.default_rng(1)
    shares = np.full(400, 1 / 400)
    moved = np.append(np.full(200, 1.4 / 400), np.full(200, 0.6 / 400))
    assert two_sample.homogeneity(draw.multinomial(9160, shares), draw.multinomial(1000, moved)).p < 1e-3


def test_new_values_are_not_judged_as_if_they_had_been_named_before() -> None:
    """A column of five hundred rare values: a window always has some that the reference has not."""
    draw = np.random.default_rng(2)
    shares = np.append(np.full(500, 1e-4), 0.95)
    hits, fresh = 0, 0.0
    for _ in range(400):
        found = two_sample.new_values(draw.multinomial(9160, shares), draw.multinomial(1000, shares))
        hits += found.p <= 0.05
        fresh += found.statistic
    assert fresh / 400 > 0.01
    assert hits <= stats.binom.ppf(0.9999, 400, 0.05)


def test_a_new_value_is_seen() -> None:
    a, b = np.array([9160, 0]), np.array([980, 20])
    found = two_sample.new_values(a, b)
    assert found.statistic == 0.02
    assert found.p == pytest.approx(math.comb(1000, 20) / math.comb(10_160, 20), rel=1e-6)
    assert two_sample.new_values(a, np.array([1000, 0])).p == 1


@pytest.mark.parametrize(
    ("a", "b"), [([9160, 0], [960, 40]), ([0, 9160], [4, 996]), ([9000, 1, 0], [995, 2, 3]), ([20, 1], [15, 6]), ([50, 50], [3, 3])]
)
def test_one_frequent_value_against_all_others_is_exact(a: list[int], b: list[int]) -> None:
    """Missing values that a reference hardly has: their cell is small, and must not be taken together with the other one."""
    found = two_sample.homogeneity(np.array(a), np.array(b))
    first = int(np.argmax(np.array(a) + np.array(b)))
    table = [[sum(a) - a[first], a[first]], [sum(b) - b[first], b[first]]]
    assert found.p == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-9)


def test_one_value_alone_is_no_change() -> None:
    assert two_sample.homogeneity(np.array([5]), np.array([7])).p == 1.0
