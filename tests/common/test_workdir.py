"""Where things lie."""

from pathlib import Path

import pytest

from sporeprint.common.workdir import Workdir

WORKDIR = Workdir(Path("/srv/site"))


def test_a_path_of_the_configuration_lies_below_the_work_directory_or_is_absolute() -> None:
    assert WORKDIR.at("data/raw/table.csv") == Path("/srv/site/data/raw/table.csv")
    assert WORKDIR.at("/elsewhere/table.csv") == Path("/elsewhere/table.csv")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/srv/site/data/raw/table.csv", "data/raw/table.csv"),
        ("/srv/site", "."),
        ("/srv/siteshop/table.csv", "/srv/siteshop/table.csv"),
        ("/elsewhere/table.csv", "/elsewhere/table.csv"),
    ],
)
def test_a_path_is_shown_from_the_work_directory_where_it_lies_below_it(path: str, shown: str) -> None:
    assert WORKDIR.shown(Path(path)) == shown


def test_a_relative_work_directory_shows_its_paths_too() -> None:
    assert Workdir(Path()).shown(Path("data/raw")) == "data/raw"


def test_the_layout() -> None:
    # Names that users and other programs rely on.
    found = {
        name: getattr(WORKDIR, name).relative_to(WORKDIR.root).as_posix()
        for name, member in vars(Workdir).items()
        if isinstance(member, property)
    }
    assert found == {
        "extract_record": "data/raw/extract.json",
        "outcomes": "data/raw/outcomes.parquet",
        "staging": "data/staging",
        "processed": "data/processed",
        "model_input": "data/model_input",
        "validation": "data/validation",
        "data_record": "data/validation/summary.json",
        "candidates": "models/candidates",
        "evaluation_record": "models/candidates/evaluation.json",
        "registry": "models/registry",
        "metrics": "models/metrics",
        "monitoring": "models/metrics/monitoring",
        "retraining": "data/retrain",
        "serving": "data/serving",
        "logs": "logs",
    }
    assert WORKDIR.rejected("run-1") == WORKDIR.root / "data/validation/rejected/run-1.parquet"
