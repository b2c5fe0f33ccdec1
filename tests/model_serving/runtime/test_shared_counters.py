"""Numbers in mapped files: kept when a process is killed, taken over by the next, never lost and never shown twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.model_serving.runtime.shared_counters import NUMBERS, OVERFLOW, SharedCounters, folder_of_server, read_all


def numbers(folder: Path, own: SharedCounters) -> dict[tuple[str, tuple[str, ...]], list[tuple[int, ...]]]:
    found: dict[tuple[str, tuple[str, ...]], list[tuple[int, ...]]] = {}
    for counted in read_all(folder, own):
        for series, values in counted.numbers.items():
            found.setdefault(series, []).append(values)
    return found


def test_each_reads_what_the_others_count(tmp_path: Path) -> None:
    one, two = SharedCounters.shared(tmp_path), SharedCounters.shared(tmp_path)
    one.values[one.slot("a", ("x",))] += 3
    two.values[two.slot("b", (), width=2) + 1] += 5
    two.values[two.slot("a", ("x",))] += 4
    assert numbers(tmp_path, one) == {("a", ("x",)): [(3,), (4,)], ("b", ()): [(0, 5)]}
    assert numbers(tmp_path, two) == {("a", ("x",)): [(4,), (3,)], ("b", ()): [(0, 5)]}
    one.close()
    assert [counted.alive for counted in read_all(tmp_path, two)] == [True, False]
    two.close()


def test_who_comes_next_goes_on_counting(tmp_path: Path) -> None:
    one = SharedCounters.shared(tmp_path)
    one.values[one.slot("a", ("\u00e4 \n\u2028",))] += 3
    one.close()
    two = SharedCounters.shared(tmp_path)
    assert two.series() == [("a", ("\u00e4 \n\u2028",))]
    two.values[two.slot("a", ("\u00e4 \n\u2028",))] += 1
    two.values[two.slot("b")] += 1
    assert two.read().numbers == {("a", ("\u00e4 \n\u2028",)): (4,), ("b", ()): (1,)}
    two.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_has_counted_is_there(tmp_path: Path) -> None:
    code = (
        "import sys, os, pathlib, signal; from sporeprint.model_serving.runtime.shared_counters import SharedCounters\n"
        "counts = SharedCounters.shared(pathlib.Path(sys.argv[1])); place = counts.slot('a')\n"
        "for _ in range(1000): counts.values[place] += 1\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert done.returncode == -signal.SIGKILL
    own = SharedCounters.private()
    assert numbers(tmp_path, own) == {("a", ()): [(1000,)]}
    own.close()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=3), st.integers(0, 2**40)), max_size=30))
def test_whatever_is_counted_by_whom_the_sum_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("counts")
    both = [SharedCounters.shared(folder), SharedCounters.shared(folder)]
    expected: dict[tuple[str, tuple[str, ...]], int] = {}
    for turn, (name, label, amount) in enumerate(steps):
        counts = both[turn % 2]
        counts.values[counts.slot(name, (label,))] += amount
        expected[name, (label,)] = expected.get((name, (label,)), 0) + amount
        if turn % 7 == 6:  # it ends, and another one begins
            counts.close()
            both[turn % 2] = SharedCounters.shared(folder)
    found = {series: sum(value for (value,) in values) for series, values in numbers(folder, both[0]).items()}
    assert found == expected
    for counts in both:
        counts.close()


def test_what_has_no_room_harms_nothing() -> None:
    counts = SharedCounters.private()
    places = [counts.slot("a", (str(number),), width=20) for number in range(NUMBERS)]
    assert places[-1] == OVERFLOW
    counts.values[places[-1] + 19] += 1
    assert all(values == (0,) * 20 for values in counts.read().numbers.values())
    counts.close()
    counts = SharedCounters.private()
    places = [counts.slot("x" * 1000, (str(number),)) for number in range(300)]
    assert places[-1] == OVERFLOW
    counts.close()


def test_a_disk_that_takes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    counts = SharedCounters.shared(tmp_path / "file")
    counts.values[counts.slot("a")] += 1
    assert counts.read().numbers == {("a", ()): (1,)}
    assert "shows its own numbers only: Not a directory" in caplog.text or "File exists" in caplog.text
    counts.close()
    with folder_of_server(tmp_path / "file") as folder:
        assert folder is None


def test_the_folder_goes_with_its_server_and_those_of_killed_ones_too(tmp_path: Path) -> None:
    parent = tmp_path / "serving"
    with folder_of_server(parent) as one, folder_of_server(parent) as two:
        assert one is not None
        assert two is not None
        assert one.is_dir()
        left = parent / "left"
        left.mkdir()
        (left / "server.lock").touch()
        with folder_of_server(parent) as three:
            assert three is not None
            assert not left.exists()
            assert one.is_dir()
    assert [path.name for path in parent.iterdir()] == ["gate.lock"]
