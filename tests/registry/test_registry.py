import functools
import hashlib
import importlib
import io
import itertools
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import warm_start
from sporeprint.errors import BusyError, RefusedError, RegistryError, StorageError
from sporeprint.inference.model_bundle import Bundle, GoldenRows, check_parity
from sporeprint.models.encoder import Encoder, NominalEncoding, NumericEncoding
from sporeprint.models.scorers import LinearScorer, Scorer, XGBoostScorer, scorer_from_estimator
from sporeprint.registry import registry as module
from sporeprint.registry.manifest import MANIFEST, UNFINISHED
from sporeprint.registry.registry import RegistrationResult, Registry
from sporeprint.schema import DatasetSchema
from support import some_safety

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SCHEMA = DatasetSchema.model_validate(
    {
        "name": "plants",
        "target": {"column": "kind", "positive": "b", "values": {"b": "birch", "a": "alder"}},
        "columns": {"height": {"kind": "numeric"}, "leaf": {"kind": "nominal", "values": {"o": "oval", "r": "round"}}},
    }
)
ENCODER = Encoder(
    (
        NumericEncoding("height", center=0.0, scale=1.0, fill=0.0, indicator=False, low=0.0, high=1.0),
        NominalEncoding("leaf", one_hot=True, categories=("o", "r"), numbers=(), missing=0.0, unseen=0.0),
    )
)
ROWS: tuple[dict[str, str | float | None], ...] = (
    {"height": 1.5, "leaf": "o"},
    {"height": None, "leaf": None},
    {"height": -2.0, "leaf": "z"},
)

PARTS = some_safety(SCHEMA).to_files()


def bundle(number: float = 0, name: str = "linear_model", scorer: Scorer | None = None, **changes: Any) -> Bundle:
    """A small bundle; another number is another model."""
    scorer = scorer or LinearScorer(np.array([0.5, -1.0, 0.25, 1.5]), float(number))
    golden = GoldenRows(ROWS, tuple(scorer.score(np.stack([ENCODER.encode_row(row) for row in ROWS])).tolist()))
    made = Bundle(
        name, ENCODER, scorer, SCHEMA, golden, {"data_fingerprint": "d1", "seed": 7}, {"accuracy": 0.9}, PARTS, {"card.md": b"# hello"}
    )
    return replace(made, **{**changes, "parts": {**PARTS, **changes.get("parts", {})}})


@functools.cache
def scorers() -> dict[str, Scorer]:
    """One of each kind. Fitted when it is needed: the processes below are forked, and XGBoost's threads would not be."""
    import xgboost
    from sklearn.naive_bayes import GaussianNB

    rng = np.random.default_rng(1)
    X = rng.normal(size=(80, 4)).astype(np.float32)
    y = (X[:, 0] > X[:, 1]).astype(np.int8)
    fitted = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(X, y), 4)
    return {
        "xgboost": XGBoostScorer.of(fitted),
        "onnx": scorer_from_estimator(GaussianNB().fit(X.astype(np.float64), y), 4, X),
        "linear": LinearScorer(np.array([0.5, -1.0, 0.25, 1.5]), 0.25),
    }


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "work" / "models" / "registry")


def fill(registry: Registry, count: int, name: str = "linear_model") -> None:
    for number in range(count):
        registry.register(bundle(number, name), now=NOW)


def spoil(path: Path, data: bytes | None = None) -> bytes:
    """Change one byte of a file, or all; what it was."""
    before = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([before[0] ^ 1]) + before[1:] if data is None else data)
    return before


# --- registering ---------------------------------------------------------------------------------------------------------


def test_the_first_version_and_what_it_is_made_of(registry: Registry) -> None:
    assert registry.register(bundle(), now=NOW) == RegistrationResult("linear_model/v1", created=True)
    folder = registry.root / "linear_model" / "v1"
    assert {path.name for path in folder.iterdir()} == {
        *("manifest.json", "manifest.sha256", "encoder.json", "scorer.json", "linear.json", "schema.json", "golden.json", "metrics.json"),
        *("linear_model.joblib", "card.md", *PARTS),
    }
    raw = json.loads((folder / MANIFEST).read_text())
    assert raw["info"] == {"data_fingerprint": "d1", "seed": 7}
    assert raw["schema_sha256"] == SCHEMA.fingerprint()
    assert raw["identity"] == bundle().identity()
    assert (raw["name"], raw["version"], raw["scorer"]) == ("linear_model", 1, "linear")
    for name, record in raw["files"].items():
        data = (folder / name).read_bytes()
        assert record == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        assert (folder / name).stat().st_mode & 0o777 == 0o444


def test_sha256sum_can_check_the_manifest(registry: Registry) -> None:
    fill(registry, 1)
    command = ["sha256sum", "--check", "--strict", "manifest.sha256"]
    subprocess.run(command, cwd=registry.root / "linear_model" / "v1", check=True, capture_output=True)


def test_the_same_again_adds_nothing(registry: Registry) -> None:
    fill(registry, 3)
    again = bundle(1, metrics={"accuracy": 0.1}, extras={}, info={"data_fingerprint": "d1", "seed": 8})
    assert registry.register(again, now=NOW) == RegistrationResult("linear_model/v2", created=False)
    assert registry.versions("linear_model") == (1, 2, 3)


def test_other_data_is_another_version(registry: Registry) -> None:
    fill(registry, 1)
    assert registry.register(bundle(0, info={"data_fingerprint": "d2"}), now=NOW).created


def test_the_same_as_a_damaged_version_is_a_new_one(registry: Registry) -> None:
    fill(registry, 1)
    spoil(registry.root / "linear_model" / "v1" / "linear.json")
    assert registry.register(bundle(), now=NOW) == RegistrationResult("linear_model/v2", created=True)


def test_versions_count_as_numbers(registry: Registry) -> None:
    fill(registry, 11)
    assert registry.versions("linear_model") == tuple(range(1, 12))
    assert registry.register(bundle(99), now=NOW).ref == "linear_model/v12"


def test_a_promoted_number_does_not_come_back(registry: Registry) -> None:
    fill(registry, 2)
    registry.promote("linear_model", 2, reason="better", now=NOW)
    registry.promote("linear_model", 1, reason="no", now=NOW)
    for path in (registry.root / "linear_model" / "v2").iterdir():
        path.unlink()
    (registry.root / "linear_model" / "v2").rmdir()
    assert registry.register(bundle(2), now=NOW).ref == "linear_model/v3"


def test_each_name_counts_for_itself(registry: Registry) -> None:
    fill(registry, 2, "b")
    fill(registry, 1, "a")
    assert registry.names() == ("a", "b")
    assert (registry.versions("a"), registry.versions("b"), registry.versions("c")) == ((1,), (1, 2), ())


def test_an_empty_registry(registry: Registry) -> None:
    assert registry.names() == ()
    assert registry.production() is None
    assert registry.verify_all() == ()
    assert registry.history("production") == ()
    assert not registry.root.exists(), "looking makes no folder"


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "production", "a.b", "a b", "é/"])
def test_a_name_that_cannot_be_one_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(ValueError, match=r"model name .*: expected lower-case letters, digits and '_', and not 'production'"):
        registry.register(bundle(name=name), now=NOW)
    assert not registry.root.exists()


@pytest.mark.parametrize("file", ["", "../x", "a/b", ".hidden", MANIFEST, "encoder.json", "linear_model.joblib", "a\n"])
@pytest.mark.parametrize("kind", ["extras", "parts"])
def test_a_file_name_that_cannot_be_one_is_refused(registry: Registry, file: str, kind: str) -> None:
    changes: dict[str, Any] = {kind: {file: b""}}
    with pytest.raises(ValueError, match="expected a plain file name, given once"):
        registry.register(bundle(**changes), now=NOW)


def test_a_file_given_twice_is_refused(registry: Registry) -> None:
    with pytest.raises(ValueError, match=r"file 'x\.bin': expected a plain file name, given once"):
        registry.register(bundle(parts={"x.bin": b"1"}, extras={"x.bin": b"2"}), now=NOW)


@pytest.mark.parametrize("what", ["info", "metrics"])
@pytest.mark.parametrize("value", [float("nan"), np.int64(3), {1, 2}])
def test_what_json_cannot_hold_is_refused(registry: Registry, what: str, value: Any) -> None:
    changes: dict[str, Any] = {what: {"data_fingerprint": "d", "x": value}}
    with pytest.raises(ValueError, match=f"{what} of 'linear_model' cannot be stored as JSON"):
        registry.register(bundle(**changes), now=NOW)
    assert not registry.root.exists()


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    with pytest.raises(StorageError, match=r"cannot write to the registry .*models/registry: (Not a directory|File exists)"):
        Registry(tmp_path / "models" / "registry").register(bundle(), now=NOW)


def test_what_a_dead_process_left_is_swept(registry: Registry) -> None:
    fill(registry, 1)
    left = registry.root / "linear_model" / f"{UNFINISHED}123"
    left.mkdir()
    (left / "linear.json").touch()
    assert registry.versions("linear_model") == (1,)
    assert registry.verify_all() == ()
    fill(registry, 2)
    assert not left.exists()


def test_a_writer_waits_for_another_and_gives_up_in_the_end(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(registry, 1)
    with registry._locked():
        thread = threading.Thread(target=registry.register, args=[bundle(1)], kwargs={"now": NOW})
        thread.start()
        time.sleep(0.1)
        assert registry.versions("linear_model") == (1,)
        monkeypatch.setattr(module, "LOCK_SECONDS", 0.0)
        with pytest.raises(BusyError, match="another process has been writing to the registry"):
            Registry(registry.root).register(bundle(2), now=NOW)
        monkeypatch.undo()
    thread.join()
    assert registry.versions("linear_model") == (1, 2)


# --- loading -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["xgboost", "onnx", "linear"])
def test_what_is_loaded_is_what_was_registered(registry: Registry, kind: str) -> None:
    given = bundle(name=kind, scorer=scorers()[kind], parts={"guard.bin": b"\0guard"})
    registry.register(given, now=NOW)
    found = registry.load(kind, threads=2)
    assert replace(found, scorer=given.scorer) == replace(given, extras={})
    assert found.scorer.to_files() == given.scorer.to_files()
    assert check_parity(found) <= 1e-7
    assert found.identity() == given.identity()
    assert registry.read(kind, "card.md") == b"# hello"


def test_a_file_that_is_not_there_is_not_read(registry: Registry) -> None:
    fill(registry, 1)
    with pytest.raises(RegistryError, match=r"linear_model/v1 has no file 'card\.txt' \(did you mean 'card\.md'\?\)"):
        registry.read("linear_model", "card.txt")
    with pytest.raises(RegistryError, match="has no file"):
        registry.read("linear_model", "../../aliases.json")


FILES = ("encoder.json", "scorer.json", "linear.json", "schema.json", "golden.json", "metrics.json", "guard.bin")


@pytest.mark.parametrize("file", FILES)
def test_one_altered_byte_is_refused_and_named(registry: Registry, file: str) -> None:
    registry.register(bundle(parts={"guard.bin": b"guard"}), now=NOW)
    before = spoil(registry.root / "linear_model" / "v1" / file)
    then, now = (hashlib.sha256(data).hexdigest() for data in (before, (registry.root / "linear_model" / "v1" / file).read_bytes()))
    with pytest.raises(RegistryError, match=rf"linear_model/v1: {file} was altered: it has sha256 {now} .* registered is {then}"):
        registry.load("linear_model")
    (problem,) = registry.verify("linear_model")
    assert problem.startswith(f"{file} was altered: it has sha256 {now}")


@pytest.mark.parametrize("file", [*FILES, "card.md", "linear_model.joblib"])
def test_a_missing_file_is_refused_and_named(registry: Registry, file: str) -> None:
    registry.register(bundle(parts={"guard.bin": b"guard"}), now=NOW)
    (registry.root / "linear_model" / "v1" / file).unlink()
    with pytest.raises(RegistryError, match=f"linear_model/v1 is not as it was registered: {file} is missing"):
        registry.load("linear_model")
    assert registry.verify("linear_model/v1") == (f"{file} is missing",)


def test_a_file_that_came_later_is_refused_and_named(registry: Registry) -> None:
    fill(registry, 1)
    (registry.root / "linear_model" / "v1" / "notes.txt").touch()
    with pytest.raises(RegistryError, match=r"notes\.txt was never registered"):
        registry.load("linear_model/v1")
    assert registry.verify("linear_model/v1") == ("notes.txt was never registered",)


@pytest.mark.parametrize("file", ["manifest.json", "manifest.sha256"])
def test_an_altered_manifest_is_refused(registry: Registry, file: str) -> None:
    fill(registry, 2)
    spoil(registry.root / "linear_model" / "v2" / file)
    with pytest.raises(RegistryError, match=r"linear_model/v2: manifest\.json was altered"):
        registry.load("linear_model/v2")
    assert "manifest.json was altered" in registry.verify("linear_model/v2")[0]


@pytest.mark.parametrize("file", ["manifest.json", "manifest.sha256"])
def test_a_missing_manifest_is_named(registry: Registry, file: str) -> None:
    fill(registry, 2)
    (registry.root / "linear_model" / "v2" / file).unlink()
    with pytest.raises(RegistryError, match=rf"{file} is missing in .*v2"):
        registry.load("linear_model/v2")
    assert f"{file} is missing" in registry.verify("linear_model/v2")[0]


def exchange(folder: Path) -> None:
    """Alter a version as somebody would who computes every digest anew."""
    text = (folder / "linear.json").read_text().replace("0.25", "0.75")
    spoil(folder / "linear.json", text.encode())
    raw = json.loads((folder / MANIFEST).read_text())
    seal = json.loads((folder / "scorer.json").read_text())
    seal["sha256"]["linear.json"] = hashlib.sha256(text.encode()).hexdigest()
    spoil(folder / "scorer.json", json.dumps(seal).encode())
    for name in ("linear.json", "scorer.json"):
        data = (folder / name).read_bytes()
        raw["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    spoil(folder / MANIFEST, json.dumps(raw).encode())
    spoil(folder / "manifest.sha256", hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest().encode())


def test_a_version_exchanged_as_a_whole_is_found_through_its_alias(registry: Registry) -> None:
    fill(registry, 2)
    registry.set_production("linear_model/v1", reason="first", now=NOW)
    exchange(registry.root / "linear_model" / "v1")
    for alias in ("production", "linear_model"):
        with pytest.raises(RegistryError, match=f"linear_model/v1 is not the version that '{alias}' was set to: its manifest has sha256"):
            registry.load(alias)
    assert len([problem for problem in registry.verify_all() if "is not the version that" in problem]) == 2
    # What no digest can tell, and the documentation says so: asked for by its number, it looks sound.
    assert registry.verify("linear_model/v1") == ()


def test_files_another_release_wrote_are_refused_and_named(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = bundle()
    monkeypatch.setattr(Encoder, "to_json", lambda _: '{"format": 99}')
    registry.register(newer, now=NOW)
    with pytest.raises(RegistryError, match="linear_model/v1 cannot be read by this release: not an encoder of format 1"):
        registry.load("linear_model")


class Bomb:
    """What a pickle can do to whoever opens it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_nothing_is_ever_unpickled(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(registry, 1)
    path = registry.root / "linear_model" / "v1" / "linear_model.joblib"
    spoil(path, pickle.dumps(Bomb()))
    spoil(registry.models / "linear_model.joblib", pickle.dumps(Bomb()))
    registry.load("linear_model")  # the joblib does not serve
    assert "linear_model.joblib was altered" in registry.verify("linear_model")[0]
    for ref in ("models/registry/linear_model/v1/linear_model.joblib", "models/linear_model.joblib"):
        with pytest.raises(RegistryError, match="is not the file that was registered as linear_model/v1"):
            registry.resolve(ref)
    registry.verify_all()
    registry.show("linear_model")
    assert not (tmp_path / "exploded").exists()


def test_the_joblib_is_the_same_model(registry: Registry) -> None:
    fill(registry, 1)
    estimator = joblib.load(io.BytesIO(registry.read("linear_model", "linear_model.joblib")))
    probabilities = estimator.predict_proba([dict(row) for row in ROWS])[:, 1]
    scores = np.array(bundle().golden.scores)
    assert probabilities.tolist() == bundle().safety.calibration(scores).tolist()


# --- names, refs, paths --------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(registry: Registry) -> Registry:
    """Versions 1 to 3 of linear_model, champion v2, and v3 in production; v1 of xgboost."""
    fill(registry, 3)
    registry.register(bundle(name="xgboost"), now=NOW)
    registry.promote("linear_model", 2, reason="better", now=NOW)
    registry.set_production("linear_model/v3", reason="best", now=NOW)
    return registry


@pytest.mark.parametrize(
    ("ref", "wanted"),
    [
        ("production", "linear_model/v3"),
        ("linear_model", "linear_model/v2"),
        ("xgboost", "xgboost/v1"),
        ("linear_model/v1", "linear_model/v1"),
        ("models/registry/linear_model/v1/linear_model.joblib", "linear_model/v1"),
        ("./models//registry/linear_model/v1/linear_model.joblib", "linear_model/v1"),
        ("models/registry/linear_model/v3", "linear_model/v3"),
        ("models/registry/linear_model/v3/", "linear_model/v3"),
        ("models/registry/linear_model/v3/manifest.json", "linear_model/v3"),
        ("models/registry/linear_model/v3/linear.json", "linear_model/v3"),
        ("models/linear_model.joblib", "linear_model/v2"),
        ("models/xgboost.joblib", "xgboost/v1"),
    ],
)
def test_every_way_to_name_a_version(filled: Registry, ref: str, wanted: str) -> None:
    found = filled.resolve(ref)
    assert found.ref == wanted
    assert found.path == filled.root / wanted
    if "/" in ref.replace(wanted, ""):
        assert filled.resolve(Path(ref)) == found
        assert filled.resolve(str(filled.models.parent / ref)) == found
        assert filled.resolve(filled.models.parent / ref) == found


def test_the_registry_may_be_reached_through_a_link(filled: Registry, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(filled.models.parent)
    linked = Registry(tmp_path / "link" / "models" / "registry")
    for base in (tmp_path / "link", filled.models.parent):
        assert linked.resolve(base / "models/linear_model.joblib").ref == "linear_model/v2"
        assert linked.resolve(base / "models/registry/linear_model/v1").ref == "linear_model/v1"


def test_the_registrys_folder_may_be_a_link(filled: Registry, tmp_path: Path) -> None:
    filled.root.rename(tmp_path / "elsewhere")
    filled.root.symlink_to(tmp_path / "elsewhere")
    assert filled.resolve("models/registry/linear_model/v1").ref == "linear_model/v1"
    assert filled.verify_all() == ()


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (
            "linear_mode",
            r"no model 'linear_mode' is registered \(did you mean 'linear_model'\?\); there are: production, linear_model, xgboost",
        ),
        ("forest/v1", "no model 'forest' is registered"),
        ("linear_model/v4", "model 'linear_model' has no version 'v4'; it has: v1, v2, v3"),
        ("linear_model/v0", "has no version 'v0'"),
        ("linear_model/v01", "has no version 'v01'"),
        ("linear_model/latest", "has no version 'latest'"),
        ("linear_model/3", "has no version '3'"),
        ("linear_model/", "has no version ''"),
        ("", "'' names no model; a model is named as one of production, linear_model, xgboost, as <name>/v<N>, or by the path"),
        ("Linear_Model", r"no model 'Linear_Model' is registered \(did you mean 'linear_model'\?\)"),
        ("/etc/passwd", r"'/etc/passwd' is outside the registry .*models; a model is named as one of production, linear_model, xgboost"),
        ("../other/models/linear_model.joblib", r"a path is given without '\.\.'"),
        ("models/registry/linear_model/../xgboost/v1", r"a path is given without '\.\.'"),
        ("models/linear_model.joblib\0", "names no model"),
        ("linear_model.joblib", "is outside the registry"),
        ("linear_model/v1/linear_model.joblib", "is outside the registry"),
        ("models/forest.joblib", "is no registered version"),
        ("models", "no model 'models' is registered"),
        ("./models", "is no registered version"),
        ("models/registry", "is no registered version"),
        ("models/registry/linear_model", "is no registered version"),
        ("models/registry/aliases.json", "is no registered version"),
        ("models/registry/linear_model/v9/linear_model.joblib", "is no registered version"),
        ("models/registry/linear_model/v1/a/b", "is no registered version"),
        ("models/other/linear_model/v1", "is no registered version"),
        ("models/registry/linear_model/v1/xgboost.joblib", "is not registered: linear_model/v1 has no such file"),
    ],
)
def test_what_names_no_version_is_refused_with_the_reason(filled: Registry, ref: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        filled.resolve(ref)


def test_without_a_model_the_error_says_what_to_do(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="no model 'xgboost' is registered; there are: none yet, run sporeprint etl"):
        registry.resolve("xgboost")
    with pytest.raises(RegistryError, match="no version is in production yet"):
        registry.resolve("production")


def test_a_file_beside_the_registered_ones_is_refused(filled: Registry) -> None:
    joblib.dump({"any": "thing"}, filled.models / "mine.joblib")
    joblib.dump({"any": "thing"}, filled.root / "linear_model" / "v1" / "mine.joblib")
    with pytest.raises(RegistryError, match="is no registered version"):
        filled.resolve("models/mine.joblib")
    with pytest.raises(RegistryError, match="is not registered: linear_model/v1 has no such file"):
        filled.resolve("models/registry/linear_model/v1/mine.joblib")


def test_links_are_refused(filled: Registry, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (filled.root / "linear_model" / "v1").rename(outside)
    (filled.root / "linear_model" / "v1").symlink_to(outside)
    (filled.root / "alias").symlink_to(filled.root / "xgboost")
    (filled.models / "link.joblib").symlink_to(filled.models / "xgboost.joblib")
    for ref in (
        "models/registry/linear_model/v1",
        "models/registry/linear_model/v1/linear.json",
        "models/registry/alias/v1",
        "models/link.joblib",
    ):
        with pytest.raises(RegistryError, match=r"leads through a symbolic link, '(v1|alias|link\.joblib)'"):
            filled.resolve(ref)
    with pytest.raises(RegistryError, match="has no version 'v1'; it has: v2, v3"):
        filled.resolve("linear_model/v1")
    with pytest.raises(RegistryError, match="no model 'alias'"):
        filled.resolve("alias")
    assert filled.names() == ("linear_model", "xgboost")


def test_a_model_may_be_named_as_a_folder(registry: Registry) -> None:
    fill(registry, 1, "models")
    assert registry.resolve("models").ref == "models/v1"
    assert registry.resolve("models/v1").ref == "models/v1"
    assert registry.resolve("models/models.joblib").ref == "models/v1"


def test_show_says_everything(filled: Registry) -> None:
    shown = filled.show("linear_model/v3")
    assert shown["ref"] == "linear_model/v3"
    assert shown["aliases"] == ["production"]
    assert shown["metrics"] == {"accuracy": 0.9}
    assert shown["info"]["seed"] == 7
    assert json.loads(json.dumps(shown)) == {**shown, "serving": list(shown["serving"]), "parts": list(PARTS)}


# --- aliases -------------------------------------------------------------------------------------------------------------


def test_the_first_version_is_the_champion_and_later_ones_are_not(registry: Registry) -> None:
    fill(registry, 2)
    assert registry.champion("linear_model").ref == "linear_model/v1"
    assert (registry.models / "linear_model.joblib").read_bytes() == registry.read("linear_model/v1", "linear_model.joblib")
    (move,) = registry.history("linear_model")
    assert (move.origin, move.to, move.reason, move.when) == (None, "linear_model/v1", "first version", "2026-03-04T05:06:07+00:00")


def test_promotion_moves_the_joblib_too(filled: Registry) -> None:
    assert (filled.models / "linear_model.joblib").read_bytes() == filled.read("linear_model/v2", "linear_model.joblib")
    assert (filled.models / "xgboost.joblib").read_bytes() == filled.read("xgboost/v1", "xgboost.joblib")
    assert filled.verify_all() == ()
    assert [(move.origin, move.to, move.reason) for move in filled.history("linear_model")] == [
        (None, "linear_model/v1", "first version"),
        ("linear_model/v1", "linear_model/v2", "better"),
    ]


def test_promoting_the_champion_again_changes_nothing(filled: Registry) -> None:
    before = (filled.root / "aliases.json").read_bytes()
    filled.promote("linear_model", 2, reason="again", now=NOW)
    assert (filled.root / "aliases.json").read_bytes() == before


def test_rollback_goes_back_step_by_step(filled: Registry) -> None:
    filled.promote("linear_model", 3, reason="best", now=NOW)
    assert filled.rollback("linear_model", reason="too slow", now=NOW, by="me").ref == "linear_model/v2"
    assert (filled.models / "linear_model.joblib").read_bytes() == filled.read("linear_model/v2", "linear_model.joblib")
    assert filled.rollback("linear_model", reason="too slow", now=NOW).ref == "linear_model/v1"
    with pytest.raises(RegistryError, match="'linear_model' has no earlier version to go back to"):
        filled.rollback("linear_model", reason="more", now=NOW)
    assert filled.champion("linear_model").ref == "linear_model/v1"
    assert [move.undo for move in filled.history("linear_model")] == [False, False, False, True, True]
    assert filled.history("linear_model")[3].by == "me"
    assert filled.verify_all() == ()


def test_production_can_go_back_too(filled: Registry) -> None:
    filled.set_production("xgboost", reason="try", now=NOW)
    assert filled.production() == filled.resolve("xgboost/v1")
    assert filled.rollback("production", reason="no", now=NOW).ref == "linear_model/v3"
    assert filled.resolve("production").ref == "linear_model/v3"
    assert filled.champion("linear_model").ref == "linear_model/v2", "the champion is another matter"


def test_no_alias_moves_to_a_simulated_version_unasked(filled: Registry) -> None:
    made = bundle(99)
    invented = filled.register(replace(made, info={**made.info, "simulated": True, "seed": 99}), now=NOW).ref
    number = int(invented.rpartition("/v")[2])
    match = rf"{invented} was trained on SIMULATED data, .*: --allow-simulated"
    before = (filled.root / "aliases.json").read_bytes()
    with pytest.raises(RefusedError, match=match):
        filled.promote("linear_model", number, reason="try", now=NOW)
    with pytest.raises(RefusedError, match=match):
        filled.set_production(invented, reason="try", now=NOW)
    assert (filled.root / "aliases.json").read_bytes() == before
    filled.set_production(invented, reason="try", now=NOW, allow_simulated=True)
    filled.set_production("xgboost/v1", reason="real", now=NOW)
    with pytest.raises(RefusedError, match=match):
        filled.rollback("production", reason="slow", now=NOW)
    assert filled.resolve("production").ref == "xgboost/v1"
    assert filled.rollback("production", reason="slow", now=NOW, allow_simulated=True).ref == invented


@pytest.mark.parametrize("move", ["promote", "produce", "roll back"])
def test_no_alias_moves_to_a_damaged_version(filled: Registry, move: str) -> None:
    spoil(filled.root / "linear_model" / "v1" / "card.md")
    before = (filled.root / "aliases.json").read_bytes()
    with pytest.raises(RegistryError, match=r"cannot be set to linear_model/v1: card\.md was altered"):
        {
            "promote": lambda: filled.promote("linear_model", 1, reason="x", now=NOW),
            "produce": lambda: filled.set_production("linear_model/v1", reason="x", now=NOW),
            "roll back": lambda: filled.rollback("linear_model", reason="x", now=NOW),
        }[move]()
    assert (filled.root / "aliases.json").read_bytes() == before


def test_an_alias_of_a_version_that_is_gone_is_named(filled: Registry) -> None:
    folder = filled.root / "linear_model" / "v3"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(RegistryError, match="model 'linear_model' has no version 'v3'; it has: v1, v2"):
        filled.resolve("production")
    assert filled.verify_all() == ("production: model 'linear_model' has no version 'v3'; it has: v1, v2",)


def test_a_promotion_that_was_killed_halfway_is_seen_and_finished(filled: Registry) -> None:
    """Between the alias and the joblib beside the registry."""
    old = filled.read("linear_model/v1", "linear_model.joblib")
    (filled.models / "linear_model.joblib").write_bytes(old)
    (problem,) = filled.verify_all()
    assert problem.startswith("linear_model.joblib: is not the champion's; promote the champion again")
    with pytest.raises(RegistryError, match="is not the file that was registered as linear_model/v2"):
        filled.resolve("models/linear_model.joblib")
    filled.promote("linear_model", 2, reason="again", now=NOW)
    assert filled.verify_all() == ()


def test_a_registration_that_was_killed_before_the_champion_was_set(registry: Registry) -> None:
    fill(registry, 1)
    (registry.root / "aliases.json").unlink()
    (registry.models / "linear_model.joblib").unlink()
    assert registry.resolve("linear_model").ref == "linear_model/v1", "the first version is the champion all the same"
    fill(registry, 1)
    assert registry.verify_all() == ()
    assert len(registry.history("linear_model")) == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 1, "aliases": {"production": {}}, "history": []}'])
def test_damaged_aliases_are_named(filled: Registry, text: str) -> None:
    (filled.root / "aliases.json").write_text(text)
    for call in (lambda: filled.resolve("production"), lambda: filled.verify_all(), lambda: filled.register(bundle(50), now=NOW)):
        with pytest.raises(RegistryError, match=r"aliases\.json is damaged: .*; restore it, or remove it and promote again"):
            call()
    assert filled.versions("linear_model") == (1, 2, 3), "nothing was stored"


def test_a_damaged_champion_does_not_hinder_the_next_version(filled: Registry) -> None:
    spoil(filled.root / "linear_model" / "v2" / MANIFEST)
    assert filled.register(bundle(9), now=NOW).ref == "linear_model/v4"
    filled.promote("linear_model", 4, reason="repaired", now=NOW)
    assert filled.load("linear_model").identity() == bundle(9).identity()


# --- many processes ------------------------------------------------------------------------------------------------------
# They are forked from a process of their own that has imported everything and started no threads.

#: Runs this file as a program.
RUNS = """
import runpy, sys
del sys.argv[0]
sys.path.insert(0, sys.argv.pop())
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def several(registry: Registry, scenario: str) -> Any:
    """Run a scenario below; what it returns."""
    command = [sys.executable, "-c", RUNS, __file__, scenario, str(registry.root), str(Path(__file__).parents[1] / "helpers")]
    return json.loads(warm_start.run(command, stdout=subprocess.PIPE, check=True).stdout)


def forked(task: Callable[[int], None]) -> tuple[int, int]:
    """Run a task in another process; its id, and the end of a pipe it may write to."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            task(write)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    return child, read


def register_all(registry: Registry, numbers: Iterable[int], say: int) -> None:
    for number in numbers:
        os.write(say, f"{registry.register(bundle(number), now=NOW).ref}\n".encode())


def heard(pipe: int) -> list[str]:
    with os.fdopen(pipe) as lines:
        return lines.read().split()


def at_once(registry: Registry, ranges: Sequence[range]) -> list[list[str]]:
    children = [forked(functools.partial(register_all, registry, numbers)) for numbers in ranges]
    found = [heard(pipe) for _, pipe in children]
    assert [os.waitpid(child, 0)[1] for child, _ in children] == [0, 0]
    return found


def different_models(registry: Registry) -> list[list[str]]:
    return at_once(registry, [range(20), range(1000, 1020)])


def same_models(registry: Registry) -> list[list[str]]:
    return at_once(registry, [range(15), range(15)])


def killed_at_random(registry: Registry) -> list[str]:
    """Kill a process that registers without end, many times; every ref it said."""
    rng = np.random.default_rng(3)
    said: list[str] = []
    for attempt in range(25):  # each in one of the first dozen registrations of a process
        child, pipe = forked(functools.partial(register_all, registry, itertools.count(attempt * 10_000)))
        time.sleep(float(rng.uniform(0.01, 0.2)))
        os.kill(child, signal.SIGKILL)
        said += heard(pipe)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert set(registry.verify_all()) <= {UNPUBLISHED}
    return said


def killed_everywhere(registry: Registry) -> list[str]:
    """Kill a process before the n-th time it changes the disk, for every n; what was wrong after each, and the last n."""
    problems: list[str] = []
    for step in itertools.count():
        left = itertools.count(step, -1)

        def watch(event: str, arguments: tuple[Any, ...], left: Iterator[int] = left) -> None:
            written = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if (written or event in {"os.mkdir", "os.rename", "os.remove", "os.chmod", "os.rmdir", "fcntl.flock"}) and not next(left):
                os.kill(os.getpid(), signal.SIGKILL)

        def task(_: int, step: int = step, watch: Callable[[str, tuple[Any, ...]], None] = watch) -> None:
            sys.addaudithook(watch)
            version = registry.register(bundle(step + 100), now=NOW).ref.rpartition("/v")[2]
            registry.promote("linear_model", int(version), reason="newest", now=NOW)

        child, pipe = forked(task)
        heard(pipe)
        problems += registry.verify_all()
        registry.champion("linear_model")
        if not os.waitpid(child, 0)[1]:
            return [*problems, str(step)]
        # What was left unfinished goes, so that the next process too begins with nothing to clear away.
        registry.register(bundle(-step - 2), now=NOW)
    raise AssertionError


def disk_full(registry: Registry) -> str:
    """Register where no file can grow beyond a few bytes; what it says."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
    try:
        registry.register(bundle(1), now=NOW)
    except StorageError as error:
        return str(error)
    raise AssertionError


UNPUBLISHED = "linear_model.joblib: is not the champion's; promote the champion again to write it anew"


def test_a_disk_that_is_full_leaves_everything_as_it_was(registry: Registry) -> None:
    fill(registry, 1)
    before = {path: path.read_bytes() for path in registry.models.rglob("*") if path.is_file() and path.name != ".lock"}
    assert several(registry, "disk_full") == f"cannot write to the registry {registry.root / 'linear_model'}: File too large"
    assert {path: path.read_bytes() for path in registry.models.rglob("*") if path.is_file() and path.name != ".lock"} == before
    assert {path.name for path in (registry.root / "linear_model").iterdir()} == {"v1"}


@pytest.mark.slow
def test_two_processes_at_once_get_different_numbers_and_lose_none(registry: Registry) -> None:
    said = several(registry, "different_models")
    assert [len(refs) for refs in said] == [20, 20]
    assert sorted(itertools.chain(*said)) == sorted(f"linear_model/v{number}" for number in range(1, 41))
    assert registry.versions("linear_model") == tuple(range(1, 41))
    assert registry.verify_all() == ()
    stored = {registry.load(f"linear_model/v{number}").identity() for number in range(1, 41)}
    assert stored == {bundle(number).identity() for number in (*range(20), *range(1000, 1020))}


@pytest.mark.slow
def test_two_processes_with_the_same_models_make_each_once(registry: Registry) -> None:
    one, two = several(registry, "same_models")
    assert one == two
    assert registry.versions("linear_model") == tuple(range(1, 16))


@pytest.mark.slow
def test_killing_a_process_at_any_moment_leaves_a_sound_registry(registry: Registry) -> None:
    said = several(registry, "killed_at_random")
    versions = registry.versions("linear_model")
    assert versions == tuple(range(1, len(versions) + 1))
    assert versions
    assert {f"linear_model/v{number}" for number in versions} >= set(said), "what was said to be registered is there"
    assert registry.register(bundle(-1), now=NOW) == RegistrationResult(f"linear_model/v{len(versions) + 1}", created=True)
    assert registry.verify_all() == ()
    assert not list((registry.root / "linear_model").glob(f"{UNFINISHED}*"))


@pytest.mark.slow
def test_killing_a_process_before_each_of_its_steps_leaves_a_sound_registry(registry: Registry) -> None:
    fill(registry, 1)
    *problems, steps = several(registry, "killed_everywhere")
    assert int(steps) > 30
    # The only thing that can be late is the copy beside the registry, and it is late at some step.
    assert set(problems) == {UNPUBLISHED}
    registry.register(bundle(-1), now=NOW)
    assert registry.verify_all() == ()


if __name__ == "__main__":
    # Once, here: registering loads it, and the processes below live too short for it.
    importlib.import_module("sporeprint.inference.sklearn_estimator")
    scenarios: list[Callable[[Registry], Any]] = [different_models, same_models, killed_at_random, killed_everywhere, disk_full]
    chosen = next(scenario for scenario in scenarios if scenario.__name__ == sys.argv[1])
    sys.stdout.write(json.dumps(chosen(Registry(Path(sys.argv[2])))))
