"""deploy/kubernetes: each object is what Kubernetes takes, they fit together, and no pod can do more than it must."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from sporeprint import __version__
from sporeprint.errors import ConfigError
from sporeprint.settings import load_settings
from sporeprint.storage import urls

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
VERSIONS = ("1.31", "1.37")


def documents(name: str) -> list[dict[str, Any]]:
    return [each for each in YAML(typ="safe", pure=True).load_all((FOLDER / name).read_text(encoding="utf-8")) if each]


RESOURCES = documents("kustomization.yaml")[0]["resources"]
OBJECTS = [each for name in (*RESOURCES, "secrets.example.yaml") for each in documents(name)]
KINDS = {f"{each['kind']}/{each['metadata']['name']}": each for each in OBJECTS}


def pod(found: dict[str, Any]) -> dict[str, Any] | None:
    spec = found.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    template: dict[str, Any] | None = spec.get("template")
    return template


PODS = {name: template for name, found in KINDS.items() if (template := pod(found)) is not None}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", KINDS)
def test_kubernetes_takes_it(name: str, version: str) -> None:
    kubernetes_validate.validate(KINDS[name], version, strict=True)


def test_what_is_wrong_is_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(
            {**KINDS["StatefulSet/api"], "spec": {**KINDS["StatefulSet/api"]["spec"], "replica": 2}}, "1.37", strict=True
        )


def test_every_file_is_applied_but_the_example() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*RESOURCES, "kustomization.yaml", "secrets.example.yaml"}
    assert {found["metadata"].get("namespace", "sporeprint") for found in OBJECTS} == {"sporeprint"}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_nothing_it_needs_not(name: str) -> None:
    spec = PODS[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        limits = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == limits
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", PODS)
def test_volumes_secrets_and_claims_are_there(name: str) -> None:
    found = KINDS[name]
    spec = PODS[name]["spec"]
    volumes = {volume["name"] for volume in spec["volumes"]} | {
        claim["metadata"]["name"] for claim in found["spec"].get("volumeClaimTemplates", [])
    }
    (container,) = spec["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert {"/work", "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    secret = next(volume["secret"] for volume in spec["volumes"] if "secret" in volume)
    keys = {item["key"] for item in secret["items"]}
    assert keys <= KINDS[f"Secret/{secret['secretName']}"]["stringData"].keys()
    files = {Path(entry["value"]).name for entry in container["env"] if entry["name"].endswith("_FILE")}
    assert files == keys
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume}
    assert all(f"PersistentVolumeClaim/{claim}" in KINDS for claim in claims)


def test_selectors_fit() -> None:
    labels = {name: template["metadata"]["labels"] for name, template in PODS.items()}
    api = KINDS["StatefulSet/api"]["spec"]
    wanted = [api["selector"]["matchLabels"], KINDS["PodDisruptionBudget/api"]["spec"]["selector"]["matchLabels"]]
    wanted += [KINDS[f"Service/{name}"]["spec"]["selector"] for name in ("api", "api-pods")]
    wanted += [KINDS["NetworkPolicy/api"]["spec"]["podSelector"]["matchLabels"]]
    assert all(selector.items() <= labels["StatefulSet/api"].items() for selector in wanted)
    assert api["serviceName"] == "api-pods"
    databases = KINDS["NetworkPolicy/databases"]["spec"]["podSelector"]["matchLabels"]
    assert all(databases.items() <= found.items() for found in labels.values())


def test_the_journal_outlives_a_pod() -> None:
    api = KINDS["StatefulSet/api"]["spec"]
    (claim,) = api["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in api["template"]["spec"]["containers"][0]["volumeMounts"]}
    environ = {entry["name"]: entry["value"] for entry in api["template"]["spec"]["containers"][0]["env"]}
    assert environ["SPOREPRINT_STORAGE__JOURNAL__FOLDER"].startswith(mounts[claim["metadata"]["name"]] + "/")
    assert api["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    # Twenty seconds of answers, and as long again for the journal.
    assert api["template"]["spec"]["terminationGracePeriodSeconds"] >= 45


@pytest.mark.parametrize("name", PODS)
def test_settings_and_addresses_are_understood(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = PODS[name]["spec"]["containers"]
    environ = {entry["name"]: entry["value"] for entry in container["env"]}
    for key, value in KINDS["Secret/sporeprint"]["stringData"].items():
        (tmp_path / key).write_text(value.replace("change-me", "a good one"), encoding="utf-8")
    here = {key: str(tmp_path / Path(value).name) if key.endswith("_FILE") else value for key, value in environ.items()}
    for key, value in here.items():
        monkeypatch.setenv(key, value)
    settings = load_settings(ROOT / "config/config.yaml")
    assert "@oltp:" in str(urls.oltp(settings.storage, tmp_path, here))
    if "SPOREPRINT_OLAP_URL" in here:
        assert "@olap:" in str(urls.olap(settings.storage, tmp_path, here))
    (tmp_path / Path(here["SPOREPRINT_OLTP_PASSWORD_FILE"]).name).write_text("change-me-x", encoding="utf-8")
    with pytest.raises(ConfigError, match="placeholder"):
        urls.oltp(settings.storage, tmp_path, here)


def test_images_have_the_version_of_the_project() -> None:
    images = documents("kustomization.yaml")[0]["images"]
    assert {image["newTag"] for image in images} == {__version__}
    assert {container["image"] for template in PODS.values() for container in template["spec"]["containers"]} == {
        image["name"] for image in images
    }
