"""A checkout as Git makes it on Windows: what shells, MariaDB and containers read has Unix line ends all the same."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
READ_BY_UNIX = ("*.sh", "*.cnf", "*.py", "*.yaml", "docker/*")


def test_what_is_read_elsewhere_has_unix_line_ends_whatever_git_is_set_to(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "-c", "core.autocrlf=true", "clone", "-q", "--depth=1", f"file://{ROOT}", str(clone)], check=True)
    listed = subprocess.run(["git", "ls-files", *READ_BY_UNIX], cwd=clone, check=True, capture_output=True, text=True).stdout.split()
    assert len(listed) > 100
    assert [name for name in listed if b"\r" in (clone / name).read_bytes()] == []
    done = subprocess.run(["bash", str(clone / "docker/mariadb/start.sh"), "true"], env={"A_PASSWORD": "good"}, check=False)
    assert done.returncode == 0
