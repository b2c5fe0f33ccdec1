"""The rules between packages, which modules may do what, and that starting the program stays cheap.

The rules for imports are in pyproject.toml, [tool.importlinter]; `lint-imports` checks them by hand.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "src" / "sporeprint"
TESTS = Path(__file__).parents[1]
#: Packages and modules that compute: the same input gives the same output, whatever the machine.
PURE = ("ab_testing", "evaluation", "inference", "models", "monitoring", "safety", "stats")
#: The disk, the clock, chance without a seed, the environment, the network, databases, other processes.
OUTSIDE = {
    *("os", "pathlib", "shutil", "tempfile", "glob", "fcntl", "mmap", "fileinput"),
    *("time", "random", "secrets", "uuid"),
    *("socket", "http", "urllib", "ssl", "httpx", "requests"),
    *("sqlite3", "sqlalchemy", "pymysql", "duckdb"),
    *("subprocess", "multiprocessing", "signal", "platform"),
}
#: The same, reached through a name that may be imported.
OUTSIDE_CALLS = {
    *("open", "input", "print"),
    *("now", "utcnow", "today"),
    *("read_csv", "scan_csv", "read_parquet", "scan_parquet", "write_csv", "write_parquet", "sink_csv", "sink_parquet"),
    *("read_text", "read_bytes", "write_text", "write_bytes"),
}
#: Packages that take long to import. The command line imports them when a command needs them.
HEAVY = {
    *("matplotlib", "sklearn", "xgboost", "onnx", "onnxruntime", "skl2onnx", "scipy", "joblib"),
    *("numpy", "polars", "narwhals", "pyarrow", "pandas", "jinja2", "httpx", "sqlalchemy", "pymysql", "alembic", "duckdb"),
    *("fastapi", "starlette", "uvicorn", "orjson", "prometheus_client"),
}
#: Tests of the whole project (tests/project), and of a whole package: they mirror no single module.
OF_A_PACKAGE = {
    "model_serving/test_ab_bad_input.py",
    "model_serving/test_row_bodies.py",
    "model_serving/test_browser.py",
    "model_serving/test_database_faults.py",
    "model_serving/test_faults.py",
    "model_serving/test_openapi_contract.py",
    "model_serving/ui/test_pages.py",
    "model_serving/ui/test_every_page_browser.py",
    "model_serving/ui/test_ui_browser.py",
    "model_serving/ui/test_ab_browser.py",
    "model_serving/ui/test_ab_pages.py",
    "model_serving/ui/test_watch_pages.py",
    "reports/test_reports_browser.py",
    "web/test_templates.py",
    "model_serving/test_telemetry.py",
    "model_serving/open_inference/test_conformance.py",
    "pipelines/test_dates.py",
    "pipelines/test_further_tables.py",
    "pipelines/test_hard_tables.py",
    "pipelines/test_names_of_answers.py",
}


def modules(*places: str) -> Iterator[Path]:
    """The files of these packages and modules, all of them where none is named."""
    for place in places or (".",):
        path = SOURCE / place
        yield from [path] if path.suffix else sorted(path.rglob("*.py"))


def syntax(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def test_packages_import_downwards() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=SOURCE.parents[1], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_picture_and_the_roads_are_those_of_the_source() -> None:
    """docs/architecture.md: every function that a road names is there, and the picture shows the imports as they are."""
    script = SOURCE.parents[1] / "scripts" / "docs" / "architecture.py"
    result = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_root_holds_only_what_everything_needs() -> None:
    assert {path.name for path in SOURCE.glob("*.py")} == {"__init__.py", "__main__.py", "errors.py", "schema.py", "settings.py"}


def test_what_computes_knows_no_disk_clock_chance_or_network() -> None:
    faults = []
    for path in modules(*PURE):
        for node in syntax(path):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                faults += [(path.name, name) for name in names if name.split(".")[0] in OUTSIDE]
            elif isinstance(node, ast.Call):
                name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
                faults += [(path.name, name)] if name in OUTSIDE_CALLS else []
    assert faults == []


def test_starting_the_program_imports_nothing_heavy() -> None:
    code = "import sys, sporeprint.cli.app; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & HEAVY == set()


def test_no_module_names_a_column_of_the_shipped_table(raw_config: dict[str, Any]) -> None:
    """Only names with a hyphen: `class` and `season` are words of their own."""
    columns = {column for column in raw_config["dataset"]["columns"] if "-" in column}
    for path in modules():
        strings = {node.value for node in syntax(path) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        assert strings & columns == set(), path


def test_tests_mirror_the_source() -> None:
    """tests/stats/test_bins.py for stats/bins.py; a test file without its module is lost."""
    mirrored = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py") if path.parent != TESTS / "project"}
    expected = {(path.parent / f"test_{path.name}").relative_to(SOURCE).as_posix() for path in modules()}
    assert mirrored - expected - OF_A_PACKAGE == set()
