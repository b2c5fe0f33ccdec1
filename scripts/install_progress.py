"""Runs pip or uv and shows how far it is, in place of their hundreds of lines.

    python scripts/install_progress.py VENV REQUIREMENTS COMMAND [ARGUMENT ...]

COMMAND fills VENV with the packages that REQUIREMENTS pins. What it writes goes to VENV/setup.log; where it fails, the end of that is
shown. On a terminal the progress is one line, elsewhere a line every ten seconds. The set-up starts it before anything is installed:
it uses the standard library alone.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

#: Seconds between two looks, and between two lines where there is no terminal.
LOOK_S, LINE_S = 0.2, 10.0
BAR, WIDTH = 24, 79
#: How pip and uv name the package that is under way: `Collecting polars==2.1.0 (from ...)`, `Downloading polars-2.1.0-py3-none-any.whl`,
#: `Processing /files/polars-2.1.0-py3-none-any.whl`, `Downloading polars (44.0MiB)`.
UNDER_WAY = re.compile(
    r"^ *(?:Collecting|Downloading|Downloaded|Building) ([\w.-]+)(?:\[.*?\])?(?:[=<> ;]|$)|^Processing \S*/([\w.]+)-\d", re.MULTILINE
)
INSTALLING = re.compile(r"^(?:Installing collected packages|Prepared \d+ packages?)", re.MULTILINE)


def pinned(requirements: str) -> int:
    """How many packages a requirements file pins for this system: `colorama==0.4.6 ; sys_platform == 'win32'` is for another one."""
    markers = re.findall(r"^[a-z0-9][\w.\[\],-]*==\S+(.*)$", requirements, re.MULTILINE)
    systems = [re.findall(r"sys_platform == '(\w+)'", marker) for marker in markers]
    return sum(not names or sys.platform in names for names in systems)


def installed(venv: Path) -> int:
    """How many packages an environment holds."""
    return len(list(venv.glob("lib/*/site-packages/*.dist-info")))


def state(log: str, added: int, total: int) -> tuple[str, int]:
    """What is under way, in words, and how much of the set-up is done in percent: half is fetching, half installing."""
    if INSTALLING.search(log):
        done = min(added, total)
        return f"installing, {done} of {total} packages", 50 + 50 * done // max(total, 1)
    found = (first or second for first, second in UNDER_WAY.findall(log))
    names = list(dict.fromkeys(re.split(r"-\d", name)[0].lower().replace("_", "-") for name in found))
    if not names:
        return f"fetching {total} packages", 0
    done = min(len(names), total)
    return f"fetching {done} of {total}: {names[-1]}", 50 * done // max(total, 1)


def shown(text: str, percent: int, seconds: float) -> str:
    """The line of a terminal."""
    filled = BAR * percent // 100
    line = f"set-up: [{'#' * filled}{'.' * (BAR - filled)}] {int(seconds) // 60}:{int(seconds) % 60:02d}  {text}"
    return f"{line[:WIDTH]:<{WIDTH}}"


def run(command: list[str], venv: Path, total: int) -> int:
    """Run the installer to its end; its exit code."""
    began = spoke = time.monotonic()
    last, before, is_terminal = "", installed(venv), sys.stdout.isatty()
    path = venv / "setup.log"
    with path.open("wb") as output:
        # It holds the lock of the set-up as this process does, so that an installer which outlives it is waited for.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, close_fds=False)
    while child.poll() is None:
        time.sleep(LOOK_S)
        text, percent = state(path.read_text(errors="replace"), installed(venv) - before, total)
        now = time.monotonic()
        if is_terminal:
            print(f"\r{shown(text, percent, now - began)}", end="", flush=True)
        elif now - spoke >= LINE_S and text != last:
            print(f"set-up: {percent} % after {now - began:.0f} s, {text}", flush=True)
            last, spoke = text, now
    if is_terminal:
        print(f"\r{'':<{WIDTH}}\r", end="", flush=True)
    if child.returncode:
        print(*path.read_text(errors="replace").splitlines()[-20:], f"set-up: the installer failed; all it said is in {path}", sep="\n")
    return child.returncode


if __name__ == "__main__":
    sys.exit(run(sys.argv[3:], Path(sys.argv[1]), pinned(Path(sys.argv[2]).read_text(encoding="utf-8"))))
