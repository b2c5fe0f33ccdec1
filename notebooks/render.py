"""Runs the notebook and writes what it shows as a Markdown page with its pictures, for the documentation.

    python notebooks/render.py docs/notebook

writes docs/notebook/executed.md and a file for each picture. The notebook itself stays without output. As the notebook does, it takes the
run of the work directory (SPOREPRINT_WORKDIR, or the project's folder), and makes one where there is none.
"""

import base64
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "Mushroom_Classifier_XGBoost_FullEDA.ipynb"
PAGE = "executed.md"
#: Seconds that a cell may take: the first one may have to make a run.
LONGEST = 900


def execute(path: Path, *, timeout_s: int = LONGEST) -> Any:
    """Run a notebook where it lies; give it with its output.

    Raises:
        CellExecutionError: if a cell fails.
    """
    found: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(found, timeout=timeout_s, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    return found


def render(notebook: Any) -> tuple[str, dict[str, bytes]]:
    """An executed notebook as Markdown, and its pictures: file name -> PNG or SVG."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # Jupyter's anchors are a heading's words as they are, those of web pages in lower case.
            parts.append(re.sub(r"\]\(#(.*?)\)", lambda link: f"](#{link[1].lower()})", cell.source))
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for number, output in enumerate(cell.outputs):
            parts.append(_shown(f"{cell.id}-{number}", output, pictures))
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _shown(name: str, output: Any, pictures: dict[str, bytes]) -> str:
    """One output as Markdown: text and tables as they are, pictures as files."""
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```"
    data = output.get("data", {})
    if "image/png" in data or "image/svg+xml" in data:
        is_drawn = "image/svg+xml" in data
        name += ".svg" if is_drawn else ".png"
        pictures[name] = data["image/svg+xml"].encode() if is_drawn else base64.b64decode(data["image/png"])
        return f"![{name.rpartition('-')[0].replace('-', ' ')}]({name})"
    if "text/markdown" in data:
        return str(data["text/markdown"])
    return f"```text\n{data['text/plain'].rstrip()}\n```" if "text/plain" in data else ""


def main(folder: Path) -> None:
    """Write page and pictures into a folder."""
    page, pictures = render(execute(NOTEBOOK))
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
    (folder / PAGE).write_text(page, encoding="utf-8")
    print(f"{folder / PAGE}: {len(pictures)} pictures")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/notebook"))
