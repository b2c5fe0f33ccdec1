"""The findings of an evaluation, for people: one line a column, distributions side by side, and the slices that fell most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sporeprint.schema import DatasetSchema
from sporeprint.web.charts import Axis, Chart, Dot, Row, RowPart, rows_chart
from sporeprint.web.names import label_of
from sporeprint.web.pages import share
from sporeprint.web.words import Words

#: Columns whose distributions are drawn, values that are named, and slices.
MOST_OVERLAYS, MOST_VALUES, MOST_SLICES = 6, 5, 10


@dataclass(frozen=True)
class ColumnLine:
    """What is an alarm of a column.

    Attributes:
        label: what people call the column; empty where it is of none.
        parts: what was seen of it, in words.
        column: its name.
    """

    label: str
    parts: tuple[str, ...]
    column: str = ""


@dataclass(frozen=True)
class SliceLine:
    """A slice whose answers are less often right than they were.

    Attributes:
        label: column and value, in words.
        before: share that was right.
        now: share that is right.
        rows: of the slice, with an outcome.
        is_significant: whether it is more than chance.
    """

    label: str
    before: float
    now: float
    rows: int
    is_significant: bool


def column_lines(details: Mapping[str, Any], schema: DatasetSchema, words: Words) -> list[ColumnLine]:
    """The alarms, by column, what matters most first; what is an alarm of no column comes first of all."""
    columns = {each["column"]: each for each in details.get("drift", {}).get("columns", ())}
    alarms: dict[str, list[Mapping[str, Any]]] = {}
    for finding in details.get("judgement", {}).get("findings", ()):
        if finding["alarm"]:
            alarms.setdefault(finding["column"], []).append(finding)
    order = dict.fromkeys([*(each["column"] for each in details.get("ranking", ())), *alarms])
    lines = [
        ColumnLine(label_of(name), tuple(_part(finding, columns[name], schema, words) for finding in alarms[name]), name)
        for name in order
        if name in alarms and name in columns
    ]
    own = {f"{each.column}: " for each in lines}
    others = [text for text in details.get("alarms", ()) if not text.startswith(tuple(own))]
    return [*(ColumnLine("", (text,)) for text in others), *lines]


def _part(finding: Mapping[str, Any], column: Mapping[str, Any], schema: DatasetSchema, words: Words) -> str:
    check, floor = finding["check"], finding["floor"]
    if check["about"] == "missing":
        before, now = (share(float(each)) for each in column["missing"])
        return words("missing {before} → {now}", before=before, now=now)
    if check["about"] == "new values":
        known = schema.columns.get(column["column"])
        named = [_word(each["value"], known) for each in column["new"][:MOST_VALUES]]
        return words("{share} of the values are new: {named}", share=share(float(check["effect"])), named=", ".join(named) or "…")
    numbers = {"measure": check["measure"], "size": f"{float(check['effect']):.3g}", "floor": f"{floor:g}"}
    size = words("{measure} {size} (it matters from {floor})", **numbers)
    return f"{size}, {check['span']}" if check["span"] else size


def _word(value: object, column: Any) -> str:
    return str((column.values or {}).get(value, value)) if column is not None else str(value)


def overlays(details: Mapping[str, Any], lines: Sequence[ColumnLine]) -> list[Chart]:
    """The distributions of the columns with alarms: bars are the reference's shares, dots the current ones."""
    known = details.get("overlays", {})
    charts = []
    for place, line in enumerate([each for each in lines if each.column in known][:MOST_OVERLAYS]):
        values = known[line.column]
        rows = [
            Row(label, [RowPart(old, "pale")], [Dot(new, role="warn")], text=f"{old:.0%} → {new:.0%}")
            for label, old, new in zip(values["labels"], values["reference"], values["current"], strict=True)
        ]
        axis = Axis("share", from_zero=True)
        charts.append(rows_chart(f"overlay-{place}", line.label, "; ".join(line.parts), rows, axis=axis, is_small=True))
    return charts


def worst_slices(details: Mapping[str, Any], schema: DatasetSchema) -> list[SliceLine]:
    """The slices that fell most."""
    slices = details.get("slices") or {}
    return [
        SliceLine(
            f"{label_of(each['column'])}: {_word(each['value'], schema.columns.get(each['column']))}",
            float(each["before"]),
            float(each["now"]["value"]),
            int(each["rows"]),
            bool(each["significant"]),
        )
        for each in slices.get("drops", ())[:MOST_SLICES]
    ]
