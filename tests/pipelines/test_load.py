"""Publishing: whole files or nothing, any number of times, and again after being killed."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from sporeprint.common.workdir import Workdir
from sporeprint.errors import DataError, StorageError
from sporeprint.pipelines.load import publish

TABLES = ("processed", "train", "validation", "test", "rejected")
#: Where a reader finds what was staged.
PLACES = {
    "data/processed/shrooms.parquet": "processed",
    "data/model_input/train.parquet": "train",
    "data/model_input/validation.parquet": "validation",
    "data/validation/validation.parquet": "validation",
    "data/model_input/test.parquet": "test",
    "data/validation/rejected/run-1.parquet": "rejected",
}


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    return Workdir(tmp_path)


def stage(workdir: Workdir, run: str = "first") -> None:
    workdir.staging.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        (workdir.staging / f"{name}.parquet").write_text(f"{run} {name}", encoding="utf-8")
    (workdir.staging / "record.json").write_text(f"{run} record", encoding="utf-8")
    (workdir.staging / "report.html").write_text(f"{run} page", encoding="utf-8")


def seen(workdir: Workdir) -> dict[str, str]:
    """Every file a reader sees, hidden ones too."""
    files = (path for path in sorted(workdir.root.rglob("*")) if path.is_file() and workdir.staging not in path.parents)
    return {path.relative_to(workdir.root).as_posix(): path.read_text(encoding="utf-8") for path in files}


def published(run: str) -> dict[str, str]:
    tables = {place: f"{run} {name}" for place, name in PLACES.items()}
    return tables | {"data/validation/summary.json": f"{run} record", "data/validation/report.html": f"{run} page"}


def stage_parts(workdir: Workdir, run: str) -> None:
    stage(workdir, run)
    (path := workdir.staging / "train.parquet").unlink()
    path.mkdir()
    for name in ("part-00000.parquet", "manifest.json"):
        (path / name).write_text(f"{run} {name}", encoding="utf-8")


def test_a_file_and_a_folder_of_parts_take_each_others_place(workdir: Workdir) -> None:
    parts = {f"data/model_input/train.parquet/{name}" for name in ("part-00000.parquet", "manifest.json")}
    for run, tables in (("a", False), ("b", True), ("c", True), ("d", False)):
        (stage_parts if tables else stage)(workdir, run)
        publish(workdir, "shrooms", "run-1", f"{run} record")
        there = seen(workdir)
        assert set(there) == (set(published(run)) - {"data/model_input/train.parquet"}) | parts if tables else set(published(run))
        assert all(text.startswith(f"{run} ") for text in there.values())


class Watcher:
    """A sink that notes what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[dict[str, str], str]] = []

    def publish(self, tables: Mapping[str, Path], record: str) -> None:
        self.given.append(({name: path.read_text(encoding="utf-8") for name, path in tables.items()}, record))


class Broken:
    """A sink whose machine dies."""

    def publish(self, tables: Mapping[str, Path], record: str) -> None:
        raise KeyboardInterrupt


def test_everything_staged_is_published_and_the_stage_cleared(workdir: Workdir) -> None:
    stage(workdir)
    publish(workdir, "shrooms", "run-1", "first record")
    assert seen(workdir) == published("first")
    assert not workdir.staging.exists()


def test_the_files_may_be_read_by_others(workdir: Workdir) -> None:
    stage(workdir)
    for path in workdir.staging.iterdir():
        path.chmod(0o600)
    publish(workdir, "shrooms", "run-1", "first record")
    assert {stat.S_IMODE((workdir.root / place).stat().st_mode) for place in published("first")} == {0o644}


def test_a_later_run_replaces_an_earlier_one_and_keeps_what_it_rejected(workdir: Workdir) -> None:
    for run in ("first", "second"):
        stage(workdir, run)
        publish(workdir, "shrooms", f"run-{len(run)}", f"{run} record")
    rejected = {f"data/validation/rejected/run-{len(run)}.parquet": f"{run} rejected" for run in ("first", "second")}
    wanted = {name: text for name, text in published("second").items() if "rejected" not in name} | rejected
    assert seen(workdir) == wanted


def test_a_reader_who_has_a_file_open_keeps_what_he_reads(workdir: Workdir) -> None:
    stage(workdir)
    publish(workdir, "shrooms", "run-1", "first record")
    with (workdir.model_input / "train.parquet").open(encoding="utf-8") as reader:
        stage(workdir, "second")
        publish(workdir, "shrooms", "run-1", "second record")
        assert reader.read() == "first train"


def test_publishing_the_same_run_again_changes_nothing(workdir: Workdir) -> None:
    for _ in range(2):
        stage(workdir)
        publish(workdir, "shrooms", "run-1", "first record")
    assert seen(workdir) == published("first")


def test_nothing_staged(workdir: Workdir) -> None:
    with pytest.raises(DataError, match=r"^nothing is staged in .*data/staging; run sporeprint transform first$"):
        publish(workdir, "shrooms", "run-1", "record")
    stage(workdir)
    publish(workdir, "shrooms", "run-1", "first record")
    with pytest.raises(DataError, match="nothing is staged"):
        publish(workdir, "shrooms", "run-1", "first record")
    assert seen(workdir) == published("first")


def test_killed_while_the_stage_is_cleared_nothing_of_it_is_taken_for_a_stage(workdir: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(workdir)

    def killed(*given: object, **more: object) -> None:
        if not more:
            raise KeyboardInterrupt

    monkeypatch.setattr("sporeprint.pipelines.load.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(workdir, "shrooms", "run-1", "first record")
    assert not workdir.staging.exists()
    assert [path.name for path in workdir.staging.parent.glob(".staging-*")] == [".staging-run-1-loaded"]  # what transform removes


# --- other places ----------------------------------------------------------------------------------------------------


def test_every_sink_is_given_the_tables_and_the_record(workdir: Workdir) -> None:
    stage(workdir)
    sinks = [Watcher(), Watcher()]
    publish(workdir, "shrooms", "run-1", "first record", sinks)
    wanted = ({name: f"first {name}" for name in TABLES}, "first record")
    assert [sink.given for sink in sinks] == [[wanted], [wanted]]


def test_killed_while_publishing_it_can_be_run_again(workdir: Workdir) -> None:
    stage(workdir)
    with pytest.raises(KeyboardInterrupt):
        publish(workdir, "shrooms", "run-1", "first record", [Broken()])
    assert workdir.staging.exists()
    watcher = Watcher()
    publish(workdir, "shrooms", "run-1", "first record", [watcher])
    assert seen(workdir) == published("first")
    assert len(watcher.given) == 1
    assert not workdir.staging.exists()


def test_killed_between_two_files_it_can_be_run_again(workdir: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(workdir, "old")
    publish(workdir, "shrooms", "run-1", "old record")
    link = os.link
    for files in range(len(PLACES)):
        left = files

        def dying(source: Path, target: Path) -> None:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            link(source, target)

        stage(workdir, f"run {files}")
        monkeypatch.setattr(os, "link", dying)
        with pytest.raises(KeyboardInterrupt):
            publish(workdir, "shrooms", "run-1", f"run {files} record")
        before, now = published("old" if not files else f"run {files - 1}"), published(f"run {files}")
        found = seen(workdir)
        assert set(found) == set(now)  # and no temporary file among them
        assert all(text in {before[name], now[name]} for name, text in found.items())
        assert sum(found[place] == now[place] for place in PLACES) == files
        monkeypatch.setattr(os, "link", link)
        publish(workdir, "shrooms", "run-1", f"run {files} record")
        assert seen(workdir) == now


# --- the file system -------------------------------------------------------------------------------------------------


def test_files_are_linked_not_copied(workdir: Workdir) -> None:
    stage(workdir)
    (workdir.staging / "test.parquet").write_bytes(b"large")
    inode = (workdir.staging / "test.parquet").stat().st_ino
    publish(workdir, "shrooms", "run-1", "first record")
    assert (workdir.model_input / "test.parquet").stat().st_ino == inode


def test_where_the_file_system_knows_no_links_files_are_copied(workdir: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    stage(workdir)
    publish(workdir, "shrooms", "run-1", "first record")
    assert seen(workdir) == published("first")


def test_a_folder_that_cannot_be_written_is_named_and_the_stage_stays(workdir: Workdir) -> None:
    stage(workdir)
    workdir.model_input.parent.mkdir(exist_ok=True)
    workdir.model_input.write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(StorageError, match=r"^cannot write .*data/model_input/.*\.parquet: .*; nothing was replaced$"):
        publish(workdir, "shrooms", "run-1", "first record")
    assert workdir.staging.exists()
    workdir.model_input.unlink()
    publish(workdir, "shrooms", "run-1", "first record")
    assert seen(workdir) == published("first")
