"""Notes on a table and on the models of it: what a person should know of it before they rely on a model of it, a sentence each."""

from collections.abc import Collection, Mapping

from sporeprint.common.counts import counted
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.scorecard import Unavailable
from sporeprint.ingestion.raw_table import RawTable
from sporeprint.pipelines.partitioning import Partition

#: A nominal column with fewer values is never taken for an identifier or text.
FEW_VALUES = 50
#: From so many values a row on, a nominal column says hardly anything of a new row.
MANY_VALUES_SHARE = 0.2
#: The area under the ROC curve of a model that says nothing.
CHANCE = 0.5
#: From such a share of the rows on, it is said that they repeat.
REPEATS_SHARE = 0.05


def data_notes(
    raw: RawTable,
    values: Mapping[str, Collection[str]],
    missing: Mapping[str, int],
    rows: int,
    partition: Partition,
    unlabelled: int,
) -> tuple[str, ...]:
    """Notes on a table that was transformed.

    Args:
        raw: the table.
        values: nominal column whose values are not declared -> its values.
        missing: column -> missing values among the good rows.
        rows: good rows.
        partition: how they were shared out.
        unlabelled: rows without a label that were left out.
    """
    notes = []
    if raw.dialect is not None and raw.dialect.encoding_guessed:
        notes.append(f"The text is not UTF-8 and was read as {raw.dialect.encoding}. If letters look wrong, set source.csv.encoding.")
    if unlabelled:
        notes.append(counted(unlabelled, "row has no label and was left out.", "rows have no label and were left out."))
    for name, counts in values.items():
        present = rows - missing.get(name, 0)
        if len(counts) >= FEW_VALUES and len(counts) > MANY_VALUES_SHARE * present:
            notes.append(
                f"Column {name!r} has {len(counts):,} different values in {present:,} rows: an identifier, or text? A model learns hardly "
                "anything from it, and a value it has never seen is answered with unknown. "
                "To leave it out, take it out of dataset.columns and set dataset.extra_columns: ignore."
            )
    if partition.repeats > REPEATS_SHARE * rows:
        notes.append(
            f"{partition.repeats:,} of {rows:,} rows have the features of another row ({partition.copies:,} are exact copies). They are "
            "shared out over the parts like other rows. If copies are of one observation, set validation.duplicates: drop, "
            "or declare dataset.groups and set split.by: groups."
        )
    return tuple(notes)


def performance_notes(context: ReportContext, production: str | None) -> tuple[str, ...]:
    """Notes on models that are no better than chance, on test rows or on rows of groups they have never seen.

    Args:
        context: the evaluation.
        production: the version that is served now; None if none is.
    """
    notes = []
    group = context.schema.groups.name if context.schema.groups is not None else "group"
    served = None if production is None else production.partition("/")[0]
    for name, evaluation in context.evaluations.items():
        here = f"{name} (in production)" if name == served else name
        for card, rows, hint in (
            (evaluation.seen, "test rows", "Do not rely on its predictions."),
            (
                evaluation.unseen,
                f"rows of a {group} it has never seen",
                f"Do not rely on its predictions for a new {group}: what it answers there is not covered by its promise. "
                f"With split.by: groups, training and testing are for new ones.",
            ),
        ):
            if isinstance(card, Unavailable):
                continue
            auc = card.metrics["roc_auc"]
            if auc.low <= CHANCE:
                notes.append(
                    f"{here} is no better than chance on {rows}: ROC AUC {auc.value:.2f}, interval {auc.low:.2f} to {auc.high:.2f}. {hint}"
                )
    return tuple(notes)
