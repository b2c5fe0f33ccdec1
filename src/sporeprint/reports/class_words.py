"""The words of a schema's classes and groups, as reports and pictures use them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sporeprint.schema import DatasetSchema
from sporeprint.web.names import plural, spaced


@dataclass(frozen=True, slots=True)
class ClassWords:
    """What the pictures call things.

    Attributes:
        positive: the positive class.
        negative: the other class.
        seen: rows of groups that training held, in words.
        unseen: rows of groups that training never held.
        columns: dataset column -> words.
    """

    positive: str
    negative: str
    seen: str
    unseen: str
    columns: Mapping[str, str]

    @classmethod
    def of(cls, schema: DatasetSchema) -> "ClassWords":
        """The words of a schema."""
        target, group = schema.target, plural(schema.groups.name if schema.groups else "group")
        return cls(
            positive=target.values[target.positive],
            negative=target.values[target.negative],
            seen=f"seen {group}" if schema.groups else "held-out rows",
            unseen=f"unseen {group}",
            columns={name: spaced(name) for name in schema.columns},
        )


def shortened(name: str, length: int = 22) -> str:
    """A name that is not longer than a chart has room for."""
    text = spaced(name)
    return text if len(text) <= length else f"{text[: length - 1]}…"
