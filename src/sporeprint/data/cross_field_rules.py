"""Rows that contradict themselves: values of several columns that cannot be true together, as the schema declares them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes
from sporeprint.schema import Condition, DatasetSchema

Row = Mapping[str, str | float | None]
Flags = npt.NDArray[np.bool_]


def contradictory(codes: Codes, schema: DatasetSchema) -> dict[str, Flags]:
    """For every declared contradiction that occurs: its words -> bool [n], the rows that hold it."""
    flags_by_rule = {}
    for item in schema.contradictions:
        flags = np.logical_and.reduce([_holds(codes, name, condition) for name, condition in item.when.items()])
        if flags.any():
            flags_by_rule[item.says] = flags
    return flags_by_rule


def _holds(codes: Codes, name: str, condition: Condition) -> Flags:
    if name in codes.nominal:
        fulfilled = np.array([False, False, *(_is(value, condition) for value in codes.vocabulary[name])])
        # Code -1, a value outside the vocabulary, is none of the codes named.
        fulfilled[0] = condition.one_of is None
        return np.asarray(fulfilled.take(codes.nominal[name] + np.int16(1)))
    return numbers_hold(codes.numeric[name], condition)


def numbers_hold(values: npt.NDArray[np.float64], condition: Condition) -> Flags:
    """Whether numbers fulfil a condition: bool [n]; a missing one, NaN, does not."""
    flags = ~np.isnan(values)
    if condition.above is not None:
        flags &= values > condition.above
    if condition.below is not None:
        flags &= values < condition.below
    return flags


def _is(value: str, condition: Condition) -> bool:
    return (condition.one_of is None or value in condition.one_of) and (condition.none_of is None or value not in condition.none_of)


def of_row(row: Row, schema: DatasetSchema) -> tuple[str, ...]:
    """The contradictions that one row holds, in words."""
    broken = []
    # Plain loops: generators would cost more than what they ask, and this is asked of every row that is served.
    for item in schema.contradictions:
        for name, condition in item.when.items():
            if not holds(row.get(name), condition):
                break
        else:
            broken.append(item.says)
    return tuple(broken)


def holds(value: str | float | None, condition: Condition) -> bool:
    """Whether a value fulfils a condition; a missing one does not."""
    if value is None or value != value:
        return False
    if isinstance(value, str):
        return _is(value, condition)
    return (condition.above is None or value > condition.above) and (condition.below is None or value < condition.below)
