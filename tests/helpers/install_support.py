"""Environments made for a test."""

import shutil
import subprocess
import sys
from pathlib import Path


def new_environment(folder: Path, wanted: str) -> Path:
    """An environment with what a requirement names, and nothing else: no byte code either, which pip would compile ahead."""
    python = folder / "bin/python"
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--refresh-package", "sporeprint", "--python", python, wanted], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", wanted], check=True)
    return folder
