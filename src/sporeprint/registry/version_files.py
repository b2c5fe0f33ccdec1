"""The files of a version and its manifest: as they are registered, and as what serves is read from them."""

import json
import re
from collections.abc import Mapping
from typing import Any

from sporeprint.errors import RegistryError
from sporeprint.inference.model_bundle import Bundle, GoldenRows
from sporeprint.models.encoder import Encoder
from sporeprint.models.scorers import load_scorer
from sporeprint.registry.manifest import DIGEST, MANIFEST, FileRecord, Manifest, VersionRef, read_checked, read_manifest
from sporeprint.schema import DatasetSchema

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def version_files(bundle: Bundle) -> dict[str, bytes]:
    """Every file of a version but the manifest: name -> bytes.

    Raises:
        ValueError: a file's name cannot be used, or a value cannot be stored as JSON.
    """
    from sporeprint.inference.sklearn_estimator import SporeprintClassifier, to_joblib  # brings scikit-learn: not for those who only read

    own = {
        "encoder.json": bundle.encoder.to_json().encode(),
        **bundle.scorer.to_files(),
        "schema.json": bundle.schema.model_dump_json(indent=1).encode(),
        "golden.json": bundle.golden.to_json().encode(),
        "metrics.json": _json(bundle, "metrics", bundle.metrics),
        f"{bundle.name}.joblib": to_joblib(SporeprintClassifier.from_bundle(bundle)),
    }
    names = [*bundle.parts, *bundle.extras]
    for name in names:
        if not FILE_NAME.fullmatch(name) or name in {*own, MANIFEST, DIGEST} or names.count(name) > 1:
            raise ValueError(
                f"file {name!r}: expected a plain file name, given once, that is not one of {', '.join((*own, MANIFEST, DIGEST))}"
            )
    return {**own, **bundle.parts, **bundle.extras}


def _json(bundle: Bundle, what: str, values: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(values), ensure_ascii=False, allow_nan=False, indent=1).encode()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} of {bundle.name!r} cannot be stored as JSON: {error}") from error


def describe(bundle: Bundle) -> tuple[Manifest, dict[str, bytes]]:
    """A bundle's files and the manifest of a version that has no number yet."""
    files = version_files(bundle)
    manifest = Manifest(
        name=bundle.name,
        version=0,
        identity=bundle.identity(),
        scorer=bundle.scorer.kind,
        serving=tuple(bundle.scorer.to_files()),
        parts=tuple(bundle.parts),
        files={name: FileRecord.of(data) for name, data in files.items()},
        schema_sha256=bundle.schema.fingerprint(),
        info=json.loads(_json(bundle, "info", bundle.info)),
    )
    return manifest, files


def read_bundle(version: VersionRef, *, threads: int = 1) -> Bundle:
    """What serves of a version. Every byte that is parsed was first held against the manifest; nothing is unpickled.

    Files that are not parsed may be missing, as in an exported copy.

    Args:
        version: which.
        threads: threads that one call of the scorer may use.

    Raises:
        RegistryError: naming the file that is missing, altered or not readable by this release.
    """
    manifest = read_manifest(version)
    names = ("encoder.json", "schema.json", "golden.json", "metrics.json", *manifest.serving, *manifest.parts)
    files = {name: read_checked(version, name, manifest) for name in names}
    try:
        return Bundle(
            name=manifest.name,
            encoder=Encoder.from_json(files["encoder.json"].decode()),
            scorer=load_scorer(manifest.scorer, {name: files[name] for name in manifest.serving}, threads),
            schema=DatasetSchema.model_validate_json(files["schema.json"]),
            golden=GoldenRows.from_json(files["golden.json"]),
            info=manifest.info,
            metrics=json.loads(files["metrics.json"]),
            parts={name: files[name] for name in manifest.parts},
        )
    except (ValueError, TypeError, KeyError) as error:
        raise RegistryError(f"{version.ref} cannot be read by this release: {error}; train the model again") from error
