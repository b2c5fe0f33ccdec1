"""Every command of docs/another-table.md, one after the other, in one shell: another table goes the whole way by its config alone."""

import csv
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from docs_support import run_script
from free_ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "another-table.md"
MARK = "===== block"
#: Answers that are on the disk and not yet in the database, where tests are counted.
DEPTH = "sporeprint_journal_depth"
#: What only the shipped table has.
FOREIGN = re.compile(r"mushroom|edible|poisonous|species|cap-|season", re.IGNORECASE)


def script(port: int) -> str:
    """The page's blocks as one script, each behind a mark."""
    blocks = re.findall(r"```(bash|python)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    parts = ["set -euo pipefail"]
    for language, text in blocks:
        if "ab-test evaluate" in text:
            parts.append(f"until curl --silent --show-error localhost:8000/metrics | grep --quiet '^{DEPTH} 0'; do sleep 0.1; done")
        parts += [f"echo '{MARK}'", text if language == "bash" else f"python - <<'PYTHON'\n{text}PYTHON"]
    # So that nothing of the server is left when the script ends.
    return "\n".join([*parts, "wait"]).replace("8000", str(port))


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder after the page was gone through, and what each block said."""
    folder, tools = tmp_path_factory.mktemp("another_table"), tmp_path_factory.mktemp("tools")
    (folder / "examples").symlink_to(ROOT / "examples")
    environ = {"SPOREPRINT_RUNTIME__THREADS": "1", "SPOREPRINT_EVALUATION__REPLICATES": "100", "COLUMNS": "160"}
    # Into files: a pipe would stay open as long as the server that a broken page leaves behind.
    with (folder / "said.txt").open("w") as said, (folder / "errors.txt").open("w") as errors:
        code = run_script(script(free_port()), folder, tools, environ, said, errors)
    texts = [(folder / name).read_text(encoding="utf-8") for name in ("said.txt", "errors.txt")]
    assert code == 0, "\n".join(text[-2000:] for text in texts)
    return folder / "trial", texts[0].split(f"{MARK}\n")[1:]


def block(tour: tuple[Path, list[str]], holding: str) -> str:
    """What the block said that holds a command."""
    texts = re.findall(r"```(?:bash|python)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (number,) = [number for number, text in enumerate(texts) if holding in text]
    return tour[1][number]


def test_it_speaks_its_own_words_only(tour: tuple[Path, list[str]]) -> None:
    folder, said = tour
    pages = [folder / "models/metrics" / name for name in ("report.html", "monitoring/latest.html")]
    pages += [folder / "data/validation/report.html", *folder.glob("models/registry/*/v1/model_card.md")]
    assert len(pages) == 6
    texts = {str(page.relative_to(folder)): re.sub(r"data:[^\"')]+", "", page.read_text(encoding="utf-8")) for page in pages}
    # The one request that names a column of the shipped table is told so.
    shown = "".join(said).replace("unknown field 'cap-shape'", "")
    for name, text in {**texts, "shown": shown}.items():
        assert not FOREIGN.search(text), (name, FOREIGN.search(text))
    for name in ("models/metrics/report.html", "models/metrics/monitoring/latest.html", "models/registry/xgboost/v1/model_card.md"):
        assert "malignant" in texts[name]
        assert "benign" in texts[name]


def test_models_are_trained_and_one_serves(tour: tuple[Path, list[str]]) -> None:
    said = block(tour, "sporeprint etl\n")
    assert "class benign      279" in said
    assert "malignant called benign" in said
    assert re.search(r"^Production\n.*\n\w+/v1 ", said, re.MULTILINE)


def test_a_file_is_answered(tour: tuple[Path, list[str]]) -> None:
    folder, _ = tour
    with (folder / "answers.csv").open() as answers, (folder / "outcomes.csv").open() as outcomes:
        pairs = [(row["verdict"], known["outcome"]) for row, known in zip(csv.DictReader(answers), csv.DictReader(outcomes), strict=True)]
    counts = Counter(pairs)
    assert len(pairs) == 120
    assert {verdict for verdict, _ in pairs} == {"benign", "malignant", "unknown"}
    assert sum(count for (verdict, truth), count in counts.items() if verdict == truth) > 90
    # The promise, on rows that nothing was fitted on: at most one in ten.
    assert counts["benign", "malignant"] <= 0.1 * sum(count for (verdict, _), count in counts.items() if verdict == "benign")
    explained = block(tour, "sporeprint explain")
    assert re.search(r"^verdict +malignant$", explained, re.MULTILINE)
    assert "towards malignant, in log odds" in explained


def test_it_is_served(tour: tuple[Path, list[str]]) -> None:
    answers = [json.loads(text) for text in re.findall(r"\{.*?\}(?=\{|\s*$)", block(tour, "sporeprint serve"), re.MULTILINE)]
    answer, problem = answers[-2:]
    assert answer["verdict"] == "benign"
    assert answer["prediction"] == "benign"
    assert problem["status"] == 422
    assert "'worst radius'" in problem["detail"]
    assert "unknown field 'cap-shape'" in problem["detail"]
    assert "field 'worst area' is required" in problem["detail"]


def test_two_versions_are_compared(tour: tuple[Path, list[str]]) -> None:
    said = block(tour, "ab-test show forest")
    assert re.search(r"120 units, \d+ labels", said)
    assert re.search(r"^verdict +none yet$", said, re.MULTILINE)
    assert "running" in said


def test_what_comes_is_watched(tour: tuple[Path, list[str]]) -> None:
    quiet, _, enlarged = block(tour, "sporeprint monitor").partition("latest.html\n")
    assert "No alarm" in quiet
    assert enlarged.rstrip().endswith("exit code 10")
    changed = re.findall(r"^worst (\w+) +ALARM", enlarged, re.MULTILINE | re.IGNORECASE)
    assert set(changed[:3]) == {"radius", "perimeter", "area"}


def test_the_server_is_gone(tour: tuple[Path, list[str]]) -> None:
    folder, _ = tour
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "server.pid").read_text()), 0)
