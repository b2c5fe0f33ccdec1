"""What packages are made from besides the wheel: the conda recipe and the release workflow."""

import subprocess
import sys
from pathlib import Path
from typing import Any

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
