"""Gathers the pages of the documentation: those of docs/, those made from the code, and those that lie elsewhere in the project.

    python scripts/docs/make.py build/docs

writes pages/ and mkdocs.yml there; scripts/docs.sh builds the site from them. The notebook's page is made of its stored outputs.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cli_reference
import http_reference
import python_reference
import settings_reference
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
#: Pages that have their place elsewhere: there -> here.
ELSEWHERE = {"benchmarks/README.md": "benchmarks.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
ELSEWHERE |= {"SECURITY.md": "vulnerabilities.md"}
LINK = re.compile(r"(!?)\[([^\]\n]*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")


def links(text: str, at: Path, to: Path) -> str:
    """A page's text with its links as they are in the site; of what is not in it, only the name is left.

    Args:
        text: the page.
        at: where it lies, below the project's folder.
        to: where it goes, below the site's pages.
    """

    def link(found: re.Match[str]) -> str:
        picture, name, target, anchor = found.groups()
        place = Path(os.path.normpath(at.parent / target))
        if str(place) in ELSEWHERE:
            there = Path(ELSEWHERE[str(place)])
        elif place.parts[:1] == ("docs",) and (place.suffix or picture):
            there = Path(*place.parts[1:])
        else:
            return name if name.startswith("`") else f"{name} (`{place}`)" if str(place) not in name else f"`{name}`"
        return f"{picture}[{name}]({os.path.relpath(there, to.parent)}{anchor or ''})"

    # Code is not read for links.
    parts = re.split(r"(^```.*?^```$|`[^`\n]+`(?!\]))", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if number % 2 else LINK.sub(link, part) for number, part in enumerate(parts))


def gather(pages: Path) -> None:
    """Write all pages into a folder."""
    shutil.copytree(ROOT / "docs", pages)
    for page in sorted((ROOT / "docs").rglob("*.md")):
        at = page.relative_to(ROOT)
        if (pages / at.relative_to("docs")).is_file():
            (pages / at.relative_to("docs")).write_text(
                links(page.read_text(encoding="utf-8"), at, at.relative_to("docs")), encoding="utf-8"
            )
    for name, to in ELSEWHERE.items():
        (pages / to).write_text(links((ROOT / name).read_text(encoding="utf-8"), Path(name), Path(to)), encoding="utf-8")
    made = {"cli.md": cli_reference.page(), "configuration.md": settings_reference.page()}
    made |= http_reference.pages(ROOT / "config/config.yaml")
    made |= {f"python/{name}": text for name, text in python_reference.pages(ROOT / "src").items()}
    for name, text in made.items():
        file = pages / "reference" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    subprocess.run([sys.executable, ROOT / "notebooks/render.py", "page", pages / "notebook"], check=True)


def site(pages: Path) -> dict[str, Any]:
    """What mkdocs.yml says, with every `folder/*.md` of its navigation written out."""
    found: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def written_out(entry: Any) -> Any:
        if isinstance(entry, list):
            return [more for each in entry for more in ([written_out(each)] if not _many(each) else _listed(each))]
        return {name: written_out(below) for name, below in entry.items()} if isinstance(entry, dict) else entry

    def _many(entry: Any) -> bool:
        return isinstance(entry, str) and "*" in entry

    def _listed(pattern: str) -> list[dict[str, str]]:
        files = [file for file in sorted(pages.glob(pattern)) if file.name != "index.md"]
        return [{_title(file): file.relative_to(pages).as_posix()} for file in files]

    found["nav"] = written_out(found["nav"])
    return {**found, "docs_dir": pages.name, "site_dir": "site"}


def _title(file: Path) -> str:
    return re.search(r"^#\s+(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)[1]  # type: ignore[index]  # every page has one


def main() -> None:
    """Make everything anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    if folder.exists() and not (folder / "mkdocs.yml").is_file():
        raise SystemExit(f"{folder} is there, and was not made by this program")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # First, so that a folder half made is known for what it is.
    (folder / "mkdocs.yml").touch()
    gather(folder / "pages")
    with (folder / "mkdocs.yml").open("w", encoding="utf-8") as file:
        yaml = YAML()
        yaml.width = 10_000  # a title stays on its line: not every reader of YAML takes a key on two
        yaml.dump(site(folder / "pages"), file)


if __name__ == "__main__":
    main()
