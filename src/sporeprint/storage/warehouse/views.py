"""Views for dbt and BI tools: names and columns that stay, times as timestamps in UTC, NULL instead of '' outside of a test.

The tables behind them may change with a release; these names are only ever added to. Both engines make them from this one description.
"""

from collections.abc import Callable
from dataclasses import dataclass

#: Microseconds since 1970 as a timestamp in UTC, in each engine's words.
AS_TIMESTAMP: dict[str, Callable[[str], str]] = {
    "duckdb": lambda column: f"make_timestamp({column})",
    "mariadb": lambda column: f"TIMESTAMPADD(MICROSECOND, {column}, TIMESTAMP '1970-01-01 00:00:00')",
}


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """A column: its name, how it is computed, what it says. `at` marks microseconds that become a timestamp."""

    name: str
    expression: str
    says: str
    at: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A view.

    Attributes:
        name: on both engines.
        says: what one row is.
        columns: in order.
        source: what stands behind FROM.
        grouped: columns, the first of all, by which the others are added up; 0: none are.
    """

    name: str
    says: str
    columns: tuple[ViewColumn, ...]
    source: str
    grouped: int = 0

    def select(self, engine: str) -> str:
        """The query, in an engine's words: duckdb or mariadb."""
        timestamp = AS_TIMESTAMP[engine]
        expressions = [timestamp(column.expression) if column.at else column.expression for column in self.columns]
        chosen = ", ".join(f"{text} AS {column.name}" for text, column in zip(expressions, self.columns, strict=True))
        by = f" GROUP BY {', '.join(expressions[: self.grouped])}" if self.grouped else ""
        return f"SELECT {chosen} FROM {self.source}{by}"  # noqa: S608 -- the program's own text


def _test(table: str) -> tuple[ViewColumn, ...]:
    return (
        ViewColumn("test_id", f"NULLIF({table}.test_id, '')", "the A/B test; NULL: none"),
        ViewColumn("arm", f"NULLIF({table}.arm, '')", "a or b; NULL: no test"),
    )


def _model(table: str) -> tuple[ViewColumn, ...]:
    return ViewColumn("model", f"{table}.model", "name of the model"), ViewColumn("version", f"{table}.version", "its version")


_DAY = ViewColumn("day", "CAST(t.day AS DATE)", "in UTC")

V_PREDICTIONS = View(
    "v_predictions",
    "a prediction, with the outcome that holds, where one is known",
    (
        ViewColumn("prediction_id", "p.prediction_id", "its id"),
        ViewColumn("batch_id", "p.batch_id", "the file it belongs to; NULL: a request of its own"),
        ViewColumn("created_at", "p.created_us", "when it was made", at=True),
        *_model("p"),
        *_test("p"),
        ViewColumn("unit_id", "p.unit_id", "who or what keeps its arm"),
        ViewColumn("verdict", "p.verdict", "a class's word, or unknown"),
        ViewColumn("prediction", "p.prediction", "class code of the classifier"),
        ViewColumn("probability", "p.probability", "of the positive class, calibrated"),
        ViewColumn("novelty_p", "p.novelty_p", "p-value of the row under the training data"),
        ViewColumn("threshold", "p.threshold", "at or above it the verdict is positive"),
        ViewColumn("latency_ms", "p.latency_us / 1000.0", "milliseconds it took"),
        ViewColumn("outcome", "o.outcome", "class code of the ground truth; NULL: not known"),
        ViewColumn("observed_at", "o.observed_us", "when it was observed", at=True),
        ViewColumn(
            "is_correct", "CASE WHEN o.outcome IS NULL THEN NULL WHEN o.outcome = p.prediction THEN 1 ELSE 0 END", "1 or 0; NULL: not known"
        ),
    ),
    "fact_prediction p LEFT JOIN fact_outcome o ON o.prediction_id = p.prediction_id AND o.latest = 1",
)
V_DAILY_PREDICTIONS = View(
    "v_daily_predictions",
    "a day, model, arm and verdict",
    (
        _DAY,
        *_model("a"),
        *_test("a"),
        ViewColumn("verdict", "a.verdict", "a class's word, or unknown"),
        ViewColumn("predictions", "SUM(a.answers)", "how many"),
        ViewColumn("latency_ms_mean", "SUM(a.latency_sum_us) / SUM(a.answers) / 1000.0", "milliseconds, mean"),
    ),
    "hour_answers a JOIN dim_time t ON t.hour_us = a.hour_us",
    grouped=6,
)
V_DAILY_OUTCOMES = View(
    "v_daily_outcomes",
    "a day of predictions, model, arm, verdict and outcome: the confusion matrix",
    (
        _DAY,
        *_model("a"),
        *_test("a"),
        ViewColumn("verdict", "a.verdict", "a class's word, or unknown"),
        ViewColumn("prediction", "a.prediction", "class code of the classifier"),
        ViewColumn("outcome", "a.outcome", "class code of the ground truth"),
        ViewColumn("predictions", "SUM(a.answers)", "how many"),
    ),
    "hour_outcomes a JOIN dim_time t ON t.hour_us = a.hour_us",
    grouped=8,
)
V_DAILY_FEATURES = View(
    "v_daily_features",
    "a day, model, arm, feature and value or bin of numbers",
    (
        _DAY,
        *_model("a"),
        *_test("a"),
        ViewColumn("feature", "a.feature", "the column"),
        ViewColumn("kind", "a.kind", "value, number, missing, unseen or invalid"),
        ViewColumn("value", "NULLIF(a.value, '')", "a nominal value, as a code"),
        ViewColumn("low", "a.low", "of a number: from"),
        ViewColumn("high", "a.high", "of a number: below"),
        ViewColumn("predictions", "SUM(a.answers)", "how many"),
    ),
    "hour_features a JOIN dim_time t ON t.hour_us = a.hour_us",
    grouped=10,
)
V_MODELS = View(
    "v_models",
    "a version of a model",
    (
        *_model("m"),
        ViewColumn("ref", "m.ref", "both, as in xgboost/v3"),
        ViewColumn("registered_at", "m.created_us", "when it was registered", at=True),
        ViewColumn("is_simulated", "m.simulated", "1: trained on simulated rows"),
        ViewColumn("run_id", "m.run_id", "the run that made it"),
    ),
    "dim_model m",
)
V_METRICS = View(
    "v_metrics",
    "a metric of a model in a run of the pipeline",
    (
        ViewColumn("run_id", "f.run_id", "the run"),
        ViewColumn("evaluated_at", "f.created_us", "when", at=True),
        ViewColumn("model", "f.model", "name of the model"),
        ViewColumn("part", "f.part", "what it was measured on"),
        ViewColumn("metric", "f.metric", "which"),
        ViewColumn("value", "f.value", "the estimate"),
        ViewColumn("low", "f.low", "lower end of its interval"),
        ViewColumn("high", "f.high", "upper end of its interval"),
        ViewColumn("rows_measured", "f.rows_measured", "rows it was measured on"),
    ),
    "fact_metric f",
)
V_AB_TESTS = View(
    "v_ab_tests",
    "an A/B test",
    (
        ViewColumn("test_id", "x.test_id", "its id"),
        ViewColumn("name", "x.name", "its name"),
        ViewColumn("created_at", "x.created_us", "when it was made", at=True),
        ViewColumn("mode", "x.mode", "ab or shadow"),
        ViewColumn("status", "x.status", "where it stands"),
        ViewColumn("model_a", "x.model_a", "arm A: model"),
        ViewColumn("version_a", "x.version_a", "arm A: version"),
        ViewColumn("model_b", "x.model_b", "arm B: model"),
        ViewColumn("version_b", "x.version_b", "arm B: version"),
        ViewColumn("traffic_split", "x.traffic_split", "share of arm B"),
        ViewColumn("concluded_at", "x.concluded_us", "when it ended", at=True),
        ViewColumn("verdict", "x.verdict", "how it ended"),
    ),
    "dim_test x",
)

VIEWS: dict[str, View] = {
    view.name: view for view in (V_PREDICTIONS, V_DAILY_PREDICTIONS, V_DAILY_OUTCOMES, V_DAILY_FEATURES, V_MODELS, V_METRICS, V_AB_TESTS)
}
