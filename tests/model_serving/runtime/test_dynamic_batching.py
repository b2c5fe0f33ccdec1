"""What asks at the same time is answered together; what fails is one row's."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sporeprint.errors import JournalError
from sporeprint.model_serving.runtime.dynamic_batching import MOST, Microbatch, Question
from sporeprint.model_serving.runtime.loaded_model import Answered, Served
from sporeprint.registry.registry import Registry
from sporeprint.storage.journal.writer import Journal
from sporeprint.storage.prediction_record import PredictionRecord


@pytest.fixture(scope="module")
def served(_small_run: Path) -> Served:
    registry = Registry(_small_run / "models/registry")
    return Served.load(registry, registry.resolve("xgboost"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal", "w") as journal:
        yield journal


class Watched:
    """A version that says how many rows it was asked together."""

    def __init__(self, served: Served, asked: list[int], *, fails: bool = False) -> None:
        self.served, self.asked, self.fails = served, asked, fails
        self.ref, self.kin = served.ref, served.kin

    def answers(self, rows: Sequence[Any], versions: Sequence[Any] | None = None) -> list[Answered]:
        assert versions is None or {id(each) for each in versions} == {id(self)}
        self.asked.append(len(rows))
        if self.fails and any("bad" in row for row in rows):
            raise ZeroDivisionError
        return self.served.answers(rows)

    def answer(self, row: Any) -> Answered:
        return self.answers([row])[0]


def question(served: Any, number: int, row: dict[str, Any] | None = None) -> Question:
    return Question(row or {}, served, None, None, f"id-{number:04d}")


def kept(journal: Journal) -> list[str]:
    return [PredictionRecord.from_bytes(entry.body).prediction_id for entry in journal.read(1000, 1 << 30)]


def test_together(served: Served, journal: Journal) -> None:
    asked: list[int] = []
    watched: Any = Watched(served, asked)

    async def ask() -> list[str]:
        batch = Microbatch(journal, "w")
        alone = await batch.ask(question(watched, 0), alone=True)
        assert (asked, alone.record.prediction_id) == ([1], "id-0000")
        given = await asyncio.gather(*(batch.ask(question(watched, 1 + number), alone=False) for number in range(MOST + 7)))
        return [each.record.prediction_id for each in given]

    ids = asyncio.run(ask())
    assert asked == [1, MOST, 7]
    assert ids == [f"id-{number:04d}" for number in range(1, MOST + 8)]
    assert set(kept(journal)) == {"id-0000", *ids}


def test_a_row_that_fails_fails_alone(served: Served, journal: Journal) -> None:
    failing: Any = Watched(served, [], fails=True)

    async def ask() -> list[Any]:
        batch = Microbatch(journal, "w")
        rows = [{}, {"bad": 1.0}, {}, {"worse": float("nan")}, {}]
        asked = (batch.ask(question(failing, number, row), alone=False) for number, row in enumerate(rows))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    given = asyncio.run(ask())
    assert [type(each).__name__ for each in given] == ["Given", "ZeroDivisionError", "Given", "DataError", "Given"]
    assert kept(journal) == ["id-0000", "id-0002", "id-0004"]


def test_who_does_not_wait_any_more_is_not_answered(served: Served, journal: Journal) -> None:
    async def ask() -> None:
        batch = Microbatch(journal, "w")
        tasks = [asyncio.create_task(batch.ask(question(served, number), alone=False)) for number in range(2)]
        # Both have asked, none was answered: the answers come at the end of the turn.
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)

    asyncio.run(ask())
    assert "id-0001" in kept(journal)


def test_what_cannot_be_kept_is_not_given(served: Served, journal: Journal) -> None:
    async def ask() -> None:
        batch = Microbatch(journal, "w")
        journal.close()
        with pytest.raises(JournalError, match="is closed"):
            await batch.ask(question(served, 0), alone=False)

    asyncio.run(ask())
