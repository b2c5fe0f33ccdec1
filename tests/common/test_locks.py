"""Tests of sporeprint.common.locks."""

import os
import resource
import time
from pathlib import Path

import pytest

from child_python import Start, line_of
from sporeprint.common.locks import acquire, locked, run_lock
from sporeprint.errors import BusyError, StorageError


def holder(workdir: Path) -> str:
    return f"""
        import time
        from pathlib import Path
        from sporeprint.common.locks import run_lock
        with run_lock(Path({str(workdir)!r})):
            print("held", flush=True)
            time.sleep(60)
    """


def test_second_run_is_told_who_holds_the_work_directory(tmp_path: Path, start: Start) -> None:
    first = start(holder(tmp_path))
    assert line_of(first) == "held"
    with (
        pytest.raises(
            BusyError, match=rf"another run \(process {first.pid}\) is writing to {tmp_path}; wait for it, or use another --workdir"
        ),
        run_lock(tmp_path),
    ):
        pass


def test_lock_is_let_go_by_a_kill(tmp_path: Path, start: Start) -> None:
    first = start(holder(tmp_path))
    assert line_of(first) == "held"
    first.kill()
    first.wait()
    with run_lock(tmp_path):
        assert (tmp_path / ".sporeprint.lock").read_text() == f"{os.getpid()}\n"


def test_what_a_killed_run_was_writing_is_removed_by_the_next(tmp_path: Path) -> None:
    left = [tmp_path / place / ".table.parquet.ev24i8o5.tmp" for place in ("data/model_input", "models/candidates", "mine")]
    for path in left:
        path.parent.mkdir(parents=True)
        path.touch()
    with run_lock(tmp_path):
        assert [path.exists() for path in left] == [False, False, True]


def test_lock_is_let_go_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        pass
    with pytest.raises(ValueError, match="in the run"), run_lock(tmp_path):
        raise ValueError("in the run")
    with run_lock(tmp_path):
        pass


def test_lock_makes_the_work_directory_and_is_one_for_each(tmp_path: Path) -> None:
    with run_lock(tmp_path / "a" / "b"), run_lock(tmp_path / "c"):
        assert (tmp_path / "a" / "b").is_dir()


def test_work_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=rf"cannot use the work directory {tmp_path / 'file'}: "), run_lock(tmp_path / "file"):
        pass


def test_work_directory_on_a_full_disk_is_refused(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(StorageError, match=rf"cannot use the work directory {tmp_path}: File too large"), run_lock(tmp_path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_lock_whose_file_was_removed_meanwhile_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = acquire(path, busy=str)
    path.unlink()
    second = acquire(path, busy=str)
    assert path.read_text() == f"{os.getpid()}\n"
    os.close(first)
    with pytest.raises(BusyError, match=rf"^{os.getpid()}$"):
        acquire(path, busy=str)
    os.close(second)


def test_who_waits_gets_the_lock_when_its_holder_ends(tmp_path: Path, start: Start) -> None:
    first = start(holder(tmp_path))
    assert line_of(first) == "held"
    began = time.monotonic()
    with pytest.raises(BusyError), locked(tmp_path / ".sporeprint.lock", busy=str, failure="no", wait_s=0.1):
        pass
    assert time.monotonic() - began >= 0.1
    first.kill()
    with locked(tmp_path / ".sporeprint.lock", busy=str, failure="no", wait_s=10):
        pass
