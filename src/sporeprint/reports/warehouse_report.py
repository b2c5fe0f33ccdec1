"""The standard report: the results of its queries, in tables for people and programs, and as one HTML page."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sporeprint.common.text_table import Table
from sporeprint.common.timestamps import DAY_US, HOUR_US
from sporeprint.stats.intervals import clopper_pearson
from sporeprint.storage.warehouse import queries
from sporeprint.storage.warehouse.protocol import Reader

#: Level of the interval of a share.
CONFIDENCE = 0.95
#: Rows of the table by day that are shown on a terminal; the page and JSON have them all.
SHOWN_DAYS = 14
#: Rows of a table on the page, the newest; what keeps it small.
PAGE_ROWS = 1000
NOTHING = "-"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class WarehouseReport:
    """The results of the standard queries.

    Attributes:
        warehouse: where, without a password.
        made_us: when.
        since_us: answers of earlier hours are left out; 0 for none.
        negative: word of the negative class.
        positive: word of the positive class.
        kinds: verdict -> negative, positive or unknown.
        simulated: whether a model of invented rows is among those that answered.
        results: question -> rows.
    """

    warehouse: str
    made_us: int
    since_us: int
    negative: str
    positive: str
    kinds: Mapping[str, str]
    simulated: bool
    results: Mapping[str, Sequence[Row]]

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON values."""
        since = None if self.since_us == 0 else iso(self.since_us)
        words = {"negative": self.negative, "positive": self.positive}
        made = {"warehouse": self.warehouse, "made": iso(self.made_us), "since": since, "simulated": self.simulated, "classes": words}
        return {**made, **{name: [dict(row) for row in rows] for name, rows in self.results.items()}}

    def tables(self) -> Sequence[Table]:
        """As people read it."""
        if not self.results["verdicts_total"]:
            return (Table("", ("",), (("the warehouse has no answers of this time; sporeprint warehouse sync brings them",),)),)
        title = "SIMULATED DATA: the models learned from invented rows" if self.simulated else "By model and arm"
        total, daily = self.total_table(title), self.daily_table()
        days = sorted({row[0] for row in daily.rows})[-SHOWN_DAYS:]
        return (
            total,
            Table("By day, the last ones" if len(daily.rows) else "", daily.columns, tuple(row for row in daily.rows if row[0] in days)),
        )

    def total_table(self, title: str) -> Table:
        """The whole time, by model and arm."""
        missed, latency = _by_cell(self.results["false_negative_total"]), _by_cell(self.results["latency_total"])
        rows = []
        for row in self.results["verdicts_total"]:
            counts = [count(row[kind]) for kind in ("answers", "negative", "positive", "unknown_answers")]
            rows.append((*named(row), *counts, *self._missed(missed.get(_cell(row))), *_milliseconds(latency.get(_cell(row)))))
        return Table(title, (*_NAMED, "answers", self.negative, self.positive, "unknown", *self._missed_heads(), *_LATENCY), tuple(rows))

    def daily_table(self) -> Table:
        """By day, model and arm."""
        missed, latency = _by_cell(self.results["false_negative"]), _by_cell(self.results["latency"])
        by_day: dict[tuple[Any, ...], dict[str, int]] = {}
        for row in self.results["verdicts"]:
            kind = self.kinds.get(row["verdict"], "unknown")
            counts = by_day.setdefault(_cell(row), {})
            counts[kind] = counts.get(kind, 0) + row["answers"]
        rows = []
        for row in self.results["volume"]:
            key, answers = _cell(row), row["answers"]
            counted = [percent(by_day.get(key, {}).get(kind, 0) / answers) for kind in ("negative", "positive", "unknown")]
            numbers = (*self._missed(missed.get(key)), *_milliseconds(latency.get(key)))
            rows.append((row["day"], *named(row), count(answers), *counted, *numbers))
        heads = ("day", *_NAMED, "answers", self.negative, self.positive, "unknown", *self._missed_heads(), *_LATENCY)
        return Table("By day", heads, tuple(rows))

    def cells_table(self) -> Table:
        """Which columns were not observed, or recorded as empty: a source that loses one stands first."""
        shown = [row for row in self.results["cells_total"] if row["observed"] < row["answers"]]
        shown.sort(key=lambda row: row["observed"] / row["answers"])
        heads = ("column", "model", "answers", "with a value", "recorded as empty", "not observed")
        rows = [
            (
                row["feature"],
                f"{row['model']}/v{row['version']}",
                count(row["answers"]),
                *(percent(row[kind] / row["answers"]) for kind in ("observed", "empty_cells", "not_observed")),
            )
            for row in shown
        ]
        return Table("Columns without a value, the most first", heads, tuple(rows))

    def _missed_heads(self) -> tuple[str, ...]:
        return (f"{self.negative}, outcome known", f"false {self.negative}", f"at most ({CONFIDENCE:.0%})")

    def _missed(self, row: Row | None) -> tuple[str, str, str]:
        """With the outcome known, wrong among them, and the upper end of the share's interval."""
        if row is None or not row["outcome_known"]:
            return ("0" if row is not None else NOTHING, NOTHING, NOTHING)
        _, high = clopper_pearson(row["were_positive"], row["outcome_known"], CONFIDENCE)
        return count(row["outcome_known"]), count(row["were_positive"]), percent(high)


_NAMED = ("model", "test", "arm")
_LATENCY = ("median", "95 %", "99 %")


def _cell(row: Row) -> tuple[Any, ...]:
    return (row.get("day"), row["model"], row["version"], row["test_id"], row["arm"])


def _by_cell(rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    return {_cell(row): row for row in rows}


def named(row: Row) -> tuple[str, str, str]:
    """Model, test and arm of a row."""
    return f"{row['model']}/v{row['version']}", row["test_id"] or NOTHING, row["arm"] or NOTHING


def _milliseconds(row: Row | None) -> tuple[str, str, str]:
    if row is None:
        return NOTHING, NOTHING, NOTHING
    median, high, highest = (
        f"{row[name]:.3g} ms" if row[name] < 999.5 else f"{row[name]:.0f} ms" for name in ("p50_ms", "p95_ms", "p99_ms")
    )
    return median, high, highest


def count(number: int) -> str:
    """A count for people."""
    return f"{number:,}"


def percent(share: float) -> str:
    """A share for people; never a rounded 0 or 100."""
    if share in (0, 1):
        return f"{share:.0%}"
    return "<0.01%" if share < 0.0001 else ">99.99%" if share > 0.9999 else f"{share:.2%}"


def iso(at_us: int) -> str:
    """A time, ISO 8601, UTC."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat(timespec="seconds")


def make_warehouse_report(reader: Reader, shown: str, *, now_us: int, days: int) -> WarehouseReport:
    """Ask the standard questions.

    Args:
        reader: one state of the warehouse.
        shown: where that is.
        now_us: what time it is.
        days: how many days back, whole ones; 0 for everything.

    Raises:
        StorageError, StorageUnavailableError: it cannot be asked.
    """
    since = 0 if days == 0 else (now_us - days * DAY_US) // HOUR_US * HOUR_US
    words = {row["positive"]: row["word"] for row in reader.query("SELECT word, positive FROM dim_class").dicts()}
    kinds = {row["verdict"]: row["kind"] for row in reader.query("SELECT verdict, kind FROM dim_verdict").dicts()}
    results = {name: queries.run(reader, name, since).dicts() for name in (*queries.DAILY, *queries.TOTAL)}
    answered = {(row["model"], row["version"]) for row in results["verdicts_total"]}
    invented = reader.query("SELECT model, version FROM dim_model WHERE simulated = 1").rows
    return WarehouseReport(
        shown, now_us, since, words.get(0, "negative"), words.get(1, "positive"), kinds, any(row in answered for row in invented), results
    )


def pictures(report: WarehouseReport) -> dict[str, bytes]:
    """The report's pictures: name -> PNG."""
    from sporeprint.reports import charts

    results, simulated = report.results, report.simulated
    if not results["volume"]:
        return {}
    drawn: dict[str, Callable[[], bytes]] = {
        "Answers a day": lambda: charts.lines(results["volume"], "answers", "Answers a day", simulated=simulated),
        "What was answered": lambda: charts.shares(results["verdicts"], report.kinds, "What was answered", simulated=simulated),
        f"False {report.negative}": lambda: charts.lines(
            [{**row, "share": None if row["share"] is None else 100 * row["share"]} for row in results["false_negative"]],
            "share",
            f"Of the answers “{report.negative}” with a known outcome: share that was {report.positive}",
            unit="%",
            simulated=simulated,
        ),
        "Latency": lambda: charts.lines(
            results["latency"], "p95_ms", "Latency: 95 % of the answers took no longer", unit="ms", simulated=simulated
        ),
    }
    return {name: draw() for name, draw in drawn.items()}


def render_warehouse_report(report: WarehouseReport) -> str:
    """The report as one HTML file that needs no network."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sporeprint.reports")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    images = {name: base64.b64encode(image).decode() for name, image in pictures(report).items()}
    daily = report.daily_table()
    return environment.get_template("warehouse.html.j2").render(
        simulated=report.simulated,
        report=report,
        made=iso(report.made_us),
        since="the first answer" if report.since_us == 0 else iso(report.since_us)[:10],
        answers=count(sum(row["answers"] for row in report.results["verdicts_total"])),
        unknown=_share_of(report, "unknown_answers"),
        known=count(sum(row["outcome_known"] for row in report.results["false_negative_total"])),
        missed=count(sum(row["were_positive"] for row in report.results["false_negative_total"])),
        tables=[
            report.total_table("The whole time, by model and arm"),
            *([cells] if (cells := report.cells_table()).rows else []),
            Table(daily.title, daily.columns, daily.rows[-PAGE_ROWS:]),
        ],
        left_out=max(0, len(daily.rows) - PAGE_ROWS),
        images=images,
    )


def _share_of(report: WarehouseReport, kind: str) -> str:
    totals = report.results["verdicts_total"]
    answers = sum(row["answers"] for row in totals)
    return percent(sum(row[kind] for row in totals) / answers) if answers else NOTHING
