"""What all tests share: the shipped configuration, the real table where it is, and an environment without settings."""

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT / "data" / "raw" / "secondary_data.csv"
REQUIRED = os.environ.get("REQUIRE_REAL_DATA") == "1"
LEFT_OUT = pytest.StashKey[int]()

# A busy machine is slow, which is no fault of what is tested; and a change must not fail in CI by chance.
hypothesis.settings.register_profile("sporeprint", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("sporeprint")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs the real table where it is not, unless it is required: then the fixture fails them."""
    if REAL_DATA.exists() or REQUIRED:
        return
    needing = [item for item in items if "real_data" in getattr(item, "fixturenames", ())]
    config.stash[LEFT_OUT] = len(needing)
    if needing:
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests were left out: a run without them is not a run of everything."""
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.section("real data", yellow=True)
        terminalreporter.line(f"{count} tests on the real table were left out: {REAL_DATA} is missing")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real table, data/raw/secondary_data.csv."""
    if not REAL_DATA.exists():
        pytest.fail(f"{REAL_DATA} is missing, and REQUIRE_REAL_DATA=1 asks for it", pytrace=False)
    return REAL_DATA


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A variable of the person who runs the tests must not change what they say."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SPOREPRINT_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def config_file() -> Path:
    """The configuration that comes with the project."""
    return ROOT / "config" / "config.yaml"


@pytest.fixture(scope="session")
def _shipped(config_file: Path) -> dict[str, Any]:
    raw: dict[str, Any] = YAML(typ="safe", pure=True).load(config_file.read_text(encoding="utf-8"))
    return raw


@pytest.fixture
def raw_config(_shipped: dict[str, Any]) -> dict[str, Any]:
    """The shipped configuration as it is read, unchecked, free to be changed."""
    return copy.deepcopy(_shipped)
