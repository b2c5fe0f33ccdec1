"""What a candidate must show before an alias moves to it. (Bad challengers in whole runs: test_pipeline.py.)"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sporeprint import settings
from sporeprint.common.workdir import Workdir
from sporeprint.data.training_data import ModelInput, read_input
from sporeprint.errors import NotServableError
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.models.scorers import LinearScorer
from sporeprint.pipelines import promotion as release
from sporeprint.pipelines.candidate_files import read_candidates
from sporeprint.pipelines.evaluate import CONTEXT
from sporeprint.registry.registry import Registry
from sporeprint.reports.evaluation_report import metrics_dict
from sporeprint.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAME = "logistic_regression"


@pytest.fixture
def chosen(small_config: dict[str, Any]) -> Settings:
    return settings.parse(small_config)


@pytest.fixture
def data(chosen: Settings, small_run: Path) -> ModelInput:
    return read_input(chosen, Workdir(small_run))


@pytest.fixture
def context(small_run: Path) -> ReportContext:
    return CONTEXT.validate_json((small_run / "models/candidates/evaluation.json").read_bytes())


@pytest.fixture
def candidate(small_run: Path, data: ModelInput) -> Candidate:
    return read_candidates(small_run / "models/candidates", [NAME], data.record.run_id)[0]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models/registry")


def tuned(candidate: Candidate, data: ModelInput, factor: float) -> Candidate:
    """The same model with its scores on another scale; a factor below 0 turns it around."""
    assert isinstance(candidate.scorer, LinearScorer)
    scorer = LinearScorer(candidate.scorer.coefficients * factor, candidate.scorer.intercept * factor)
    scores = scorer.score(candidate.encoder.matrix(data.test.codes))
    return replace(candidate, scorer=scorer, scores=scores, reference=scores)


def registered(
    chosen: Settings, registry: Registry, data: ModelInput, candidate: Candidate, context: ReportContext
) -> release.Registration:
    metrics = metrics_dict(context)["models"][candidate.name]
    return release.register_candidate(chosen, registry, data, candidate, metrics, context, NOW)


def test_the_first_version_is_the_champion(
    chosen: Settings, registry: Registry, data: ModelInput, candidate: Candidate, context: ReportContext
) -> None:
    item = registered(chosen, registry, data, candidate, context)
    assert item == release.Registration(NAME, f"{NAME}/v1", created=True, champion=True, gate=None, reason="first version")
    again = registered(chosen, registry, data, candidate, context)
    assert again == replace(item, created=False, reason="nothing changed")


def test_as_good_a_challenger_becomes_champion(
    chosen: Settings, registry: Registry, data: ModelInput, candidate: Candidate, context: ReportContext
) -> None:
    registered(chosen, registry, data, candidate, context)
    generous = chosen.model_copy(update={"gate": chosen.gate.model_copy(update={"margin": 0.05})})
    item = registered(generous, registry, data, tuned(candidate, data, 1.5), context)
    assert (item.ref, item.champion) == (f"{NAME}/v2", True)
    assert item.gate is not None
    assert item.gate.reasons == (item.reason,)
    assert item.reason.startswith(f"accuracy +0.0000 against {NAME}/v1, at the least -0.0")
    assert item.reason.endswith("-0.0500 is allowed")
    assert registry.champion(NAME).ref == f"{NAME}/v2"


def test_a_worse_challenger_does_not(
    chosen: Settings, registry: Registry, data: ModelInput, candidate: Candidate, context: ReportContext
) -> None:
    registered(chosen, registry, data, candidate, context)
    item = registered(chosen, registry, data, tuned(candidate, data, -1.0), context)
    assert (item.ref, item.created, item.champion) == (f"{NAME}/v2", True, False)
    assert item.reason.startswith("accuracy -0.9")
    assert registry.champion(NAME).ref == f"{NAME}/v1"


def test_a_version_that_never_was_champion_stands_at_the_gate_again(
    chosen: Settings, registry: Registry, data: ModelInput, candidate: Candidate, context: ReportContext
) -> None:
    """As after a run that was killed between the two, or a version that somebody only tried."""
    generous = chosen.model_copy(update={"gate": chosen.gate.model_copy(update={"margin": 0.05})})
    registered(chosen, registry, data, candidate, context)
    other = tuned(candidate, data, 1.5)
    registry.register(release.bundle_of(generous, data, other, {}, context), now=NOW)
    assert registry.champion(NAME).ref == f"{NAME}/v1"
    item = registered(generous, registry, data, other, context)
    assert (item.ref, item.created, item.champion) == (f"{NAME}/v2", False, True)
    registry.rollback(NAME, reason="it answers oddly", now=NOW)
    item = registered(generous, registry, data, other, context)
    assert (item.champion, item.gate, item.reason) == (False, None, f"nothing changed; {NAME}/v1 stays champion")


def test_a_refused_version_is_refused_again(
    chosen: Settings, registry: Registry, data: ModelInput, candidate: Candidate, context: ReportContext
) -> None:
    registered(chosen, registry, data, candidate, context)
    first = registered(chosen, registry, data, tuned(candidate, data, -1.0), context)
    moved = registry.aliases()
    assert registered(chosen, registry, data, tuned(candidate, data, -1.0), context) == replace(first, created=False)
    assert registry.aliases() == moved


def test_served_scores_that_are_not_the_pipelines_are_not_registered(
    chosen: Settings, registry: Registry, data: ModelInput, candidate: Candidate, context: ReportContext
) -> None:
    off = replace(candidate, reference=candidate.reference + 1e-5)
    item = registered(chosen, registry, data, off, context)
    assert item.ref is None
    assert item.gate is not None
    assert not item.gate.passed
    assert item.reason == "served scores differ from the pipeline's by up to 1e-05, 1e-06 is allowed (gate.parity)"
    assert registry.names() == ()


def test_what_cannot_be_served_is_not_registered(
    chosen: Settings, registry: Registry, data: ModelInput, candidate: Candidate, context: ReportContext
) -> None:
    unservable = replace(candidate, scorer=None, not_servable="nobody can write it down")
    item = registered(chosen, registry, data, unservable, context)
    assert (item.ref, item.champion, item.reason) == (None, False, "nobody can write it down")
    with pytest.raises(NotServableError, match="nobody can write it down"):
        release.bundle_of(chosen, data, unservable, {}, context)
    assert release.choose_production(chosen, registry, data, [item], context, NOW) == (
        None,
        "no model of this run is servable and a champion",
    )


def test_a_version_for_another_table_passes_nowhere_and_stops_nobody(
    chosen: Settings, registry: Registry, data: ModelInput, candidate: Candidate, context: ReportContext, small_config: dict[str, Any]
) -> None:
    small_config["dataset"]["columns"]["stem-width"]["max"] = 400
    other = settings.parse(small_config)
    registered(other, registry, data, candidate, context)
    item = registered(chosen, registry, data, tuned(candidate, data, 1.5), context)
    assert item.champion
    assert item.reason == f"{NAME}/v1 is for another table, there is nothing to compare"
    back = release.gate(chosen, registry, data, f"{NAME}/v1", f"{NAME}/v2")
    assert (back.passed, back.reasons) == (False, (f"{NAME}/v1 is for another table: column 'stem-width': limits differ",))
    assert [(check.name, check.passed) for check in back.checks] == [("parity", True), ("contract", False)]


def test_where_a_version_comes_from_stands_in_its_manifest(
    chosen: Settings, data: ModelInput, candidate: Candidate, context: ReportContext
) -> None:
    bundle = release.bundle_of(chosen, data, candidate, {}, context)
    assert len(bundle.golden.rows) == len(bundle.golden.scores) == 64
    assert bundle.info["data_fingerprint"] == data.record.fingerprint
    assert bundle.info["seed"] == chosen.runtime.seed
    assert bundle.info["model"]["estimator"] == "sklearn.linear_model.LogisticRegression"
    assert bundle.info["libraries"].keys() >= {"numpy", "polars", "scikit-learn"}
    assert bundle.info["simulated"] is False
    assert "model_card.md" in bundle.extras


def test_pictures_are_stored_with_the_version(small_run: Path) -> None:
    version = small_run / "models/registry/xgboost/v1"
    for name in ("seen_against_unseen.svg", "importance_xgboost.svg"):
        assert (version / name).read_bytes() == (small_run / "models/metrics" / name).read_bytes()


def test_production_is_the_best_champion_by_the_rule(chosen: Settings, small_copy: Path, data: ModelInput, context: ReportContext) -> None:
    """The small run's production, chosen anew by other rules; the gate does not care where nothing was served before."""
    found = read_candidates(small_copy / "models/candidates", list(chosen.models), data.record.run_id)
    for metric, on in (("log_loss", "seen"), ("roc_auc", "unseen"), ("accuracy", "unseen")):
        ruled = chosen.model_copy(update={"selection": chosen.selection.model_copy(update={"metric": metric, "on": on})})
        registry = Registry(small_copy.parent / f"{metric}-{on}/registry")
        items = [registered(ruled, registry, data, candidate, context) for candidate in found]
        said = metrics_dict(context)["models"]
        best = (min if metric == "log_loss" else max)(said, key=lambda name: said[name][on][metric]["value"])
        assert release.choose_production(ruled, registry, data, items, context, NOW) == (f"{best}/v1", f"best {metric} on {on} rows")
        served = registry.production()
        assert served is not None
        assert served.ref == f"{best}/v1"
