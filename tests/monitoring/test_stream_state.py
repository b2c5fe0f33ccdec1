"""What the evaluations of a stream leave for the next one."""

import json

import pytest

from sporeprint.monitoring.stream_state import StreamState


def test_outcomes_are_remembered_by_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sporeprint.monitoring.stream_state.WINDOWS", 2)
    found = StreamState()
    for window, counts in (("a", (10, 1)), ("b", (20, 2)), ("c", (30, 3)), ("c", (31, 3))):
        found = found.with_outcomes(window, *counts)
    assert found.earlier("c") == (30, 3)
    assert found.earlier("d") == (61, 6)
    assert StreamState.from_dict(json.loads(json.dumps(found.to_dict()))) == found
