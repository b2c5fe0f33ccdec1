"""The lines that scripts/mutants.py breaks are there: whoever rewrites one writes the new one into the script. Running it takes minutes."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from mutants import MUTANTS, Mutant, mutate  # noqa: E402 -- a script, not a package


def test_each_line_is_there_once_and_has_tests() -> None:
    assert len(MUTANTS) >= 40
    for mutant in MUTANTS:
        text = (ROOT / "src" / "sporeprint" / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, str(mutant)
        assert all((ROOT / "tests" / test).is_file() for test in mutant.tests), str(mutant)


def test_a_line_that_is_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "src" / "sporeprint").mkdir(parents=True)
    (tmp_path / "src" / "sporeprint" / "a.py").write_text("x = 1\n")
    mutate(tmp_path, Mutant("a.py", "x = 1", "x = 2", ()))
    assert (tmp_path / "src" / "sporeprint" / "a.py").read_text() == "x = 2\n"
    with pytest.raises(SystemExit, match=r"expected the old text once in a\.py, it is there 0 times"):
        mutate(tmp_path, Mutant("a.py", "x = 1", "x = 2", ()))
