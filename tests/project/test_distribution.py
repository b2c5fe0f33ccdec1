"""What is published: sdist and wheel are whole, are made the same again, and work far from the repository."""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from install_support import new_environment

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSION = PROJECT["version"]
NAME = f"sporeprint-{VERSION}"


def build(source: Path, to: Path, *options: str) -> None:
    # --no-isolation: what builds the project is locked with the tools, so that nothing is fetched here.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(to), *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def sdist(built: Path) -> set[str]:
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        return {name.removeprefix(f"{NAME}/") for name in archive.getnames()}


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as archive:
        return set(archive.namelist())


def test_the_sdist_has_every_file_of_the_repository_and_no_other(sdist: set[str]) -> None:
    assert {"LICENSE", "CHANGELOG.md", "CITATION.cff", "mkdocs.yml", "requirements-dev.txt", "config/config.yaml", "run_etl.sh"} <= sdist
    assert {"benchmarks/README.md", "docs/start.md", "scripts/docs.sh", "tests/project/test_distribution.py"} <= sdist
    assert not {name for name in sdist if name.startswith(("data/", "models/", "logs/", "build/", "dist/", ".venv/"))}
    if (ROOT / ".git").exists():
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        assert sdist - {"PKG-INFO"} == {name for name in files if name and (ROOT / name).is_file()}


def test_the_wheel_has_every_file_of_the_package_its_configuration_and_the_licence(wheel: set[str]) -> None:
    package = ROOT / "src/sporeprint"
    files = {path.relative_to(ROOT / "src").as_posix() for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    about = {f"{NAME}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert wheel == files | about | {"sporeprint/config.yaml"}
    assert {"sporeprint/py.typed", "sporeprint/reports/templates/evaluation.html.j2", "sporeprint/storage/migrations/env.py"} <= wheel
    assert [name for name in wheel if re.match(r"sporeprint/storage/migrations/versions/r\d+_\w+\.py", name)]


def test_it_is_made_the_same_again(built: Path, tmp_path: Path) -> None:
    """Another day, another folder, and not by way of the sdist: the same bytes."""
    build(ROOT, tmp_path, "--wheel")
    (again,) = tmp_path.iterdir()
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256((built / again.name).read_bytes()).digest()


def test_it_works_in_an_empty_environment_and_an_empty_folder(built: Path, tmp_path: Path) -> None:
    wheel = built / f"{NAME}-py3-none-any.whl"
    environment = new_environment(tmp_path / "venv", f"sporeprint @ {wheel.as_uri()}")
    folder = tmp_path / "empty"
    folder.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SPOREPRINT_", "PYTHON"))}

    def run(*arguments: str) -> str:
        command = [str(environment / "bin/sporeprint"), *arguments]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Usage: sporeprint" in run("--help")
    assert run("--version").split() == ["sporeprint", VERSION]
    assert "The configuration is good" in run("config", "check")
    assert "up to date" in run("db", "upgrade", "--workdir", "work")  # by the migrations in the wheel
    assert [path.name for path in folder.iterdir()] == ["work"]


def test_the_version_stands_in_one_place() -> None:
    places = ["src", "docs", "docker", "config", "mkdocs.yml", "CITATION.cff", "README.md", "CONTRIBUTING.md", ".github"]
    files = [file for place in map(ROOT.joinpath, places) for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    texts = [file for file in files if file.suffix in (".py", ".md", ".yml", ".yaml", ".toml", ".cff", ".sh", "")]
    assert len(texts) > 200
    number = re.compile(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])")
    assert [file for file in texts if number.search(file.read_text(encoding="utf-8"))] == []
