"""Tests of sporeprint.model_serving.runtime.keyed_predictions: the first prediction of a key is the prediction of that key."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal_support import record
from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import JournalError
from sporeprint.model_serving.http.problems import HttpProblemError
from sporeprint.model_serving.runtime.keyed_predictions import KeyedResult, digest, predict_once
from sporeprint.model_serving.runtime.row_parser import Row
from sporeprint.registry.manifest import VersionRef
from sporeprint.storage.idempotency import IdempotencyStore
from sporeprint.storage.prediction_record import PredictionRecord

SERVED = SimpleNamespace(ref=VersionRef("xgboost", 2, Path("v2"), ""))


class FakeService:
    """A worker's service: the store is real, and what is scored, journaled and counted is written down."""

    def __init__(self, store: IdempotencyStore) -> None:
        self.scored: list[Row] = []
        self.journaled: list[PredictionRecord] = []
        self.counted: list[str] = []
        self.journal_fails = False
        self.in_flight = 1
        self.locks: dict[str, asyncio.Lock] = {}
        self.database = SimpleNamespace(idempotency=store, write=self._write)
        self.batcher = SimpleNamespace(predict=self._predict)
        self.loader = SimpleNamespace(get=self._get)
        self.metrics = SimpleNamespace(count_prediction=lambda served, *_: self.counted.append(served.ref.ref), count_arm=lambda *_: None)

    def lock(self, name: str) -> asyncio.Lock:
        return self.locks.setdefault(name, asyncio.Lock())

    async def _predict(self, request: Any, *, is_idle: bool) -> tuple[Any, ...]:
        assert not request.is_kept  # else it would be journaled before the key has it
        self.scored.append(request.row)
        await asyncio.sleep(0)
        kept = record(features=request.row, prediction_id=request.prediction_id)
        return SERVED, SimpleNamespace(verdict=kept.verdict, unseen=()), None, kept, 0

    async def _write(self, kept: PredictionRecord) -> None:
        if self.journal_fails:
            raise JournalError("the disk is full")
        self.journaled.append(kept)

    async def _get(self, ref: str) -> Any:
        assert ref == SERVED.ref.ref
        return SERVED


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IdempotencyStore]:
    with closing(IdempotencyStore.open(tmp_path / "keys.db", DAY_US)) as store:
        yield store


@pytest.fixture
def service(store: IdempotencyStore) -> FakeService:
    return FakeService(store)


async def ask(service: FakeService, number: int, row: Row, key: str = "k", caller: str = "shop") -> KeyedResult:
    request: Any = SimpleNamespace(row=row, prediction_id=f"id-{number}", is_kept=True)
    return await predict_once(service, caller, key, request)  # type: ignore[arg-type]


def test_a_key_is_scored_journaled_and_counted_once(service: FakeService) -> None:
    first = asyncio.run(ask(service, 1, {"cap": "x"}))
    assert (first.record.prediction_id, first.served.ref.ref, first.is_replayed) == ("id-1", "xgboost/v2", False)
    again = asyncio.run(ask(service, 2, {"cap": "x"}))
    assert (again.record, again.served.ref.ref, again.is_replayed) == (first.record, "xgboost/v2", True)
    assert service.scored == [{"cap": "x"}]
    assert service.counted == ["xgboost/v2"]
    # Until the mark is written it may be journaled again, which adds nothing: it has one id.
    assert service.journaled in ([first.record], [first.record] * 2)


def test_what_is_known_to_be_journaled_is_not_journaled_again(service: FakeService, store: IdempotencyStore) -> None:
    asyncio.run(ask(service, 1, {"cap": "x"}))
    while not (stored := store.find("shop", "k")) or not stored.is_journaled:
        time.sleep(0.01)
    before = list(service.journaled)
    assert asyncio.run(ask(service, 2, {"cap": "x"})).record == before[0]
    assert service.journaled == before


def test_another_row_with_the_key_is_a_conflict_and_is_not_scored(service: FakeService) -> None:
    asyncio.run(ask(service, 1, {"cap": "x"}))
    with pytest.raises(HttpProblemError) as caught:
        asyncio.run(ask(service, 2, {"cap": "y"}))
    assert (caught.value.problem.status, caught.value.problem.kind) == (422, "key-used")
    assert service.scored == [{"cap": "x"}]
    assert len(service.journaled) == 1


def test_another_caller_has_keys_of_its_own(service: FakeService) -> None:
    found = [
        asyncio.run(ask(service, number, {"cap": cap}, caller=caller)) for number, (caller, cap) in enumerate([("a", "x"), ("b", "y")])
    ]
    assert [one.record.prediction_id for one in found] == ["id-0", "id-1"]
    assert [one.is_replayed for one in found] == [False, False]


def test_of_many_at_once_in_one_worker_one_is_scored(service: FakeService) -> None:
    async def main() -> list[KeyedResult]:
        return list(await asyncio.gather(*(ask(service, number, {"cap": "x"}) for number in range(20))))

    found = asyncio.run(main())
    assert len(service.scored) == len(service.counted) == 1
    assert {one.prediction_id for one in service.journaled} == {"id-0"}
    assert {one.record.prediction_id for one in found} == {"id-0"}
    assert sum(not one.is_replayed for one in found) == 1


def test_of_two_workers_at_once_the_second_gets_the_prediction_of_the_first(service: FakeService, store: IdempotencyStore) -> None:
    other = FakeService(store)

    async def main(row: Row) -> list[Any]:
        asking = (ask(one, number, row if number else {"cap": "x"}) for number, one in enumerate([service, other]))
        return list(await asyncio.gather(*asking, return_exceptions=True))

    first, second = asyncio.run(main({"cap": "x"}))
    assert len(service.scored) == len(other.scored) == 1  # neither knew of the other
    assert first.record == second.record
    assert sorted([first.is_replayed, second.is_replayed]) == [False, True]
    assert len(service.counted + other.counted) == 1


def test_a_prediction_that_was_not_journaled_is_journaled_by_the_next(service: FakeService, store: IdempotencyStore) -> None:
    service.journal_fails = True
    with pytest.raises(JournalError, match="the disk is full"):
        asyncio.run(ask(service, 1, {"cap": "x"}))
    assert service.counted == []
    other = FakeService(store)
    found = asyncio.run(ask(other, 2, {"cap": "x"}))
    assert found.record.prediction_id == "id-1"
    assert (other.scored, other.journaled) == ([], [found.record])


@given(st.dictionaries(st.sampled_from("abcd"), st.one_of(st.none(), st.floats(allow_nan=False), st.text(max_size=3))), st.randoms())
def test_the_digest_is_of_the_values_alone(row: Row, random: Any) -> None:
    names = list(row)
    random.shuffle(names)
    assert digest(row) == digest({name: row[name] for name in names})
    assert digest(row) != digest({**row, "empty": None})
    assert digest(row) != digest({**row, "more": "x"})
    for name in row:
        assert digest(row) != digest({**row, name: "another value"})
