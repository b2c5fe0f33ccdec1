"""What `import sporeprint` offers: a frozen list, each name with an example that runs, and nothing loaded before it is used."""

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import sporeprint

#: A name more or less is a decision: people's code depends on it.
NAMES = """
AssumedRates AsyncClient Client DatasetSchema Design EtlResult Model Registry Run Settings SporeprintClassifier SporeprintError
__version__ etl fit load load_run load_settings plan_ab_test simulate_ab_test simulate_table
"""


def test_the_list_of_names_is_frozen() -> None:
    assert sorted(sporeprint.__all__) == sorted(NAMES.split())
    assert len(sporeprint.__all__) <= 25
    assert {"__version__", *sporeprint._HOMES} == set(sporeprint.__all__) <= set(dir(sporeprint))


@pytest.mark.parametrize("name", sporeprint.__all__)
def test_every_name_is_there_and_has_a_docstring(name: str) -> None:
    value = getattr(sporeprint, name)
    assert isinstance(value, str) if name == "__version__" else inspect.getdoc(value)


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'sporeprint' has no attribute 'loads'"):
        sporeprint.loads  # noqa: B018


@pytest.mark.parametrize("name", [name for name in sporeprint.__all__ if name != "__version__"])
def test_its_example_runs(name: str, small_run: Path, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(getattr(sporeprint, name), name, globs={"WORKDIR": small_run, "CONFIG": config_file})
    assert test.examples, f"{name} has no example"
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test)
    assert result.failed == 0


def test_importing_it_loads_no_library() -> None:
    code = "import sys, time; start = time.process_time(); import sporeprint; print(time.process_time() - start); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.splitlines()
    assert {"numpy", "polars", "pydantic", "sporeprint.errors"} & set(modules.split()) == set()
    assert float(seconds) < 0.05
