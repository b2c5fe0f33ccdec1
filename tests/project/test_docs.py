"""The documentation: its site is made without a warning and without a link to nowhere, and what its pages tell people to type is run."""

import doctest
import functools
import importlib
import importlib.metadata
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
import pytest
import typer.main
from ruamel.yaml import YAML

import sporeprint
from docs_support import run_script
from monitor_support import answered, outcomes, service
from serving_support import Server, start_server, write_config
from sporeprint import settings
from sporeprint.cli import app as cli
from sporeprint.storage.oltp import tables
from warehouse_support import write

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import sentence_length  # noqa: E402 -- a script, not a package

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
#: Pages whose commands have tests of their own.
ELSEWHERE = {
    "docs/another-table.md": "test_another_table.py",
    "docs/security.md": "test_docs_security.py",
    "docs/serving.md": "test_docs_serving.py",
}
#: How a line begins that is not run, and why.
NOT_RUN = {
    "git clone ": "the tests are in a clone already",
    "source .venv/bin/activate": "it is active in the tests",
    "./run_etl.sh": "tests/project/test_scripts.py runs it",
    "./run_tests.sh": "the tests are what it runs",
    "./run_api.sh": "runs until it is stopped",
    "sporeprint serve ": "runs until it is stopped; a server is there already",
    "sporeprint monitor --watch": "runs until it is stopped",
    "sporeprint simulate --rows 1000000": "takes long; tests/simulation/test_generator.py",
    "sporeprint etl --config config/examples/": "needs a table from elsewhere; tests/project/test_other_tables.py",
    "sporeprint retrain": "tests/pipelines/test_retraining.py",
    "sporeprint etl --from-warehouse": "tests/pipelines/test_retraining.py",
    "sporeprint alerts test ": "needs an address of one's own; tests/cli/test_alerts.py",
    "sporeprint alerts ack ": "needs an alert; tests/cli/test_alerts.py",
    "sporeprint db downgrade ": "takes back what the others need; tests/cli/test_db.py",
    "sporeprint monitor --test ": "needs a test with answers; tests/pipelines/test_window_monitoring.py",
    "cp docker/": "needs Docker",
    "docker compose ": "needs Docker",
    "export SPOREPRINT_OLTP_URL": "needs a MariaDB server; tests/project/test_docker.py",
    "export SPOREPRINT_OLTP_PASSWORD_FILE": "needs a MariaDB server; tests/project/test_docker.py",
    "SPOREPRINT_OLTP_URL": "needs a MariaDB server; tests/project/test_docker.py",
}
FENCE = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```(?P<language>bash|console|python)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """What a page tells people to type.

    Attributes:
        language: bash, console or python.
        text: as it stands there.
        why: why it is not run; empty where it is.
    """

    language: str
    text: str
    why: str

    def script(self) -> str:
        """What bash runs of it."""
        if self.language == "python":
            return f"python - <<'PYTHON'\n{self.text}PYTHON\n"
        lines = self.text.splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return "\n".join(line for line in lines if not line.startswith(tuple(NOT_RUN)))


def blocks(page: Path) -> list[Block]:
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(each["language"], each["text"], each["why"] or "") for each in found]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


RUN = [page for page in PAGES if name(page) not in ELSEWHERE and any(not block.why for block in blocks(page))]


#: A program of a page finds what the README's set-up installs, and nothing that only developers have.
ONLY_WHAT_THE_README_INSTALLS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
"""


def developers_modules() -> set[str]:
    """Modules of distributions that the developers' requirements have and the users' do not."""
    locked = [(ROOT / file).read_text(encoding="utf-8") for file in ("requirements.txt", "requirements-dev.txt")]
    users, developers = (set(re.findall(r"^([a-z0-9][\w.-]*)==", text, re.MULTILINE)) for text in locked)
    return {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} <= developers - users
    }


@dataclass(frozen=True)
class Place:
    """Where the pages' commands are run: a folder with a run, tables, answers that were given, and a server."""

    folder: Path
    config: Path
    server: Server

    def run(self, script: str) -> tuple[int, str]:
        """Run a script, as it stands on a page but for the server's port and what lies in /tmp. Its exit code, and what it said."""
        told = script.replace("localhost:8000", f"localhost:{self.server.client.base_url.port}").replace("/tmp/", f"{self.folder.parent}/")
        tools = self.folder.parent / "bin"
        environ = {
            "SPOREPRINT_WORKDIR": str(self.folder),
            "SPOREPRINT_CONFIG": str(self.config),
            "CURL_HOME": str(tools),
            "PYTHONPATH": str(tools),
            "ALARM_IS_AN_ANSWER": "1",
        }
        with (tools / "said").open("w+") as said:
            code = run_script(told, self.folder, tools, environ, said, said)
            said.seek(0)
            return code, said.read()


@pytest.fixture(scope="module")
def place(_small_run: Path, _small: dict[str, Any], small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("docs") / "work"
    shutil.copytree(_small_run, folder)
    # Of so few rows the gate cannot tell versions apart as finely as of the shipped table.
    config = write_config({**_small, "gate": {**_small["gate"], "margin": 0.05}}, folder / "config.yaml")
    frame = pl.read_csv(small_table, separator=";", infer_schema=False)
    shutil.copy(small_table, folder / "observations.csv")
    frame.sample(300, seed=1).write_csv(folder / "labelled.csv")
    rows = frame.drop("class").sample(300, seed=2)
    for file in ("new.csv", "today.csv"):
        rows.write_csv(folder / file)
    for file in ("today.parquet", "january.parquet"):
        rows.write_parquet(folder / file)
    minute_us = 60_000_000
    with service(folder, _small) as found:
        given = answered(folder, frame.sample(180, seed=3), first_us=time.time_ns() // 1000 - 180 * minute_us, step_us=minute_us)
        write(found.engine, given)
        write(found.engine, outcomes(given[:40], frame["class"], delay_us=minute_us), tables.outcome)
    tools = folder.parent / "bin"
    tools.mkdir()
    (tools / "sitecustomize.py").write_text(ONLY_WHAT_THE_README_INSTALLS.format(names=developers_modules()))
    (tools / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    server = start_server(folder, config)
    yield Place(folder, config, server)
    server.end()


@pytest.mark.parametrize("page", RUN, ids=name)
def test_what_the_page_tells_to_type_works(page: Path, place: Place) -> None:
    for block in blocks(page):
        if not block.why:
            code, said = place.run(block.script())
            assert code == 0, f"{block.text}\n{said[-2000:]}"


def test_programs_of_the_pages_do_not_find_what_only_developers_have() -> None:
    assert {"pandas", "pytest", "mlflow"} <= developers_modules()
    assert not {"polars", "sporeprint", "numpy", "xgboost"} & developers_modules()


def test_no_command_is_left_out_without_a_reason() -> None:
    every = [line for page in PAGES for block in blocks(page) for line in block.text.splitlines()]
    assert [start for start in NOT_RUN if not any(line.removeprefix("$ ").startswith(start) for line in every)] == []
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / "tests/project" / test).read_text(encoding="utf-8")
    fences = {
        page: len(re.findall(r"^```(?:bash|console|python|sh|shell)", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in PAGES
    }
    assert {page: len(blocks(page)) for page in PAGES} == fences
    assert len(RUN) >= 10


# --- what is named and not run -------------------------------------------------------------------------------------------


def named(page: Path) -> list[list[str]]:
    """The words of every command of sporeprint that a page names: within its text, and in a block, run or not."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    shown = re.findall(r"^```(?:bash|console|text)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [re.search(r"^(?:\$ |[\d* /]*\* +)?(sporeprint .*)", line) for block in shown for line in block.split("\n")]
    inline = re.findall(r"`(sporeprint [^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    return [words for each in [*(line[1] for line in lines if line), *inline] for words in commands_of(each)]


def commands_of(line: str) -> Iterator[list[str]]:
    """The words of each command of a line that is one of sporeprint's, up to a pipe or a redirection."""
    parts = shlex.shlex(line.replace("...", ""), posix=True, punctuation_chars="&|;<>")
    parts.whitespace_split = True
    for _, words in itertools.groupby(parts, key=lambda word: word[0] in "&|;<>" if word else False):
        found = list(words)
        if found[0] == "sporeprint":
            yield found[1:]


@functools.cache
def program() -> Any:
    return typer.main.get_command(cli.app)


def unknown_words(words: list[str]) -> list[str]:
    """What of a command's words is neither a command nor an option of it."""
    node: Any = program()
    while words and getattr(node, "commands", {}) and not words[0].startswith("-"):
        if words[0] not in node.commands:
            return words[:1]
        node, words = node.commands[words[0]], words[1:]
    options = {option for parameter in node.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    return [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in options]


def test_every_command_and_option_that_a_page_names_is_there() -> None:
    commands = [(name(page), words) for page in PAGES for words in named(page)]
    assert len(commands) > 100
    assert [(page, words) for page, words in commands if unknown_words(words)] == []
    assert unknown_words(["db", "prune", "--older", "90d"]) == ["--older"]
    assert unknown_words(["modls", "list"]) == ["modls"]


def test_every_command_that_a_page_of_the_service_names_is_there() -> None:
    templates = sorted((ROOT / "src").rglob("*.j2"))
    commands = [
        (path.name, words)
        for path in templates
        for text in re.findall(r"<code>(sporeprint [^<{]+)", path.read_text(encoding="utf-8"))
        for words in commands_of(text)
    ]
    assert len(commands) >= 8
    assert [(page, words) for page, words in commands if unknown_words(words)] == []


def test_examples_in_docstrings_say_what_comes_out() -> None:
    """But those of the public names, which want a run and a folder: tests/project/test_public_api.py runs each of them."""
    source = ROOT / "src"
    files = [file for file in source.rglob("*.py") if ">>> " in file.read_text(encoding="utf-8")]
    modules = [importlib.import_module(".".join(file.relative_to(source).with_suffix("").parts)) for file in files]
    public = [getattr(sporeprint, name) for name in sporeprint.__all__ if name != "__version__"]
    elsewhere = {f"{value.__module__}.{value.__qualname__}" for value in public}
    examples = {test.name: test for module in modules for test in doctest.DocTestFinder().find(module) if test.examples}
    assert elsewhere <= set(examples)
    results = {name: doctest.DocTestRunner().run(test) for name, test in examples.items() if name not in elsewhere}
    assert {name: result.failed for name, result in results.items() if result.failed} == {}
    assert sum(result.attempted for result in results.values()) >= 3


def test_what_a_page_shows_of_a_configuration_is_one(tmp_path: Path) -> None:
    shown = [
        text for page in PAGES for text in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    ]
    assert len(shown) >= 2
    yaml = YAML(typ="safe", pure=True)
    for text in shown:
        config = yaml.load(ROOT / "config/config.yaml") | yaml.load(text)
        settings.load_settings(write_config(config, tmp_path / "config.yaml"))


def test_every_kind_of_snippet_is_known() -> None:
    """One in another language would be looked at by no test."""
    kinds = {kind for page in PAGES for kind in re.findall(r"^```(\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)}
    assert kinds <= {"bash", "console", "python", "text", "yaml"}


def test_sentences_are_short() -> None:
    every = [words for page in sentence_length.pages() for words in sentence_length.lengths(page.read_text(encoding="utf-8"))]
    assert len(every) > 800
    assert sentence_length.mean(every) <= 16


@pytest.mark.parametrize("page", sorted((ROOT / "docs/concepts").glob("*.md")), ids=lambda page: page.stem)
def test_a_concept_has_an_example(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert page.name == "index.md" or "\n## An example\n" in text


# --- the site -------------------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Where a page points to, and what can be pointed to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "id" and value:
                self.anchors.add(value)
            elif value and (key == "src" or (key == "href" and tag in ("a", "link"))):
                self.targets.append(value)
                if tag != "a":
                    self.loaded.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    subprocess.run([sys.executable, ROOT / "scripts/docs/make.py", folder], check=True)
    zensical = Path(sys.executable).parent / "zensical"
    done = subprocess.run(
        [zensical, "build", "--strict", "--config-file", folder / "mkdocs.yml"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stderr
    return folder / "site"


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = {page: Links(page.read_text(encoding="utf-8")) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 100
    for page, links in pages.items():
        assert [target for target in links.loaded if urlsplit(target).netloc] == [], page
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or not parts.path:
                continue
            there = (page.parent / unquote(parts.path)).resolve()
            there = there / "index.html" if there.is_dir() else there
            assert there.is_file(), (page, target)
            if parts.fragment and there in pages:
                assert unquote(parts.fragment) in pages[there].anchors, (page, target)


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("ground truth", "how-to/label/"),
        ("out of distribution", "troubleshooting/"),
        ("canary", "how-to/ab-test/"),
        ("quick start", "start/"),
        ("troubleshooting", "troubleshooting/"),
        ("spark", "how-to/"),
    ],
)
def test_the_search_finds(site: Path, words: str, page: str) -> None:
    entries = json.loads((site / "search.json").read_text(encoding="utf-8"))["items"]
    found = {entry["location"].partition("#")[0] for entry in entries if words in f"{entry['title']} {entry['text']}".lower()}
    assert page in found


def test_the_references_name_everything(site: Path) -> None:
    from command_names import COMMANDS
    from sporeprint.settings import Settings

    cli, configuration, http = (
        (site / "reference" / page / "index.html").read_text(encoding="utf-8") for page in ("cli", "configuration", "http")
    )
    assert [command for command in COMMANDS if f"sporeprint {' '.join(command)}".strip() not in cli] == []
    assert [section for section in Settings.model_fields if f'id="{section}"' not in configuration] == []
    document = json.loads((site / "reference/openapi.json").read_text(encoding="utf-8"))
    assert [path for path in document["paths"] if path not in http] == []
    decisions = [path.name for path in (ROOT / "docs/decisions").glob("*.md")]
    assert len(list((site / "decisions").iterdir())) == len(decisions) == len({name[:4] for name in decisions})
