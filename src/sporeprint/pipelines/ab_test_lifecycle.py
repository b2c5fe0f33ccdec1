"""A/B tests from the first call to the last: made, looked at, ended, their winner promoted, and taken back."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from sporeprint.ab_testing.analysis import NO_LOOKS, analyse, extremes_from
from sporeprint.ab_testing.decision import Decision, Reason, Verdict, decide
from sporeprint.ab_testing.design import Design
from sporeprint.common.workdir import Workdir
from sporeprint.errors import DataError, RefusedError, RegistryError, SporeprintError, UsageError, nearest
from sporeprint.inference.model_bundle import schema_differences
from sporeprint.registry.registry import Registry
from sporeprint.safety.verdict import verdict_words
from sporeprint.settings import Settings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import ab_tests, ab_unit_counts, migrate
from sporeprint.storage.oltp.ab_tests import AbTest, ConflictError, Event, Pinned
from sporeprint.storage.oltp.ab_unit_counts import Counter, Look, Words

#: What is said of a test beside its design.
BESIDE = ("independent", "default_route")
#: What became of a winner. Without one of these, its promotion is still to come.
PROMOTED, REFUSED = "promoted", "promotion_refused"
ROLLED_BACK = "rolled_back"
DONE = (PROMOTED, REFUSED, ROLLED_BACK)
WINNERS = ("A", "B")

#: From a version, a reason and a name to its promotion through the gate; raises what `pipeline.promote` raises.
Promote = Callable[[str, str, str], object]


@dataclass(frozen=True)
class Seen:
    """A look that was just taken.

    Attributes:
        test: as it stands after it.
        look: what was seen.
        decision: what follows.
    """

    test: AbTest
    look: Look
    decision: Decision


@dataclass(frozen=True)
class Lab:
    """What is needed to run tests.

    Attributes:
        settings: all of them.
        root: the work directory.
        engine: of the OLTP database.
        promote: makes a version what is served, through the gate.
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
    def counter(self) -> Counter:
        """Counts for the running tests."""
        return Counter(self.engine, Words.of(self.settings.dataset), self.clock)


@contextmanager
def opened(settings: Settings, root: Path) -> Iterator[Lab]:
    """A lab over the database of a work directory; what wins is promoted in this process.

    Raises:
        StorageError, StorageUnavailableError: the database cannot be used.
    """
    from sporeprint.pipelines.register import run_promote  # loads every library there is, which a server does not need

    engine = connect(urls.oltp(settings.storage, root))
    try:
        migrate.prepare(engine)
        yield Lab(settings, root, engine, lambda ref, reason, by: run_promote(settings, root, ref, reason=reason, by=by))
    finally:
        engine.dispose()


# --- making --------------------------------------------------------------------------------------------------------------


def create(lab: Lab, given: Mapping[str, Any], *, actor: str) -> AbTest:
    """Make a test. What is left out comes from the configuration.

    Args:
        lab: where.
        given: fields of `Design`, `independent`, `default_route`; the models by name, version or registered path.
        actor: who.

    Raises:
        UsageError: a field is unknown, missing or not allowed, or the two models are the same version.
        RegistryError: there is no such model.
        DataError: a model is for another table.
        ConflictError: the name was used, or a running test stands in the way.
    """
    known = {**given}
    flags = {name: _flag(name, known.pop(name, False)) for name in BESIDE}
    design = _design(lab.settings, known)
    registry = lab.registry
    a, b = (_pinned(registry, name, ref) for name, ref in (("model_a", design.model_a), ("model_b", design.model_b)))
    if (a.model, a.version) == (b.model, b.version):
        raise UsageError(f"model_a and model_b are both {a.ref}: a test compares two different versions")
    for pinned in (a, b):
        if differences := schema_differences(lab.settings.dataset, registry.load(pinned.ref).schema):
            raise DataError(f"{pinned.ref} is for another table, so that it cannot take part: {'; '.join(differences)}")
    _check_unit(design.unit, lab.settings)
    design = replace(design, model_a=a.ref, model_b=b.ref)
    return ab_tests.create(lab.engine, design, a, b, now_us=lab.clock(), actor=actor, **flags)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {str(value)[:40]!r}; allowed: true, false")
    return value


def _design(settings: Settings, given: Mapping[str, Any]) -> Design:
    defaults = settings.ab_testing.model_dump(exclude={"look_s"})
    guarded = defaults["guardrails"].items()
    defaults["guardrails"] = [{"metric": metric, "margin": margin, "prove": False} for metric, margin in guarded]
    if given.get("mode", defaults["mode"]) == "shadow" and "unit" not in given:
        # Both versions answer every request: nothing has to be kept together.
        defaults["unit"] = "prediction"
    try:
        return Design.from_dict({**defaults, **given})
    except (TypeError, ValueError, AttributeError):
        raise UsageError("a field of the test has a value of another kind than it should: see GET /openapi.json, or --help") from None


def _pinned(registry: Registry, name: str, ref: Any) -> Pinned:
    if not isinstance(ref, str):
        raise UsageError(f"{name} is {str(ref)[:40]!r}: name a version, such as xgboost/v2")
    found = registry.resolve(ref)
    return Pinned(found.name, found.version, found.manifest)


def _check_unit(unit: str, settings: Settings) -> None:
    kind, _, column = unit.partition(":")
    if kind == "field" and column not in settings.dataset.columns:
        near = nearest(column, settings.dataset.columns)
        raise UsageError(f"unit is {unit!r}: no such column{near}; there are {', '.join(settings.dataset.columns)}")


# --- looking -------------------------------------------------------------------------------------------------------------


def look(lab: Lab, test: AbTest) -> Seen:
    """Look at a test, and keep what was seen. What is new has been counted before.

    Raises:
        StorageUnavailableError, StorageError: the database cannot be used.
    """
    last = ab_unit_counts.last_look(lab.engine, test.test_id)
    before = extremes_from(last.found["extremes"]) if last else NO_LOOKS
    now_us, totals = lab.clock(), ab_unit_counts.totals(lab.engine, test)
    found = analyse(test.design, totals, (now_us - test.created_us) / 1e6, before)
    decision = decide(found)
    values = {name: value for name, value in found.to_dict().items() if name != "design"}
    said = {"verdict": decision.verdict.value, "reason": decision.reason.value, "sentence": decision.sentence}
    taken = Look(now_us, totals.units, totals.labels, {**values, "decision": said})
    ab_unit_counts.keep_look(lab.engine, test, taken)
    return Seen(test, taken, decision)


def evaluate(lab: Lab, *, actor: str) -> tuple[Seen, ...]:
    """Count, look at every running test, end those that their rule ends, and finish what was left to do.

    Raises:
        StorageUnavailableError, StorageError: the database cannot be used; the same again goes on where this ended.
    """
    tests = ab_tests.running(lab.engine)
    lab.counter.count(tests)
    done = tuple(_acted_on(lab, look(lab, test), actor) for test in tests)
    finish(lab, actor=actor)
    return done


def _acted_on(lab: Lab, seen: Seen, actor: str) -> Seen:
    breach = seen.decision.reason is Reason.GUARDRAIL
    if not seen.decision.ends or not (breach or seen.test.design.auto_conclude):
        return seen
    try:
        return replace(
            seen, test=_end(lab, seen.test, seen.decision.verdict.value, actor, _said(seen), "stopped" if breach else "concluded")
        )
    except ConflictError:  # somebody ended it meanwhile
        return replace(seen, test=ab_tests.get(lab.engine, seen.test.test_id))


def _said(seen: Seen) -> dict[str, Any]:
    return {"reason": seen.decision.reason.value, "sentence": seen.decision.sentence, "units": seen.look.units, "labels": seen.look.labels}


# --- ending --------------------------------------------------------------------------------------------------------------


def conclude(lab: Lab, name: str, *, winner: str | None, actor: str) -> AbTest:
    """End a test by hand: with a winner that is named, or with what its rule says now.

    Raises:
        UsageError: there is no such test, or no such winner.
        ConflictError: it has ended already.
    """
    if winner is not None and winner not in WINNERS:
        raise UsageError(f"winner is {winner[:40]!r}; allowed: {', '.join(WINNERS)}, or left out: then the rule decides")
    test = ab_tests.get(lab.engine, name)
    if not test.running:
        raise ConflictError(f"the test {test.name!r} is concluded already, its verdict is {test.verdict!r}; a verdict is not changed")
    lab.counter.count(ab_tests.running(lab.engine))
    seen = look(lab, test)
    verdict = winner.lower() if winner else (seen.decision.verdict if seen.decision.ends else Verdict.INCONCLUSIVE).value
    ended = _end(lab, test, verdict, actor, {**_said(seen), "forced": winner is not None}, "concluded")
    finish(lab, actor=actor, only=ended)
    return ab_tests.get(lab.engine, ended.test_id)


def _end(lab: Lab, test: AbTest, verdict: str, actor: str, details: Mapping[str, Any], event: str) -> AbTest:
    return ab_tests.conclude(lab.engine, test, verdict, now_us=lab.clock(), actor=actor, details=details, event=event)


def finish(lab: Lab, *, actor: str, only: AbTest | None = None) -> None:
    """Promote winners that have not been, because a process was killed or another run held the work directory.

    Raises:
        StorageUnavailableError, StorageError: the database cannot be used.
    """
    for test in ab_tests.without(lab.engine, Verdict.B.value, DONE):
        if only is None or test.test_id == only.test_id:
            _promote(lab, test, actor)


def waits(lab: Lab) -> bool:
    """Whether a winner waits for its promotion. Raises: as `finish`."""
    return bool(ab_tests.without(lab.engine, Verdict.B.value, DONE, limit=1))


def _promote(lab: Lab, test: AbTest, actor: str) -> None:
    registry, ref = lab.registry, test.b.ref
    try:
        before = registry.production()
        champion = registry.champion(test.b.model)
        if registry.resolve(ref).manifest != test.b.sha256:
            raise RegistryError(f"{ref} is not the version that was tested: its manifest is another one")
        if before is None or before.ref != ref:
            lab.promote(ref, f"won the A/B test {test.name}", f"ab-test:{test.name}")
    except SporeprintError as error:
        if error.retryable:  # another run moves aliases just now: the next look tries again
            return
        kind = "the gate refuses it" if isinstance(error, RefusedError) else "it cannot be promoted"
        details: dict[str, Any] = {"ref": ref, "reason": f"{kind}: {error}"}
        ab_tests.note(lab.engine, test.test_id, Event(lab.clock(), actor, REFUSED, details), audited=True)
        return
    details = {"ref": ref, "production_before": before.ref if before else None, "champion_before": champion.ref}
    ab_tests.note(lab.engine, test.test_id, Event(lab.clock(), actor, PROMOTED, details), audited=True)


def rollback(lab: Lab, name: str, *, reason: str, actor: str) -> str | None:
    """Take a winner's promotion back, and say what is served then.

    Raises:
        UsageError: there is no such test.
        ConflictError: its winner was not promoted, or something else is served by now.
    """
    test = ab_tests.get(lab.engine, name)
    happened = ab_tests.events(lab.engine, test.test_id)
    promoted = [event for event in happened if event.event == PROMOTED]
    if not promoted or any(event.event == ROLLED_BACK for event in happened):
        raise ConflictError(f"the test {test.name!r} has no promotion to take back: its verdict is {test.verdict!r}")
    registry, moved, now = lab.registry, promoted[-1].details, datetime.fromtimestamp(lab.clock() / 1e6, UTC)
    served = registry.production()
    if served is None or served.ref != test.b.ref:
        has = "nothing" if served is None else served.ref
        raise ConflictError(f"{has} is served by now, not {test.b.ref}: there is nothing to take back; see: sporeprint models rollback")
    by = f"ab-test:{test.name}"
    if moved["production_before"] not in (None, test.b.ref):
        registry.set_production(moved["production_before"], reason=reason, now=now, by=by)
    if moved["champion_before"] != test.b.ref:
        registry.promote(test.b.model, int(moved["champion_before"].rpartition("/v")[2]), reason=reason, now=now, by=by)
    after = registry.production()
    details = {"production": after.ref if after else None, "reason": reason}
    ab_tests.note(lab.engine, test.test_id, Event(lab.clock(), actor, ROLLED_BACK, details), audited=True)
    return after.ref if after else None


def fresh(lab: Lab, name: str) -> AbTest:
    """A test; one that runs is counted and looked at first.

    Raises:
        UsageError: there is no such test.
    """
    test = ab_tests.get(lab.engine, name)
    if test.running:
        lab.counter.count(ab_tests.running(lab.engine))
        look(lab, test)
    return test


def is_simulated(lab: Lab, ref: str) -> bool:
    """Whether a version was trained on invented rows; False where it is gone."""
    try:
        return bool(lab.registry.show(ref)["info"].get("simulated"))
    except RegistryError:
        return False


# --- telling -------------------------------------------------------------------------------------------------------------


def card(test: AbTest) -> dict[str, Any]:
    """What a list says of a test, as JSON values."""
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


def told(engine: Engine, test: AbTest, settings: Settings) -> dict[str, Any]:
    """All that is known of a test, as JSON values: what its page shows.

    Raises:
        StorageUnavailableError, StorageError: the database cannot be used.
    """
    last = ab_unit_counts.last_look(engine, test.test_id)
    return {
        **card(test),
        "design": test.design.to_dict(),
        "independent": test.independent,
        "salt": test.salt,
        "manifests": {"a": test.a.sha256, "b": test.b.sha256},
        "answers": list(verdict_words(settings.dataset)),
        "waiting": ab_unit_counts.waiting(engine, test.test_id),
        "look": None if last is None else _look(last),
        "looks": [_path(each) for each in ab_unit_counts.looks(engine, test.test_id)],
        "events": [{**asdict(event), "at": iso(event.at_us)} for event in ab_tests.events(engine, test.test_id)],
    }


def _look(each: Look) -> dict[str, Any]:
    return {"at": iso(each.at_us), "at_us": each.at_us, "units": each.units, "labels": each.labels, **each.found}


def _path(each: Look) -> dict[str, Any]:
    """What the paths in a report are drawn from."""
    found, totals = each.found, each.found["totals"]
    arms = [_units(totals[arm]) for arm in ("a", "b")] if "a" in totals else [each.units, each.units]
    return {
        "at": iso(each.at_us),
        "at_us": each.at_us,
        "units": each.units,
        "labels": each.labels,
        "units_a": arms[0],
        "units_b": arms[1],
        "log_e": found["running"]["log_e"],
        "low": found["running"]["low"],
        "high": found["running"]["high"],
        "gain": found["primary"]["gain"]["value"],
        "guardrails": [{"metric": one["guardrail"]["metric"], "standing": one["standing"]} for one in found["guardrails"]],
        "decision": found["decision"],
    }


def _units(arm: Mapping[str, Any]) -> int:
    return int(sum(arm["answers"]) + arm["failed"])


def iso(microseconds: int) -> str:
    """A time for programs and people."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
