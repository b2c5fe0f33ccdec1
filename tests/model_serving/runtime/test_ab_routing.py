"""The routing of one process, over real models and a real database; see test_ab_tests.py for the same over HTTP."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sporeprint.ab_testing.assignment import Assignment
from sporeprint.ab_testing.design import Rule
from sporeprint.model_serving.http.problems import HttpProblemError
from sporeprint.model_serving.model_loader import ModelLoader
from sporeprint.model_serving.runtime.ab_routing import NO_PARTICIPATION, Route, Routes, row_unit, unit_id_header
from sporeprint.model_serving.runtime.row_parser import Row
from sporeprint.pipelines.ab_test_lifecycle import ExperimentService, experiment_service
from sporeprint.settings import Settings
from sporeprint.storage.oltp import ab_tests
from sporeprint.storage.oltp.ab_tests import AbTest

GIVEN = {"model_a": "xgboost", "model_b": "logistic_regression", "independent": True}


@pytest.fixture
def experiments(small_settings: Settings, small_copy: Path) -> Iterator[ExperimentService]:
    with experiment_service(small_settings, small_copy) as found:
        found.registry.set_production("xgboost", reason="test", now=datetime.now(UTC))
        yield found


@pytest.fixture
def loader(experiments: ExperimentService) -> ModelLoader:
    return ModelLoader(experiments.registry.root, "production")


def create(experiments: ExperimentService, name: str = "first", **given: Any) -> AbTest:
    return experiments.create({"name": name, **GIVEN, **given}, actor="ada")


def refreshed(routes: Routes, **given: Any) -> Routes:
    asyncio.run(routes.refresh(**given))
    return routes


def route_of(routes: Routes, name: str = "first") -> Route | None:
    return asyncio.run(routes.find(name))


def test_both_versions_are_there_before_a_test_routes(experiments: ExperimentService, loader: ModelLoader) -> None:
    routes = Routes(experiments.engine, loader, "w")
    assert not refreshed(routes).any
    test = create(experiments)
    route = route_of(routes)  # nobody has looked since
    assert route is not None
    assert route.is_complete
    assert route.a is loader.current  # what is in memory is not loaded again
    assert route.b is not None
    assert route.b.ref.ref == "logistic_regression/v1"
    assert route_of(routes, test.test_id) is route
    again = refreshed(routes)
    assert route_of(again) is route


def test_tests_that_share_a_version_share_it_in_memory(experiments: ExperimentService, loader: ModelLoader) -> None:
    create(experiments)
    create(experiments, "second")
    routes = refreshed(Routes(experiments.engine, loader, "w"))
    first, second = route_of(routes), route_of(routes, "second")
    assert first is not None
    assert second is not None
    assert first.b is second.b


def test_what_has_ended_routes_no_more(experiments: ExperimentService, loader: ModelLoader) -> None:
    for model in ("logistic_regression/v1", "xgboost/v1"):  # both have served
        experiments.registry.set_production(model, reason="test", now=datetime.now(UTC))
    test = create(experiments, default_route=True)
    routes = refreshed(Routes(experiments.engine, loader, "w"))
    assert routes.default is not None
    ab_tests.conclude(experiments.engine, test, "a", now_us=1, actor="ada", details={})
    assert refreshed(routes).default is None
    assert route_of(routes) is None
    assert route_of(routes) is None  # remembered
    with pytest.raises(HttpProblemError, match="there is no A/B test 'nope'"):
        route_of(routes, "nope")


def test_a_version_that_is_mended_takes_part_again(experiments: ExperimentService, loader: ModelLoader, tmp_path: Path) -> None:
    create(experiments)
    folder = experiments.registry.root / "logistic_regression/v1"
    shutil.move(folder, tmp_path / "v1")
    routes = refreshed(Routes(experiments.engine, loader, "w"))
    broken = route_of(routes)
    assert broken is not None
    assert broken.b is None
    shutil.move(tmp_path / "v1", folder)
    assert route_of(refreshed(routes)) is broken
    mended = route_of(refreshed(routes, retry=True))
    assert mended is not None
    assert mended.is_complete


class Failing:
    """A version whose scoring fails."""

    def __init__(self, served: Any) -> None:
        self.ref = served.ref

    def answer(self, row: Any) -> Any:
        raise ZeroDivisionError


@pytest.mark.parametrize("mode", ["split", "shadow"])
def test_a_version_that_fails_at_an_answer_does_no_harm(experiments: ExperimentService, loader: ModelLoader, mode: str) -> None:
    test = create(experiments, mode=mode)
    route = route_of(refreshed(Routes(experiments.engine, loader, "w")))
    assert route is not None
    failing: Any = Failing(route.b)
    broken = Route.of(test, route.a, failing)
    unit = next(f"u{number}" for number in range(99) if Assignment(test.salt, 0.5).arm(f"u{number}") == "b")
    found = broken.answer(unit, loader.current, lambda served: served.answer({}))
    assert found.served is route.a
    assert found.part.shadow == {"mode": mode, "failed": "ZeroDivisionError"}
    assert found.part.arm == ("b" if mode == "split" else "a")
    neither = Route.of(test, None, None).answer(unit, loader.current, lambda served: served.answer({}))
    assert neither.served is loader.current
    assert neither.part.shadow == {"mode": "split", "failed": "not loaded"}


def test_units(experiments: ExperimentService, loader: ModelLoader) -> None:
    column = next(iter(experiments.settings.dataset.columns))
    routes = Routes(experiments.engine, loader, "w")
    create(experiments)
    create(experiments, "field", unit=f"field:{column}")
    create(experiments, "each", unit="prediction")
    refreshed(routes)
    header, field, each = (route_of(routes, name) for name in ("first", "field", "each"))
    assert header is not None
    assert field is not None
    assert each is not None
    other = next(name for name in experiments.settings.dataset.columns if name != column)
    row: Row = {other: "x", column: None}
    assert (header.unit("u", row, "id"), header.unit(None, row, "id")) == ("u", row_unit(row))
    assert (field.unit("u", {column: 3.5}, "id"), field.unit("u", row, "id")) == ("3.5", row_unit(row))
    assert (each.unit("u", row, "id"), each.unit(None, row, "id")) == ("u", row_unit(row))
    assert row_unit(row) == row_unit({other: "x"}) != row_unit({other: "y"})
    assert row_unit({column: 1.0, other: "x"}) == row_unit({other: "x", column: 1.0})
    before = replace(each, test=replace(each.test, design=replace(each.test.design, rule=Rule.ERRORS_BY_ARM)))
    assert (before.unit("u", row, "id"), before.unit(None, row, "id")) == ("id", "id")
    assert unit_id_header({"headers": []}) is None
    assert unit_id_header({"headers": [(b"x-unit-id", "Zürich".encode())]}) == "Zürich"
    assert NO_PARTICIPATION.test_id is None
