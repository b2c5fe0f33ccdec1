"""The form of a table: sections, choices, colours and pictures come from its schema alone."""

from typing import Any

import pytest

from sporeprint.schema import DatasetSchema
from sporeprint.web.form import MOST_CHIPS, Choice, sections
from sporeprint.web.pictures import symbols


def schema(**columns: Any) -> DatasetSchema:
    target = {"column": "class", "positive": "p", "values": {"p": "ill", "n": "well"}}
    return DatasetSchema.model_validate({"name": "table", "target": target, "columns": columns})


def test_columns_with_the_same_first_word_are_a_section_and_the_rest_comes_last() -> None:
    table = schema(
        **{"age": {"kind": "numeric"}, "cap-shape": {"kind": "nominal"}, "cap_size": {"kind": "numeric"}, "sex": {"kind": "nominal"}}
    )
    assert [(each.title, [question.name for question in each.questions]) for each in sections(table)] == [
        ("Cap", ["cap-shape", "cap_size"]),
        (None, ["age", "sex"]),
    ]
    assert [each.title for each in sections(schema(age={"kind": "numeric"}))] == [None]


@pytest.mark.parametrize(("values", "form"), [(MOST_CHIPS, "chips"), (MOST_CHIPS + 1, "list"), (None, "text")])
def test_few_values_are_chips_many_a_list_and_undeclared_ones_a_text(values: int | None, form: str) -> None:
    declared = None if values is None else {str(number): f"word {number}" for number in range(values)}
    (section,) = sections(schema(x={"kind": "nominal", "values": declared}))
    assert section.questions[0].form == form
    assert len(section.questions[0].choices) == (values or 0)


def test_a_colour_is_shown_only_in_a_column_of_colours_and_a_picture_only_where_there_is_one() -> None:
    values = {"r": "red", "m": "mauve taupe"}
    nominal = {"kind": "nominal", "values": values}
    first, second = sections(schema(**{"hat-colour": nominal, "mood": nominal}))[0].questions
    assert first.choices == (Choice("r", "red", "#c0332b"), Choice("m", "mauve taupe"))
    assert second.choices == (Choice("r", "red"), Choice("m", "mauve taupe"))
    drawn = sections(schema(**{"cap-shape": {"kind": "nominal", "values": {"x": "convex", "z": "square"}}}), symbols())[0].questions[0]
    assert [choice.picture for choice in drawn.choices] == ["cap-shape-convex", None]
