"""The notebooks are stored with what they show, with a text for every picture; run anew, they show the same, and find what is known."""

import ast
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from ruamel.yaml import YAML

import sporeprint

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "Mushroom_Classifier_XGBoost_FullEDA.ipynb"
#: Cells that only define, or compute for later ones.
SHOW_NOTHING = {"setup", "cell-1"}
AUC = re.compile(r"^(\w+): ROC AUC ([\d.]+) on seen species, ([\d.]+) \[", re.MULTILINE)


@pytest.fixture
def quiet_jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of Jupyter lands in somebody's home, and nothing of theirs changes what a kernel does."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        folder = tmp_path / "jupyter" / name.lower()
        folder.mkdir(parents=True)
        monkeypatch.setenv(name, str(folder))
    # Threads that wait for each other take many times as long where others need the processor.
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("SPOREPRINT_RUNTIME__THREADS", "1")


@pytest.fixture(scope="module")
def rendering() -> Iterator[ModuleType]:
    """notebooks/render.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("render_notebook", NOTEBOOK.parent / "render.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    yield found
    del sys.modules[spec.name]


def printed(notebook: Any) -> str:
    """What its cells printed."""
    assert not [output.text for output in outputs(notebook) if output.get("name") == "stderr"]
    return "".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def check_page(page: str, pictures: dict[str, bytes]) -> None:
    """The page for the documentation: every picture is there, every link leads to a heading, no error is shown."""
    assert len(pictures) == 16
    assert re.findall(r"^!\[.{40,}\]\((.*)\)$", page, re.MULTILINE) == list(pictures)
    starts = {"png": b"\x89PNG", "svg": b"<svg"}
    assert all(picture.startswith(starts[name.rpartition(".")[2]]) for name, picture in pictures.items())
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(.*?)\)", page)) <= headings
    assert page.count("\n| --- |") == 9
    assert "Traceback" not in page


NOTEBOOKS = sorted(NOTEBOOK.parent.glob("*.ipynb"))
#: Folders of somebody's machine, and moments.
OF_ONE_RUN = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|Users|opt|usr|work|private)/|\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\d{8}T\d{6}Z")


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def shown_kinds(notebook: Any) -> list[tuple[str, list[str]]]:
    """For each cell, what kinds of output it has."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [(cell.id, [kind for each in cell.outputs for kind in (sorted(each.get("data", {})) or [each.output_type])]) for cell in cells]


def alternative_texts(notebook: Any) -> list[str]:
    """The text of each picture."""
    return [
        each.metadata.get(kind, {}).get("alt", "")
        for each in outputs(notebook)
        for kind in each.get("data", {})
        if kind.startswith("image/")
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_with_what_it_shows(path: Path, rendering: ModuleType) -> None:
    text, notebook = path.read_text(encoding="utf-8"), rendering.read(path)
    nbformat.validate(notebook)
    assert text == rendering.stored(notebook)
    assert [name for name, kinds in shown_kinds(notebook) if not kinds and name not in SHOW_NOTHING] == []
    assert {each.output_type for each in outputs(notebook)} <= {"stream", "display_data", "execute_result"}
    shown = json.dumps(
        [{**each, "data": {k: v for k, v in each.get("data", {}).items() if k != "image/png"}} for each in outputs(notebook)]
    )
    assert OF_ONE_RUN.findall(shown) == []
    assert "SIMULATED" not in shown
    assert all(len(alt) > 40 for alt in alternative_texts(notebook))
    assert len(alternative_texts(notebook)) == (16 if path == NOTEBOOK else 0)


def test_its_links_lead_to_its_headings() -> None:
    texts = [
        "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "markdown"
    ]
    headings = {heading.replace(" ", "-") for text in texts for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    links = re.findall(r"\]\(#(.*?)\)", "\n".join(texts))
    assert len(links) == 12
    assert set(links) <= headings


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_uses_the_public_names_alone(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    nodes = [node for cell in cells for node in ast.walk(ast.parse("".join(cell["source"])))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if name.startswith("sporeprint")} == {"sporeprint"}
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "sporeprint"}
    assert names <= set(sporeprint.__all__)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_jupyter")
def test_on_the_real_table(
    real_run: Path, rendering: ModuleType, monkeypatch: pytest.MonkeyPatch, published: Callable[[Path], dict[str, str]]
) -> None:
    monkeypatch.setenv("SPOREPRINT_WORKDIR", str(real_run))
    before = published(real_run)
    done = rendering.execute(NOTEBOOK)
    assert published(real_run) == before
    said = printed(done)
    assert "SIMULATED" not in said
    found = {model: (float(seen), float(unseen)) for model, seen, unseen in AUC.findall(said)}
    assert list(found) == ["logistic_regression", "decision_tree", "xgboost"]
    seen, unseen = found["xgboost"]
    assert seen >= 0.999
    assert 0.45 < unseen < 0.75
    assert all(unseen < 0.75 for _, unseen in found.values())
    # What the text says of the table, of its blocks, and of the guard.
    assert "173 species, 96 of them poisonous\nblocks with both classes: 0\n" in said
    assert ", 0 times inside a block" in said
    assert re.findall(r"^xgboost, (?:un)?seen species: .* answered, (\d+) poisonous called edible$", said, re.MULTILINE) == ["0", "0"]
    check_page(*rendering.render(done))
    as_stored = rendering.read(NOTEBOOK)
    assert shown_kinds(done) == shown_kinds(as_stored)
    assert [text[:30] for text in alternative_texts(done)] == [text[:30] for text in alternative_texts(as_stored)]


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_jupyter")
def test_without_a_run_and_without_a_table(small_config: dict[str, Any], rendering: ModuleType, tmp_path: Path) -> None:
    """It makes a run first; its table is an invented one, and text and pictures say so."""
    small_config["source"]["fallback"] = "simulate"
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "config").mkdir()
    YAML(typ="safe", pure=True).dump(small_config, tmp_path / "config" / "config.yaml")
    notebook = Path(shutil.copy(NOTEBOOK, tmp_path / "notebooks"))
    done = rendering.execute(notebook)
    said = printed(done)
    assert said.startswith("making a run first, because no data has been loaded in ")
    assert "\nSIMULATED: the real table is neither here nor to be downloaded." in said
    assert (tmp_path / "models" / "metrics" / "report.html").exists()
    page, _ = rendering.render(done)
    assert "SIMULATED: the real table" in page
