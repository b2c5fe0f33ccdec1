"""Draws docs/images/warehouse.svg, the tables of the warehouse and how they belong together, and writes the tables of docs/warehouse.md.

    python scripts/docs/warehouse.py [--check]

Both come from the description that the engines' tables and views are made from. --check compares instead of writing.
"""

import argparse
import re
import sys
from html import escape
from pathlib import Path

from sporeprint.storage.warehouse.star_schema import TABLES, StarTable, TableKind
from sporeprint.storage.warehouse.views import VIEWS

ROOT = Path(__file__).resolve().parents[2]
PAGE, PICTURE = ROOT / "docs" / "warehouse.md", ROOT / "docs" / "images" / "warehouse.svg"
MARK = re.compile(r"(<!-- views -->\n).*?(<!-- /views -->)", re.DOTALL)
#: Dimension -> the columns by which others name its rows; `prediction` and `outcome` are class codes.
KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "dim_time": (("hour_us",),),
    "dim_model": (("model", "version"),),
    "dim_test": (("test_id",),),
    "dim_verdict": (("verdict",),),
    "dim_class": (("prediction",), ("outcome",)),
}
#: Tables of one column of the picture, from left to right.
PLACES = (
    tuple(name for name, table in TABLES.items() if table.kind is TableKind.COUNT),
    tuple(KEYS),
    tuple(name for name in TABLES if name.startswith("fact_")),
)
LINE, HEAD, BOX, GAP, ROOM = 15, 22, 250, 130, 16


def relations() -> list[tuple[str, str]]:
    """Pairs of a table and a dimension whose rows it names."""
    others = [table for table in TABLES.values() if table.name not in KEYS]
    return [
        (table.name, dimension)
        for table in others
        for dimension, keys in KEYS.items()
        if any(set(key) <= set(table.names) for key in keys) and table.name != "fact_metric"
    ] + [("fact_outcome", "fact_prediction")]


def height(table: StarTable) -> int:
    """Of its box."""
    return HEAD + LINE * len(table.columns) + 8


def draw() -> str:
    """The picture."""
    boxes: dict[str, tuple[int, int, int]] = {}
    for column, names in enumerate(PLACES):
        y = ROOM
        for name in names:
            boxes[name] = (ROOM + column * (BOX + GAP), y, height(TABLES[name]))
            y += height(TABLES[name]) + ROOM
    width = 2 * ROOM + len(PLACES) * BOX + (len(PLACES) - 1) * GAP
    bottom = max(y + tall for _, y, tall in boxes.values()) + ROOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom}" font-family="sans-serif" font-size="11">',
        "<title>The warehouse: counts by hour, dimensions, facts</title>",
        f'<rect width="{width}" height="{bottom}" fill="#ffffff"/>',
    ]
    for left, right in relations():
        (ax, ay, _), (bx, by, _) = boxes[left], boxes[right]
        same = ax == bx
        start, end = (ax + BOX, bx + BOX) if same else (ax + BOX, bx) if ax < bx else (ax, bx + BOX)
        bend = start + 40 if same or ax < bx else start - 40
        parts.append(
            f'<path d="M{start} {ay + HEAD // 2} C{bend} {ay + HEAD // 2} {end + (40 if same else -40 if ax < bx else 40)} '
            f'{by + HEAD // 2} {end} {by + HEAD // 2}" fill="none" stroke="#5b5ea6" stroke-opacity="0.6"/>'
        )
    for name, (x, y, tall) in boxes.items():
        table = TABLES[name]
        parts.append(f'<rect x="{x}" y="{y}" width="{BOX}" height="{tall}" rx="4" fill="#f7f7f5" stroke="#2a7d75"/>')
        parts.append(f'<text x="{x + 8}" y="{y + 15}" font-weight="bold">{name}</text>')
        for number, column in enumerate(table.columns):
            key = ' font-weight="bold"' if column.name in table.key else ""
            kind = f"{column.type}{'' if not column.null else ', may be missing'}"
            at = y + HEAD + LINE * (number + 1) - 4
            parts.append(f'<text x="{x + 8}" y="{at}"{key}>{escape(column.name)}</text>')
            parts.append(f'<text x="{x + BOX - 8}" y="{at}" text-anchor="end" fill="#555555">{kind}</text>')
    return "\n".join([*parts, "</svg>", ""])


def described() -> str:
    """The views, as the page has them."""
    parts = []
    for view in VIEWS.values():
        rows = "".join(f"| `{column.name}` | {column.says} |\n" for column in view.columns)
        parts.append(f"### {view.name}\n\nOne row is {view.says}.\n\n| column | |\n|---|---|\n{rows}")
    return "\n" + "\n".join(parts) + "\n"


def main() -> int:
    """Write both, or compare them with what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    made = {PICTURE: draw(), PAGE: MARK.sub(lambda match: f"{match[1]}{described()}{match[2]}", page)}
    old = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if options.check:
        for path in old:
            print(f"{path.relative_to(ROOT)} is not as the tables are: run scripts/docs/warehouse.py")
        return int(bool(old))
    for path in old:
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
