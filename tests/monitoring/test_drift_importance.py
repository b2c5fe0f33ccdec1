"""What matters most: how much a column changed, times how much the model uses it."""

from sporeprint.monitoring.alarm_control import AlarmPolicy, AlarmState, judge
from sporeprint.monitoring.data_profile import NominalProfile, Profile
from sporeprint.monitoring.drift import drift
from sporeprint.monitoring.drift_importance import rank


def table(**shares: float) -> Profile:
    return Profile(2000, {name: NominalProfile({"a": int(2000 * share), "b": 2000 - int(2000 * share)}) for name, share in shares.items()})


OLD = table(much=0.5, some=0.5, none=0.5, unused=0.5)
NEW = table(much=0.9, some=0.7, none=0.5, unused=0.9)


def ranked(importance: dict[str, float] | None) -> list[str]:
    changed = drift(OLD, NEW)
    judgement, _ = judge(changed, AlarmState(), AlarmPolicy(), at_s=0, window="w")
    return [item.column for item in rank(changed, judgement, importance)]


def test_by_change_and_importance() -> None:
    assert ranked({"much": 0.1, "some": 0.8, "none": 0.1, "unused": 0.0}) == ["some", "much", "unused", "none"]


def test_without_importance_by_change_alone() -> None:
    assert ranked(None) == ["much", "unused", "some", "none"]


def test_what_has_no_importance_counts_in_full() -> None:
    assert ranked({"some": 0.5, "none": 0.0, "unused": 0.5})[0] == "much"
