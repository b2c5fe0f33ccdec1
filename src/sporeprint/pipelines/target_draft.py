"""The proposed target of a table that nothing is known of: which column, which class must not be missed, and what its codes are called."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from sporeprint.errors import DataError, UsageError, nearest
from sporeprint.ingestion.column_inference import MISSING_CODES
from sporeprint.ingestion.table_sample import TableSample
from sporeprint.schema import code_text

#: Names that a target often has.
TARGET_NAMES = (
    *("target", "label", "class", "y", "outcome", "response", "result", "diagnosis", "survived", "churn", "churned", "exited", "default"),
    *("fraud", "is_fraud", "spam", "late", "stroke", "disease", "classification", "deposit", "subscribed", "approved", "revenue", "status"),
)
#: Classes that are usually the ones that must not be missed, in lower case.
POSITIVE_WORDS = (
    *("1", "yes", "y", "true", "t", "positive", "pos", "p", "poisonous", "malignant", "m", "bad", "fraud", "spam", "churn", "churned"),
    *("late", "default", "sick", "disease", "ckd", "died", "dead", "fail", "failed", "+", ">50k", ">50k.", "reject"),
)
#: Most classes that a target may have; more are a number or an identifier.
MOST_CLASSES = 20


@dataclass(frozen=True)
class TargetDraft:
    """The proposed target.

    Attributes:
        column: its name.
        positive: code of the positive class.
        values: code -> word.
        missing: texts that stand for a row without a label.
        unlabelled: share of the rows without a label.
        positive_share: share of the positive class among the labelled rows.
        reason: why this column and this class.
    """

    column: str
    positive: str
    values: Mapping[str, str]
    missing: tuple[str, ...]
    unlabelled: float
    positive_share: float
    reason: str


def draft_target(sample: TableSample, places: Mapping[str, int], named: str | None, positive: Sequence[str]) -> TargetDraft:
    """The proposed target of a table.

    Args:
        sample: of the table.
        places: name -> place of the columns that it may be.
        named: the target column; None: the likeliest one.
        positive: the code or codes of the positive class; empty: the likeliest one.

    Raises:
        DataError: the column has no two classes.
        UsageError: it cannot be known which column is the target, or which class is the positive one.
    """
    if named is not None and named not in places:
        raise UsageError(f"no column {named!r}{nearest(named, places)}; there are: {', '.join(list(places)[:40])}")
    holding = _holding(sample, places, positive) if named is None and positive else []
    if len(holding) == 1:
        name, reason = holding[0], "the only column that holds what is named positive"
    else:
        name, reason = (named, "named") if named is not None else _likeliest_target(sample, places)
    counts = _class_counts(sample.frame[str(places[name])])
    classes = {code: rows for code, rows in counts.items() if code not in MISSING_CODES or code == "-"}
    if set(classes) >= {"-", "+"}:
        missing = tuple(code for code in counts if code not in classes)
    else:
        classes.pop("-", None)
        missing = tuple(code for code in counts if code not in classes)
    labelled = sum(classes.values())
    if len(classes) < 2:
        held = f"one value only, {next(iter(classes))!r}" if classes else "no value"
        empty = sample.frame.height - labelled
        hint = f". {empty:,} of its cells are empty: if that is the other class, write a value into them" if classes and empty else ""
        raise DataError(f"the target {name!r} holds {held}; a classifier needs two classes{hint}")
    if len(classes) > MOST_CLASSES and not positive:
        raise DataError(
            f"the target {name!r} has {len(classes):,} different values; a target has two classes. Name another column with --target, "
            f"or the values that are the positive class with --positive"
        )
    unknown = [code for code in positive if code_text(code) not in classes]
    if unknown:
        raise UsageError(f"--positive: {unknown[0]!r} is no value of {name!r}; it has: {', '.join(list(classes)[:20])}")
    chosen, why = ([code_text(code) for code in positive], "named") if positive else _likeliest_positive(name, classes)
    if len(chosen) == len(classes):
        raise UsageError(f"--positive names every value of {name!r}; the other class needs one, too")
    share = sum(classes[code] for code in chosen) / labelled
    total = sample.frame.height
    return TargetDraft(name, chosen[0], _words(name, list(classes), chosen), missing, 1 - labelled / total, share, f"{reason}; {why}")


def _holding(sample: TableSample, places: Mapping[str, int], positive: Sequence[str]) -> list[str]:
    """The columns that hold each of these values."""
    codes = {code_text(code) for code in positive}
    few = [name for name, place in places.items() if sample.frame[str(place)].n_unique() <= MOST_CLASSES]
    return [name for name in few if codes <= set(_class_counts(sample.frame[str(places[name])]))]


def _class_counts(values: pl.Series) -> dict[str, int]:
    counts: dict[str, int] = {}
    for text, rows in values.drop_nulls().value_counts(sort=True, name="rows").iter_rows():
        code = code_text(text)
        counts[code] = counts.get(code, 0) + rows
    return counts


def _likeliest_target(sample: TableSample, places: Mapping[str, int]) -> tuple[str, str]:
    """The column that is most likely the target, and why.

    Raises:
        UsageError: there are several, or none.
    """
    few = {name: place for name, place in places.items() if sample.frame[str(place)].n_unique() <= 10 * MOST_CLASSES}
    sizes = dict.fromkeys(places, 0)
    sizes |= {name: len(set(_class_counts(sample.frame[str(place)])) - set(MISSING_CODES)) for name, place in few.items()}
    binary = [name for name, size in sizes.items() if size == 2]
    by_name = [name for name in places if name.lower().strip() in TARGET_NAMES and 2 <= sizes[name] <= 5]
    if len(by_name) == 1:
        return by_name[0], "its name is one that targets have"
    names = [*places]
    last, first = (names[-1], names[0]) if names else ("", "")
    if last in binary:
        return last, "the last column, of two values"
    if len(binary) == 1:
        return binary[0], "the only column of two values"
    if first in binary:
        return first, "the first column, of two values"
    listed = ", ".join((by_name or binary)[:10])
    if not listed:
        raise UsageError(
            f"no column looks like a target, which has two values; name it with --target COLUMN. Columns: {', '.join(list(places)[:20])}"
        )
    raise UsageError(f"several columns may be the target: {listed}; name it with --target COLUMN")


def _likeliest_positive(name: str, classes: Mapping[str, int]) -> tuple[list[str], str]:
    codes = list(classes)
    if len(codes) > 2:
        numbers = sorted(codes, key=lambda code: float(code)) if all(re.fullmatch("[0-9]+", code) for code in codes) else []
        if numbers and numbers[0] == "0":
            return numbers[1:], "0 is one class, all other codes the other"
        raise UsageError(
            f"the target {name!r} has {len(codes)} values: {', '.join(codes)}; say which of them are the positive class, "
            "the one that must not be missed, with --positive VALUE[,VALUE]"
        )
    for word in POSITIVE_WORDS:
        for code in codes:
            if code.lower() == word:
                return [code], "usually the class that must not be missed"
    rarer = min(codes, key=lambda code: classes[code])
    return [rarer], "the rarer class"


def _words(name: str, codes: Sequence[str], positive: Sequence[str]) -> dict[str, str]:
    """Code -> word. Codes that say nothing by themselves are called after the column."""
    plain = re.sub(r"[_\s]+", " ", name).strip().lower() or "positive"
    negative = [code for code in codes if code not in positive]
    if len(codes) == 2 and not all(re.fullmatch(r"[0-9+-]+|true|false|yes|no|y|n|t|f", code.lower()) for code in codes):
        words = {code: code for code in codes}
        return {code: "not known" if word.lower() == "unknown" else word for code, word in words.items()}
    if len(codes) == 2 or all(re.fullmatch(r"[0-9]+", code) for code in codes):
        word = plain if plain not in {"target", "label", "class", "y", "outcome", "response", "result", "unknown"} else "positive"
        other = f"not {word}" if word != "positive" else "negative"
        return {**dict.fromkeys(negative, other), **dict.fromkeys(positive, word)}
    word = " or ".join(positive) if len(positive) <= 3 else "positive"
    return {**dict.fromkeys(negative, "other" if word != "other" else "the others"), **dict.fromkeys(positive, word)}
