"""The standard report: the results of its queries, in tables for people and programs, and as one HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sporeprint.common.text_table import Table
from sporeprint.common.timestamps import DAY_US, HOUR_US
from sporeprint.reports.page import render
from sporeprint.stats.intervals import clopper_pearson
from sporeprint.storage.warehouse import queries
from sporeprint.storage.warehouse.protocol import Reader
from sporeprint.web.charts import Axis, Chart, Line, Point, lines_chart
from sporeprint.web.charts.figure import SERIES

#: Level of the interval of a share.
CONFIDENCE = 0.95
#: Rows of the table by day that are shown on a terminal; the page and JSON have them all.
SHOWN_DAYS = 14
#: Rows of a table on the page, the newest; what keeps it small.
PAGE_ROWS = 300
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
        return (f"{self.negative}, outcome known", f"false {self.negative}", "different rows", f"at most ({CONFIDENCE:.0%})")

    def _missed(self, row: Row | None) -> tuple[str, str, str, str]:
        """With the outcome known, wrong among them, their different rows, and the upper end of the interval of these rows' share."""
        if row is None or not row["outcome_known"]:
            return ("0" if row is not None else NOTHING, NOTHING, NOTHING, NOTHING)
        _, high = clopper_pearson(row["different_positive"], row["different_rows"], CONFIDENCE)
        return count(row["outcome_known"]), count(row["were_positive"]), count(row["different_rows"]), percent(high)


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


def charts(report: WarehouseReport) -> list[Chart]:
    """What happened day by day: answers, shares of the verdicts, wrong negative answers, latency; the tables have the numbers."""
    results, stamp = report.results, "SIMULATED DATA" if report.simulated else ""
    if not results["volume"]:
        return []

    def chart(name: str, title: str, lines: Sequence[Line], y: Axis) -> Chart:
        ends = "; ".join(f"{line.label} {y.text(line.points[-1].value)}" for line in lines if line.points)
        return lines_chart(name, title, f"{title}, on the last day: {ends}.", lines, y=y, stamp=stamp, has_table=False)

    missed = f"Of the answers “{report.negative}” with a known outcome: share that was {report.positive}"
    return [
        chart("volume", "Answers a day", _by_model(results["volume"], "answers"), Axis(from_zero=True)),
        chart("verdicts", "What was answered", _verdict_shares(report), Axis("share", low=0.0, high=1.0)),
        chart("missed", missed, _by_model(results["false_negative"], "share"), Axis("share", from_zero=True)),
        chart(
            "latency",
            "Latency: 95 % of the answers took no longer",
            _by_model(results["latency"], "p95_ms"),
            Axis(label="ms", from_zero=True),
        ),
    ]


def _by_model(rows: Sequence[Row], column: str) -> list[Line]:
    """A number by day, one line for each model and arm; days without it are left out."""
    lines: dict[str, list[Point]] = {}
    for row in rows:
        test = f" · {row['test_id']} {row['arm']}".rstrip() if row["test_id"] else ""
        points = lines.setdefault(f"{row['model']}/v{row['version']}{test}", [])
        if row[column] is not None:
            points.append(Point(_day_s(row["day"]), row[column]))
    return [Line(name, points) for name, points in list(lines.items())[: len(SERIES)]]


def _verdict_shares(report: WarehouseReport) -> list[Line]:
    """The share of each kind of verdict by day, all models and arms together."""
    counts: dict[str, dict[str, int]] = {}
    for row in report.results["verdicts"]:
        day, kind = counts.setdefault(row["day"], {}), report.kinds.get(row["verdict"], "unknown")
        day[kind] = day.get(kind, 0) + row["answers"]
    kinds = (("negative", report.negative, "good"), ("positive", report.positive, "warn"), ("unknown", "unknown", "soft"))
    return [
        Line(word, [Point(_day_s(day), each.get(kind, 0) / sum(each.values())) for day, each in sorted(counts.items())], role)
        for kind, word, role in kinds
    ]


def _day_s(day: str) -> float:
    """The beginning of a day, in seconds since 1970."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def render_warehouse_report(report: WarehouseReport) -> str:
    """The report as one HTML file that needs no network."""
    daily = report.daily_table()
    return render(
        "warehouse.html.j2",
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
            Table("By day, the newest first", daily.columns, daily.rows[: -PAGE_ROWS - 1 : -1]),
        ],
        left_out=max(0, len(daily.rows) - PAGE_ROWS),
        charts=charts(report),
    )


def _share_of(report: WarehouseReport, kind: str) -> str:
    totals = report.results["verdicts_total"]
    answers = sum(row["answers"] for row in totals)
    return percent(sum(row[kind] for row in totals) / answers) if answers else NOTHING
