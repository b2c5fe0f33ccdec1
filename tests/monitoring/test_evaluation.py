"""An evaluation: what it comes to, for people and programs; fine only if everything was computed."""

import json

import numpy as np
import pytest

from evaluation_support import DRAW, OLD, evaluation, with_column
from sporeprint.monitoring.data_profile import NominalProfile, NumericProfile, Profile, of_numbers
from sporeprint.monitoring.evaluation import ALARM, FINE, NOT_COMPUTED, Evaluation, EvaluationStatus, finite, percent
from sporeprint.monitoring.performance_estimation import ScoreHistograms, estimate_performance
from sporeprint.monitoring.realized_performance import PromiseStatus, Tally, realized_performance


def text(made: Evaluation) -> str:
    return "\n".join("  ".join(row) for table in made.tables() for row in [(table.title,), *table.rows])


def test_nothing_changed() -> None:
    made = evaluation()
    assert (made.status, made.exit_code, made.alarms, made.not_computed) == (EvaluationStatus.FINE, FINE, (), ())
    assert "No alarm" in text(made)


def test_an_alarm_says_what_changed() -> None:
    made = evaluation(with_column(size=of_numbers(DRAW.normal(1, 1, size=2000)), shape=NominalProfile({"a": 1400, "b": 500, "z": 100})))
    assert made.exit_code == ALARM
    assert made.alarms[0].startswith("size: shifted by ")
    assert "shape: 5.00% of the values are new: 'z'" in made.alarms
    assert "ALARM" in text(made)
    missing = evaluation(with_column(shape=NominalProfile({"a": 750, "b": 250}, 1000)))
    assert missing.alarms == ("shape: missing in 50.00% of the rows, was 0%",)


def test_what_was_not_computed_is_not_fine() -> None:
    made = evaluation(with_column(size=NumericProfile(of_numbers(np.ones(3)).histogram, 1997)))
    assert made.exit_code == ALARM  # the missing share; an alarm goes first
    assert "size, values: the current table has 3 values; at least 5 are needed" in made.not_computed[0]
    nothing = evaluation(Profile(1, {"size": of_numbers(np.ones(1)), "shape": NominalProfile({"a": 1})}))
    assert nothing.exit_code == NOT_COMPUTED
    assert nothing.not_computed == ("the current table has 1 row; at least 30 are needed to compare anything",)
    assert evaluation(failed={"answers": "no such column"}).exit_code == NOT_COMPUTED


def test_a_broken_promise_is_an_alarm() -> None:
    zeros = np.zeros(100)
    real = realized_performance(Tally.of(zeros, zeros.astype(np.int8), np.ones(100, dtype=np.int8)), alpha=0.01, delta=0.05)
    assert real.promise is PromiseStatus.BROKEN
    made = evaluation(performance=real, expected=estimate_performance(ScoreHistograms.of(zeros, zeros.astype(np.int8))))
    assert made.exit_code == ALARM
    assert "of the answers “edible” 100% were poisonous" in made.alarms[0]
    assert "roc_auc: all outcomes are of one class" in made.not_computed[0]
    assert "broken" in text(made)


def test_json_has_no_nan() -> None:
    made = evaluation(Profile(2000, {"size": OLD.columns["size"]}))
    values = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert values["status"] == "not computed"
    assert finite({"a": [float("nan"), float("inf"), 1.0]}) == {"a": [None, "inf", 1.0]}


def test_overlays_are_shares_on_common_bins() -> None:
    made = evaluation(with_column(shape=NominalProfile({"a": 1000, **{f"z{number}": 40 for number in range(25)}})))
    size, shape = made.overlays["size"], made.overlays["shape"]
    assert sum(size.reference) == pytest.approx(1)
    assert size.reference == size.current
    assert shape.labels[0] == "round"
    assert (len(shape.labels), shape.labels[-1]) == (20, "others")
    assert sum(shape.current) == pytest.approx(1)


def test_shares_are_never_rounded_to_none_or_all() -> None:
    assert [percent(share) for share in (0, 1, 1e-9, 1 - 1e-9, 0.5)] == ["0%", "100%", "<0.01%", ">99.99%", "50.00%"]
