"""Records of answers for the tests of journal and shipper, and what to do with many of them."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from sporeprint.storage.engine import reading
from sporeprint.storage.journal.file import JournalFile
from sporeprint.storage.journal.writer import Journal
from sporeprint.storage.oltp import tables
from sporeprint.storage.prediction_record import PredictionRecord

#: Text that something on the way could stumble over.
AWKWARD = "it's \"quoted\" \\ `back` %s %(x)s :name ? \r\n\t\x00\x1e\x1f\x7f é 𝄞 🍄 e\u0301 \u2028 ' OR 1=1; --"


def record(number: int = 0, **changes: Any) -> PredictionRecord:
    """An answer. Its id and one of its features tell its number."""
    fields: dict[str, Any] = {
        "prediction_id": f"id-{number:08d}",
        "created_us": 1_700_000_000_000_000 + number,
        "model": "xgboost",
        "version": 2,
        "prediction": "p",
        "verdict": "poisonous",
        "features": {"number": number, "cap": "x", "stem": 1.5, "ring": None},
        "latency_us": 900,
        "worker": "w",
        "probability": 0.1 + 0.2,
    }
    return PredictionRecord(**{**fields, **changes})


def full_record(number: int = 0) -> PredictionRecord:
    """An answer with every field, and awkward text wherever text can be."""
    return record(
        number,
        features={AWKWARD: AWKWARD, "large": 2**80, "small": 5e-324, "no": False},
        model=AWKWARD[:60],
        prediction="'",
        verdict=AWKWARD[:64],
        novelty_p=1e-300,
        threshold=0.0,
        unseen=(AWKWARD, ""),
        batch_id="b",
        test_id="t",
        arm="b",
        unit_id=AWKWARD,
        shadow={"model": AWKWARD, "probability": 0.1, "deep": [1, None, {"a": True}]},
    )


def write_all(journal: Journal, records: Sequence[PredictionRecord]) -> None:
    """Write in order, all waiting at once; raise the first error."""

    async def main() -> None:
        await asyncio.gather(*(journal.write(one) for one in records))

    asyncio.run(main())


def fill(folder: Path, worker: str, records: Sequence[PredictionRecord]) -> JournalFile:
    """A journal of a worker that has ended, held by this process."""
    file = JournalFile.open(folder, worker)
    for begin in range(0, len(records), 256):
        file.append([(one.prediction_id, one.to_bytes()) for one in records[begin : begin + 256]])
    return file


def ids(file: JournalFile | Journal) -> list[str]:
    """The ids of what is not shipped, in order."""
    return [PredictionRecord.from_bytes(entry.body).prediction_id for entry in file.read(1_000_000, 1 << 40)]


def stored(engine: Engine) -> list[str]:
    """The ids in the database, in the order in which they came."""
    with reading(engine) as connection:
        return list(connection.execute(select(tables.prediction.c.prediction_id).order_by(tables.prediction.c.seq)).scalars())


def stored_record(engine: Engine, prediction_id: str) -> PredictionRecord:
    """A row of the database, as the record it was."""
    with reading(engine) as connection:
        row = connection.execute(select(tables.prediction).where(tables.prediction.c.prediction_id == prediction_id)).mappings().one()
    fields = {name: value for name, value in row.items() if name not in ("seq", "recorded_us")}
    parsed: dict[str, Any] = {name: None if fields[name] is None else json.loads(fields[name]) for name in ("unseen", "features", "shadow")}
    return PredictionRecord(**{**fields, **parsed, "unseen": tuple(parsed["unseen"])})


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"still not so after {seconds:g} s"
        time.sleep(0.01)
