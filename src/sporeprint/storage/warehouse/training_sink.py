"""What a run of the pipeline loads into the warehouse: the rows it trained on, and what it measured."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sporeprint.data.part_files import part_files
from sporeprint.settings import StorageSettings
from sporeprint.storage import urls
from sporeprint.storage.warehouse import star_schema
from sporeprint.storage.warehouse.factory import open_warehouse
from sporeprint.storage.warehouse.protocol import TRAINING, Warehouse

#: The staged tables that together are the rows of a run, each with its part, class and features.
SPLIT = ("train", "validation", "test")
#: What of a run's record says which rows these are.
SAYS = ("run_id", "created", "simulated", "fingerprint")


class WarehouseSink:
    """A `load.Sink`: the split rows become the table `training`."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def publish(self, tables: Mapping[str, Path], record: str) -> None:
        """Replace the table at once, unless it holds these very rows."""
        summary = json.loads(record)
        says = {name: summary[name] for name in SAYS}
        before = self._warehouse.get_note(TRAINING)
        if before is not None and before["fingerprint"] == says["fingerprint"]:
            return
        with self._warehouse.loading() as load:
            load.training([file for name in SPLIT for file in part_files(tables[name])], says)


@contextmanager
def opened(settings: StorageSettings, root: Path) -> Iterator[Warehouse]:
    """The warehouse of a work directory, as it is configured."""
    warehouse = open_warehouse(urls.olap(settings, root))
    try:
        yield warehouse
    finally:
        warehouse.close()


def keep_metrics(warehouse: Warehouse, run: Mapping[str, Any]) -> None:
    """Write what a run measured, and the versions it made. Again, it changes nothing.

    Args:
        warehouse: where to.
        run: what `report.metrics_dict` gives.

    Raises:
        StorageError, StorageUnavailableError, BusyError: see `Warehouse.loading`.
    """
    from sporeprint.storage.warehouse import aggregation

    metrics = aggregation.frame(star_schema.FACT_METRIC, measured(run))
    versions = aggregation.frame(star_schema.DIM_MODEL, _versions(run))
    with warehouse.loading() as load:
        load.put(star_schema.FACT_METRIC, metrics)
        load.put(star_schema.DIM_MODEL, versions)


def measured(run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The numbers that a run measured, one row for each model, part and metric; `run` is what `report.metrics_dict` gives."""
    same = {"run_id": run["run_id"], "created_us": _microseconds(run["created"]), "simulated": int(run["simulated"])}
    for model, parts in run["models"].items():
        for part, card in parts.items():
            if not isinstance(card, Mapping):
                continue
            for metric, values in card.items():
                numbers = _numbers(values)
                if numbers is not None:
                    yield {**same, "model": model, "part": part, "metric": metric, **numbers, "rows_measured": card.get("rows")}


def _numbers(values: Any) -> dict[str, float | None] | None:
    """Value and interval of a metric, or a plain number; None where it is neither."""
    if isinstance(values, Mapping) and "value" in values:
        return {name: values.get(name) for name in ("value", "low", "high")}
    if isinstance(values, int | float) and not isinstance(values, bool):
        return {"value": float(values)}
    return None


def _versions(run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for model, parts in run["models"].items():
        if number := re.fullmatch(r"v(\d+)", parts.get("version") or ""):
            version = int(number[1])
            made = {"created_us": _microseconds(run["created"]), "simulated": int(run["simulated"]), "run_id": run["run_id"]}
            yield {"model": model, "version": version, "ref": f"{model}/v{version}", **made}


def _microseconds(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp()) * 1_000_000
