import hashlib
import re
import subprocess
import sys
import timeit
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sporeprint.ab_testing import assignment
from sporeprint.ab_testing.assignment import Assignment

#: The vectors of the docstring: they are the promise to other languages.
VECTORS = [
    tuple(match.groups())
    for match in re.finditer(r"^    (salt-\d)\s+(\S+)\s+(\d+)\s+([ab])  ([ab])$", assignment.__doc__ or "", re.MULTILINE)
]


@pytest.mark.parametrize(("salt", "unit_id", "number", "at_half", "at_tenth"), VECTORS)
def test_the_documented_vectors(salt: str, unit_id: str, number: str, at_half: str, at_tenth: str) -> None:
    unit_id = "" if unit_id == "(empty)" else unit_id
    assert assignment.number(salt, unit_id) == int(number)
    assert (Assignment(salt, 0.5).arm(unit_id), Assignment(salt, 0.1).arm(unit_id)) == (at_half, at_tenth)
    # As another program would do it.
    assert int(hashlib.sha256(f"{salt}:{unit_id}".encode()).hexdigest()[:16], 16) == int(number)


def test_there_are_vectors_and_the_documentation_has_them() -> None:
    assert len(VECTORS) == 7
    text = (Path(__file__).parents[2] / "docs" / "ab_testing.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (salt-\d) \| (\S+) \| (\d+) \| ([ab]) \| ([ab]) \|$", text, re.MULTILINE) == VECTORS
    assert {vector[3] for vector in VECTORS} == {vector[4] for vector in VECTORS} == {"a", "b"}


@given(st.text(), st.text(), st.floats(1e-6, 1 - 1e-6))
def test_the_number_decides(salt: str, unit_id: str, split: float) -> None:
    below = assignment.number(salt, unit_id) < int(split * 2**64)
    assert (Assignment(salt, split).arm(unit_id) == "b") == below


def test_a_larger_split_only_moves_units_to_b() -> None:
    smaller, larger = Assignment("salt", 0.2), Assignment("salt", 0.6)
    assert all(larger.arm(f"u{number}") == "b" for number in range(2000) if smaller.arm(f"u{number}") == "b")


@pytest.mark.parametrize("split", [0.5, 0.1, 0.01, 1 - 2**-53, 2**-60])
def test_shares(split: float) -> None:
    assigned, units = Assignment("a salt", split), 20_000
    b = sum(assigned.arm(str(number)) == "b" for number in range(units))
    assert binom.ppf(1e-5, units, split) <= b <= binom.ppf(1 - 1e-5, units, split)


def test_two_salts_split_independently() -> None:
    one, other = Assignment("one", 0.5), Assignment("other", 0.5)
    both = np.array([[each.arm(str(number)) == "b" for each in (one, other)] for number in range(20_000)])
    assert abs(np.corrcoef(both.T)[0, 1]) < 0.03


def test_an_id_that_is_no_text_has_an_arm_too() -> None:
    assert Assignment("salt", 0.5).arm("\udc80") in {"a", "b"}


def test_routing_loads_nothing_heavy() -> None:
    code = "import sys, sporeprint.ab_testing.assignment, sporeprint.ab_testing.design; print({'numpy', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_asking_is_cheap() -> None:
    assigned = Assignment("salt", 0.5)
    best = min(timeit.repeat(lambda: assigned.arm("user-12345"), number=5_000, repeat=5)) / 5_000
    assert best < 5e-6  # 0.5 µs on an idle machine, where 2 µs are allowed
