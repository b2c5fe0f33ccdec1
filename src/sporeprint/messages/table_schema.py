"""The table that a model is for, in words: enough to make a form of it."""

from sporeprint.messages.base import response


@response
class SchemaValue:
    """A value of a nominal column.

    Attributes:
        code: as requests and the table have it.
        word: what people call it.
        seen: whether it occurred in training.
    """

    code: str
    word: str
    seen: bool


@response
class SchemaColumn:
    """A column.

    Attributes:
        name: as requests name it.
        label: what people call it.
        section: columns whose names begin with the same word are one section; null for one that belongs to none.
        kind: nominal, numeric or date.
        unit: of a numeric column.
        description: what it says.
        required: whether a row without it is refused.
        min: smallest number that is allowed.
        max: largest number that is allowed.
        low: smallest number in training.
        high: largest number in training.
        values: of a nominal column; empty where any value is allowed.
    """

    name: str
    label: str
    section: str | None
    kind: str
    unit: str | None
    description: str | None
    required: bool
    min: float | None
    max: float | None
    low: float | None
    high: float | None
    values: tuple[SchemaValue, ...]


@response
class SchemaClass:
    """A class of the target.

    Attributes:
        code: as the table has it.
        word: what it means.
    """

    code: str
    word: str


@response
class SchemaResponse:
    """The table of a model.

    Attributes:
        name: of the table.
        hash: fingerprint of what a model of it takes and answers.
        model: name of the model.
        version: its version.
        target: name of the target column.
        positive: the class whose probability is predicted.
        negative: the other class.
        group: what its groups are called, such as species; null if it has none.
        columns: the features, in order.
        contradictions: what no row can be, in words.
    """

    name: str
    hash: str
    model: str
    version: int
    target: str
    positive: SchemaClass
    negative: SchemaClass
    group: str | None
    columns: tuple[SchemaColumn, ...]
    contradictions: tuple[str, ...]
