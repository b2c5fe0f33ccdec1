"""An evaluation in a few kilobytes: what matters most stays, and what was not computed is not as if it were fine."""

import json
from dataclasses import replace

import pytest

from sporeprint.monitoring.alarm_control import AlarmPolicy, Finding, Judgement
from sporeprint.monitoring.compact_evaluation import compact
from sporeprint.monitoring.drift import Check, ColumnDrift, DriftReport
from sporeprint.monitoring.drift_importance import RankedColumn
from sporeprint.monitoring.evaluation import Evaluation


def finding(column: str, about: str, effect: float, floor: float, *, alarm: bool = False) -> Finding:
    return Finding(column, Check(about, 0.01, effect, "total variation", "m", 1.0), 0.01, floor, significant=True, alarm=alarm)


def evaluation(count: int = 2) -> Evaluation:
    columns = tuple(ColumnDrift(f"c{number}", "nominal", (100, 100), (0.0, 0.1)) for number in range(count))
    columns = (*columns, ColumnDrift("few", "numeric", (2, 2), (0.0, float("nan")), not_computed={"values": "only 2 values"}))
    findings = (
        finding("c0", "values", 0.2, 0.1),
        finding("c0", "missing", 0.15, 0.05, alarm=False),
        finding("c1", "values", 0.9, 0.1),
        finding("c1", "new values", 0.02, 0.01, alarm=True),
    )
    ranking = tuple(RankedColumn(each.column, None, 0.0, None, 0.0, alarm=False) for each in reversed(columns))
    return Evaluation(
        at_s=1.0,
        reference="r" * 900,
        current="c",
        model="m/v1",
        simulated=False,
        drift=DriftReport((100, 100), columns),
        judgement=Judgement(0.05, findings),
        policy=AlarmPolicy(),
        ranking=ranking,
        overlays={},
        expected=None,
        performance=None,
        alpha=0.001,
        words=("edible", "poisonous"),
        failed={"sync": "the database is away"},
        answered=(1, 2, 3),
    )


def test_each_column_has_the_check_that_is_largest_beside_its_floor_and_alarms_first() -> None:
    values = compact(evaluation(), most_bytes=16_384)
    assert [each["column"] for each in values["columns"]] == ["few", "c1", "c0"]  # as they are ranked
    few, c1, c0 = values["columns"]
    assert (c0["about"], c0["size"], c0["floor"], c0["alarm"]) == ("missing", 0.15, 0.05, False)
    assert (c1["about"], c1["size"], c1["floor"], c1["alarm"]) == ("new values", 0.02, 0.01, True)
    assert (few["size"], few["not_computed"], few["missing"]) == (None, "only 2 values", None)
    assert values["not_computed_count"] == len(values["not_computed"]) == 2
    assert (values["accuracy"], values["expected"]) == (None, None)
    assert (values["answered"], len(values["reference"])) == ({"negative": 1, "positive": 2, "unknown": 3}, 200)


@pytest.mark.parametrize("count", [2, 300, 3_000])
def test_however_many_columns_there_are_it_is_small_and_says_what_was_left_out(count: int) -> None:
    values = compact(replace(evaluation(count)), most_bytes=16_384)
    assert len(json.dumps(values, allow_nan=False).encode()) <= 16_384
    assert len(values["columns"]) + values["columns_left_out"] == count + 1
    assert values["columns"][0]["column"] == "few"
