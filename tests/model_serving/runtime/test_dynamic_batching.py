"""What asks at the same time is predict_pending together; what fails is one row's."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sporeprint.errors import JournalError
from sporeprint.model_serving.runtime.dynamic_batching import MAX_ROWS, DynamicBatcher, PendingRequest
from sporeprint.model_serving.runtime.loaded_model import LoadedModel, TimedPrediction
from sporeprint.registry.registry import Registry
from sporeprint.storage.journal.writer import Journal
from sporeprint.storage.prediction_record import PredictionRecord


@pytest.fixture(scope="module")
def served(_small_run: Path) -> LoadedModel:
    registry = Registry(_small_run / "models/registry")
    return LoadedModel.load(registry, registry.resolve("xgboost"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal", "w") as journal:
        yield journal


class Watched:
    """A version that says how many rows it was asked together."""

    def __init__(self, served: LoadedModel, asked: list[int], *, fails: bool = False) -> None:
        self.served, self.asked, self.fails = served, asked, fails
        self.ref, self.preprocessing_key = served.ref, served.preprocessing_key

    def answers(self, rows: Sequence[Any], versions: Sequence[Any] | None = None) -> list[TimedPrediction]:
        assert versions is None or {id(each) for each in versions} == {id(self)}
        self.asked.append(len(rows))
        if self.fails and any("bad" in row for row in rows):
            raise ZeroDivisionError
        return self.served.answers(rows)

    def answer(self, row: Any) -> TimedPrediction:
        return self.answers([row])[0]


def request(served: Any, number: int, row: dict[str, Any] | None = None) -> PendingRequest:
    return PendingRequest(row or {}, served, None, None, f"id-{number:04d}")


def kept(journal: Journal) -> list[str]:
    return [PredictionRecord.from_bytes(entry.body).prediction_id for entry in journal.read(1000, 1 << 30)]


def test_together(served: LoadedModel, journal: Journal) -> None:
    asked: list[int] = []
    watched: Any = Watched(served, asked)

    async def ask() -> list[str]:
        batch = DynamicBatcher(journal, "w")
        is_idle = await batch.predict(request(watched, 0), is_idle=True)
        assert (asked, is_idle.record.prediction_id) == ([1], "id-0000")
        given = await asyncio.gather(*(batch.predict(request(watched, 1 + number), is_idle=False) for number in range(MAX_ROWS + 7)))
        return [each.record.prediction_id for each in given]

    ids = asyncio.run(ask())
    assert asked == [1, MAX_ROWS, 7]
    assert ids == [f"id-{number:04d}" for number in range(1, MAX_ROWS + 8)]
    assert set(kept(journal)) == {"id-0000", *ids}


def test_a_row_that_fails_fails_alone(served: LoadedModel, journal: Journal) -> None:
    failing: Any = Watched(served, [], fails=True)

    async def ask() -> list[Any]:
        batch = DynamicBatcher(journal, "w")
        rows = [{}, {"bad": 1.0}, {}, {"worse": float("nan")}, {}]
        asked = (batch.predict(request(failing, number, row), is_idle=False) for number, row in enumerate(rows))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    given = asyncio.run(ask())
    assert [type(each).__name__ for each in given] == [
        "CompletedPrediction",
        "ZeroDivisionError",
        "CompletedPrediction",
        "DataError",
        "CompletedPrediction",
    ]
    assert kept(journal) == ["id-0000", "id-0002", "id-0004"]


def test_who_does_not_wait_any_more_is_not_answered(served: LoadedModel, journal: Journal) -> None:
    async def ask() -> None:
        batch = DynamicBatcher(journal, "w")
        tasks = [asyncio.create_task(batch.predict(request(served, number), is_idle=False)) for number in range(2)]
        # Both have asked, none was predict_pending: the answers come at the end of the turn.
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)

    asyncio.run(ask())
    assert "id-0001" in kept(journal)


def test_what_cannot_be_kept_is_not_given(served: LoadedModel, journal: Journal) -> None:
    async def ask() -> None:
        batch = DynamicBatcher(journal, "w")
        journal.close()
        with pytest.raises(JournalError, match="is closed"):
            await batch.predict(request(served, 0), is_idle=False)

    asyncio.run(ask())
