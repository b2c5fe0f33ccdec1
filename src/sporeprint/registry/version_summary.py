"""What is known of every registered version, without loading one: its manifest and its metrics, each read once."""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sporeprint.errors import RegistryError
from sporeprint.messages.version_details import MetricEstimate, Part, VerdictCounts, VersionPart
from sporeprint.registry.manifest import MANIFEST, Manifest, VersionRef, read_checked, read_manifest
from sporeprint.registry.registry import Registry
from sporeprint.safety.decision_rule import DecisionRule

METRICS = "metrics.json"
PARTS: tuple[Part, ...] = ("seen", "unseen")
#: Counts of what was answered on a part: rows, answered, correct, false negatives, answered negative, positives.
COUNTS = 6
#: Decision rules that are remembered.
RULES = 8


@dataclass(frozen=True)
class VersionSummary:
    """One version.

    Attributes:
        ref: as in xgboost/v2.
        name: of the model.
        version: N of v<N>.
        digest: sha256 of its manifest; empty for a damaged one.
        manifest: its manifest; None for a damaged one.
        metrics: its metrics; empty for a damaged one.
        problem: what is wrong with it; None where nothing is.
    """

    ref: str
    name: str
    version: int
    digest: str = ""
    manifest: Manifest | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None

    @property
    def info(self) -> Mapping[str, Any]:
        """Where it comes from; empty for a damaged version."""
        return {} if self.manifest is None else self.manifest.info

    @property
    def is_simulated(self) -> bool:
        """Whether it was trained on invented rows."""
        return bool(self.info.get("simulated"))

    @cached_property
    def parts(self) -> tuple[VersionPart, ...]:
        """How it did on each part of the test rows; none for a damaged version."""
        return () if self.problem is not None else tuple(_part(self.metrics, part) for part in PARTS)


def _part(metrics: Mapping[str, Any], part: Part) -> VersionPart:
    card, answers = metrics.get(part) or {}, metrics.get("answers") or {}
    key = next((name for name in answers if name == part or (name.startswith(f"{part}_") and isinstance(answers[name], dict))), part)
    estimates = {
        name: MetricEstimate(value=each["value"], low=each["low"], high=each["high"])
        for name, each in card.items()
        if isinstance(each, dict) and {"value", "low", "high"} <= set(each)
    }
    unavailable = None if estimates else card.get("reason", "it was not evaluated")
    return VersionPart(part=part, metrics=estimates, verdicts=_counts(answers.get(key) or {}), unavailable=unavailable)


def _counts(answers: Mapping[str, Any]) -> VerdictCounts | None:
    """Counts, of which two are named by words of the table's classes, so that their order says what they are."""
    numbers = [value for value in answers.values() if type(value) is int]
    if len(numbers) < COUNTS:
        return None
    rows, answered, correct, missed, _, positives = numbers[:COUNTS]
    return VerdictCounts(rows=rows, answered=answered, correct=correct, positives=positives, false_negatives=missed)


class VersionSummaries:
    """Summaries of one registry. A version never changes, so that each is read once, as long as its manifest is the same file."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._guard = threading.Lock()
        self._by_ref: dict[str, tuple[tuple[int, int, int], VersionSummary]] = {}
        self._rules: OrderedDict[str, DecisionRule] = OrderedDict()

    def of(self, name: str, version: int) -> VersionSummary:
        """One version; for a damaged one the problem."""
        ref = f"{name}/v{version}"
        try:
            stat = (self._registry.root / name / f"v{version}" / MANIFEST).stat()
        except OSError as error:
            return VersionSummary(ref, name, version, problem=f"{MANIFEST} cannot be read: {error.strerror}")
        signature = stat.st_mtime_ns, stat.st_ino, stat.st_size
        with self._guard:
            known = self._by_ref.get(ref)
        if known is not None and known[0] == signature:
            return known[1]
        summary = self._read(ref, name, version)
        if summary.problem is None:  # what is damaged may be mended without its manifest
            with self._guard:
                self._by_ref[ref] = signature, summary
        return summary

    def of_model(self, name: str) -> tuple[VersionSummary, ...]:
        """All versions of a model, the oldest first; none for an unknown name."""
        return tuple(self.of(name, version) for version in self._registry.versions(name))

    def rule(self, summary: VersionSummary) -> DecisionRule:
        """The decision rule of a sound version; those of a few versions are remembered. Raises: RegistryError."""
        with self._guard:
            if (known := self._rules.get(summary.digest)) is not None:
                self._rules.move_to_end(summary.digest)
                return known
        parts = () if summary.manifest is None else summary.manifest.parts
        rule = DecisionRule.from_files({name: self._registry.read(summary.ref, name) for name in parts})
        with self._guard:
            self._rules[summary.digest] = rule
            while len(self._rules) > RULES:
                self._rules.popitem(last=False)
        return rule

    def _read(self, ref: str, name: str, version: int) -> VersionSummary:
        try:
            version_ref: VersionRef = self._registry.resolve(ref)
            manifest = read_manifest(version_ref)
            metrics = json.loads(read_checked(version_ref, METRICS, manifest))
        except RegistryError as error:
            return VersionSummary(ref, name, version, problem=str(error))
        return VersionSummary(ref, name, version, version_ref.manifest, manifest, metrics)
