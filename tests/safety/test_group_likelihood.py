"""Likelihoods of partial rows: exact marginals, against sums and against SciPy's normal distribution."""

import itertools
import time

import numpy as np
import pytest
from scipy import stats

from partial_support import SCHEMA, fitted, likelihood_of, world
from sporeprint.safety.cells import FIRST_VALUE, Cells
from sporeprint.safety.group_likelihood import FEW_ROWS, WIDENING, GroupLikelihood
from support import NUMERIC, codes, dataset, labels, nominal

LIKELIHOOD = fitted().guard.likelihood
LAYOUT = LIKELIHOOD.layout


def known_of(row: dict[str, str | float | None]) -> np.ndarray:
    cells = Cells.of_rows([row], LAYOUT)
    known, _ = LIKELIHOOD.log_likelihoods(cells, ~np.isnan(cells.numbers[0]))
    return np.asarray(known[0], dtype=np.float64)


def test_leaving_a_column_out_is_summing_over_its_values() -> None:
    values = LAYOUT.categories["n1"]
    summed = np.log(sum(np.exp(known_of({"n0": "a", "n1": value, "height": 50.0})) for value in values))
    assert summed == pytest.approx(known_of({"n0": "a", "height": 50.0}), abs=1e-3)


def test_numbers_are_jointly_normal_in_each_group() -> None:
    (mean, scale), (mean_2, scale_2) = LAYOUT.scales["height"], LAYOUT.scales["width"]
    row = {"height": 47.0, "width": 61.0}
    z = np.array([(47.0 - mean) / scale, (61.0 - mean_2) / scale_2])
    for group in range(0, len(LIKELIHOOD.names), 5):
        spread = LIKELIHOOD.spreads[group]
        covariance = LIKELIHOOD.correlation * np.outer(spread, spread)
        for names, at in ((["height", "width"], [0, 1]), (["width"], [1])):
            expected = stats.multivariate_normal.logpdf(z[at], LIKELIHOOD.means[group][at], covariance[np.ix_(at, at)])
            said = known_of({name: row[name] for name in names})[group] - LIKELIHOOD.prior[group]
            assert said == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_the_correlation_within_groups_is_found() -> None:
    assert LIKELIHOOD.correlation[0, 1] == pytest.approx(0.6, abs=0.05)


def test_a_silent_group_is_neither_for_nor_against() -> None:
    at = int(np.argmax(LIKELIHOOD.silent.sum(axis=1)))
    group = int(np.argmax(LIKELIHOOD.silent[at]))
    rows = slice(LAYOUT.starts[at] + FIRST_VALUE, LAYOUT.starts[at] + FIRST_VALUE + len(LAYOUT.categories[LAYOUT.columns[at]]))
    assert not LIKELIHOOD.surprise[rows, group].any()
    others = np.exp(LIKELIHOOD.known[rows][:, ~LIKELIHOOD.silent[at]].astype(np.float64)).mean(axis=1)
    assert np.exp(LIKELIHOOD.known[rows, group].astype(np.float64)) == pytest.approx(others, rel=1e-4)


def test_a_stranger_is_likelier_than_the_group_only_where_a_value_does_not_fit() -> None:
    cells = fitted().cells.take(slice(0, 50))
    known, stranger = LIKELIHOOD.log_likelihoods(cells, np.ones(2, dtype=np.bool_))
    own = known.argmax(axis=1)
    everyone = np.arange(50)
    assert (stranger[everyone, own] < known[everyone, own]).mean() > 0.9
    assert (stranger[:, own[0]] > known[:, own[0]]).sum() > 30
    assert WIDENING > 1


def test_own_rows_have_a_typicality_of_nought_on_average() -> None:
    cells, rows = fitted().cells, fitted().rows
    assert rows.group is not None
    typicality = LIKELIHOOD.typicality_in(cells, rows.group.astype(np.intp))
    assert abs(typicality.mean()) < 0.3


def test_the_same_rows_together_and_alone() -> None:
    cells = fitted().cells.take(slice(0, 30))
    together = LIKELIHOOD.evidence(cells)
    alone = [LIKELIHOOD.evidence(cells.take(slice(at, at + 1))) for at in range(30)]
    assert [int(one.group[0]) for one in alone] == together.group.tolist()
    assert [one.typicality[0] for one in alone] == pytest.approx(together.typicality, abs=2e-4)
    assert [one.margin[0] for one in alone] == pytest.approx(together.margin, abs=1e-3)


@pytest.mark.parametrize("rows", [0, 1, 7, FEW_ROWS, FEW_ROWS + 1])
@pytest.mark.parametrize("some_hidden", [False, True], ids=["one pattern of numbers", "several"])
def test_a_few_rows_say_the_same_row_by_row(rows: int, some_hidden: bool) -> None:
    cells = fitted().cells.take(slice(0, rows))
    if some_hidden:
        cells = cells.hidden(np.random.default_rng(3).random((rows, len(LAYOUT.columns))) < 0.5, LAYOUT)
    together, each = LIKELIHOOD.evidence(cells), LIKELIHOOD.rows_evidence(cells)
    assert [said.group for said in each] == together.group.tolist()
    for name in ("positive", "margin", "typicality"):
        assert [getattr(said, name) for said in each] == pytest.approx(getattr(together, name).tolist(), rel=1e-6, abs=1e-4)


def test_what_is_left_out_is_not_known() -> None:
    cells, rows = fitted().cells, fitted().rows
    assert rows.group is not None
    own = rows.group.astype(np.intp)
    assert (LIKELIHOOD.evidence(cells).group == own).mean() > 0.99
    assert not (LIKELIHOOD.evidence(cells, left_out=own).group == own).any()


@pytest.mark.parametrize("rows", [0, 1, 5, 900])
@pytest.mark.parametrize("is_left_out", [False, True])
def test_the_likeliest_group_is_that_of_the_evidence(rows: int, is_left_out: bool) -> None:
    cells = fitted().cells.take(slice(0, rows))
    hidden = cells.hidden(np.random.default_rng(6).random((rows, len(LAYOUT.columns))) < 0.6, LAYOUT)
    group = fitted().rows.group
    assert group is not None
    left_out = np.where(np.arange(rows) % 3 == 0, -1, group[:rows]).astype(np.intp) if is_left_out else None
    assert LIKELIHOOD.likeliest(hidden, left_out=left_out).tolist() == LIKELIHOOD.evidence(hidden, left_out=left_out).group.tolist()


@pytest.mark.parametrize("is_left_out", [False, True])
def test_rows_that_are_not_weighed_have_a_group_and_its_typicality(is_left_out: bool) -> None:
    cells, group = fitted().cells.take(slice(0, 900)), fitted().rows.group
    assert group is not None
    hidden = cells.hidden(np.random.default_rng(6).random((900, len(LAYOUT.columns))) < 0.6, LAYOUT)
    left_out, weighed = group[:900].astype(np.intp) if is_left_out else None, np.arange(900) % 3 == 0
    whole, some = LIKELIHOOD.evidence(hidden, left_out=left_out), LIKELIHOOD.evidence(hidden, left_out=left_out, weighed=weighed)
    assert some.group.tolist() == whole.group.tolist()
    assert some.typicality.tolist() == whole.typicality.tolist()
    assert some.positive[weighed].tolist() == pytest.approx(whole.positive[weighed].tolist(), rel=1e-6)
    assert some.margin[weighed].tolist() == pytest.approx(whole.margin[weighed].tolist(), abs=1e-4)
    assert np.isnan(some.positive[~weighed]).all()
    assert (some.margin[~weighed] == -np.inf).all()


def test_a_sum_takes_every_column_that_tells_and_no_other() -> None:
    told = {*LIKELIHOOD.layout.categories}
    assert {LAYOUT.columns[at] for at in LIKELIHOOD._telling} == told  # without informative empty cells numbers tell by their size alone
    schema = dataset({"told": nominal("a", "b"), "size": NUMERIC})
    informed = likelihood_of_two(codes({"told": ["a", None] * 10, "size": [1.0, None] * 10}, schema), schema)
    assert informed._telling == [0, 1]
    cells = fitted().cells.take(slice(0, 100))
    summed = LIKELIHOOD._summed(LIKELIHOOD.known, cells, np.zeros((100, 1)))
    assert summed.tolist() == np.add.reduce(LIKELIHOOD.known[cells.places], axis=1).tolist()


def test_groups_that_are_out_of_question_cost_no_slow_numbers() -> None:
    """Exponentials of the smallest float32 are slow to make and to add: odds are cut off before, alike for one row and for many."""
    cells = fitted().cells
    present = ~np.isnan(cells.numbers)
    rows = np.flatnonzero(present.all(axis=1))[:40]
    far = cells.take(rows)
    far.numbers[:] = 1e4 * np.sign(far.numbers)
    together, each = (
        LIKELIHOOD.evidence(far),
        [LIKELIHOOD.row_evidence(p, z) for p, z in zip(far.places, far.numbers.tolist(), strict=True)],
    )
    assert together.positive.min() >= np.exp(-81)
    assert together.positive.tolist() == pytest.approx([one.positive for one in each], rel=1e-5, abs=1e-30)
    assert together.margin.tolist() == pytest.approx([one.margin for one in each], abs=1e-3)


def test_bytes_and_back() -> None:
    data = LIKELIHOOD.to_bytes()
    again = GroupLikelihood.from_bytes(data)
    assert again.to_bytes() == data
    assert again.evidence(fitted().cells).margin.tolist() == LIKELIHOOD.evidence(fitted().cells).margin.tolist()


@pytest.mark.parametrize("data", [b"", b"nothing", LIKELIHOOD.to_bytes()[:-100]])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no"):
        GroupLikelihood.from_bytes(data)


def test_an_informative_empty_cell_is_a_value() -> None:
    schema = dataset({"told": nominal("a", "b"), "size": NUMERIC})
    table = codes({"told": ["a", None] * 10, "size": [1.0, None] * 10}, schema)
    likelihood = likelihood_of_two(table, schema)
    cells = Cells.of_rows([{"told": None}, {"size": None}, {"told": "a"}, {}], likelihood.layout)
    positive = [likelihood.evidence(cells.take(slice(at, at + 1))).positive[0] for at in range(4)]
    assert positive[0] > 0.99
    assert positive[1] > 0.99
    assert positive[2] < 0.01
    assert positive[3] == pytest.approx(0.5)


def likelihood_of_two(table: object, schema: object) -> GroupLikelihood:
    from sporeprint.safety.group_likelihood import fit_group_likelihood

    y = labels(*[0, 1] * 10)
    return fit_group_likelihood(table, y, y.astype(np.intp), np.array([0, 1]), schema)  # type: ignore[arg-type]


def test_thousands_of_numbers_are_independent_and_soon_summed() -> None:
    """Every row has columns of its own, so that nothing made for one of them serves another."""
    random, columns = np.random.default_rng(2), [f"c{number}" for number in range(3000)]
    schema = dataset(dict.fromkeys(columns, NUMERIC))
    numbers = random.normal(size=(20, len(columns)))
    table = codes({name: numbers[:, at].tolist() for at, name in enumerate(columns)}, schema)
    likelihood = likelihood_of_two(table, schema)
    cells = Cells.of_codes(table, likelihood.layout)
    hidden = cells.hidden(random.random((20, len(columns))) < 0.5, likelihood.layout)
    begun = time.process_time()
    for at in range(20):
        row = hidden.take(slice(at, at + 1))
        (seen,) = np.nonzero(~np.isnan(row.numbers[0]))
        known = likelihood.known_likelihoods(row, ~np.isnan(row.numbers[0]))[0]
        expected = stats.norm.logpdf(row.numbers[0][seen], likelihood.means[:, seen], likelihood.spreads[:, seen]).sum(axis=1)
        assert known - likelihood.prior == pytest.approx(expected, rel=1e-4)
    assert time.process_time() - begun < 2.0


def test_declared_confusions_and_errors_enter_the_shares() -> None:
    values = ("a", "b", "c")
    plain = {"cap": nominal(*values)}
    confused = {"cap": {**nominal(*values), "error_rate": 0.2, "confusions": [["a", "b"]]}}
    misread = {"cap": {**nominal(*values), "error_rate": 0.2}}
    rows = {"cap": ["a"] * 50 + ["c"] * 50}
    group = np.repeat([0, 1], 50)
    found = {}
    for name, columns in (("plain", plain), ("confused", confused), ("misread", misread)):
        schema = dataset(columns)
        from sporeprint.safety.group_likelihood import fit_group_likelihood

        table = codes({"cap": [*rows["cap"], "b"]}, schema)
        likelihood = fit_group_likelihood(
            table, np.append(group, 1).astype(np.int8), np.append(group, 1).astype(np.intp), np.array([0, 1]), schema
        )
        found[name] = np.exp(likelihood.known[FIRST_VALUE : FIRST_VALUE + 3, 0].astype(np.float64))
    assert found["plain"] == pytest.approx([1, 0, 0], abs=1e-3)
    assert found["confused"] == pytest.approx([0.8, 0.2, 0], abs=1e-3)
    assert found["misread"] == pytest.approx([0.8, 0.1, 0.1], abs=1e-3)


def test_rows_of_any_mask_are_scored_as_mask_by_mask() -> None:
    cells = fitted().cells.take(slice(0, 40))
    random = np.random.default_rng(3)
    hidden = cells.hidden(random.random((40, len(LAYOUT.columns))) < 0.5, LAYOUT)
    together = LIKELIHOOD.evidence(hidden)
    for at, _ in itertools.islice(enumerate(hidden.places), 40):
        one = LIKELIHOOD.evidence(hidden.take(slice(at, at + 1)))
        assert one.positive[0] == pytest.approx(together.positive[at], abs=1e-4)


def test_the_contract_says_what_is_informative() -> None:
    assert SCHEMA.informative == frozenset()
    rows = world(300, seed=11)
    assert likelihood_of(rows).layout.informative == frozenset()
