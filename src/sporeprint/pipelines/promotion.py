"""From candidates to what is served: a version each, and aliases that move only through the gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from sporeprint import __version__
from sporeprint.common.workdir import Workdir
from sporeprint.data.dataset import to_rows
from sporeprint.data.training_data import ModelInput, read_input
from sporeprint.errors import NotServableError
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.model_comparison import best_model, compare_models
from sporeprint.inference.model_bundle import Bundle, GoldenRows, check_parity, schema_differences
from sporeprint.registry.aliases import PRODUCTION
from sporeprint.registry.manifest import VersionRef
from sporeprint.registry.registry import Registry
from sporeprint.reports.evaluation_charts import evaluation_charts
from sporeprint.reports.model_card import render_card
from sporeprint.settings import Settings
from sporeprint.web.charts import svg_file

#: Test rows stored with every version, on which the served scores are held against the pipeline's.
GOLDEN_ROWS = 64
#: Why a version of invented rows is not promoted.
UNASKED = "trained on SIMULATED data: no alias moves to it without --allow-simulated"


@dataclass(frozen=True)
class GateCheck:
    """One check of the gate.

    Attributes:
        name: which one.
        passed: whether it holds.
        value: what was measured; None where nothing is measured.
        limit: what is allowed; None where nothing is measured.
        reason: the same as a sentence.
    """

    name: Literal["parity", "contract", "accuracy"]
    passed: bool
    value: float | None
    limit: float | None
    reason: str


@dataclass(frozen=True)
class Gate:
    """What a version had to show before an alias moved to it.

    Attributes:
        passed: whether it may.
        reasons: what decided it, as sentences.
        checks: every check that was made, in their order.
    """

    passed: bool
    reasons: tuple[str, ...]
    checks: tuple[GateCheck, ...] = ()

    @classmethod
    def of(cls, *checks: GateCheck) -> Self:
        """From its checks: the first that does not hold is the last that is made, and decides."""
        return cls(all(check.passed for check in checks), (checks[-1].reason,), checks)


@dataclass(frozen=True)
class Registration:
    """What became of one candidate.

    Attributes:
        name: the model.
        ref: its version, as in xgboost/v2; None if it cannot be served.
        created: whether the version is new.
        champion: whether it is its model's champion now.
        gate: how it did at the gate; None where there was nothing to decide.
        reason: why it is not servable, or not the champion.
    """

    name: str
    ref: str | None
    created: bool
    champion: bool
    gate: Gate | None
    reason: str


def register_candidate(
    settings: Settings,
    registry: Registry,
    data: ModelInput,
    candidate: Candidate,
    metrics: Mapping[str, Any],
    context: ReportContext,
    now: datetime,
    *,
    promote: bool = True,
    allow_simulated: bool = False,
) -> Registration:
    """Give a candidate a version, and make it its model's champion if it passes the gate; without `promote`, a version only.

    A candidate that is identical to an earlier version adds nothing, and if that version has ever been champion it moves nothing:
    who rolled it back meant it. One that never was, because a run was killed or somebody only tried it, stands at the gate again.
    """
    if candidate.scorer is None:
        return Registration(candidate.name, None, created=False, champion=False, gate=None, reason=str(candidate.not_servable))
    bundle = bundle_of(settings, data, candidate, metrics, context)
    if not (parity := _parity(settings, bundle)).passed:
        return Registration(candidate.name, None, created=False, champion=False, gate=Gate.of(parity), reason=parity.reason)
    first = not registry.versions(candidate.name)
    done = registry.register(bundle, now=now, by=context.run_id)
    champion = registry.champion(candidate.name)
    if not promote:
        same = done.ref == champion.ref
        return Registration(
            candidate.name, done.ref, created=done.created, champion=same, gate=None, reason="not held against the gate yet"
        )
    if done.ref == champion.ref or any(move.to == done.ref for move in registry.history(candidate.name)):
        same = done.ref == champion.ref
        reason = "first version" if first else "nothing changed" if same else f"nothing changed; {champion.ref} stays champion"
        return Registration(candidate.name, done.ref, created=done.created, champion=same, gate=None, reason=reason)
    if data.record.simulated and not allow_simulated:
        return Registration(candidate.name, done.ref, created=done.created, champion=False, gate=None, reason=UNASKED)
    held = gate(settings, registry, data, done.ref, champion.ref)
    reason = "; ".join(held.reasons)
    if held.passed:
        registry.promote(
            candidate.name, int(done.ref.rpartition("/v")[2]), reason=reason, now=now, by=context.run_id, allow_simulated=allow_simulated
        )
    return Registration(candidate.name, done.ref, created=done.created, champion=held.passed, gate=held, reason=reason)


def _undecided(registry: Registry, item: Registration, context: ReportContext) -> bool:
    """Whether this evaluation made a version and has not decided what is served: it was killed, or asked for the version only."""
    if item.ref is None or any(move.by == context.run_id for move in registry.history(PRODUCTION)):
        return False
    return bool(registry.show(item.ref)["info"].get("run_id") == context.run_id)


def bundle_of(settings: Settings, data: ModelInput, candidate: Candidate, metrics: Mapping[str, Any], context: ReportContext) -> Bundle:
    """Gather a candidate with everything that is stored with a version.

    Raises:
        NotServableError: if the candidate cannot be served.
    """
    if candidate.scorer is None:
        raise NotServableError(str(candidate.not_servable))
    chosen = np.unique(np.linspace(0, len(data.test.y) - 1, GOLDEN_ROWS).astype(int))
    golden = GoldenRows(tuple(to_rows(data.test.codes.take(chosen))), tuple(candidate.reference[chosen].tolist()))
    charts, pictures = evaluation_charts(context), ("seen_against_unseen", f"importance_{candidate.name}")
    return Bundle(
        name=candidate.name,
        encoder=candidate.encoder,
        scorer=candidate.scorer,
        schema=settings.dataset,
        golden=golden,
        parts=candidate.parts,
        info={
            "created": context.created,
            "run_id": context.run_id,
            "data_run": candidate.data_run,
            "data_fingerprint": data.record.fingerprint,
            "simulated": data.record.simulated,
            "csv": settings.source.csv.model_dump(mode="json", exclude_defaults=True),
            "seed": settings.runtime.seed,
            "model": dict(candidate.settings),
            "rounds": candidate.rounds,
            "fit_seconds": candidate.fit_seconds,
            "notes": list(candidate.notes),
            "sporeprint": __version__,
            "libraries": dict(context.libraries),
        },
        metrics=metrics,
        extras={
            "model_card.md": render_card(context, candidate.name).encode(),
            **{f"{name}.svg": svg_file(charts[name]).encode() for name in pictures if name in charts},
        },
    )


def gate(settings: Settings, registry: Registry, data: ModelInput, challenger: str, champion: str) -> Gate:
    """Hold a version against the one it would replace, on the current test rows, both in the form that is served."""
    new, old = registry.load(challenger, threads=settings.threads), registry.load(champion, threads=settings.threads)
    if not (parity := _parity(settings, new)).passed:
        return Gate.of(parity)
    differences = schema_differences(settings.dataset, new.schema)
    says = f"{challenger} is for another table: {'; '.join(differences)}" if differences else f"{challenger} is for the configured table"
    contract = GateCheck("contract", not differences, None, None, says)
    if differences:
        return Gate.of(parity, contract)
    if schema_differences(settings.dataset, old.schema):
        return Gate.of(
            parity, contract, GateCheck("accuracy", True, None, None, f"{champion} is for another table, there is nothing to compare")
        )
    scores = {bundle_ref: bundle.probability(data.test.codes) for bundle_ref, bundle in ((challenger, new), (champion, old))}
    comparison = compare_models(data.test.y, scores, confidence=settings.evaluation.confidence)[0]
    value, low, limit = comparison.difference.value, comparison.difference.low, -settings.gate.margin
    sentence = f"accuracy {value:+.4f} against {champion}, at the least {low:+.4f}, {limit:+.4f} is allowed"
    return Gate.of(parity, contract, GateCheck("accuracy", low >= limit, low, limit, sentence))


def _parity(settings: Settings, bundle: Bundle) -> GateCheck:
    """Whether the served scores are those of the training pipeline."""
    parity, limit = check_parity(bundle), settings.gate.parity
    reason = f"served scores differ from the pipeline's by up to {parity:.2g}, {limit:.2g} is allowed (gate.parity)"
    return GateCheck("parity", parity <= limit, parity, limit, reason)


def choose_production(
    settings: Settings,
    registry: Registry,
    data: ModelInput,
    items: Sequence[Registration],
    context: ReportContext,
    now: datetime,
    *,
    allow_simulated: bool = False,
) -> tuple[str | None, str]:
    """Serve the best of the champions by the stated rule, if it passes the gate against what is served now.

    Returns:
        The version that is served, None if there is none, and why.
    """
    champions = {item.name: context.evaluations[item.name] for item in items if item.champion}
    served = registry.production()
    if served is not None and not any(
        item.created or (item.champion and item.gate is not None) or _undecided(registry, item, context) for item in items
    ):
        return served.ref, "nothing changed"
    if not champions:
        return (None if served is None else served.ref), "no model of this run is servable and a champion"
    if data.record.simulated and not allow_simulated:
        return (None if served is None else served.ref), UNASKED
    chosen = registry.champion(best_model(champions, settings.selection)).ref
    rule = f"best {settings.selection.metric} on {settings.selection.on} rows"
    if served is not None and served.ref != chosen:
        held = gate(settings, registry, data, chosen, served.ref)
        if not held.passed:
            return served.ref, f"{chosen} has the {rule}, but does not pass the gate: {'; '.join(held.reasons)}"
    registry.set_production(chosen, reason=rule, now=now, by=context.run_id, allow_simulated=allow_simulated)
    return chosen, rule


def replaced(registry: Registry, version: VersionRef, *, production: bool) -> tuple[str, ...]:
    """The versions that a promotion would replace, which are those that the gate compares: champion, and what is served."""
    served = registry.production() if production else None
    refs = [registry.champion(version.name).ref, *([] if served is None else [served.ref])]
    return tuple(ref for ref in dict.fromkeys(refs) if ref != version.ref)


def check_promotion(settings: Settings, root: Path, ref: str, *, production: bool = True) -> Mapping[str, Gate]:
    """What the gate would say to a promotion, by the version that it would replace: nothing moves, and no run begins.

    Raises:
        RegistryError: if there is no such version.
        DataError: if no data is loaded to compare it with the version it would replace.
    """
    workdir = Workdir(root)
    registry, data = Registry(workdir.registry), read_input(settings, workdir)
    version = registry.resolve(ref)
    return {old: gate(settings, registry, data, version.ref, old) for old in replaced(registry, version, production=production)}
