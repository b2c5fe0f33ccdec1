"""Answers one observation with a registered model, and says why: what `sporeprint explain` shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sporeprint.common.text_table import Table
from sporeprint.common.workdir import Workdir
from sporeprint.inference.attributions import value_in_words
from sporeprint.inference.predictor import Explanation, explain_row, parse_row
from sporeprint.registry.registry import Registry
from sporeprint.schema import DatasetSchema


@dataclass(frozen=True)
class ExplainResult:
    """An answer to one observation with its reasons."""

    model: str
    simulated: bool
    row: Mapping[str, str | float | None]
    schema: DatasetSchema
    found: Explanation

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"model": self.model, "simulated": self.simulated, "row": dict(self.row), **self.found.to_dict()}

    def tables(self) -> list[Table]:
        """As people read it."""
        answer, positive = self.found.prediction, self.schema.target.values[self.schema.target.positive]
        rows = [
            ("verdict", answer.verdict),
            *([("because", answer.reason)] if answer.reason else []),
            (f"probability of {positive}", f"{answer.probability:.4g}"),
            ("novelty p-value", f"{answer.novelty_p:.4g}"),
            ("most like", str(answer.most_like)),
            ("model", self.model + (" (trained on SIMULATED data)" if self.simulated else "")),
        ]
        moved = tuple((reason.text, f"{reason.effect:+.3f}") for reason in self.found.attributions)
        return [
            Table("Answer", ("", ""), tuple(rows)),
            Table("What moved the score", ("because of", f"towards {positive}, in {self.found.unit}"), moved),
            *self._nearest(),
        ]

    def _nearest(self) -> list[Table]:
        near = self.found.nearest
        if near is None:
            return []
        title = f"Nearest known observation: row {near.row:,} of the training table, {self.found.nearest_component}"
        differing = tuple(
            (name, value_in_words(self.row.get(name), name, self.schema), value_in_words(near.values[name], name, self.schema))
            for name in near.differing
        )
        same = (("all columns", "the same", "the same"),)
        return [Table(title, ("differs in", "this one", "the known one"), differing or same)]


def explain(root: Path, given: Mapping[str, Any], *, model: str = "production") -> ExplainResult:
    """Answer one observation with a registered model.

    Args:
        root: the work directory.
        given: column -> value, see `parse_row`.
        model: production, a model's name, or one version of it.

    Raises:
        RegistryError: if there is no such model, or it is damaged.
        DataError: if a field is unknown or its value is not allowed.
    """
    registry = Registry(Workdir(root).registry)
    found = registry.resolve(model)
    bundle = registry.load(found.ref)
    row = parse_row(given, bundle.schema)
    return ExplainResult(found.ref, bool(bundle.info.get("simulated")), row, bundle.schema, explain_row(bundle, row))
