"""Trains a challenger on reported outcomes and compares it with production in a shadow test.

A rule of the alerts may start it. It then runs in a process of its own, so that the monitor goes on; who starts it writes so down in the
database first, so that of two monitors one does, and none does again before the cool-down is over.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sporeprint.ab_testing.design import Mode
from sporeprint.common.locks import run_lock
from sporeprint.common.progress import Steps
from sporeprint.common.text_table import Table
from sporeprint.common.workdir import Workdir
from sporeprint.errors import BusyError, DataError, RegistryError, SporeprintError, UsageError
from sporeprint.pipelines.ab_test_lifecycle import ExperimentService, experiment_service
from sporeprint.pipelines.etl import run_challenge
from sporeprint.pipelines.extract import Outcomes
from sporeprint.settings import Settings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect, writing
from sporeprint.storage.oltp import ab_tests, audit_log, checkpoints, migrate
from sporeprint.storage.oltp.ab_tests import AbTest
from sporeprint.storage.oltp.audit_log import Change
from sporeprint.storage.oltp.checkpoints import LostError

#: The note that says when a rule last started one.
NOTE = "retrain"
HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000

#: Starts the process for a work directory, and says where it writes.
Spawn = Callable[[Settings, Path], Path]


@dataclass(frozen=True)
class RetrainingResult:
    """What became of it.

    Attributes:
        production: what is challenged.
        challenger: the new version; None if none was made.
        test: the name of the shadow test; None if there is none.
        reason: why, in a sentence.
        source: what the new version was made from; None without one.
        exit_code: what the command ends with: that of unusable data where there were too few outcomes.
    """

    production: str
    challenger: str | None
    test: str | None
    reason: str
    source: str | None = None
    exit_code: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        values = {"production": self.production, "challenger": self.challenger, "test": self.test}
        return {**values, "reason": self.reason, "source": self.source}

    def tables(self) -> list[Table]:
        """As people read it."""
        rows = [("production", self.production), ("challenger", self.challenger or "none"), ("shadow test", self.test or "none")]
        made_from = [("made from", self.source)] if self.source else []
        return [Table("Not retrained" if self.exit_code else "Retrained", ("", ""), (*rows, *made_from, ("", self.reason)))]


# --- by hand, or in the process that a rule started ----------------------------------------------------------------------


def retrain(settings: Settings, root: Path, *, since_us: int | None = None, actor: str, steps: Steps | None = None) -> RetrainingResult:
    """Make a challenger, and a shadow test of it against what is in production. Nothing is promoted.

    Args:
        settings: the configuration.
        root: the work directory.
        since_us: only answers given from then on; None: those of `retrain.days`.
        actor: who.
        steps: what shows the steps.

    Raises:
        BusyError: another one is at work here.
        RegistryError: nothing is in production.
        SporeprintError: see each step of the pipeline.
    """
    with run_lock(Workdir(root).retraining), experiment_service(settings, root) as experiments:
        served = experiments.registry.production()
        if served is None:
            raise RegistryError("nothing is in production, so that there is nothing to challenge; run: sporeprint etl")
        if served.ref.partition("/")[0] not in settings.models:
            raise UsageError(
                f"{served.ref} is in production, and the configuration has no such model; there are {', '.join(settings.models)}"
            )
        done = _retrained(experiments, served.ref, _since(settings, since_us, experiments.clock()), actor, steps)
        audit_log.note(experiments.engine, Change(experiments.clock(), actor, "retrained", done.challenger or served.ref, done.to_dict()))
        return done


def _since(settings: Settings, since_us: int | None, now_us: int) -> int | None:
    days = settings.retrain.days
    return since_us if since_us is not None or days is None else now_us - round(days * DAY_US)


def _retrained(experiments: ExperimentService, served: str, since_us: int | None, actor: str, steps: Steps | None) -> RetrainingResult:
    if other := _shadowed(experiments, served):
        return RetrainingResult(
            served, None, other.name, f"the shadow test {other.name} against {served} runs already; nothing was changed"
        )
    try:
        made, gate, source = run_challenge(experiments.settings, experiments.root, served, outcomes=Outcomes(since_us), steps=steps)
    except DataError as error:
        return RetrainingResult(served, None, None, str(error), exit_code=DataError.exit_code)
    if made.ref == served:
        return RetrainingResult(served, None, None, "the new version is the one in production: nothing changed", source)
    reasons = "; ".join(gate.reasons)
    if not gate.passed:
        return RetrainingResult(served, made.ref, None, f"{made.ref} does not pass the gate, and is not tested: {reasons}", source)
    fields = {"name": f"retrain-{made.ref.replace('/', '-')}", "model_a": served, "model_b": made.ref, "mode": Mode.SHADOW.value}
    try:
        test = experiments.create({**fields, "default_route": True}, actor=actor)
    except ab_tests.AbTestConflictError as error:
        return RetrainingResult(served, made.ref, None, f"{made.ref} passes the gate ({reasons}), but is not tested: {error}", source)
    return RetrainingResult(
        served, made.ref, test.name, f"{made.ref} passes the gate ({reasons}), and runs in the shadow of {served}", source
    )


def _shadowed(experiments: ExperimentService, served: str) -> AbTest | None:
    """A shadow test of what is in production that runs."""
    running = ab_tests.running(experiments.engine)
    return next((test for test in running if test.design.mode is Mode.SHADOW and test.a.ref == served), None)


# --- started by a rule ---------------------------------------------------------------------------------------------------


def act(settings: Settings, root: Path, action: str, reason: str) -> str:
    """Do what a rule says is to be done, and say what came of it; also that it failed: the other rules are still to be asked."""
    try:
        return start(settings, root, reason)
    except (SporeprintError, OSError) as error:
        return f"{action} FAILED: {error}"


def start(settings: Settings, root: Path, reason: str, *, now_us: int | None = None, spawn: Spawn | None = None) -> str:
    """Start one in a process of its own, unless one was started within the cool-down, and say so in a line.

    Args:
        settings: the configuration.
        root: the work directory.
        reason: what it is started for.
        now_us: when; None: now.
        spawn: starts it; None: `spawned`.

    Raises:
        StorageError, StorageUnavailableError: the database cannot be used.
    """
    at = time.time_ns() // 1000 if now_us is None else now_us
    engine = connect(urls.oltp(settings.storage, root))
    try:
        migrate.prepare(engine)
        try:
            with writing(engine) as connection:
                number, last = checkpoints.read(connection, NOTE)
                wait_us = round(settings.retrain.cool_down_hours * HOUR_US)
                # Two that begin at once may have looked at the clock in the other order; one put back by more must not stop it for long.
                if last is not None and abs(at - last["started_us"]) < wait_us:
                    return f"no retraining: one was started less than {settings.retrain.cool_down_hours:g} hours ago"
                checkpoints.write(connection, NOTE, number, {"started_us": at, "reason": reason})
        except LostError:
            return "no retraining: another monitor has just started one"
        audit_log.note(engine, Change(at, "monitor", "retrain.started", "retrain", {"reason": reason}))
    finally:
        engine.dispose()
    log = (spawn or spawned)(settings, root)
    return f"retraining was started; what becomes of it: {log}"


def spawned(settings: Settings, root: Path) -> Path:
    """Start the process, and say where it writes. It goes on when this one ends; what it is to do comes on its standard input."""
    log = Workdir(root).logs / "retrain.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    job = json.dumps({"settings": settings.model_dump(mode="json"), "root": str(root.absolute())})
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "sporeprint.pipelines.retraining"],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            cwd="/",
            start_new_session=True,
        )
    if child.stdin is not None:
        child.stdin.write(job.encode())
        child.stdin.close()
    child.returncode = 0  # nobody waits for it, it may take hours: the interpreter is not to complain of that
    return log


def main() -> int:
    """What the process does: one line of JSON on the standard output, and the exit code of what went wrong."""
    from sporeprint import settings

    job: Mapping[str, Any] = json.load(sys.stdin)
    try:
        done = retrain(settings.parse(job["settings"]), Path(job["root"]), actor="monitor")
    except (SporeprintError, OSError) as error:
        print(json.dumps({"at": time.time(), "error": f"{type(error).__name__}: {error}"}))
        return BusyError.exit_code if isinstance(error, BusyError) else getattr(error, "exit_code", 1)
    print(json.dumps({"at": time.time(), **done.to_dict()}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
