"""Tables and silent steps."""

import pytest

from sporeprint.common.progress import SilentSteps
from sporeprint.common.text_table import Table


def test_a_row_with_another_number_of_cells_is_refused() -> None:
    with pytest.raises(ValueError, match=r"table 'Rows': a row has 1 cells, there are 2 columns: \('a',\)"):
        Table("Rows", ("x", "y"), (("1", "2"), ("a",)))


def test_silent_steps_take_all_that_a_step_says() -> None:
    with SilentSteps().step("train") as progress:
        progress.total(3)
        progress.advance(1)
        progress.text("on it")


def test_silent_steps_let_errors_through() -> None:
    with pytest.raises(KeyError, match="gone"), SilentSteps().step("train"):
        raise KeyError("gone")
