"""The commands and programs of a page, run as they stand."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "localhost:8000"


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def run_block(block: str, folder: Path, port: int | None, env: Mapping[str, str] | None = None) -> str:
    """Run a block of commands in a folder; every one of them has to succeed, and curl to be answered with a status below 400."""
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    here = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SPOREPRINT_")},
        "CURL_HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_PROXY": "*",
        **(env or {}),
    }
    block = block.replace(ADDRESS, f"localhost:{port}")
    command = ["bash", "-e", "-u", "-o", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=folder, env=here, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout
