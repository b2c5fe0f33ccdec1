"""Which rows can be used, and for every other one each rule it broke: data to count, store and look at.

The rules are Narwhals expressions in a dict by name; that name stands in errors, files and reports.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.common.dates import LATEST
from sporeprint.data.coded_table import LARGEST, MISSING, UNKNOWN, Codes, Vocabulary, coded_frame, recognised, vocabulary_of
from sporeprint.data.written_values import date_form, normalised, range_text
from sporeprint.schema import NUMBER, DatasetSchema, Kind, set_apart

#: Columns that are added to rejected rows; one of the table with such a name has `_` behind it there.
ADDED = ("rules", "reason", "text")
#: Longest text whose form is explained.
MOST_HINT = 30
#: Rule of rows that could not even be split into fields.
MALFORMED = "malformed"


@dataclass(frozen=True)
class Checked:
    """What became of a batch of rows.

    Attributes:
        codes: the good rows' features.
        y: int8 [good], 1 for the positive class.
        good: bool [n], which rows of the batch are good.
        rejected: the other rows as they were read, with `rules` (list of names) and `reason` (a sentence) added.
        broken: rule -> how many rows broke it; only rules that were broken.
        unlabelled: rows without a label that were left out; neither good nor rejected.
    """

    codes: Codes
    y: npt.NDArray[np.int8]
    good: npt.NDArray[np.bool_]
    rejected: pl.DataFrame
    broken: Mapping[str, int]
    unlabelled: int = 0


def feature_rules(schema: DatasetSchema, *, closed: bool = True) -> dict[str, Any]:
    """Rule name -> Narwhals expression over a coded frame, true where the rule is broken.

    Args:
        schema: the contract.
        closed: whether a value outside the dictionary breaks a rule. Where a model answers, it does not: the row is
            scored and the value flagged as unseen.
    """
    rules: dict[str, Any] = {}
    for name, column in schema.columns.items():
        at = nw.col(name)
        if name in schema.numeric:
            most = LATEST if column.kind is Kind.DATE else LARGEST
            rules[f"number:{name}"] = at.is_nan() | (at.abs() > most)
            bounds = [at < column.min] if column.min is not None else []
            bounds += [at > column.max] if column.max is not None else []
            if bounds:
                rules[f"range:{name}"] = at.is_finite() & (bounds[0] if len(bounds) == 1 else bounds[0] | bounds[1])
            if column.required:
                rules[f"required:{name}"] = at.is_null()
        else:
            if column.values is not None and closed:
                rules[f"allowed:{name}"] = at == UNKNOWN
            if column.required:
                rules[f"required:{name}"] = at == MISSING
    return rules


def target_rules(schema: DatasetSchema) -> dict[str, Any]:
    """The rules of the target column, in the same form."""
    target = nw.col(schema.target.column)
    return {
        f"required:{schema.target.column}": target == MISSING,
        f"allowed:{schema.target.column}": target == UNKNOWN,
    }


def check(frame: pl.DataFrame, schema: DatasetSchema, *, required: Sequence[str] = (), drop_unlabelled: bool = False) -> Checked:
    """Check a batch of labelled rows.

    Args:
        frame: the table's columns as they were read, and `row`, each row's number in the source.
        schema: the schema.
        required: further columns without which a row is rejected.
        drop_unlabelled: whether rows without a label are left out, not rejected.
    """
    target, read = schema.target, frame
    frame = normalised(frame, schema)
    vocabulary: Vocabulary = {**vocabulary_of(frame, schema), target.column: (target.negative, target.positive)}
    compact = coded_frame(recognised(frame, vocabulary), vocabulary, schema.numeric)
    flags = broken_rules(compact, {**target_rules(schema), **feature_rules(schema)})
    groups = schema.groups
    group = () if groups is None or groups.column is None or groups.missing == "own" else (groups.column,)
    for name in dict.fromkeys((*group, *required)):
        if frame[name].null_count():
            flags[f"required:{name}"] = frame[name].is_null().to_numpy()
    unlabelled = flags.pop(f"required:{target.column}", np.zeros(frame.height, dtype=bool)) if drop_unlabelled else None
    if unlabelled is not None:  # whatever else they break is of no interest
        flags = {name: broken & ~unlabelled for name, broken in flags.items() if (broken & ~unlabelled).any()}
    bad = np.logical_or.reduce([*flags.values(), np.zeros(frame.height, dtype=bool)])
    if unlabelled is not None:
        bad |= unlabelled
    good = ~bad
    good_rows = compact if good.all() else compact.filter(good)
    return Checked(
        codes=Codes.of_coded(good_rows, schema, vocabulary),
        y=(good_rows[target.column] == 2).cast(pl.Int8).to_numpy(),
        good=good,
        rejected=explain(read, flags, schema),
        broken={name: int(broken.sum()) for name, broken in flags.items()},
        unlabelled=0 if unlabelled is None else int(unlabelled.sum()),
    )


def broken_rules(compact: pl.DataFrame, rules: Mapping[str, Any]) -> dict[str, npt.NDArray[np.bool_]]:
    """The rules that a coded frame breaks anywhere, each with bool [n]: where."""
    # `any` over each rule first: where nothing is broken, which is the rule, no flag column has to be made.
    named = {str(number): rule for number, rule in enumerate(rules.values())}
    broken = nw.from_native(compact).select(*(rule.fill_null(False).any().alias(key) for key, rule in named.items())).to_native()
    names = [name for key, name in zip(named, rules, strict=True) if broken.height and broken[key][0]]
    if not names:
        return {}
    flags = nw.from_native(compact).select(*(rules[name].fill_null(False).alias(name) for name in names)).to_native()
    return {name: flags[name].to_numpy() for name in names}


def explain(frame: pl.DataFrame, flags: Mapping[str, npt.NDArray[np.bool_]], schema: DatasetSchema) -> pl.DataFrame:
    """The rows that broke a rule, as they were read, with the rules' names and a sentence for people."""
    if not flags:
        empty = [pl.lit(None, dtype=pl.List(pl.String)).alias("rules"), pl.lit(None, dtype=pl.String).alias("reason")]
        return frame.clear().with_columns(*empty)
    rows = np.flatnonzero(np.logical_or.reduce(list(flags.values())))
    read = frame[rows]
    rules = [[name for name, broken in flags.items() if broken[row]] for row in rows.tolist()]
    reasons = [_reason(broken, values, schema) for broken, values in zip(rules, read.iter_rows(named=True), strict=True)]
    rejected = read.rename(set_apart(read.columns, ADDED))
    return rejected.with_columns(pl.Series("rules", rules, dtype=pl.List(pl.String)), pl.Series("reason", reasons, dtype=pl.String))


def _reason(rules: Sequence[str], row: Mapping[str, object], schema: DatasetSchema) -> str:
    return "; ".join(sentence(rule, row.get(rule.partition(":")[2]), schema) for rule in rules)


def sentence(rule: str, value: object, schema: DatasetSchema) -> str:
    """What a broken rule says of a value: column, value, what is allowed."""
    kind, _, name = rule.partition(":")
    shown = repr(value if not isinstance(value, str) or len(value) <= 60 else value[:57] + "...")
    if kind == "required":
        hint = "; to leave such rows out: validation.unlabelled: drop" if name == schema.target.column else ""
        return f"{name}: missing, and it is required{hint}"
    if kind == "number":
        if (column := schema.columns[name]).kind is Kind.DATE:
            return f"{name}: {shown} is no date{date_form(column)}; how they are written: dataset.columns.{name}.format"
        text = str(value).strip()
        if re.fullmatch(NUMBER, text) and math.isfinite(float(text)):
            if abs(float(text)) > LARGEST:
                return f"{name}: {shown} is beyond {LARGEST:.1e}, the largest number a model takes"
            return f"{name}: {shown} is not written as the column's numbers are, with {column.decimal!r} as decimal sign"
        hint = "" if len(text) > MOST_HINT else _number_hint(text)
        return f"{name}: {shown} is not a finite number{hint.format(column=f'dataset.columns.{name}')}"
    if kind == "range":
        return f"{name}: {shown} is out of range{range_text(schema.columns[name])}"
    values = schema.target.values if name == schema.target.column else schema.columns[name].values
    hint = "; in dataset.target.values, codes with one word are one class" if name == schema.target.column else ""
    return f"{name}: {shown} is not one of {', '.join(values or ())}{hint}"


def _number_hint(text: str) -> str:
    """The setting with which a text would be a number or a missing value, as `; if ...`; an empty text where none is likely."""
    if re.fullmatch(r"[^\w\s{}]{1,4}", text):
        return f"; if it stands for a missing value: {{column}}.missing: [{text!r}]"
    if match := re.fullmatch(r"[+-]?[0-9]{1,3}(?:([,.' ])[0-9]{3})+(?:[.,][0-9]+)?", text):
        return f"; if {match[1]!r} stands between thousands: {{column}}.thousands: {match[1]!r}"
    if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text):
        return "; if ',' is its decimal sign: {column}.decimal: ','"
    match = re.fullmatch(r"([€$£¥])?\s*[+-]?[0-9.,' ]*[0-9](\s*%|\s+[^\W\d]+)?", text)
    if match and (unit := (match[1] or match[2] or "").strip()):
        return f"; if {unit!r} is its unit: {{column}}.strip: [{unit!r}]"
    return ""
