"""Publishing: all or nothing for every file, repeatable, and complete after a second try whatever stopped the first."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from sporeprint.errors import DataError, StorageError
from sporeprint.load import Folders, load
from sporeprint.workdir import Workdir

NAMES = ("processed", "train", "validation", "test", "rejected")
PLACES = {
    "processed": "data/processed/table.parquet",
    "train": "data/model_input/train.parquet",
    "validation": "data/model_input/validation.parquet",
    "test": "data/model_input/test.parquet",
    "rejected": "data/validation/rejected/run.parquet",
}


class Full:
    """A place that takes nothing."""

    def publish(self, tables: Mapping[str, Path], record: str) -> None:
        raise StorageError(f"no room for {len(tables)} tables and {len(record)} characters")


@pytest.fixture
def staged(tmp_path: Path) -> Workdir:
    workdir = Workdir(tmp_path)
    stage(workdir, 1)
    return workdir


def stage(workdir: Workdir, value: int) -> None:
    workdir.staging.mkdir(parents=True)
    for name in NAMES:
        pl.DataFrame({name: [value]}).write_parquet(workdir.staging / f"{name}.parquet")
    (workdir.staging / "record.json").write_text("{}", encoding="utf-8")
    (workdir.staging / "report.html").write_text(f"page {value}", encoding="utf-8")


def published(workdir: Workdir) -> dict[str, int]:
    return {name: pl.read_parquet(workdir.root / place)[name].item() for name, place in PLACES.items()}


def test_every_table_is_published_and_the_stage_is_gone(staged: Workdir) -> None:
    load(staged, "table", "run", '{"run_id": "run"}')
    assert published(staged) == dict.fromkeys(NAMES, 1)
    assert pl.read_parquet(staged.validation / "validation.parquet").equals(pl.read_parquet(staged.model_input / "validation.parquet"))
    assert staged.data_record.read_text(encoding="utf-8") == '{"run_id": "run"}'
    assert (staged.validation / "report.html").read_text(encoding="utf-8") == "page 1"
    assert not staged.staging.exists()


def test_the_next_run_replaces_every_table(staged: Workdir) -> None:
    load(staged, "table", "run", "{}")
    stage(staged, 2)
    load(staged, "table", "run", "{}")
    assert published(staged) == dict.fromkeys(NAMES, 2)


def test_what_stopped_half_way_completes_when_it_is_run_again(staged: Workdir) -> None:
    with pytest.raises(StorageError, match="no room for 5 tables"):
        load(staged, "table", "run", "{}", [Full()])
    assert staged.staging.exists()
    load(staged, "table", "run", "{}")
    assert published(staged) == dict.fromkeys(NAMES, 1)


def test_publishing_twice_changes_nothing(staged: Workdir) -> None:
    tables = {path.stem: path for path in staged.staging.glob("*.parquet")}
    for _ in range(2):
        Folders(staged, "table", "run").publish(tables, "{}")
        assert published(staged) == dict.fromkeys(NAMES, 1)


def test_nothing_staged_names_the_step_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run sporeprint transform first"):
        load(Workdir(tmp_path), "table", "run", "{}")


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_lost(staged: Workdir) -> None:
    (staged.root / "data/processed").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(StorageError, match=r"cannot write .*processed.*table\.parquet"):
        load(staged, "table", "run", "{}")
    assert sorted(path.stem for path in staged.staging.glob("*.parquet")) == sorted(NAMES)


def test_a_file_system_without_links_gets_a_copy(staged: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(95, f"no links from {source} to {target}")

    monkeypatch.setattr("os.link", refuse)
    load(staged, "table", "run", "{}")
    assert published(staged) == dict.fromkeys(NAMES, 1)
