"""What packages are made from besides the wheel: the conda recipe and the release workflow."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]


def read(path: str) -> Any:
    return YAML(typ="safe").load((ROOT / path).read_text(encoding="utf-8"))


def test_the_conda_recipe_is_made_from_the_project() -> None:
    subprocess.run([sys.executable, ROOT / "packaging/conda/make.py", "--check"], check=True)
    recipe = read("packaging/conda/recipe.yaml")
    assert recipe["build"]["python"]["entry_points"] == ["sporeprint = sporeprint.cli.app:main"]
    assert {"python >=3.11", "polars >=2.0", "py-xgboost-cpu >=3.0"} <= set(recipe["requirements"]["run"])


def test_a_release_is_listed_signed_and_attested_before_it_is_published() -> None:
    jobs = read(".github/workflows/release.yml")["jobs"]
    steps = [step.get("uses", step.get("run", "")) for step in jobs["build"]["steps"]]
    for needed in ("uv build", "cyclonedx", "attest-build-provenance", "attest-sbom", "sigstore"):
        assert any(needed in step for step in steps), needed
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["environment"] == "release"
    assert "id-token" not in read(".github/workflows/release.yml")["permissions"]


def released(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A checkout of what is changed, after the release's step."""
    (folder / "packaging").mkdir()
    for name in ("README.md", "pyproject.toml", "packaging/addresses.py"):
        shutil.copy(ROOT / name, folder / name)
    return subprocess.run([sys.executable, folder / "packaging/addresses.py", *arguments], capture_output=True, text=True, check=False)


def test_what_an_index_shows_leads_to_the_state_that_was_released(tmp_path: Path) -> None:
    home = "https://github.com/someone/sporeprint"
    assert released(tmp_path, home, "v1.2.3").returncode == 0
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", text)
    assert all(target.startswith("https://") for _, target in links)
    own = [(mark, target.removeprefix(home)) for mark, target in links if target.startswith(home)]
    assert len(own) > 20
    for mark, target in own:
        view, path = re.fullmatch(r"/(raw|blob|tree)/v1\.2\.3/([^#]+)(?:#.*)?", target).groups()  # type: ignore[union-attr]
        assert (ROOT / path).is_dir() == (view == "tree"), path
        assert (ROOT / path).exists(), path
        assert (mark == "!") == (view == "raw"), path
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"]["Changelog"] == f"{home}/blob/v1.2.3/CHANGELOG.md"
    assert {"Homepage", "Documentation", "Repository", "Issues"} <= set(project["urls"])
    assert project["scripts"]


@pytest.mark.parametrize(
    "arguments", [(), ("https://a.example/x",), ("ftp://a.example/x", "v1"), ('https://a.example/"x', "v1"), ("https://a.example/x/", "v1")]
)
def test_a_release_without_a_right_address_stops(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = released(tmp_path, *arguments)
    assert done.returncode == 1
    assert "python packaging/addresses.py https://" in done.stderr
    assert (tmp_path / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()


def test_a_release_writes_its_addresses_before_it_builds() -> None:
    steps = [step.get("run", "") for step in read(".github/workflows/release.yml")["jobs"]["build"]["steps"]]
    (writes,) = [number for number, step in enumerate(steps) if "packaging/addresses.py" in step]
    assert writes < steps.index("uv build")
