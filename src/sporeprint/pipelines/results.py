"""What each step of the pipeline gives back: values for programs (`to_dict`) and tables for people (`tables`)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sporeprint.common.text_table import Table
from sporeprint.data.data_summary import DataSummary, GroupCheck
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.scorecard import ScoreCard, Unavailable
from sporeprint.ingestion.raw_table import RawTable
from sporeprint.messages.runs import RunStep
from sporeprint.pipelines.promotion import Registration
from sporeprint.reports.evaluation_report import metrics_dict
from sporeprint.reports.safety_section import answer_rows


def notes_table(notes: Sequence[str]) -> list[Table]:
    """What a person should know before they rely on the result; no table where there is nothing."""
    return [Table("Please note", ("",), tuple((note,) for note in notes))] if notes else []


@dataclass(frozen=True)
class ExtractResult:
    """The raw table and its provenance."""

    raw: RawTable

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self.raw.provenance), "format": self.raw.format}

    def tables(self) -> list[Table]:
        """As people read it."""
        provenance = self.raw.provenance
        rows = (
            ("source", provenance.source),
            ("rows", "not counted yet" if provenance.rows is None else f"{provenance.rows:,}"),
            ("size", f"{provenance.bytes / 1e6:,.1f} MB"),
            ("sha256", provenance.sha256[:12]),
            ("simulated", "yes: INVENTED DATA" if provenance.simulated else "no"),
        )
        return [Table("Raw table", ("", ""), rows)]


@dataclass(frozen=True)
class Validation:
    """Result of checking the raw table.

    Attributes:
        rows: rows read.
        rejected: rows that break a rule, no more of them than are allowed.
        by_rule: rule -> rows that break it.
        groups: whether the groups hold.
    """

    rows: int
    rejected: int
    by_rule: Mapping[str, int]
    groups: GroupCheck


@dataclass(frozen=True)
class ValidateResult:
    """The raw table, checked."""

    checked: Validation

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self.checked)

    def tables(self) -> list[Table]:
        """As people read it."""
        validation = self.checked
        rows = (("rows", f"{validation.rows:,}"), ("rejected", f"{validation.rejected:,}"), ("groups", validation.groups.reason))
        broken = tuple((rule, f"{count:,}") for rule, count in validation.by_rule.items())
        return [Table("Checked", ("", ""), rows), *([Table("Rejected, by rule", ("rule", "rows"), broken)] if broken else [])]


@dataclass(frozen=True)
class DataResult:
    """What `transform` staged, or `load` published."""

    record: DataSummary
    published: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**json.loads(self.record.to_json()), "published": self.published}

    def tables(self) -> list[Table]:
        """As people read it."""
        record = self.record
        rows = [
            ("rows", f"{record.rows:,}"),
            ("good", f"{record.good - record.dropped:,}"),
            ("rejected", f"{record.rejected:,}"),
            ("duplicates", f"{record.duplicates:,} ({'dropped' if record.dropped else 'kept, and shared out like other rows'})"),
            *((f"class {word}", f"{count:,}") for word, count in record.classes.items()),
            *((f"part {part}", f"{count:,}") for part, count in record.splits.items()),
            ("groups", record.groups.reason),
        ]
        tables = [Table("Published" if self.published else "Staged", ("", ""), tuple(rows))]
        if record.by_rule:
            broken = tuple((rule, f"{count:,}") for rule, count in record.by_rule.items())
            tables.append(Table("Rejected, by rule", ("rule", "rows"), broken))
        return [*tables, *notes_table(record.notes)]


@dataclass(frozen=True)
class TrainResult:
    """The models that were fitted."""

    candidates: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "models": {
                candidate.name: {
                    "fit_seconds": candidate.fit_seconds,
                    "rounds": candidate.rounds,
                    "servable": candidate.scorer is not None,
                    "not_servable": candidate.not_servable,
                    "notes": list(candidate.notes),
                }
                for candidate in self.candidates
            }
        }

    def tables(self) -> list[Table]:
        """As people read it."""
        rows = tuple(
            (
                candidate.name,
                f"{candidate.fit_seconds:.2f} s",
                "" if candidate.rounds is None else str(candidate.rounds),
                candidate.not_servable or "yes",
                "; ".join(candidate.notes),
            )
            for candidate in self.candidates
        )
        return [Table("Trained", ("model", "time", "rounds", "servable", "notes"), rows)]


@dataclass(frozen=True)
class EvaluateResult:
    """How good the candidates are."""

    context: ReportContext

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: what models/metrics/metrics.json holds."""
        return metrics_dict(self.context)

    def tables(self) -> list[Table]:
        """As people read it."""
        shown = ("accuracy", "recall", "mcc", "roc_auc", "log_loss")
        rows = []
        for name, evaluation in self.context.evaluations.items():
            for on, card in (("seen", evaluation.seen), ("unseen", evaluation.unseen)):
                if isinstance(card, Unavailable):
                    rows.append((name, on, "-", *("-" for _ in shown)))
                else:
                    values = (f"{card.metrics[metric].value:.4f}" for metric in shown)
                    rows.append((name, on, f"{card.confusion.fn:,} of {card.positives:,}", *values))
        target = self.context.schema.target
        missed = f"{target.values[target.positive]} called {target.values[target.negative]}"
        answered = tuple(
            (
                row.model,
                row.side,
                f"{row.counts.false_negative:,} of {row.counts.positives:,}",
                f"{row.counts.answered:,} of {row.counts.rows:,}",
                f"{row.counts.correct:,}",
            )
            for row in answer_rows(self.context)
        )
        return [
            Table("Classifier output, every row called one class or the other", ("model", "rows", missed, *shown), tuple(rows)),
            Table("Verdicts, with unknown among them", ("model", "rows", missed, "answered", "right"), answered),
            *_notes(self.context),
        ]


def _notes(context: ReportContext) -> list[Table]:
    """What the models' promises do not say, where that has to be said."""
    rows = tuple((name, note) for name, notes in context.notes.items() for note in notes)
    return [Table("What the promises do not say", ("model", "note"), rows)] if rows else []


@dataclass(frozen=True)
class RegisterResult:
    """What became of all candidates, and which version is served."""

    registrations: tuple[Registration, ...]
    production: str | None
    reason: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        values = {"registered": [asdict(item) for item in self.registrations], "production": self.production, "reason": self.reason}
        return {**values, "notes": list(self.notes)}

    def tables(self) -> list[Table]:
        """As people read it."""
        rows = tuple(
            (item.name, item.ref or "not servable", "new" if item.created else "unchanged", "yes" if item.champion else "no", item.reason)
            for item in self.registrations
        )
        return [
            Table("Registered", ("model", "version", "", "champion", "because"), rows),
            Table("Production", ("version", "because"), ((self.production or "none", self.reason),)),
            *notes_table(self.notes),
        ]


@dataclass(frozen=True)
class EtlResult:
    """A whole run.

    >>> from sporeprint import EtlResult
    >>> [name for name in ("to_dict", "tables") if hasattr(EtlResult, name)]
    ['to_dict', 'tables']
    """

    run_id: str
    data: DataResult
    evaluated: EvaluateResult
    registered: RegisterResult
    steps: tuple[RunStep, ...]
    report: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "run_id": self.run_id,
            "simulated": self.data.record.simulated,
            "data": self.data.to_dict(),
            "metrics": self.evaluated.to_dict(),
            **self.registered.to_dict(),
            "steps": [asdict(step) for step in self.steps],
            "report": self.report,
        }

    def tables(self) -> list[Table]:
        """As people read it."""
        times = tuple((step.step, f"{step.wall_s:.2f} s", f"{step.cpu_s:.2f} s", f"{step.peak_mib:,.0f} MiB") for step in self.steps)
        title = "SIMULATED DATA: these numbers say nothing of real observations" if self.data.record.simulated else "Report"
        return [
            *self.data.tables(),
            Table("Steps", ("step", "time", "CPU", "peak memory"), times),
            *self.evaluated.tables(),
            *self.registered.tables(),
            Table(title, ("file",), ((self.report,),)),
        ]


@dataclass(frozen=True)
class NewVersionResult:
    """A further version of one model, not promoted."""

    name: str
    ref: str
    created: bool
    seen: ScoreCard

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        metrics = {name: asdict(estimate) for name, estimate in self.seen.metrics.items()}
        return {"name": self.name, "ref": self.ref, "created": self.created, "seen": metrics}

    def tables(self) -> list[Table]:
        """As people read it."""
        rows = tuple(
            (name, f"{estimate.value:.4f}", f"{estimate.low:.4f} to {estimate.high:.4f}") for name, estimate in self.seen.metrics.items()
        )
        return [
            Table(f"{self.ref} ({'new' if self.created else 'unchanged'}, not promoted)", ("metric, seen rows", "value", "interval"), rows),
            Table(
                "What next",
                ("", ""),
                (
                    ("evaluate it on held-out groups, too", "sporeprint etl, with the same options"),
                    ("test it on live traffic", f"sporeprint ab-test create --name NAME --model-a production --model-b {self.ref}"),
                    ("put it into production", f"sporeprint models promote {self.ref} --production"),
                ),
            ),
        ]
