"""Writes a registered version as an MLflow model: a folder that MLflow loads and serves, without a pickle in it.

    MLmodel                    what it is: flavor, signature, example
    registry/<name>/v<N>/      the version as it was registered, each file held against the manifest when it is loaded
    requirements.txt, conda.yaml, python_env.yaml
    input_example.json, serving_input_example.json

The folder is written without MLflow; loading it needs MLflow and sporeprint[serve].
"""

import importlib.metadata
import json
import platform
import shutil
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sporeprint.errors import UsageError
from sporeprint.pipelines.mlflow_model import OUTPUTS
from sporeprint.registry.registry import Registry
from sporeprint.schema import DatasetSchema, Kind

#: Libraries that loading and scoring a version need, beside sporeprint itself.
LIBRARIES = ("numpy", "onnxruntime", "pandas", "polars")
LOADER = "sporeprint.pipelines.mlflow_model"

#: The kind of a column as MLflow names types; a date is sent as text.
_TYPES = {Kind.NUMERIC: "double", Kind.NOMINAL: "string", Kind.DATE: "string"}


def export_mlflow(registry: Registry, ref: str, out: Path) -> Path:
    """Write a version as an MLflow model.

    Args:
        registry: of the version.
        ref: `production`, a model's name or one version.
        out: the folder to write; it must not exist, or be empty.

    Returns:
        The folder.

    Raises:
        RegistryError: if there is no such version, or it is damaged.
        UsageError: if the folder is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out}: expected a folder that is empty or does not exist")
    version = registry.resolve(ref)
    bundle = registry.load(version.ref)
    schema, manifest = bundle.schema, registry.show(version.ref)
    folder = out / "registry" / version.name / f"v{version.version}"
    folder.mkdir(parents=True)
    for source in sorted(version.path.iterdir()):
        if source.suffix != ".joblib":
            shutil.copyfile(source, folder / source.name)
    example = dict(bundle.golden.rows[0]) if bundle.golden.rows else dict.fromkeys(schema.columns)
    columns = list(schema.columns)
    split = {"columns": columns, "data": [[example.get(name) for name in columns]]}
    _write_json(out / "input_example.json", split)
    _write_json(out / "serving_input_example.json", {"dataframe_split": split})
    _write_environment(out)
    _write_yaml(out / "MLmodel", _mlmodel(schema, version.ref, str(manifest["manifest"])))
    return out


def _mlmodel(schema: DatasetSchema, ref: str, digest: str) -> dict[str, Any]:
    inputs = [{"type": _TYPES[column.kind], "name": name, "required": column.required} for name, column in schema.columns.items()]
    outputs = [{"type": kind, "name": name, "required": True} for name, kind in OUTPUTS.items()]
    return {
        "artifact_path": "model",
        "flavors": {
            "python_function": {
                "loader_module": LOADER,
                "data": "registry",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "python_version": platform.python_version(),
            },
            "sporeprint": {"version": importlib.metadata.version("sporeprint"), "model": ref, "manifest_sha256": digest},
        },
        "model_uuid": uuid.uuid4().hex,
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "pandas_orient": "split",
            "serving_input_path": "serving_input_example.json",
            "type": "dataframe",
        },
        "signature": {"inputs": json.dumps(inputs, ensure_ascii=False), "outputs": json.dumps(outputs), "params": None},
        "utc_time_created": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}",
    }


def _write_environment(out: Path) -> None:
    """The same requirements in the three forms that MLflow reads; without the libraries that are not installed here."""
    installed = {package.name.lower(): package.version for package in importlib.metadata.distributions() if package.name}
    requirements = [
        f"sporeprint[serve]=={importlib.metadata.version('sporeprint')}",
        *(f"{name}=={installed[name]}" for name in LIBRARIES if name in installed),
    ]
    python = platform.python_version()
    (out / "requirements.txt").write_text("\n".join([*requirements, ""]), encoding="utf-8")
    _write_yaml(out / "python_env.yaml", {"python": python, "dependencies": ["-r requirements.txt"]})
    conda = {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": [f"python={python}", "pip", {"pip": requirements}]}
    _write_yaml(out / "conda.yaml", conda)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def _write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    yaml = YAML()
    yaml.width = 1 << 20
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(value, file)
