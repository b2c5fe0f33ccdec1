"""Tests of sporeprint.common.optional_dependencies: what is missing is named with what to install."""

import subprocess
import sys

import pytest

from sporeprint.common.optional_dependencies import EXTRAS, Lazy, has, missing
from sporeprint.errors import MissingExtraError


def test_a_module_is_loaded_with_the_first_look() -> None:
    assert Lazy("math").pi == pytest.approx(3.14159265)


def test_what_belongs_to_no_extra_is_the_error_it_was() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        _ = Lazy("no_such_library").anything


@pytest.mark.parametrize("library", EXTRAS)
def test_the_extra_is_named(library: str) -> None:
    found = missing(ModuleNotFoundError(name=f"{library}.part"))
    assert isinstance(found, MissingExtraError)
    assert f"needs {library}, " in str(found)
    assert f"pip install 'sporeprint[{EXTRAS[library]}]'" in str(found)


def test_a_library_does_without_what_it_only_may_use() -> None:
    """In a process of its own: what is imported stays imported."""
    code = (
        "import sys; from sporeprint.common.optional_dependencies import Lazy, leave_out; leave_out('xgboost', 'pandas', 'sklearn');"
        "made = Lazy('xgboost').Booster(); print('pandas' in sys.modules, 'sklearn' in sys.modules); import sklearn, pandas"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False False\n"


def test_what_is_installed() -> None:
    assert has("numpy")
    assert not has("no_such_library")
    assert not has("no_such_library.part")
