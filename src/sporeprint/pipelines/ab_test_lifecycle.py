"""The life of an A/B test: creation, interim analyses, conclusion, promotion of the winner, rollback."""

import bisect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from sporeprint.ab_testing.analysis import NO_EXTREMES, analyse, extremes_from
from sporeprint.ab_testing.comparison import events_by_weight
from sporeprint.ab_testing.comparisons import check_horizon
from sporeprint.ab_testing.decision import Decision, Reason, Verdict, decide, sentence_at_the_end
from sporeprint.ab_testing.design import Design, Metric, Mode
from sporeprint.common.workdir import Workdir
from sporeprint.errors import DataError, RefusedError, RegistryError, SporeprintError, UsageError, nearest
from sporeprint.inference.model_bundle import schema_differences
from sporeprint.pipelines.ab_test_gate import check_arms
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import ab_interim_analyses, ab_tests, ab_unit_counts, migrate, predictions
from sporeprint.storage.oltp.ab_interim_analyses import InterimAnalysis
from sporeprint.storage.oltp.ab_tests import AbTest, AbTestConflictError, Event, PinnedVersion
from sporeprint.storage.oltp.ab_unit_counts import UnitCounter, VerdictCodes

#: Options of a test that are not part of its design.
FLAGS = ("independent", "default_route")
#: Events that end a winner's story. Without one of these, its promotion is still to come.
PROMOTED, REFUSED, ROLLED_BACK = "promoted", "promotion_refused", "rolled_back"
SETTLED = (PROMOTED, REFUSED, ROLLED_BACK)
WINNERS = ("A", "B")
#: Answers of A that its usual latency is taken from: of the last week, and at least so many.
HISTORY_US, LEAST_HISTORY = 7 * 86_400 * 1_000_000, 100

#: Promotes a version through the gate: (reference, reason, by whom). Raises what `training.promote` raises.
Promote = Callable[[str, str, str], object]


@dataclass(frozen=True)
class AbTestStatus:
    """A test after an interim analysis.

    Attributes:
        test: as it is stored afterwards.
        interim_analysis: the figures.
        decision: what the test's rule concludes from them.
    """

    test: AbTest
    interim_analysis: InterimAnalysis
    decision: Decision


@dataclass(frozen=True)
class ExperimentService:
    """Runs A/B tests.

    All methods raise `StorageUnavailableError` or `StorageError` if the database cannot be used; trying again is harmless.

    Attributes:
        settings: the configuration.
        root: the work directory.
        engine: of the OLTP database.
        promote: puts a version into production, through the gate.
        clock: microseconds since 1970 UTC.
    """

    settings: Settings
    root: Path
    engine: Engine
    promote: Promote
    clock: Callable[[], int] = lambda: time.time_ns() // 1000

    @property
    def registry(self) -> Registry:
        """The registry of the work directory."""
        return Registry(Workdir(self.root).registry)

    @property
    def counter(self) -> UnitCounter:
        """Counts the units of the running tests."""
        return UnitCounter(self.engine, VerdictCodes.of(self.settings.dataset), self.clock)

    # --- creation ---

    def create(self, fields: Mapping[str, Any], *, actor: str) -> AbTest:
        """Create a test, which runs from now on. Fields that are left out have the configuration's values.

        Args:
            fields: of `Design`, and `independent`, `default_route`; models by name, version or registered path.
            actor: who creates it, for the audit log.

        Raises:
            UsageError: a field is unknown, missing or not allowed, or the two models are the same version.
            RegistryError: there is no such model.
            DataError: a model has another schema.
            RefusedError: a model of a test on the default route does not pass the gate.
            ConflictError: the name was used before, or a running test stands in the way.
        """
        values = {**fields}
        flags = {name: _boolean(name, values.pop(name, False)) for name in FLAGS}
        design = design_of(self.settings, values)
        registry = self.registry
        a, b = (_pinned(registry, name, ref) for name, ref in (("model_a", design.model_a), ("model_b", design.model_b)))
        if (a.model, a.version) == (b.model, b.version):
            raise UsageError(f"model_a and model_b are both {a.ref}: a test compares two different versions")
        for pinned in (a, b):
            if differences := schema_differences(self.settings.dataset, registry.load(pinned.ref).schema):
                raise DataError(f"{pinned.ref} has another schema, so that it cannot take part: {'; '.join(differences)}")
        _check_unit(design.unit, self.settings)
        design = self._with_latency_limit(replace(design, model_a=a.ref, model_b=b.ref), a)
        _check_margins(design)
        check_horizon(design)
        if flags["default_route"]:  # in a shadow test, B answers nobody
            check_arms(self.settings, self.root, [a.ref] if design.mode is Mode.SHADOW else [a.ref, b.ref])
        return ab_tests.create(self.engine, design, a, b, now_us=self.clock(), actor=actor, **flags)

    def _with_latency_limit(self, design: Design, a: PinnedVersion) -> Design:
        """The design with a limit for slow answers, where it compares latencies: by default A's 90th percentile of the last week."""
        if Metric.LATENCY not in design.metrics:
            return design
        latencies = predictions.recent_latencies(self.engine, a.model, a.version, self.clock() - HISTORY_US)
        limit = design.latency_limit_ms
        if len(latencies) < LEAST_HISTORY:
            if limit is None:
                raise UsageError(
                    "latency_limit_ms is missing: an answer that takes longer is slow. Its default is the 90th percentile of the last 7 "
                    f"days, but {a.ref} has given {len(latencies)} answers (at least {LEAST_HISTORY} are needed)"
                )
            return design
        if limit is None:
            return replace(design, latency_limit_ms=max(latencies[int(0.9 * len(latencies))], 1) / 1e3)
        slow = len(latencies) - bisect.bisect_right(latencies, limit * 1e3)
        if slow in (0, len(latencies)):
            share = "none" if slow == 0 else "all"
            low, high = latencies[0] / 1e3, latencies[-1] / 1e3
            raise UsageError(
                f"latency_limit_ms is {limit:g}: {share} of the last {len(latencies):,} answers of {a.ref} took longer: nothing can "
                f"be seen; they took {low:g} to {high:g} ms, half of them more than {latencies[len(latencies) // 2] / 1e3:g} ms"
            )
        return design

    # --- interim analyses ---

    def analyse(self, test: AbTest) -> AbTestStatus:
        """Analyse a test as it is counted so far, and store the interim analysis."""
        last = ab_interim_analyses.last(self.engine, test.test_id)
        before = extremes_from(last.figures["extremes"]) if last else NO_EXTREMES
        now_us, totals = self.clock(), ab_unit_counts.totals(self.engine, test)
        analysis = analyse(test.design, totals, (now_us - test.created_us) / 1e6, before)
        decision = decide(analysis)
        figures = {name: value for name, value in analysis.to_dict().items() if name != "design"}
        figures["decision"] = {"verdict": decision.verdict.value, "reason": decision.reason.value, "sentence": decision.sentence}
        interim = InterimAnalysis(now_us, totals.units, totals.labels, figures)
        ab_interim_analyses.add(self.engine, test.test_id, interim)
        return AbTestStatus(test, interim, decision)

    def refresh(self, name: str) -> AbTest:
        """A test by its name or id. One that runs is counted and analysed first.

        Raises:
            UsageError: there is no such test.
        """
        test = ab_tests.get(self.engine, name)
        if test.running:
            self.counter.count(ab_tests.running(self.engine))
            self.analyse(test)
        return test

    def evaluate(self, *, actor: str) -> tuple[AbTestStatus, ...]:
        """Count, analyse every running test, end those that their rule ends, and promote winners."""
        tests = ab_tests.running(self.engine)
        self.counter.count(tests)
        statuses = tuple(self._apply_rule(self.analyse(test), actor) for test in tests)
        self.promote_winners(actor=actor)
        return statuses

    def _apply_rule(self, status: AbTestStatus, actor: str) -> AbTestStatus:
        breach = status.decision.reason is Reason.GUARDRAIL
        if not status.decision.ends or not (breach or status.test.design.auto_conclude):
            return status
        verdict, event = status.decision.verdict.value, "stopped" if breach else "concluded"
        try:
            return replace(status, test=self._end(status.test, verdict, actor, _details(status), event))
        except AbTestConflictError:  # somebody ended it meanwhile
            return replace(status, test=ab_tests.get(self.engine, status.test.test_id))

    # --- conclusion ---

    def conclude(self, name: str, *, winner: str | None, actor: str, reason: str | None = None) -> AbTest:
        """End a test by hand: with a winner of one's own, or with what its rule concludes now. If B wins, it is promoted.

        Args:
            name: of the test, or its id.
            winner: A or B; None: what the rule says.
            actor: who ends it, for the audit log.
            reason: why; needed where the winner is not what the rule says, which is then written down as forced.

        Raises:
            UsageError: there is no such test, no such winner, or no reason to go against the rule.
            ConflictError: it has ended already.
        """
        if winner is not None and winner not in WINNERS:
            raise UsageError(f"winner is {winner[:40]!r}; allowed: {', '.join(WINNERS)}, or left out: then the rule decides")
        test = ab_tests.get(self.engine, name)
        if not test.running:
            raise AbTestConflictError(
                f"the test {test.name!r} is concluded already, its verdict is {test.verdict!r}; a verdict is not changed"
            )
        self.counter.count(ab_tests.running(self.engine))
        status = self.analyse(test)
        by_rule = (status.decision.verdict if status.decision.ends else Verdict.INCONCLUSIVE).value
        verdict = winner.lower() if winner else by_rule
        forced, why = verdict != by_rule, (reason or "").strip() or None
        if forced and why is None:
            raise UsageError(f"reason is missing: {winner} is not what the test's rule says ({status.decision.sentence}); say why")
        reasons = {} if why is None else {"why": why}
        details = {**_details(status), "sentence": sentence_at_the_end(status.decision.sentence), "forced": forced, **reasons}
        ended = self._end(test, verdict, actor, details, "concluded")
        self.promote_winners(actor=actor, only=ended)
        return ab_tests.get(self.engine, ended.test_id)

    def _end(self, test: AbTest, verdict: str, actor: str, details: Mapping[str, Any], event: str) -> AbTest:
        return ab_tests.conclude(self.engine, test, verdict, now_us=self.clock(), actor=actor, details=details, event=event)

    # --- promotion ---

    def promote_winners(self, *, actor: str, only: AbTest | None = None) -> None:
        """Promote winners that have not been promoted yet, because a process was killed or another run held the work directory."""
        for test in ab_tests.without_event(self.engine, Verdict.B.value, SETTLED):
            if only is None or test.test_id == only.test_id:
                self._promote(test, actor)

    def has_pending_promotion(self) -> bool:
        """Whether a winner is still to be promoted."""
        return bool(ab_tests.without_event(self.engine, Verdict.B.value, SETTLED, limit=1))

    def _promote(self, test: AbTest, actor: str) -> None:
        registry, ref = self.registry, test.b.ref
        try:
            before = registry.production()
            champion = registry.champion(test.b.model)
            if registry.resolve(ref).manifest != test.b.sha256:
                raise RegistryError(f"{ref} is not the version that was tested: its manifest is another one")
            if before is None or before.ref != ref:
                self.promote(ref, f"won the A/B test {test.name}", f"ab-test:{test.name}")
        except SporeprintError as error:
            if error.retryable:  # another run moves aliases just now: the next evaluation tries again
                return
            kind = "the gate refuses it" if isinstance(error, RefusedError) else "it cannot be promoted"
            details: dict[str, Any] = {"ref": ref, "reason": f"{kind}: {error}"}
            ab_tests.add_event(self.engine, test.test_id, Event(self.clock(), actor, REFUSED, details), audited=True)
            return
        details = {"ref": ref, "production_before": before.ref if before else None, "champion_before": champion.ref}
        ab_tests.add_event(self.engine, test.test_id, Event(self.clock(), actor, PROMOTED, details), audited=True)

    def rollback(self, name: str, *, reason: str, actor: str) -> str | None:
        """Take back the promotion of a test's winner. Returns the version in production afterwards.

        Raises:
            UsageError: there is no such test.
            ConflictError: its winner was not promoted, or something else is in production by now.
        """
        test = ab_tests.get(self.engine, name)
        events = ab_tests.events(self.engine, test.test_id)
        promotions = [event for event in events if event.event == PROMOTED]
        if not promotions or any(event.event == ROLLED_BACK for event in events):
            raise AbTestConflictError(f"the test {test.name!r} has no promotion to take back: its verdict is {test.verdict!r}")
        registry, promotion, now = self.registry, promotions[-1].details, datetime.fromtimestamp(self.clock() / 1e6, UTC)
        production = registry.production()
        if production is None or production.ref != test.b.ref:
            has = "nothing" if production is None else production.ref
            raise AbTestConflictError(
                f"{has} is served by now, not {test.b.ref}: there is nothing to take back; see: sporeprint models rollback"
            )
        by = f"ab-test:{test.name}"
        if promotion["production_before"] not in (None, test.b.ref):
            registry.set_production(promotion["production_before"], reason=reason, now=now, by=by)
        if promotion["champion_before"] != test.b.ref:
            registry.promote(test.b.model, int(promotion["champion_before"].rpartition("/v")[2]), reason=reason, now=now, by=by)
        after = registry.production()
        details = {"production": after.ref if after else None, "reason": reason}
        ab_tests.add_event(self.engine, test.test_id, Event(self.clock(), actor, ROLLED_BACK, details), audited=True)
        return after.ref if after else None

    def is_simulated(self, ref: str) -> bool:
        """Whether a version was trained on simulated rows; False if it is gone."""
        try:
            return bool(self.registry.show(ref)["info"].get("simulated"))
        except RegistryError:
            return False


@contextmanager
def experiment_service(settings: Settings, root: Path) -> Iterator[ExperimentService]:
    """A service over the database of a work directory. Winners are promoted in this process.

    Raises:
        StorageError, StorageUnavailableError: the database cannot be used.
    """
    from sporeprint.pipelines.register import run_promote  # loads every library there is, which a server does not need

    engine = connect(urls.oltp(settings.storage, root))
    try:
        migrate.prepare(engine)
        yield ExperimentService(settings, root, engine, lambda ref, reason, by: run_promote(settings, root, ref, reason=reason, by=by))
    finally:
        engine.dispose()


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {str(value)[:40]!r}; allowed: true, false")
    return value


def design_of(settings: Settings, fields: Mapping[str, Any]) -> Design:
    """The design of a test; fields that are left out have the configuration's values. Raises: UsageError."""
    defaults = settings.ab_testing.model_dump(exclude={"evaluate_every_s"})
    guarded = defaults["guardrails"].items()
    defaults["guardrails"] = [{"metric": metric, "margin": margin, "prove": False} for metric, margin in guarded]
    if fields.get("mode", defaults["mode"]) == "shadow" and "unit" not in fields:
        # Both versions answer every request, so that no person has to keep an arm: the unit is the row, unless a header names another.
        defaults["unit"] = "prediction"
    try:
        return Design.from_dict({**defaults, **fields})
    except (TypeError, ValueError, AttributeError):
        raise UsageError("a field of the test has a value of another kind than it should: see GET /openapi.json, or --help") from None


def _check_margins(design: Design) -> None:
    margins = [("margin", design.metric, design.margin), ("equivalence", design.metric, design.equivalence)]
    margins += [(f"margin of the guardrail {one.metric.value}", one.metric, one.margin) for one in design.guardrails]
    for name, metric, value in margins:
        if value >= (most := max(events_by_weight(metric, design.costs))):
            raise UsageError(f"{name} is {value:g}: no versions differ by so much in {metric.value}; it has to be below {most:g}")


def _pinned(registry: Registry, name: str, ref: Any) -> PinnedVersion:
    if not isinstance(ref, str):
        raise UsageError(f"{name} is {str(ref)[:40]!r}: name a version, such as xgboost/v2")
    version = registry.resolve(ref)
    return PinnedVersion(version.name, version.version, version.manifest)


def _check_unit(unit: str, settings: Settings) -> None:
    kind, _, column = unit.partition(":")
    if kind == "field" and column not in settings.dataset.columns:
        near = nearest(column, settings.dataset.columns)
        raise UsageError(f"unit is {unit!r}: no such column{near}; there are {', '.join(settings.dataset.columns)}")


def _details(status: AbTestStatus) -> dict[str, Any]:
    decision, interim = status.decision, status.interim_analysis
    return {"reason": decision.reason.value, "sentence": decision.sentence, "units": interim.units, "labels": interim.labels}
