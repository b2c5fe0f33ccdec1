"""Draws docs/images/architecture.svg: the packages by floor, the imports between them, and the roads of docs/architecture.md.

    python scripts/docs/architecture.py [--check]

Floors come from pyproject.toml, imports from the source, roads from the tables of the page. --check compares instead of writing.
"""

import argparse
import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "sporeprint"
PAGE, PICTURE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "images" / "architecture.svg"
ROW = re.compile(r"^\| \d+ \| `([a-z_/]+\.py)` `(\w+)` \|", re.MULTILINE)
COLOURS = ("#2a7d75", "#c73e1d", "#5b5ea6")
WIDTH, FLOOR, BOX_WIDTH, BOX_HEIGHT = 900, 58, 150, 30


@dataclass(frozen=True)
class Road:
    """A way through the package: its heading, and the packages it passes, in order."""

    title: str
    packages: tuple[str, ...]


def floors() -> list[list[str]]:
    """The packages of each floor, the highest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    return [[name.strip() for name in layer.split("|")] for layer in layers if layer != "__main__"]


def package_of(path: Path) -> str:
    """The package, or the root's module, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports() -> set[tuple[str, str]]:
    """Pairs of packages: one imports from the other at run time, not only for type checking."""
    pairs = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent == PACKAGE and path.name in {"__init__.py", "__main__.py"}:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        only_types = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if node in only_types or not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [f"sporeprint.{name}" for name in names] if node.module == "sporeprint" else [node.module or ""]
            pairs |= {(package_of(path), name.split(".")[1]) for name in names if name.startswith("sporeprint.")}
    known = {name for names in floors() for name in names}
    return {(one, other) for one, other in pairs if one != other and other in known}


def defined(path: Path) -> set[str]:
    """Functions and methods of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def roads() -> list[Road]:
    """The roads of the page.

    Raises:
        SystemExit: a function that a road names is not there.
    """
    found = []
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        steps = ROW.findall(section)
        for file, function in steps:
            if not (PACKAGE / file).is_file() or function not in defined(PACKAGE / file):
                raise SystemExit(
                    f"{PAGE.relative_to(ROOT)}: there is no {function} in src/sporeprint/{file}; name the one that took its place"
                )
        packages = tuple(package for package, _ in groupby(file.partition("/")[0] for file, _ in steps))
        found.append(Road(section.partition("\n")[0], packages))
    return found


def drawing() -> str:
    """The picture."""
    rows = floors()
    places: dict[str, tuple[float, float]] = {}
    for number, names in enumerate(rows):
        for at, name in enumerate(names):
            places[name] = WIDTH / 2 + (at - (len(names) - 1) / 2) * 1.4 * BOX_WIDTH, 46 + number * FLOOR
    height = 46 + len(rows) * FLOOR + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="14">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for one, other in sorted(imports()):
        (x1, y1), (x2, y2) = places[one], places[other]
        lines.append(f'<path d="M{x1:.0f} {y1:.0f} L{x2:.0f} {y2:.0f}" stroke="#d5dae1" stroke-width="1"/>')
    for number, road in enumerate(roads()):
        shift = (number - 1) * 9
        points = " ".join(f"{places[name][0] + shift:.0f},{places[name][1] + shift / 3:.0f}" for name in road.packages)
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{COLOURS[number]}" stroke-width="3" stroke-linejoin="round" opacity="0.75"/>'
        )
        lines.append(f'<text x="12" y="{18 + 18 * number}" fill="{COLOURS[number]}">{escape(road.title)}</text>')
    for name, (x, y) in places.items():
        box = f'x="{x - BOX_WIDTH / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}"'
        lines.append(f'<rect {box} rx="5" fill="#f5f7fa" stroke="#667080"/>')
        lines.append(f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" fill="#1f2933">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    """Write the picture, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit code 1 where the picture is out of date")
    picture = drawing()
    if not parser.parse_args().check:
        PICTURE.write_text(picture, encoding="utf-8")
    elif not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != picture:
        print(f"{PICTURE.relative_to(ROOT)} is out of date; run python scripts/docs/architecture.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
