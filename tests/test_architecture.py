"""Imports point down, what computes knows no outside world, and starting the program stays cheap."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "sporeprint"

#: Top to bottom. A module imports from layers below its own; a package counts as one module.
LAYERS = {
    "command line": {
        *("__main__", "cli", "cli_ab_test", "cli_alerts", "cli_db", "cli_keys", "cli_models", "cli_monitor", "cli_serve", "cli_warehouse"),
        *("command", "console", "helptext"),
    },
    "serving": {"model_serving"},
    "pipeline": {"experiments", "pipeline", "retrain"},
    "steps": {
        *("alerts", "explain", "labelled", "measure", "monitor", "monitor_facts", "monitor_window"),
        *("predict", "prepare", "release", "results"),
    },
    "edges": {
        "candidates",
        *("client", "client_calls", "client_values"),
        *("delivery", "sending"),
        "extract",
        "group_names",
        "load",
        "model_input",
        "observed",
        "registry",
        "runlog",
        "simulate",
        "storage",
        "tables",
        "versions",
    },
    "readers": {"archive", "arrivals", "batch", "csv_dialect", "csv_reader", "download", "parquet_reader", "sql_source"},
    "computing": {
        "ab_report",
        "ab_testing",
        "answer",
        "monitoring",
        *("validate", "transform", "split", "train", "crossval", "evaluate"),
        *("scorer", "onnx_graph", "tree_graph", "bundle", "card", "estimator", "plots", "report", "report_context", "safety_report"),
        *("calibration", "components", "contradictions", "guard", "nearest", "reasons"),
        *("risk", "safety", "safety_evaluation", "strange", "verdict"),
    },
    "values": {"aliases", "codes", "npz", "observations", "parallel", "parquet_footer", "record", "table", "ubjson"},
    "statistics": {"stats"},
    "base": {"errors", "extras", "files", "schema", "settings", "workdir"},
}
#: Imports within a layer: module -> modules. The graph of all imports has no cycle (a test says so).
BESIDE = {
    "__main__": {"cli"},
    "answer": {"bundle", "nearest", "reasons", "safety", "strange", "verdict"},
    "bundle": {"safety", "scorer", "transform"},
    "card": {"evaluate", "plots", "report_context", "safety_evaluation", "safety_report"},
    "components": {"guard"},
    "guard": {"transform"},
    "client": {"client_calls", "client_values"},
    "client_calls": {"client_values"},
    "cli": {
        "cli_ab_test",
        "cli_alerts",
        "cli_db",
        "cli_keys",
        "cli_models",
        "cli_monitor",
        "cli_serve",
        "cli_warehouse",
        "command",
        "console",
    },
    "cli_ab_test": {"command", "console"},
    "cli_alerts": {"command", "console"},
    "cli_db": {"command", "console"},
    "cli_keys": {"command", "console"},
    "cli_models": {"command", "console"},
    "cli_monitor": {"command", "console"},
    "cli_serve": {"command", "console"},
    "cli_warehouse": {"command", "console"},
    "command": {"console", "helptext"},
    "crossval": {"guard", "safety", "safety_evaluation", "train", "transform", "verdict"},
    "evaluate": {"safety_evaluation"},
    "experiments": {"pipeline"},
    "estimator": {"safety", "scorer", "transform", "validate", "verdict"},
    "csv_reader": {"batch", "csv_dialect"},
    "download": {"arrivals"},
    "extract": {"simulate"},
    "extras": {"errors"},
    "files": {"errors"},
    "model_input": {"tables"},
    "helptext": {"console"},
    "labelled": {"monitor_facts"},
    "monitor": {"predict"},
    "monitor_window": {"monitor", "monitor_facts"},
    "monitoring": {"verdict"},
    "nearest": {"guard"},
    "observations": {"codes"},
    "parquet_reader": {"batch", "csv_dialect"},
    "plots": {"evaluate", "safety_evaluation", "verdict"},
    "report": {"evaluate", "plots", "report_context", "safety_report"},
    "report_context": {"evaluate", "risk", "safety_evaluation"},
    "registry": {"versions"},
    "results": {"prepare", "release"},
    "reasons": {"scorer", "transform"},
    "retrain": {"experiments", "pipeline"},
    "safety": {"calibration", "components", "guard", "risk", "strange", "transform", "verdict"},
    "safety_report": {"evaluate", "plots", "report_context", "risk", "safety_evaluation"},
    "safety_evaluation": {"calibration", "guard", "risk", "verdict"},
    "scorer": {"onnx_graph", "transform", "tree_graph"},
    "tree_graph": {"onnx_graph"},
    "schema": {"errors"},
    "settings": {"errors", "schema"},
    "sql_source": {"arrivals", "csv_dialect"},
    "strange": {"contradictions", "transform"},
    "train": {"scorer", "transform"},
}
LAYER_OF = {module: height for height, modules in enumerate(reversed(LAYERS.values())) for module in modules}
PURE = sorted(LAYERS["computing"] | LAYERS["values"] | LAYERS["statistics"])

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
#: What takes long to import. The command line does so when a command needs it.
HEAVY = {
    *("matplotlib", "sklearn", "xgboost", "onnx", "onnxruntime", "skl2onnx", "scipy", "joblib"),
    *("numpy", "polars", "narwhals", "pyarrow", "pandas", "jinja2", "httpx", "sqlalchemy", "pymysql", "alembic", "duckdb"),
    *("fastapi", "starlette", "uvicorn", "orjson", "prometheus_client"),
}


def files() -> dict[str, Path]:
    """Full module name -> file."""
    return {".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCE.rglob("*.py")}


FILES = {name: path for name, path in files().items() if name != "__init__"}


def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def imports(name: str) -> Iterator[str]:
    """Everything a module imports, wherever in the file, by full dotted name; `from package import name` gives package.name."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; the layers are read from full names"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(name: str) -> set[str]:
    """The project's modules among them, as in FILES."""
    found = set()
    for imported in imports(name):
        package, *parts = imported.split(".")
        if package == "sporeprint":
            candidates = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
            found |= set([candidate for candidate in candidates if candidate in FILES][:1])
    return found - {name}


def top(name: str) -> str:
    return name.split(".")[0]


def test_every_module_has_a_layer_and_only_one() -> None:
    listed = [module for modules in LAYERS.values() for module in modules]
    assert len(listed) == len(set(listed))
    assert {top(name) for name in FILES} - set(listed) == set(), "give the new module its place in LAYERS"


def test_every_listed_module_is_there() -> None:
    assert set(LAYER_OF) - {top(name) for name in FILES} == set()


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_point_down(module: str) -> None:
    allowed = {name for name in LAYER_OF if LAYER_OF[name] < LAYER_OF.get(top(module), 0)} | BESIDE.get(top(module), set()) | {top(module)}
    upward = {imported for imported in own_imports(module) if top(imported) not in allowed}
    assert upward == set()


def test_beside_lists_only_neighbours() -> None:
    assert [(name, other) for name, others in BESIDE.items() for other in others if LAYER_OF[name] < LAYER_OF[other]] == []


def test_imports_go_in_no_circle() -> None:
    left = {name: own_imports(name) for name in FILES}
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


@pytest.mark.parametrize("name", [name for name in sorted(FILES) if top(name) in PURE])
def test_what_computes_knows_no_disk_clock_chance_environment_or_network(name: str) -> None:
    assert {imported for imported in imports(name) if top(imported) in OUTSIDE} == set()
    called = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            called.add(getattr(node.func, "attr", None) or getattr(node.func, "id", None))
    assert called & OUTSIDE_CALLS == set()


@pytest.mark.parametrize("name", [name for name in sorted(FILES) if top(name) in LAYERS["base"] | LAYERS["command line"] - {"__main__"}])
def test_start_imports_nothing_heavy(name: str) -> None:
    code = f"import sys, sporeprint.{name}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & HEAVY == set()


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_module_names_a_column_of_the_shipped_table(name: str, raw_config: dict[str, Any]) -> None:
    """Only names with a hyphen: `class` and `season` are words of their own."""
    columns = {column for column in raw_config["dataset"]["columns"] if "-" in column}
    strings = {node.value for node in ast.walk(tree(name)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert strings & columns == set()


def test_mirror_of_the_source() -> None:
    """tests/test_x.py for x.py, tests/stats/test_y.py for stats/y.py; a test file without its module is lost."""
    tests = SOURCE.parents[1] / "tests"
    mirrored = {".".join([*path.relative_to(tests).parent.parts, path.stem.removeprefix("test_")]) for path in tests.rglob("test_*.py")}
    of_many = {
        "another_table",
        "architecture",
        "bad_input",
        "dags",
        "distribution",
        "docker",
        "docs",
        "docs_security",
        "docs_serving",
        "install",
        "kubernetes",
        "model_serving.ab_bad_input",
        "model_serving.faults",
        "model_serving.openapi_contract",
        "notebook",
        "other_tables",
        "scripts",
        "tour",
    }
    assert mirrored - set(FILES) - of_many == set()
