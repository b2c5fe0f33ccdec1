"""Writes recipe.yaml, the conda recipe, from pyproject.toml.

    python packaging/conda/make.py [--check]

The recipe installs what the commands need and what training and serving need (the extra `all`). `--check` writes nothing and fails where
the file differs.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPE = Path(__file__).with_name("recipe.yaml")
#: Packages that conda-forge has by another name.
NAMES = {"xgboost-cpu": "py-xgboost-cpu", "duckdb": "python-duckdb"}

HEAD = """# The form of rattler-build and conda-forge:  rattler-build build --recipe packaging/conda/recipe.yaml
# Made from pyproject.toml by packaging/conda/make.py.
schema_version: 1

package:
  name: sporeprint
  version: "{version}"

source:
  path: ../..

build:
  number: 0
  noarch: python
  script: python -m pip install . --no-deps --no-build-isolation
  python:
    entry_points:
{entry_points}

requirements:
  host:
    - python {python}.*
    - pip
{build}
  run:
    - python {requires}
{run}

tests:
  - python:
      imports: [sporeprint]
      pip_check: false  # conda's packages have other names than those on the index
  - script:
      - sporeprint version

about:
  summary: {summary}
  license: {license}
  license_file: LICENSE
"""


def requirement(text: str) -> str:
    """A requirement as conda writes it: name, then bounds."""
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?(.*)", text)
    if match is None:
        raise SystemExit(f"pyproject.toml: {text!r} is no requirement that this script can read")
    return f"{NAMES.get(match[1], match[1])} {match[2]}".strip()


def recipe() -> str:
    """The recipe's text."""
    raw = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, extras = raw["project"], raw["project"]["optional-dependencies"]
    wanted = {requirement(text) for text in (*project["dependencies"], *extras["alerts"], *extras["serve"], *extras["train"])}
    return HEAD.format(
        version=project["version"],
        entry_points="\n".join(f"      - {name} = {target}" for name, target in project["scripts"].items()),
        python=project["requires-python"].removeprefix(">="),
        requires=project["requires-python"],
        build="\n".join(f"    - {requirement(text)}" for text in raw["build-system"]["requires"]),
        run="\n".join(f"    - {text}" for text in sorted(wanted)),
        summary=project["description"],
        license=project["license"],
    )


def main() -> int:
    """Write the recipe, or say that it differs."""
    text = recipe()
    if "--check" in sys.argv:
        if RECIPE.read_text(encoding="utf-8") != text:
            print("not as packaging/conda/make.py writes it: packaging/conda/recipe.yaml", file=sys.stderr)
            return 1
        return 0
    RECIPE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
