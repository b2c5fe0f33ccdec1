import fcntl
import hashlib
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_python import Start, line_of
from sporeprint.common.files import atomic_path, atomic_write, make_private, remove_leftovers, sha256_file
from sporeprint.common.progress import SilentProgress
from sporeprint.errors import StorageError

# --- atomic writes


@pytest.mark.parametrize(("data", "content"), [("größe", "größe".encode()), (b"\0\xff", b"\0\xff"), ("", b""), ("a\r\n", b"a\r\n")])
def test_atomic_write_writes_text_as_utf8_and_bytes_as_they_are(tmp_path: Path, data: str | bytes, content: bytes) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    atomic_write(path, data)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_atomic_write_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a longer text than the new one")
    atomic_write(path, "new")
    assert path.read_text() == "new"


def test_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file", "x")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_reader_that_has_the_old_file_open_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        atomic_write(path, "new")
        assert reader.read() == "old"


def test_nothing_is_visible_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert not list(tmp_path.glob("*.parquet")), "a reader that looks for tables finds the half-written one"
    assert path.read_text() == "half"


def test_error_in_the_middle_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise ValueError("the writer's own")

    with pytest.raises(ValueError, match="the writer's own"):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from sporeprint.errors import StorageError
        from sporeprint.common.files import atomic_write
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            atomic_write(Path({str(path)!r}), b"x" * 2000)
        except StorageError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {path}: File too large; nothing was replaced\n"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("place", "cause"), [("file/below", "Not a directory|File exists"), ("folder", "Is a directory"), ("x" * 300, "too long")]
)
def test_place_that_cannot_be_written_is_named_with_the_cause(tmp_path: Path, place: str, cause: str) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match=rf"cannot write {tmp_path / place}: .*({cause}).*; nothing was replaced"):
        atomic_write(tmp_path / place, "new")
    assert sorted(tmp_path.iterdir()) == before


def test_kill_in_the_middle_leaves_the_old_file(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    writer = start(f"""
        import time
        from pathlib import Path
        from sporeprint.common.files import atomic_path
        with atomic_path(Path({str(path)!r})) as temporary:
            temporary.write_text("half")
            print("written", flush=True)
            time.sleep(60)
    """)
    assert line_of(writer) == "written"
    writer.kill()
    assert writer.wait() == -signal.SIGKILL
    assert path.read_text() == "old"
    assert [other.name for other in tmp_path.iterdir() if not other.name.startswith(".")] == ["file"]


def test_what_a_killed_writer_left_is_removed_and_what_is_being_written_is_not(tmp_path: Path, start: Start) -> None:
    def writer(name: str) -> str:
        return f"""
            import time
            from pathlib import Path
            from sporeprint.common.files import atomic_path
            with atomic_path(Path({str(tmp_path / "below" / name)!r})) as temporary:
                temporary.write_text("half")
                print("written", flush=True)
                time.sleep(60)
        """

    killed, running = start(writer("killed")), start(writer("running"))
    assert [line_of(process) for process in (killed, running)] == ["written", "written"]
    killed.kill()
    killed.wait()
    (tmp_path / ".own.tmp").write_text("a person's")
    assert len(list(tmp_path.rglob(".*.tmp"))) == 3
    remove_leftovers(tmp_path)
    assert {path.name.split(".")[1] for path in tmp_path.rglob(".*.tmp")} == {"own", "running"}
    remove_leftovers(tmp_path / "is not there")


def test_two_writers_at_once_leave_one_of_the_two_files(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "file"
    writers = [
        start(f"""
            from pathlib import Path
            from sporeprint.common.files import atomic_write
            for _ in range(50):
                atomic_write(Path({str(path)!r}), {letter!r} * 100_000)
        """)
        for letter in "ab"
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_text())
        time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {"a" * 100_000, "b" * 100_000}
    assert list(tmp_path.iterdir()) == [path]


@given(data=st.binary(max_size=5000))
def test_sha256_is_that_of_what_was_written(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("hash") / "file"
    atomic_write(path, data)
    assert sha256_file(path) == hashlib.sha256(data).hexdigest()


def test_silent_progress_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    progress = SilentProgress()
    progress.total(3)
    progress.text("working")
    progress.advance(1)
    assert capfd.readouterr() == ("", "")


def test_a_private_file_is_made_once_and_never_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make_private(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("kept")
    held = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with path.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        make_private(path)  # a handle of this process that is closed would end its lock
        assert subprocess.run([sys.executable, "-c", held, path], capture_output=True).returncode == 1
    assert path.read_text() == "kept"
    with pytest.raises(FileNotFoundError):
        make_private(tmp_path / "none" / "x.db")
