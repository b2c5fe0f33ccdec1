"""Small traffic, both warehouses, and the counts counted again in the plainest way."""

import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, insert, make_url

from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse import star_schema
from sporeprint.storage.warehouse.factory import open_warehouse
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from support import NUMERIC, OPEN, dataset, nominal

SCHEMA = dataset({"cap-shape": nominal("b", "x"), "size": NUMERIC, "smell": OPEN})
#: 2026-01-30 22:30 UTC: an hour and a half before a day ends, the day before a month does.
BEGIN_US = 1_769_812_200_000_000
MINUTE_US = 60_000_000
VERDICTS = {"e": "edible", "p": "poisonous"}

Rows = list[dict[str, Any]]


def predictions(count: int, *, first: int = 0, seed: int = 1, minutes: float = 1.0) -> Rows:
    """Answers to questions that are asked one after the other, and shipped a little out of order."""
    rows = [_prediction(number, random.Random(f"{seed}-{number}"), minutes) for number in range(first, first + count)]
    order = random.Random(seed)
    return sorted(rows, key=lambda row: row["created_us"] + order.randrange(int(5 * minutes * MINUTE_US) + 1))


def _prediction(number: int, chance: random.Random, minutes: float) -> dict[str, Any]:
    share = chance.random()
    said = "p" if share > 0.5 else "e"
    test = chance.random() < 0.5
    given = {"cap-shape": chance.choice(["b", "x", None, "?"]), "size": round(chance.gammavariate(3, 2), 1), "smell": chance.choice("äö ")}
    created = BEGIN_US + int(number * minutes * MINUTE_US)
    return {
        "prediction_id": f"{created:016x}-{number}",
        "created_us": created,
        "model": chance.choice(["xgboost", "tree"]),
        "version": chance.choice([1, 2]),
        "prediction": said,
        "probability": share,
        "threshold": 0.5,
        "novelty_p": chance.random(),
        "verdict": "unknown" if chance.random() < 0.1 else VERDICTS[said],
        "unseen": "[]",
        "features": json.dumps(given),
        "test_id": "t1" if test else None,
        "arm": chance.choice("ab") if test else None,
        "latency_us": int(chance.lognormvariate(8, 1)),
        "worker": "w",
        "recorded_us": created + 1,
    }


def outcome(prediction_id: str, code: str, revision: int = 1) -> dict[str, Any]:
    said = {"outcome": code, "source": "lab", "observed_us": BEGIN_US, "recorded_us": BEGIN_US}
    return {"prediction_id": prediction_id, "revision": revision, **said}


def write(engine: Engine, rows: Sequence[Mapping[str, Any]], table: Any = tables.prediction) -> None:
    with engine.begin() as connection:
        connection.execute(insert(table), [dict(row) for row in rows])


def database(url: URL) -> Engine:
    """An OLTP database with its tables."""
    engine = connect(url)
    tables.metadata.create_all(engine)
    return engine


@contextmanager
def warehouse_at(address: str) -> Iterator[Warehouse]:
    """A warehouse by the text of its address."""
    found = open_warehouse(make_url(address) if "://" in address else Path(address))
    yield found
    found.close()


def sync_at(oltp: str, olap: str, page_rows: int, load_pages: int) -> None:
    """A sync in a process of its own."""
    engine = connect(make_url(oltp))
    with warehouse_at(olap) as warehouse:
        sync_warehouse(engine, warehouse, SCHEMA, page_rows=page_rows, load_pages=load_pages)
    engine.dispose()


def everything(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, sorted."""
    found = {}
    with warehouse.reading() as reader:
        for table in star_schema.TABLES.values():
            columns = ", ".join(table.names)
            where = f" WHERE {table.counts[0]} <> 0" if table.counts else ""
            found[table.name] = sorted(reader.query(f"SELECT {columns} FROM {table.name}{where}").rows, key=repr)
    return found


def dicts(found: Mapping[str, Sequence[tuple[Any, ...]]], table: star_schema.StarTable) -> list[dict[str, Any]]:
    return [dict(zip(table.names, row, strict=True)) for row in found[table.name]]


def counted_again(found: Mapping[str, Sequence[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """The tables of counts, from the facts, row by row."""
    facts, outcomes = dicts(found, star_schema.FACT_PREDICTION), dicts(found, star_schema.FACT_OUTCOME)
    answers: dict[tuple[Any, ...], list[float]] = {}
    latency: Counter[tuple[Any, ...]] = Counter()
    features: Counter[tuple[Any, ...]] = Counter()
    for row in facts:
        cell = tuple(row[name] for name in star_schema.CELL_NAMES)
        sums = answers.setdefault((*cell, row["verdict"]), [0, 0, 0.0])
        for place, more in enumerate((1, row["latency_us"], float(row["latency_us"]) ** 2)):
            sums[place] += more
        low, high = _bin(row["latency_us"])
        latency[(*cell, math.floor(low), max(math.ceil(high), math.floor(low) + 1))] += 1
        for name, value in json.loads(row["features"]).items():
            features[(*cell, name, *_counted_as(name, value))] += 1
        for name in ("probability", "novelty_p"):
            place = math.floor(row[name] * 64)
            features[(*cell, name, "number", "", place / 64, (place + 1) / 64)] += 1
    latest = {row["prediction_id"]: row for row in sorted(outcomes, key=lambda row: row["revision"])}
    known: Counter[tuple[Any, ...]] = Counter()
    for fact in facts:
        if fact["prediction_id"] in latest:
            cell = tuple(fact[name] for name in star_schema.CELL_NAMES)
            known[(*cell, fact["verdict"], fact["prediction"], latest[fact["prediction_id"]]["outcome"])] += 1
    counts = {"hour_latency": latency, "hour_features": features, "hour_outcomes": known}
    again = {name: sorted(((*key, count) for key, count in counter.items()), key=repr) for name, counter in counts.items()}
    return {**again, "hour_answers": sorted(((*key, *sums) for key, sums in answers.items()), key=repr)}


def _bin(value: float) -> tuple[float, float]:
    octave = 2.0 ** math.floor(math.log2(value))
    place = math.floor((value / octave - 1) * 16)
    return octave * (1 + place / 16), octave * (1 + (place + 1) / 16)


def _counted_as(name: str, value: Any) -> tuple[str, str, float, float]:
    if name == "size":
        return ("number", "", *_bin(value))
    text = "" if value is None else value.strip()
    if not text:
        return "missing", "", 0.0, 0.0
    return ("unseen", "", 0.0, 0.0) if text == "?" else ("value", text, 0.0, 0.0)
