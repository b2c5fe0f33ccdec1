"""Write the project's addresses into a checkout that a release is built from: links of README.md, and `project.urls`.

    python packaging/addresses.py https://github.com/OWNER/NAME v1.2.3

The place that a release is built in knows them; kept in the repository, they would be wrong in every copy of it. An index shows README.md
by itself, where links within the repository lead nowhere and pictures are missing.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: A link of Markdown to a path of the repository: its beginning, path and heading.
LINK = re.compile(r"(!?\[[^\]]*\]\()(?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
#: What an index shows beside the text, and where it lies below the address.
URLS = {"Homepage": "", "Documentation": "/tree/{ref}/docs", "Repository": "", "Issues": "/issues", "Changelog": "/blob/{ref}/CHANGELOG.md"}


def with_absolute_links(text: str, home: str, ref: str) -> str:
    """Markdown whose links and pictures within the repository are addresses of one state of it."""

    def absolute(link: re.Match[str]) -> str:
        view = "raw" if link[1].startswith("!") else "tree" if link[2].endswith("/") else "blob"
        return f"{link[1]}{home}/{view}/{ref}/{link[2]}{link[3] or ''}"

    return LINK.sub(absolute, text)


def with_urls(project: str, home: str, ref: str) -> str:
    """The text of pyproject.toml with `project.urls`."""
    lines = [f'{name} = "{home}{path.format(ref=ref)}"' for name, path in URLS.items()]
    return project.replace("[project.scripts]", "\n".join(["[project.urls]", *lines, "", "[project.scripts]"]), 1)


def main() -> None:
    """Change both files."""
    if len(sys.argv) != 3 or not re.fullmatch(r"https://[^\s\"]+[^/\s\"]", sys.argv[1]) or not re.fullmatch(r"[\w.-]+", sys.argv[2]):
        raise SystemExit(__doc__)
    for name, change in (("README.md", with_absolute_links), ("pyproject.toml", with_urls)):
        path = ROOT / name
        path.write_text(change(path.read_text(encoding="utf-8"), *sys.argv[1:]), encoding="utf-8")


if __name__ == "__main__":
    main()
