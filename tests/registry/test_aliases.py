import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.registry.aliases import AliasChange, Aliases, Pin

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def moved(aliases: Aliases, alias: str, ref: str, *, undo: bool = False) -> Aliases:
    return aliases.promoted(alias, Pin(ref, f"sha of {ref}"), reason="because", by="me", now=NOW, undo=undo)


def test_a_move_is_kept_with_who_when_and_why() -> None:
    found = moved(moved(Aliases(), "xgboost", "xgboost/v1"), "xgboost", "xgboost/v2")
    assert found.pins == {"xgboost": Pin("xgboost/v2", "sha of xgboost/v2")}
    when = "2026-03-04T05:06:07+00:00"
    assert found.history == (
        AliasChange(when, "xgboost", None, "xgboost/v1", "because", "me"),
        AliasChange(when, "xgboost", "xgboost/v1", "xgboost/v2", "because", "me"),
    )


def test_moving_to_where_it_is_changes_nothing() -> None:
    once = moved(Aliases(), "xgboost", "xgboost/v1")
    assert moved(once, "xgboost", "xgboost/v1") is once


def test_each_alias_has_its_own_past() -> None:
    found = Aliases()
    for ref in ("a/v1", "a/v2"):
        found = moved(found, "a", ref)
    found = moved(found, "production", "a/v2")
    assert found.previous("a") == "a/v1"
    assert found.previous("production") is None
    assert found.previous("nobody") is None


refs = st.sampled_from(["m/v1", "m/v2", "m/v3"])


@given(st.lists(st.tuples(st.sampled_from("mn"), st.one_of(refs, st.none())), max_size=15))
def test_going_back_undoes_moves_one_by_one(steps: list[tuple[str, str | None]]) -> None:
    """None is a step back; plain stacks, one an alias, say what must come out."""
    found = Aliases()
    stacks: dict[str, list[str]] = {"m": [], "n": []}
    for alias, step in steps:
        stack = stacks[alias]
        if step is None and len(stack) > 1:
            stack.pop()
            found = moved(found, alias, str(found.previous(alias)), undo=True)
        elif step is not None and stack[-1:] != [step]:
            stack.append(step)
            found = moved(found, alias, step)
    for alias, stack in stacks.items():
        assert found.previous(alias) == (stack[-2] if len(stack) > 1 else None)
    assert {alias: pin.ref for alias, pin in found.pins.items()} == {alias: stack[-1] for alias, stack in stacks.items() if stack}
    assert Aliases.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "aliases": {}, "history": []}',
        '{"format": 3, "sha256": "", "aliases": {}, "history": []}',
        '{"format": 1, "sha256": "", "aliases": {}, "history": []}',
        '{"format": [], "aliases": {}, "history": []}',
        '{"format": 1}',
        '{"format": 1, "aliases": {"a": {"ref": 1}}, "history": []}',
        '{"format": 1, "aliases": {}, "history": [{"x": 1}]}',
        '{"format": 1, "aliases": [], "history": []}',
    ],
)
def test_text_that_holds_no_aliases_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not aliases of format|Expecting value"):
        Aliases.from_json(text)


def test_json_is_for_people_too() -> None:
    raw = json.loads(moved(Aliases(), "production", "ä/v1").to_json())
    assert raw["aliases"]["production"]["ref"] == "ä/v1"
    assert raw["history"][0]["origin"] is None


def test_aliases_of_format_1_are_read_and_written_with_a_digest() -> None:
    now = moved(moved(Aliases(), "m", "m/v1"), "m", "m/v2")
    raw = json.loads(now.to_json())
    before = json.dumps({"format": 1, "aliases": raw["aliases"], "history": raw["history"]})
    assert Aliases.from_json(before) == now


@given(st.data())
def test_an_altered_character_is_refused(data: st.DataObject) -> None:
    """Layout may change, content may not."""
    now = moved(moved(Aliases(), "xgboost", "xgboost/v1"), "production", "xgboost/v1")
    text = now.to_json()
    place = data.draw(st.integers(0, len(text) - 1).filter(lambda place: not text[place].isspace()))
    other = data.draw(st.characters(codec="ascii").filter(lambda char: char != text[place]))
    with pytest.raises(ValueError, match=r"sha256|not aliases|Expecting|Extra data|Invalid|Unterminated"):
        Aliases.from_json(text[:place] + other + text[place + 1 :])
