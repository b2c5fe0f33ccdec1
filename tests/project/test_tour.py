"""The tour: what it tells happened, and nothing of it is left running."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import warm_start
from free_ports import free_port
from journal_support import until

ROOT = Path(__file__).resolve().parents[2]
#: Seconds, on a machine that does other things too.
PATIENCE = 600


def start(folder: Path, said: Path, port: int) -> "subprocess.Popen[bytes]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPOREPRINT_")} | {"TOUR_PORT": str(port)}
    # Nothing of what is tested depends on how finely the models are measured.
    env |= {"SPOREPRINT_EVALUATION__REPLICATES": "100", "SPOREPRINT_EVALUATION__FOLDS": "2"}
    with said.open("wb") as file:
        return subprocess.Popen([ROOT / "examples/tour.sh", folder], env=env, stdout=file, stderr=file, start_new_session=True)


@contextlib.contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Whatever happens, nothing is left."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def alive(group: int) -> list[str]:
    """What runs in a group of processes; one that has ended and that nobody has asked how is not running."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text(encoding="utf-8").rpartition(")")
            state, _, its_group = rest.split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(name)
    return found


def sporeprint(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "sporeprint", *arguments, "--json", "--workdir", str(folder)]
    env = {**os.environ, "SPOREPRINT_CONFIG": str(ROOT / "config/config.yaml")}
    found: dict[str, Any] = json.loads(warm_start.run(command, capture_output=True, text=True, check=True, env=env).stdout)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("real_data")
def test_the_whole_way(tmp_path: Path) -> None:
    folder, said, port = tmp_path / "tour", tmp_path / "said.txt", free_port()
    process = start(folder, said, port)
    with ended(process):
        assert process.wait(timeout=PATIENCE) == 0, said.read_text(encoding="utf-8")[-3000:]
        # The process in which multiprocessing follows the server's ends when it finds that the server has: a moment after it.
        until(lambda: not alive(process.pid), 10)
    text = said.read_text(encoding="utf-8")
    assert "No alarm" in text
    assert "ALARM" in text
    assert "1,500 asked: 1,500 unknown; 0 wrong" in text
    assert sporeprint(folder, "models", "list")["production"] == "xgboost/v2"
    (test,) = sporeprint(folder, "ab-test", "list")["tests"]
    assert [test[name] for name in ("mode", "status", "verdict", "model_b")] == ["shadow", "concluded", "b", "xgboost/v2"]
    (alert,) = sporeprint(folder, "alerts", "list")["alerts"]
    assert alert["summary"].startswith("drift: ")
    assert "sporeprint: drift" in (folder / "messages.txt").read_text(encoding="utf-8")
    for page in ("models/metrics/report.html", "models/metrics/monitoring/latest.html", "ab_test.html"):
        assert str(folder / page) in text
        assert (folder / page).stat().st_size > 10_000


def test_a_folder_that_no_tour_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear", encoding="utf-8")
    process = start(tmp_path / "mine", tmp_path / "said.txt", 1)
    with ended(process):
        assert process.wait(timeout=PATIENCE) == 1
    assert "no tour made it: name another folder" in (tmp_path / "said.txt").read_text(encoding="utf-8")
    assert (tmp_path / "mine/letter.txt").read_text(encoding="utf-8") == "dear"
