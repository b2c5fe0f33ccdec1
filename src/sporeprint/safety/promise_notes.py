"""What a model's promises do not say, in plain words: for the run, the report, the model card and /health."""

from sporeprint.safety.decision_rule import DecisionRule
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema


def promise_notes(rule: DecisionRule, schema: DatasetSchema) -> tuple[str, ...]:
    """Sentences about verdicts that are hardly ever given and promises that say nothing; empty where there are none."""
    negative, positive, _ = verdict_words(schema)
    threshold = rule.threshold
    notes = []
    if threshold.value is None:
        notes.append(f"“{negative}” is never said: {threshold.reason}.")
    if threshold.units and not threshold.called_positive:
        notes.append(
            f"“{positive}” is hardly ever said: none of {threshold.units:,} rows that nothing was fitted on has a probability above "
            f"{rule.limits.positive:g}, though {threshold.positives:,} of them are {positive}."
        )
    if threshold.is_empty:
        share = threshold.positives / threshold.units
        limit = (
            f"What limits the harm is the second promise: at most {threshold.missed:.0%} of the {positive} rows are called “{negative}”."
            if threshold.missed < 1
            else "No promise on missed rows is made either (guard.missed: 1)."
        )
        notes.append(
            f"The promise that at most {threshold.alpha:.2%} of the “{negative}” answers are wrong says nothing: only {share:.2%} of all "
            f"rows are {positive}, so always answering “{negative}” would keep it. Set guard.alpha below {share / 2:.2g}. {limit}"
        )
    return tuple(notes)
