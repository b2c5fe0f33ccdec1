"""Which version answers a request that takes part in an A/B test: by what this process knows of the running tests.

They are read from the database in the background, and both versions of a test are loaded before it routes, so that a request costs one
hash. A version that cannot be loaded is answered for by the other one, or by what serves otherwise; that is counted, never an error.
"""

import asyncio
import contextlib
import functools
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Engine

from sporeprint.ab_testing.assignment import ROW_PREFIX, Arm, Assignment
from sporeprint.ab_testing.design import Mode, Rule
from sporeprint.errors import RegistryError, SporeprintError
from sporeprint.inference.prediction import Prediction
from sporeprint.messages.predictions import AbAssignment
from sporeprint.model_serving.http.authentication import Run
from sporeprint.model_serving.http.background_task import background_task
from sporeprint.model_serving.http.problems import HttpProblemError, bad_parameter, not_found
from sporeprint.model_serving.http.requests import Scope
from sporeprint.model_serving.model_loader import ModelLoader
from sporeprint.model_serving.runtime.loaded_model import LoadedModel, StageTimes, TimedPrediction
from sporeprint.model_serving.runtime.row_parser import Row
from sporeprint.storage.oltp import ab_tests
from sporeprint.storage.oltp.ab_tests import AbTest, Event, NoSuchTestError, PinnedVersion
from sporeprint.storage.prediction_record import PredictionRecord

log = logging.getLogger(__name__)

#: Seconds between two reads of which tests run.
REFRESH_S = 1.0
#: Reads between two attempts to load a version that could not be loaded.
RETRY_REFRESHES = 30
#: Concluded tests that are remembered, so that asking for one costs the database nothing.
REMEMBERED = 1_000
MOST_UNIT = 255


class Participation(NamedTuple):
    """How an answer takes part in a test: what its record says of it.

    Attributes:
        test_id: which.
        arm: a or b.
        unit_id: what keeps the arm.
        shadow: what is kept beside the answer: the other version's, or why another version answered.
    """

    test_id: str | None
    arm: Arm | None
    unit_id: str | None
    shadow: Mapping[str, Any] | None


NO_PARTICIPATION = Participation(None, None, None, None)


class RoutedPrediction(NamedTuple):
    """An answer within a test: whose it is, what it took, and its part in the test."""

    served: LoadedModel
    answer: Prediction
    stages: StageTimes
    part: Participation


@dataclass(frozen=True, slots=True)
class Route:
    """A running test in this process.

    Attributes:
        test: what was fixed.
        assignment: unit -> arm.
        column: of the row that names the unit; None: it is not named there.
        a: the version that stays unless the other wins; None where it cannot be loaded.
        b: the other one.
    """

    test: AbTest
    assignment: Assignment
    column: str | None
    a: LoadedModel | None
    b: LoadedModel | None

    @classmethod
    def of(cls, test: AbTest, a: LoadedModel | None, b: LoadedModel | None) -> "Route":
        """A test with its loaded versions."""
        column = test.design.unit.removeprefix("field:") if test.design.unit.startswith("field:") else None
        return cls(test, Assignment(test.salt, test.design.traffic_split), column, a, b)

    @property
    def is_complete(self) -> bool:
        """Whether both versions are there."""
        return self.a is not None and self.b is not None

    def unit(self, unit_header: str | None, row: Row, prediction_id: str) -> str:
        """The unit of a request: what its header or column names, otherwise its row.

        The same row asked again says nothing new: it is the same unit. Tests of the earlier rule take each answer for a unit of its own.
        """
        design = self.test.design
        if self.column is not None:
            value = row.get(self.column)
            if value is not None:
                return str(value)[:MOST_UNIT]
        elif unit_header is not None and (design.unit == "header" or design.rule is Rule.BETTING):
            return unit_header
        return prediction_id if design.rule is Rule.ERRORS_BY_ARM else row_unit(row)

    def versions_for(self, unit_id: str) -> tuple[LoadedModel, ...]:
        """The versions that are asked for a unit, as far as they are loaded."""
        if self.test.design.mode is Mode.SHADOW:
            return tuple(served for served in (self.a, self.b) if served is not None)
        served = self.a if self.assignment.arm(unit_id) == "a" else self.b
        return () if served is None else (served,)

    def answer(self, unit_id: str, fallback: LoadedModel, ask: Callable[[LoadedModel], TimedPrediction]) -> RoutedPrediction:
        """Answer as a unit's arm does.

        Args:
            unit_id: see `unit`.
            fallback: who answers where neither version can.
            ask: what a version answers.
        """
        if self.test.design.mode is Mode.SHADOW:
            return self._both(unit_id, fallback, ask)
        arm = self.assignment.arm(unit_id)
        served = self.a if arm == "a" else self.b
        failed = "not loaded"
        if served is not None:
            try:
                answer, stages = ask(served)
            except Exception as error:  # whatever it was: the caller gets the other version's answer, and the test a failure
                log.exception("A/B test %s: %s failed", self.test.name, served.ref.ref)
                failed = type(error).__name__
            else:
                return RoutedPrediction(served, answer, stages, self._part(arm, unit_id))
        other = self.a if arm == "b" and self.a is not None else fallback
        answer, stages = ask(other)
        return RoutedPrediction(other, answer, stages, self._part(arm, unit_id, {"mode": "split", "failed": failed}))

    def _both(self, unit_id: str, fallback: LoadedModel, ask: Callable[[LoadedModel], TimedPrediction]) -> RoutedPrediction:
        served = self.a or fallback
        answer, stages = ask(served)
        if self.a is None:
            return RoutedPrediction(served, answer, stages, self._part("a", unit_id, {"mode": "split", "failed": "not loaded"}))
        if self.b is None:
            return RoutedPrediction(served, answer, stages, self._part("a", unit_id, {"mode": "shadow", "failed": "not loaded"}))
        try:
            other, took = ask(self.b)
        except Exception as error:  # the answer that is given does not depend on it
            log.exception("A/B test %s: %s failed", self.test.name, self.b.ref.ref)
            return RoutedPrediction(served, answer, stages, self._part("a", unit_id, {"mode": "shadow", "failed": type(error).__name__}))
        beside = {
            "mode": "shadow",
            "arm": "b",
            "model": self.b.ref.name,
            "version": self.b.ref.version,
            "verdict": other.verdict,
            "prediction": other.prediction,
            "probability": other.probability,
            "novelty_p": other.novelty_p,
            "latency_us": sum(took) // 1000,
            "latency_a_us": sum(stages) // 1000,
        }
        return RoutedPrediction(served, answer, stages, self._part("a", unit_id, beside))

    def _part(self, arm: Arm, unit_id: str, shadow: Mapping[str, Any] | None = None) -> Participation:
        return Participation(self.test.test_id, arm, unit_id, shadow)


def row_unit(row: Row) -> str:
    """The unit id of a row: a hash of its cleaned values. Fields without a value make no difference."""
    values = {name: value for name, value in row.items() if value is not None}
    return f"{ROW_PREFIX}{hashlib.blake2b(orjson.dumps(values, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()}"


def unit_id_header(scope: Scope) -> str | None:
    """The unit that a request names in its header.

    Raises:
        HttpProblemError: if it is none.
    """
    header_value = next((value for name, value in scope["headers"] if name == b"x-unit-id"), None)
    if header_value is None:
        return None
    try:
        unit = str(header_value.decode("utf-8").strip())
    except UnicodeDecodeError:
        unit = ""
    if not 0 < len(unit) <= MOST_UNIT or not unit.isprintable():
        raise HttpProblemError(bad_parameter(f"X-Unit-Id: expected 1 to {MOST_UNIT} printable characters of UTF-8"))
    return unit


class Routes:
    """The tests that this process knows. `default` is for requests that name neither a test nor a model."""

    def __init__(self, engine: Engine, loader: ModelLoader, worker: str, *, run: Run = asyncio.to_thread) -> None:
        self._run = run
        self._engine, self._loader, self._worker = engine, loader, worker
        self._routes: Mapping[str, Route] = {}
        self._is_unread = False
        self._versions: dict[PinnedVersion, LoadedModel] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._noted: set[tuple[str, str]] = set()
        self._refreshing = asyncio.Lock()
        self.default: Route | None = None

    @property
    def any(self) -> bool:
        """Whether a test runs."""
        return bool(self._routes)

    def describe(self, record: PredictionRecord) -> AbAssignment:
        """The part of a prediction in a test, for its response."""
        route = self._routes.get(record.test_id or "")
        is_degraded = record.shadow is not None and record.shadow["mode"] == "split"
        return AbAssignment(
            test_id=record.test_id or "",
            name=route.test.name if route else None,
            arm=record.arm,  # type: ignore[arg-type]  # a or b
            degraded=is_degraded,
        )

    async def find(self, name: str) -> Route | None:
        """A running test by its name or id; None where it has ended: then what serves otherwise answers.

        Raises:
            HttpProblemError: if there is no such test.
            StorageUnavailableError, StorageError: if that cannot be known now.
        """
        if (route := self._routes.get(name)) is not None:
            return route
        if name in self._ended:
            return None
        try:
            test = await self._run(functools.partial(ab_tests.get, self._engine, name))
        except NoSuchTestError as error:
            raise HttpProblemError(not_found(str(error))) from None
        if not test.running:
            self._ended[name] = None
            while len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)
            return None
        # It was made a moment ago, by another process.
        await self.refresh()
        return self._routes.get(name)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator["Routes"]:
        """Read which tests run, again and again, as long as the context lasts."""
        await self._refresh_quietly()
        async with background_task(self._watch(), "ab-routes"):
            yield self

    async def _watch(self) -> None:
        refreshes = 0
        while True:
            await asyncio.sleep(REFRESH_S)
            refreshes += 1
            await self._refresh_quietly(retry=refreshes % RETRY_REFRESHES == 0)

    async def _refresh_quietly(self, *, retry: bool = False) -> None:
        try:
            await self.refresh(retry=retry)
            self._is_unread = False
        except SporeprintError as error:  # what was known last counts
            if not self._is_unread:  # one line for a change of state
                log.warning("the A/B tests cannot be read: %s", error)
            self._is_unread = True
        except Exception:  # whatever it was: without this task, no test would ever end here
            log.exception("the A/B tests could not be read")

    async def refresh(self, *, retry: bool = False) -> None:
        """Read which tests run, and load the versions of new ones.

        Raises:
            StorageUnavailableError, StorageError: if the database cannot be read.
        """
        async with self._refreshing:
            known = {route.test.test_id: route for route in self._routes.values()}
            ids, tests = await self._run(functools.partial(self._running, set(known)))
            routes = await asyncio.to_thread(self._read, known, ids, tests, retry)
            self._routes = {key: route for route in routes for key in (route.test.test_id, route.test.name)}
            self.default = next((route for route in routes if route.test.default_route), None)
            pinned_refs = {pinned for route in routes for pinned in (route.test.a, route.test.b)}
            self._versions = {pinned: served for pinned, served in self._versions.items() if pinned in pinned_refs}

    def _running(self, known: Collection[str]) -> tuple[list[str], dict[str, AbTest]]:
        """Ids of the running tests, and those tests that are not known yet."""
        ids = list(ab_tests.running_ids(self._engine))
        return ids, {test_id: ab_tests.get(self._engine, test_id) for test_id in ids if test_id not in known}

    def _read(self, known: Mapping[str, Route], ids: Sequence[str], new: Mapping[str, AbTest], retry: bool) -> list[Route]:
        unchanged = {test_id: route for test_id, route in known.items() if test_id in ids and (route.is_complete or not retry)}
        tests = [known[test_id].test if test_id in known else new[test_id] for test_id in ids if test_id not in unchanged]
        made = {test.test_id: Route.of(test, self._version(test, "a", test.a), self._version(test, "b", test.b)) for test in tests}
        return [route for test_id in ids if (route := unchanged.get(test_id) or made.get(test_id)) is not None]

    def _version(self, test: AbTest, arm: str, pinned: PinnedVersion) -> LoadedModel | None:
        if pinned in self._versions:
            return self._versions[pinned]
        try:
            served = self._load(pinned)
        except Exception as error:  # noqa: BLE001 -- a version that is damaged must not take the service with it
            self._degraded(test, arm, pinned, error)
            return None
        self._versions[pinned] = served
        return served

    def _load(self, pinned: PinnedVersion) -> LoadedModel:
        ref, current = self._loader.registry.resolve(pinned.ref), self._loader.current
        if ref.manifest != pinned.sha256:
            raise RegistryError(f"{pinned.ref} is not the version that the test was made with: its manifest is another one")
        return current if current.ref == ref else LoadedModel.load(self._loader.registry, ref)

    def _degraded(self, test: AbTest, arm: str, pinned: PinnedVersion, error: Exception) -> None:
        if (test.test_id, arm) in self._noted:
            return
        log.error("A/B test %s: %s cannot be loaded, its units are answered by another version: %s", test.name, pinned.ref, error)
        details = {"arm": arm, "ref": pinned.ref, "worker": self._worker, "reason": str(error)[:500]}
        with contextlib.suppress(SporeprintError):  # it stands in the log, and is counted as failures of the arm
            ab_tests.add_event(self._engine, test.test_id, Event(time.time_ns() // 1000, f"worker:{self._worker}", "degraded", details))
            self._noted.add((test.test_id, arm))
