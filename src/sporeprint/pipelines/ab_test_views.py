"""What is shown of an A/B test, as JSON values: the same for HTTP, the command line and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from sporeprint.ab_testing.decision import sentence_at_the_end
from sporeprint.safety.verdict import verdict_words
from sporeprint.settings import Settings
from sporeprint.storage.oltp import ab_disagreements, ab_interim_analyses, ab_tests, ab_unit_counts
from sporeprint.storage.oltp.ab_interim_analyses import InterimAnalysis
from sporeprint.storage.oltp.ab_tests import AbTest


def summary(test: AbTest) -> dict[str, Any]:
    """A test in a list."""
    return {
        "test_id": test.test_id,
        "name": test.name,
        "status": test.status,
        "verdict": test.verdict,
        "mode": test.design.mode.value,
        "model_a": test.a.ref,
        "model_b": test.b.ref,
        "traffic_split": test.design.traffic_split,
        "unit": test.design.unit,
        "metric": test.design.metric.value,
        "default_route": test.default_route,
        "created": iso(test.created_us),
        "concluded": None if test.concluded_us is None else iso(test.concluded_us),
    }


def listed(engine: Engine, tests: Sequence[AbTest]) -> list[dict[str, Any]]:
    """Tests in a list, each with what follows so far. Raises: as `describe`."""
    last = ab_interim_analyses.last_of(engine, [test.test_id for test in tests])
    return [
        {
            **summary(test),
            "margin": test.design.margin,
            "standing": _standing(test, last[test.test_id]) if test.test_id in last else None,
        }
        for test in tests
    ]


def _standing(test: AbTest, each: InterimAnalysis) -> dict[str, Any]:
    point = _path_point(each)
    same = {name: point[name] for name in ("at", "units", "labels", "gain", "low", "high")}
    return {**same, "verdict": point["decision"]["verdict"], "sentence": _last_decision(test, each)["sentence"]}


def _last_decision(test: AbTest, each: InterimAnalysis) -> dict[str, Any]:
    decision = dict(each.figures["decision"])
    return decision if test.running else {**decision, "sentence": sentence_at_the_end(decision["sentence"])}


def describe(engine: Engine, test: AbTest, settings: Settings, since_us: int = -1) -> dict[str, Any]:
    """All of a test: its summary, design, last interim analysis, the path of the earlier ones, and its events.

    Args:
        engine: of the OLTP database.
        test: the test.
        settings: the configuration.
        since_us: only later interim analyses and events in its path and history, microseconds since 1970 UTC.

    Raises:
        StorageUnavailableError, StorageError: the database cannot be used.
    """
    last = ab_interim_analyses.last(engine, test.test_id)
    return {
        **summary(test),
        "design": test.design.to_dict(),
        "independent": test.independent,
        "salt": test.salt,
        "manifests": {"a": test.a.sha256, "b": test.b.sha256},
        "answers": list(verdict_words(settings.dataset)),
        "awaiting_label": ab_disagreements.awaiting_label(engine, test.test_id),
        "unnamed_units": ab_unit_counts.unnamed(engine, test),
        "interim_analysis": None if last is None else {**_interim_analysis(last), "decision": _last_decision(test, last)},
        "interim_analyses": [_path_point(each) for each in ab_interim_analyses.all_of(engine, test.test_id, since_us)],
        "events": [{**asdict(event), "at": iso(event.at_us)} for event in ab_tests.events(engine, test.test_id, since_us)],
    }


def iso(microseconds: int) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _interim_analysis(each: InterimAnalysis) -> dict[str, Any]:
    return {"at": iso(each.at_us), "at_us": each.at_us, "units": each.units, "labels": each.labels, **each.figures}


def _path_point(each: InterimAnalysis) -> dict[str, Any]:
    """What the charts of a report are drawn from."""
    figures, totals = each.figures, each.figures["totals"]
    arms = [_units(totals[arm]) for arm in ("a", "b")] if "a" in totals else [each.units, each.units]
    return {
        "at": iso(each.at_us),
        "at_us": each.at_us,
        "units": each.units,
        "labels": each.labels,
        "units_a": arms[0],
        "units_b": arms[1],
        "log_e": figures["running"]["log_e"],
        "low": figures["running"]["low"],
        "high": figures["running"]["high"],
        "gain": figures["primary"]["gain"]["value"],
        "guardrails": [{"metric": one["guardrail"]["metric"], "status": one["status"]} for one in figures["guardrails"]],
        "decision": figures["decision"],
    }


def _units(arm: Mapping[str, Any]) -> int:
    return int(sum(arm["answers"]) + arm["failed"])
