"""Tests of sporeprint.registry.version_files: what a version is made of, and what of it serves. (Damage: test_registry.py.)"""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sporeprint.errors import RegistryError
from sporeprint.inference.model_bundle import Bundle, GoldenRows
from sporeprint.models.encoder import Encoder, NumericEncoding
from sporeprint.models.scorers import LinearScorer
from sporeprint.registry.manifest import VersionRef
from sporeprint.registry.registry import Registry
from sporeprint.registry.version_files import describe, read_bundle, version_files
from sporeprint.schema import DatasetSchema
from support import some_safety

SCHEMA = DatasetSchema.model_validate(
    {
        "name": "plants",
        "target": {"column": "kind", "positive": "b", "values": {"b": "birch", "a": "alder"}},
        "columns": {"height": {"kind": "numeric"}},
    }
)
ENCODER = Encoder((NumericEncoding("height", center=0.0, scale=1.0, fill=0.0, indicator=False, low=0.0, high=1.0),))
PARTS = some_safety(SCHEMA).to_files()
ALWAYS = {"encoder.json", "schema.json", "golden.json", "metrics.json", "small.joblib"}
SCORER = {"scorer.json", "linear.json"}


def bundle(**changes: Any) -> Bundle:
    scorer = LinearScorer(np.array([0.5]), 0.25)
    golden = GoldenRows(({"height": 1.5},), tuple(scorer.score(np.stack([ENCODER.encode_row({"height": 1.5})])).tolist()))
    made = Bundle("small", ENCODER, scorer, SCHEMA, golden, {"data_fingerprint": "d1"}, {"auc": 0.9}, PARTS, {"card.md": b"# hello"})
    return replace(made, **changes)


@pytest.fixture
def version(tmp_path: Path) -> VersionRef:
    registry = Registry(tmp_path / "registry")
    registry.register(bundle(), now=datetime(2026, 3, 4, tzinfo=UTC))
    return registry.resolve("small/v1")


def test_the_files_of_a_version() -> None:
    files = version_files(bundle())
    assert set(files) == {*ALWAYS, *SCORER, *PARTS, "card.md"}
    assert {name: files[name] for name in PARTS} == PARTS
    assert files["card.md"] == b"# hello"
    assert json.loads(files["metrics.json"]) == {"auc": 0.9}
    assert DatasetSchema.model_validate_json(files["schema.json"]) == SCHEMA


@pytest.mark.parametrize("name", ["small.joblib", "scorer.json", "linear.json", "manifest.sha256", "ä.md", "a b"])
def test_a_further_file_takes_no_name_that_is_in_use(name: str) -> None:
    with pytest.raises(ValueError, match="expected a plain file name, given once, that is not one of") as caught:
        version_files(bundle(extras={name: b""}))
    assert repr(name) in str(caught.value)


def test_a_manifest_describes_every_file_and_has_no_number_yet() -> None:
    given = bundle()
    manifest, files = describe(given)
    assert files == version_files(given)
    assert {name: (record.sha256, record.size) for name, record in manifest.files.items()} == {
        name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()
    }
    assert (manifest.name, manifest.version, manifest.scorer) == ("small", 0, "linear")
    assert (set(manifest.serving), set(manifest.parts)) == (SCORER, set(PARTS))
    assert (manifest.identity, manifest.schema_sha256, manifest.info) == (given.identity(), SCHEMA.fingerprint(), given.info)


def test_what_serves_is_read_back(version: VersionRef) -> None:
    given, found = bundle(), read_bundle(version)
    assert found.scorer.to_files() == given.scorer.to_files()
    assert replace(found, scorer=given.scorer) == replace(given, extras={}, scorer=given.scorer)


def test_files_that_do_not_serve_may_be_missing_and_no_other(version: VersionRef) -> None:
    for name in ("small.joblib", "card.md"):
        (version.path / name).unlink()
    assert read_bundle(version).identity() == bundle().identity()
    for name in sorted({*ALWAYS, *SCORER, *PARTS} - {"small.joblib"}):
        data = (version.path / name).read_bytes()
        (version.path / name).unlink()
        with pytest.raises(RegistryError, match=f"{name} is missing"):
            read_bundle(version)
        (version.path / name).write_bytes(data)
    assert read_bundle(version).identity() == bundle().identity()
