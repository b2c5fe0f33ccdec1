"""Summary of a run's data: counts to show, chart and compare, stored as JSON beside the tables."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from sporeprint.errors import DataError


@dataclass(frozen=True)
class GroupCheck:
    """Whether the declared groups hold in the data.

    Attributes:
        available: whether whole groups can be held out.
        count: how many groups there are; 0 where they do not hold.
        reason: one sentence, why or why not.
    """

    available: bool
    count: int
    reason: str


@dataclass(frozen=True)
class DataSummary:
    """One run's data.

    Attributes:
        run_id: the run that wrote the tables.
        created: ISO 8601, UTC.
        provenance: source, path, size, sha256, time of the raw table.
        simulated: whether the rows were invented.
        rows: rows in the source, all of them.
        rejected: rows that broke a rule, malformed ones included.
        malformed: rows that could not be split into fields.
        duplicates: rows that are exact copies of an earlier one, label included.
        repeats: rows whose features are those of an earlier one, whatever their label; copies included.
        dropped: duplicates that were dropped.
        by_rule: rule -> rows that broke it.
        missing: column -> missing values among the good rows.
        classes: word -> good rows of the class.
        groups: whether whole groups can be held out.
        splits: part -> rows.
        notes: what a person should know of the data, a sentence each.
        fingerprint: sha256 over source, contract and split: equal data gives an equal one.
    """

    run_id: str
    created: str
    provenance: Mapping[str, Any]
    simulated: bool
    rows: int
    rejected: int
    malformed: int
    duplicates: int
    repeats: int
    dropped: int
    by_rule: Mapping[str, int]
    missing: Mapping[str, int]
    classes: Mapping[str, int]
    groups: GroupCheck
    splits: Mapping[str, int]
    notes: tuple[str, ...]
    fingerprint: str

    @property
    def good(self) -> int:
        """Rows that broke no rule."""
        return self.rows - self.rejected

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            DataError: if it is something else.
        """
        try:
            raw = json.loads(text)
            older = {"repeats": 0, "notes": ()}  # not written by earlier releases
            return cls(**{**older, **raw, "groups": GroupCheck(**raw["groups"]), "notes": tuple(raw.get("notes", ()))})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"the record of the data is damaged ({error}); run sporeprint transform and sporeprint load again") from error
