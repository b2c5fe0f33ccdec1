"""What a set-up shows of its installer: one line on a terminal, a few lines elsewhere, and the installer's own words where it fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from terminal import in_a_terminal

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "scripts/install_progress.py"
REQUIREMENTS = """\
alembic==1.16.0 \\
    --hash=sha256:00
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:00
polars==2.1.0 \\
    --hash=sha256:00
"""
#: An installer that says what pip says, fills the environment's packages as pip does, and ends as it is told.
INSTALLER = """
import pathlib, sys, time
venv, code = pathlib.Path(sys.argv[1]), int(sys.argv[2])
packages = venv / "lib/python3/site-packages"
print("Collecting alembic==1.16.0 (from -r requirements.txt (line 1))", flush=True)
time.sleep(0.5)
print("Processing /files/polars-2.1.0-cp310-abi3-linux.whl (from -r requirements.txt (line 3))", flush=True)
time.sleep(0.5)
if code:
    sys.exit("ERROR: no space left on device")
print("Installing collected packages: polars, alembic", flush=True)
(packages / "alembic-1.16.0.dist-info").mkdir(parents=True)
time.sleep(0.5)
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    venv = tmp_path / "venv"
    venv.mkdir()
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    (tmp_path / "installer.py").write_text(INSTALLER)
    return [str(PROGRAM), str(venv), str(tmp_path / "requirements.txt"), sys.executable, str(tmp_path / "installer.py"), str(venv)]


def test_a_terminal_shows_one_line_that_is_gone_at_the_end(command: list[str]) -> None:
    code, said = in_a_terminal([sys.executable, *command, "0"])
    assert code == 0
    frames = [frame for frame in said.split("\r") if frame.strip()]
    assert "\n" not in said
    assert {len(frame) for frame in frames} == {79}
    steps = ["fetching 1 of 2: alembic", "fetching 2 of 2: polars", "installing, 1 of 2 packages"]
    assert list(dict.fromkeys(frame[frame.index("  ") :].strip() for frame in frames if "fetching 2 packages" not in frame)) == steps
    assert frames[-1].startswith("set-up: [##################......] 0:01  installing")
    assert said.endswith(f"\r{'':79}\r")


def test_elsewhere_nothing_moves_and_what_the_installer_said_is_kept(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, *command, "0"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "Installing collected packages" in (tmp_path / "venv/setup.log").read_text()


def test_a_failure_is_in_the_installers_own_words(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, *command, "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ERROR: no space left on device" in done.stdout
    assert done.stdout.endswith(f"set-up: the installer failed; all it said is in {tmp_path}/venv/setup.log\n")
