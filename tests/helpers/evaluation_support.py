"""An evaluation of two small tables, made in memory."""

from dataclasses import replace

import numpy as np

from sporeprint.monitoring.alarm_control import AlarmPolicy, AlarmState, judge
from sporeprint.monitoring.data_profile import ColumnProfile, NominalProfile, Profile, of_numbers
from sporeprint.monitoring.drift import drift
from sporeprint.monitoring.drift_importance import rank
from sporeprint.monitoring.evaluation import Evaluation, overlays

DRAW = np.random.default_rng(6)
OLD = Profile(2000, {"size": of_numbers(DRAW.normal(size=2000)), "shape": NominalProfile({"a": 1500, "b": 500})})


def evaluation(current: Profile = OLD, **given: object) -> Evaluation:
    changed = drift(OLD, current)
    judgement, _ = judge(changed, AlarmState(), AlarmPolicy(), at_s=1e9, window="w")
    made = Evaluation(
        at_s=1e9,
        reference="the old table",
        current="the new table",
        model=None,
        simulated=False,
        drift=changed,
        judgement=judgement,
        policy=AlarmPolicy(),
        ranking=rank(changed, judgement, None),
        overlays=overlays(OLD, current, {"shape": {"a": "round"}}),
        expected=None,
        performance=None,
        alpha=0.01,
        words=("edible", "poisonous"),
    )
    return replace(made, **given)  # type: ignore[arg-type]


def with_column(**columns: ColumnProfile) -> Profile:
    return Profile(2000, {**OLD.columns, **columns})
