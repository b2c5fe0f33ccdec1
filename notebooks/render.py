"""Runs the notebooks and stores what they show in them; or writes what is stored as a page of the documentation.

    python notebooks/render.py run              runs every notebook of this folder, and stores its outputs
    python notebooks/render.py page FOLDER      writes FOLDER/executed.md and its pictures, from the stored outputs

As the notebook does, `run` takes the run of the work directory (SPOREPRINT_WORKDIR, or the project's folder), and makes one where there is
none.
"""

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "Mushroom_Classifier_XGBoost_FullEDA.ipynb"
PAGE = "executed.md"
PICTURES = {"image/png": ".png", "image/svg+xml": ".svg"}
#: Seconds that a cell may take: the first one may have to make a run.
LONGEST = 900


def read(path: Path) -> Any:
    """A notebook."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def execute(path: Path, *, timeout_s: int = LONGEST) -> Any:
    """Run a notebook where it lies; give it with its output.

    Raises:
        CellExecutionError: if a cell fails.
    """
    found = read(path)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(found, timeout=timeout_s, kernel_name="python3", resources=where, record_timing=False).execute()
    return found


def stored(notebook: Any) -> str:
    """A notebook as its file: with its outputs, and without what differs from run to run and machine to machine."""
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec",)} | {"language_info": {"name": "python"}}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = None
            cell.execution_count, cell.metadata = None, {}
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


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
    for kind, ending in PICTURES.items():
        if kind in data:
            name += ending
            pictures[name] = data[kind].encode() if kind == "image/svg+xml" else base64.b64decode(data[kind])
            return f"![{output.metadata[kind]['alt']}]({name})"
    if "text/markdown" in data:
        return str(data["text/markdown"])
    return f"```text\n{data['text/plain'].rstrip()}\n```" if "text/plain" in data else ""


def main(what: str, folder: str = "") -> None:
    """Run the notebooks, or write the page."""
    if what == "run":
        for path in sorted(NOTEBOOK.parent.glob("*.ipynb")):
            print(f"running {path.name}, which takes about a minute", file=sys.stderr)
            path.write_text(stored(execute(path)), encoding="utf-8")
        return
    page, pictures = render(read(NOTEBOOK))
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (place / name).write_bytes(picture)
    (place / PAGE).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
