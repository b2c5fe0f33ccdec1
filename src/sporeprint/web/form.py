"""The questions of a table, as a form asks them: everything comes from its schema."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sporeprint.schema import Column, DatasetSchema, Kind
from sporeprint.web.names import label_of

#: Most values that are shown side by side; of more, one is chosen from a list.
MOST_CHIPS = 14
#: Words that a colour can be seen for.
COLOURS: Mapping[str, str] = {
    "brown": "#7b4b2a", "buff": "#d9b98a", "gray": "#8d9096", "grey": "#8d9096", "green": "#4f8f3f", "pink": "#e79ab2", "purple": "#7c4a9b",
    "red": "#c0332b", "white": "#ffffff", "yellow": "#e9c93c", "blue": "#3f6db8", "orange": "#e0812c", "black": "#1d1d1d",
}  # fmt: skip
COLOUR_NAMES = ("color", "colour")


@dataclass(frozen=True)
class Choice:
    """A value to choose.

    Attributes:
        value: its code.
        word: what people call it.
        colour: what it looks like, if it is a colour.
        picture: its symbol among the pictures, if there is one.
    """

    value: str
    word: str
    colour: str | None = None
    picture: str | None = None


@dataclass(frozen=True)
class FormField:
    """A column as it is asked for.

    Attributes:
        name: of the column.
        label: what people call it.
        help: what it says, where the schema has that.
        form: number, chips, list or text.
        choices: of a nominal column whose values are declared.
        unit: of a numeric column.
        low: numeric: smallest allowed value.
        high: numeric: largest allowed value.
    """

    name: str
    label: str
    help: str | None
    form: Literal["number", "chips", "list", "text"]
    choices: tuple[Choice, ...] = ()
    unit: str | None = None
    low: float | None = None
    high: float | None = None

    @property
    def anchor(self) -> str:
        """The question's id in the page."""
        return f"q-{self.name}"


@dataclass(frozen=True)
class Section:
    """Questions that belong together. The last one, of what belongs to nothing else, has no title."""

    title: str | None
    questions: tuple[FormField, ...]


def sections(schema: DatasetSchema, pictures: frozenset[str] = frozenset()) -> tuple[Section, ...]:
    """The form of a table: columns whose names begin with the same word are one section.

    Args:
        schema: of the table.
        pictures: symbols that can be shown, named as `column-word`.
    """
    first = {name: label_of(name).split(" ")[0] for name in schema.columns}
    shared = {word for word, count in Counter(first.values()).items() if count > 1}
    titled: dict[str | None, list[FormField]] = {}
    for name, column in schema.columns.items():
        title = first[name] if first[name] in shared else None
        titled.setdefault(title, []).append(_question(name, column, pictures))
    others = titled.pop(None, [])
    titled_sections = [Section(title, tuple(questions)) for title, questions in titled.items()]
    return (*titled_sections, *([Section(None, tuple(others))] if others else []))


def _question(name: str, column: Column, pictures: frozenset[str]) -> FormField:
    label = label_of(name)
    if column.kind is Kind.NUMERIC:
        return FormField(name, label, column.description, "number", unit=column.unit, low=column.min, high=column.max)
    if column.values is None:
        return FormField(name, label, column.description, "text")
    is_colour = any(part in name.lower() for part in COLOUR_NAMES)
    choices = tuple(
        Choice(
            code,
            word,
            COLOURS.get(word.lower()) if is_colour else None,
            symbol if (symbol := f"{name}-{word}".replace(" ", "-").lower()) in pictures else None,
        )
        for code, word in column.values.items()
    )
    return FormField(name, label, column.description, "chips" if len(choices) <= MOST_CHIPS else "list", choices)
