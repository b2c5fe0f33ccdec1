"""Bad rows of a simulated table: which kinds, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Spoil:
    """Bad rows on demand. The default spoils none.

    Attributes:
        share: share of the rows to spoil, 0 to 1, each row by itself. A `duplicate` with no sound earlier row of its block
            to copy is left sound.
        kinds: which of `SPOIL_KINDS`, all alike often; none named: every one that the schema and the format allow.
    """

    share: float = 0.0
    kinds: tuple[str, ...] = ()


#: What replaces a value, by kind; for codes it is a word that no dictionary has. Parquet holds numbers, not their text, so
#: the kinds of `CSV_ONLY` cannot occur there.
BAD_VALUES: Final = {
    "not_a_number": "17.wrz",
    "comma_decimal": "1,5",
    "overflow": "1e400",
    "negative": "-3",
    "nan": "NaN",
    "inf": "inf",
    "unknown_code": None,
    "missing_target": "",
    "unknown_target": None,
}
WHOLE_ROW: Final = ("too_few_fields", "too_many_fields", "duplicate")
SPOIL_KINDS: Final = (*BAD_VALUES, *WHOLE_ROW)
CSV_ONLY: Final = frozenset({"not_a_number", "comma_decimal", "overflow", "too_few_fields", "too_many_fields"})
