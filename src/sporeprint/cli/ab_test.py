"""`sporeprint ab-test`: which of two versions is better, provably, at any moment."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sporeprint.cli.command import ALL, Facts, FieldOptions, Session, command, group, user
from sporeprint.cli.console import Result
from sporeprint.common.counts import number_of
from sporeprint.common.text_table import Table
from sporeprint.errors import UsageError

if TYPE_CHECKING:  # slow to import, and `--help` does not need it
    from contextlib import AbstractContextManager

    from sporeprint.ab_testing.design import Design
    from sporeprint.ab_testing.power import AssumedRates
    from sporeprint.pipelines.ab_test_lifecycle import ExperimentService

ab_test = group(
    help="Compare two registered versions in live traffic, and promote the better one.\n\n"
    "Check and stop at any time: the error rates hold. A running server counts and evaluates by itself.",
    epilog="sporeprint ab-test create --name first --model-a xgboost/v1 --model-b xgboost/v2\n"
    "curl -X POST 'localhost:8000/predict?ab_test=first' -H 'X-Unit-Id: 42' ...\n"
    "sporeprint ab-test show first\n"
    "sporeprint ab-test conclude first",
)

_RUN, _SHOW, _PLAN = "Running tests", "Results", "Before a test"
Name = Annotated[str, typer.Argument(metavar="TEST", help="Name or id of the test.", show_default=False)]


def _experiments(session: Session) -> "AbstractContextManager[ExperimentService]":
    from sporeprint.pipelines.ab_test_lifecycle import experiment_service

    return experiment_service(session.settings, session.workdir)


def _actor() -> str:
    return f"cli:{user()}"


# --- running -------------------------------------------------------------------------------------------------------------


#: The fields of a test that are one value, as `AbTestFields` describes them; without pydantic, which is slow to import.
_FIELDS: FieldOptions = {
    "mode": (str, "split or shadow."),
    "unit": (str, "What keeps an arm and counts once: header (X-Unit-Id), prediction (its row) or field:<column>."),
    "metric": (str, "What decides."),
    "direction": (str, "Whether a higher or a lower value is better."),
    "alpha": (float, "Largest probability of a false winner or a false breach of a guardrail."),
    "margin": (float, "By how much a version has to be better to win."),
    "equivalence": (float, "Versions that differ by less are equivalent."),
    "ratio": (float, "Ratio of the error rates at which the test is most sensitive."),
    "expect": (str, "The arm that is expected to be better; shortens a split test."),
    "labels": (str, "Which outcomes come: all, of units drawn at random, or reports of errors alone."),
    "label_share": (float, "Share of the units whose outcome is asked for, if random."),
    "latency_limit_ms": (float, "An answer that takes longer is slow; for the metric latency."),
    "srm_alpha": (float, "Largest probability of a false alarm of sample ratio mismatch."),
    "min_duration_s": (float, "Seconds before which there is no verdict."),
    "max_duration_s": (float, "Seconds after which the test ends without a winner."),
    "min_units": (int, "Units before which there is no verdict."),
    "max_units": (int, "Units after which the test ends without a winner."),
    "auto_conclude": (bool, "Whether the verdict is acted on without a person."),
    "independent": (bool, "Whether it may run beside tests with the same unit."),
    "default_route": (bool, "Whether requests that name neither a test nor a model take part."),
}


@command(
    ab_test,
    ALL,
    panel=_RUN,
    fields=_FIELDS,
    examples="sporeprint ab-test create --name first --model-a xgboost/v1 --model-b xgboost/v2\n"
    "sporeprint ab-test create --name second --model-a production --model-b xgboost/v3 --mode shadow\n"
    "sporeprint ab-test create --name third --model-a xgboost/v1 --model-b xgboost/v2 --metric false_negative --alpha 0.01",
)
def create(
    session: Session,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Of the test; never used again.", show_default=False)],
    model_a: Annotated[str, typer.Option("--model-a", metavar="REF", help="Stays unless B wins.", show_default=False)],
    model_b: Annotated[str, typer.Option("--model-b", metavar="REF", help="Would replace it.", show_default=False)],
    split: Annotated[
        float | None, typer.Option("--split", metavar="SHARE", help="Of the units that go to B, above 0 and below 1.", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="FIELD=VALUE",
            help="A field of several values: guardrails, also, costs. As YAML; repeatable.",
            show_default=False,
        ),
    ] = None,
    values: Mapping[str, Any] = MappingProxyType({}),
) -> Result:
    """Make a test; what is left out comes from the configuration. It runs at once, and nothing of it can be changed later."""
    from sporeprint.pipelines import ab_test_views

    shared = {} if split is None else {"traffic_split": split}
    with _experiments(session) as experiments:
        request = {"name": name, "model_a": model_a, "model_b": model_b, **shared, **values, **_options(option)}
        test = experiments.create(request, actor=_actor())
        return _shown(ab_test_views.describe(experiments.engine, test, session.settings))


def _options(options: list[str] | None) -> dict[str, Any]:
    """Fields as they are written in the configuration."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    parsed: dict[str, Any] = {}
    for each in options or []:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {each[:60]!r}: expected field=value, as in metric=false_negative")
        try:
            parsed[name] = YAML(typ="safe", pure=True).load(text)
        except (YAMLError, ValueError):
            raise UsageError(f"--option {name}: {text[:60]!r} is not a value") from None
    return parsed


@command(
    ab_test,
    ALL,
    panel=_RUN,
    examples="sporeprint ab-test conclude first\nsporeprint ab-test conclude first --winner B --reason 'A costs too much to run'",
)
def conclude(
    session: Session,
    test: Name,
    winner: Annotated[
        str | None, typer.Option("--winner", metavar="A|B", help="Left out: what the test's rule says now.", show_default=False)
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; needed against the rule.", show_default=False)
    ] = None,
) -> Result:
    """End a test. If B has won, it is promoted through the gate."""
    from sporeprint.pipelines import ab_test_views

    with session.screen.busy("conclude"), _experiments(session) as experiments:
        ended = experiments.conclude(test, winner=winner, actor=_actor(), reason=reason)
        return _shown(ab_test_views.describe(experiments.engine, ended, session.settings))


@command(ab_test, ALL, panel=_RUN, examples="sporeprint ab-test evaluate\nsporeprint ab-test evaluate --json")
def evaluate(session: Session) -> Result:
    """Count, analyse every running test, and end those that their rule ends: for cron, where no server does it."""
    from sporeprint.pipelines import ab_test_views

    with session.screen.busy("evaluate"), _experiments(session) as experiments:
        done = experiments.evaluate(actor=_actor())
    values = {
        "tests": [
            {
                **ab_test_views.summary(each.test),
                "units": each.interim_analysis.units,
                "labels": each.interim_analysis.labels,
                "decision": dict(each.interim_analysis.figures["decision"]),
            }
            for each in done
        ]
    }
    if not done:
        return Facts(values, (Table("", ("",), (("no test is running",),)),))
    rows = tuple(
        (each.test.name, each.test.status, f"{each.interim_analysis.units:,}", f"{each.interim_analysis.labels:,}", each.decision.sentence)
        for each in done
    )
    return Facts(values, (Table("Running tests", ("name", "", "units", "labels", ""), rows),))


@command(ab_test, ALL, panel=_RUN, examples="sporeprint ab-test rollback first --reason 'too many complaints'")
def rollback(
    session: Session,
    test: Name,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")] = "rolled back",
) -> Result:
    """Take the promotion of a test's winner back."""
    with _experiments(session) as experiments:
        served = experiments.rollback(test, reason=reason, actor=_actor())
    return Facts({"production": served}, (Table("", ("",), ((f"{served} is served again",),)),))


# --- looking -------------------------------------------------------------------------------------------------------------


@command(ab_test, ALL, name="list", panel=_SHOW, examples="sporeprint ab-test list\nsporeprint ab-test list --status running --json")
def list_tests(
    session: Session,
    status: Annotated[str | None, typer.Option("--status", metavar="STATUS", help="running or concluded.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many, the latest first.")] = 100,
) -> Result:
    """List the tests."""
    from sporeprint.pipelines import ab_test_views
    from sporeprint.storage.oltp import ab_tests

    with _experiments(session) as experiments:
        summaries = [ab_test_views.summary(test) for test in ab_tests.listed(experiments.engine, status=status, limit=limit)]
    if not summaries:
        return Facts({"tests": []}, (Table("", ("",), (("there are no tests",),)),))
    heads = ("name", "status", "verdict", "mode", "model_a", "model_b", "created")
    rows = tuple(tuple(str(each[head] or "") for head in heads) for each in summaries)
    return Facts({"tests": summaries}, (Table("A/B tests", tuple(head.replace("_", " ") for head in heads), rows),))


@command(ab_test, ALL, panel=_SHOW, examples="sporeprint ab-test show first\nsporeprint ab-test show first --json")
def show(session: Session, test: Name) -> Result:
    """Show all that is known of a test, as of now."""
    from sporeprint.pipelines import ab_test_views

    with _experiments(session) as experiments:
        return _shown(ab_test_views.describe(experiments.engine, experiments.refresh(test), session.settings))


@command(ab_test, ALL, panel=_SHOW, examples="sporeprint ab-test disagreements first --limit 20")
def disagreements(
    session: Session,
    test: Name,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="At most so many.")] = 100,
) -> Result:
    """List what a label is wanted for: where the versions of a shadow test differ, the latest first."""
    from sporeprint.safety.verdict import verdict_words
    from sporeprint.storage.oltp import ab_disagreements

    with _experiments(session) as experiments:
        page = ab_disagreements.disagreements(experiments.engine, experiments.refresh(test), limit=limit)
    known = verdict_words(session.settings.dataset)
    values = [
        {"prediction_id": each.prediction_id, "unit_id": each.unit_id, "a": known[each.answer_a], "b": known[each.answer_b]}
        for each in page
    ]
    if not page:
        return Facts({"disagreements": []}, (Table("", ("",), (("no label is wanted",),)),))
    rows = tuple((each["prediction_id"], each["a"], each["b"]) for each in values)
    return Facts({"disagreements": values}, (Table("Disagreements", ("prediction", "A says", "B says"), rows),))


@command(ab_test, ALL, panel=_SHOW, examples="sporeprint ab-test report first\nsporeprint ab-test report first --out first.html")
def report(
    session: Session,
    test: Name,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the page goes; left out: ab_test_<name>.html.", show_default=False)
    ] = None,
) -> Result:
    """Write a page about a test: one file that needs no network."""
    from sporeprint.common.files import atomic_write
    from sporeprint.pipelines import ab_test_views
    from sporeprint.reports import ab_test_report

    with _experiments(session) as experiments:
        view = ab_test_views.describe(experiments.engine, experiments.refresh(test), session.settings)
        simulated = experiments.is_simulated(view["model_a"])
    out = out or Path(f"ab_test_{view['name']}.html")
    atomic_write(out, ab_test_report.page(view, simulated=simulated))
    return Facts({"out": str(out)}, (Table("", ("",), ((f"written to {out}",),)),))


def _shown(view: Mapping[str, Any]) -> Facts:
    from sporeprint.reports import ab_test_report

    interim = view["interim_analysis"]
    facts = [("test", view["name"]), ("status", view["status"]), ("verdict", view["verdict"] or "none yet")]
    if interim:
        facts.append(("what follows" if view["status"] == "running" else "how it ended", interim["decision"]["sentence"]))
        facts.append(("as of", f"{interim['at']}, {number_of(interim['units'], 'unit')}, {number_of(interim['labels'], 'label')}"))
    tables = [Table("", ("", ""), tuple(facts))]
    if interim:
        heads = ("metric", "role", "A", "B", "gain of B", "range", "e-value", "from")
        tables.append(Table("Metrics", heads, tuple(ab_test_report.comparisons(interim, view["design"]["rule"]))))
    tables.append(Table("What was fixed before the first unit", ("", ""), tuple(ab_test_report.facts(view))))
    tables.append(Table("What happened", ("when", "who", "what", ""), tuple(ab_test_report.history(view))))
    return Facts(view, tuple(tables))


# --- before a test -------------------------------------------------------------------------------------------------------

RateA = Annotated[float, typer.Option("--rate-a", metavar="RATE", help="Error rate of A that is expected.", show_default=False)]
RateB = Annotated[float, typer.Option("--rate-b", metavar="RATE", help="Error rate of B.", show_default=False)]
Shared = Annotated[float, typer.Option("--shared", metavar="RATE", help="Share of requests on which both err; shadow mode only.")]
Split = Annotated[float, typer.Option("--split", metavar="SHARE", help="Of the units that go to B.")]
ModeName = Annotated[str, typer.Option("--mode", metavar="MODE", help="split or shadow.")]
Alpha = Annotated[float, typer.Option("--alpha", metavar="ALPHA", help="Largest probability of a false end.")]


def _question(
    a: float, b: float, shared: float, split: float, mode: str, alpha: float, more: Mapping[str, Any] = MappingProxyType({})
) -> "tuple[Design, AssumedRates]":
    from sporeprint.ab_testing.design import Design
    from sporeprint.ab_testing.power import AssumedRates

    fields = {"name": "plan", "model_a": "a", "model_b": "b", "traffic_split": split, "mode": mode, "alpha": alpha, **more}
    return Design.from_dict(fields), AssumedRates(a, b, shared)


@command(
    ab_test,
    ("json", "quiet", "verbose"),
    panel=_PLAN,
    examples="sporeprint ab-test plan --rate-a 0.01 --rate-b 0.005\n"
    "sporeprint ab-test plan --rate-a 0.01 --rate-b 0.005 --shared 0.004 --mode shadow --units-a-day 2000",
)
def plan(
    session: Session,
    rate_a: RateA,
    rate_b: RateB,
    shared: Shared = 0.0,
    split: Split = 0.5,
    mode: ModeName = "split",
    alpha: Alpha = 0.05,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="a|b", help="The arm expected to be better.", show_default=False)
    ] = None,
    max_units: Annotated[
        int | None, typer.Option("--max-units", min=1, metavar="N", help="Horizon that the test is calibrated to.", show_default=False)
    ] = None,
    power: Annotated[float, typer.Option("--power", metavar="SHARE", help="Probability of a winner by then.")] = 0.8,
    units_a_day: Annotated[
        float | None, typer.Option("--units-a-day", metavar="N", help="To say how many days it takes.", show_default=False)
    ] = None,
) -> Result:
    """Tell how many units and labels a test will need."""
    from dataclasses import asdict

    from sporeprint.ab_testing.power import plan_ab_test

    horizon = {"expect": expect, "max_units": max_units}
    more = {name: value for name, value in horizon.items() if value is not None}
    design, truth = _question(rate_a, rate_b, shared, split, mode, alpha, more)
    with session.screen.busy("plan"):
        sample_size = plan_ab_test(design, truth, power=power, units_a_day=units_a_day)
    rows = (
        ("units until a decision, in half of the tests", _count(sample_size.median_units)),
        (f"... in {power:.0%} of the tests", _count(sample_size.units)),
        ("labels, in half of the tests", _count(sample_size.median_labels)),
        (f"... in {power:.0%} of the tests", _count(sample_size.labels)),
        ("units if it is analysed only once", _count(sample_size.fixed_units)),
        ("cost of sequential testing", "-" if sample_size.price is None else f"{sample_size.price:.2f} times the units"),
        ("probability that the worse version is named", f"{sample_size.wrong:.2g}"),
        *((("days", f"{sample_size.days:.1f}"),) if sample_size.days is not None else ()),
    )
    return Facts({**asdict(sample_size), "price": sample_size.price}, (Table("What the test will need", ("", ""), rows),))


def _count(value: float | None) -> str:
    return "more than a plan follows" if value is None else f"{value:,.0f}"


@command(
    ab_test,
    ("json", "quiet", "verbose"),
    panel=_PLAN,
    examples="sporeprint ab-test simulate --rate-a 0.01 --rate-b 0.01\n"
    "sporeprint ab-test simulate --rate-a 0.01 --rate-b 0.005 --units 20000 --expect b\n"
    "sporeprint ab-test simulate --rate-a 0.02 --rate-b 0.02 --shared 0.01 --mode shadow --requests 5 --out shadow.svg\n"
    "sporeprint ab-test simulate --rate-a 0.01 --rate-b 0.01 --metric latency --latency bimodal --split 0.05",
)
def simulate(
    session: Session,
    rate_a: RateA,
    rate_b: RateB,
    shared: Shared = 0.0,
    split: Split = 0.5,
    mode: ModeName = "split",
    alpha: Alpha = 0.05,
    metric: Annotated[
        str, typer.Option("--metric", metavar="NAME", help="accuracy, false_negative, expected_cost or latency.")
    ] = "accuracy",
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="a|b", help="The arm expected to be better.", show_default=False)
    ] = None,
    guardrail: Annotated[bool, typer.Option("--guardrail", help="With the guardrail false_negative, margin 0.")] = False,
    missed_a: Annotated[float, typer.Option("--missed-a", metavar="SHARE", help="Of A's errors, false negatives.")] = 0.5,
    missed_b: Annotated[float, typer.Option("--missed-b", metavar="SHARE", help="Of B's errors, false negatives.")] = 0.5,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="FIELD=VALUE", help="Any other field of the test, as in create.", show_default=False),
    ] = None,
    requests: Annotated[float, typer.Option("--requests", metavar="N", help="Mean requests for the same row.")] = 1.0,
    zipf: Annotated[
        float | None, typer.Option("--zipf", metavar="A", help="Popularity of rows, instead of --requests; above 1.", show_default=False)
    ] = None,
    unit: Annotated[str, typer.Option("--unit", metavar="UNIT", help="row, as the service counts; request: what that would do.")] = "row",
    labels: Annotated[str, typer.Option("--labels", metavar="WHICH", help="all or reports.")] = "all",
    reported: Annotated[float, typer.Option("--reported", metavar="SHARE", help="Errors that get a label.")] = 1.0,
    confirmed: Annotated[float, typer.Option("--confirmed", metavar="SHARE", help="Right answers that get a label.")] = 1.0,
    delay: Annotated[float, typer.Option("--delay", metavar="N", help="Mean delay of a label, in units.")] = 0.0,
    latency: Annotated[
        str, typer.Option("--latency", metavar="NAME", help="lognormal:<sigma>, pareto:<shape> or bimodal.")
    ] = "lognormal:1",
    latency_factor: Annotated[float, typer.Option("--latency-factor", metavar="X", help="B's latency as a multiple of A's.")] = 1.0,
    units: Annotated[int, typer.Option("--units", min=1, max=10_000_000, metavar="N", help="Requests per simulated test.")] = 10_000,
    tests: Annotated[int, typer.Option("--tests", min=1, max=1_000_000, metavar="N", help="Number of simulated tests.")] = 1_000,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Random seed.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="A picture (SVG).", show_default=False)] = None,
) -> Result:
    """Simulate a test many times on your own numbers, analysed after every unit: how often is it wrong, how long does it take?"""
    from dataclasses import asdict

    from sporeprint.ab_testing.comparisons import check_horizon
    from sporeprint.ab_testing.simulation import simulate_ab_test
    from sporeprint.ab_testing.traffic import Latencies, Traffic
    from sporeprint.common.files import atomic_write
    from sporeprint.reports.ab_simulation_chart import picture

    more: dict[str, Any] = {"metric": metric, "labels": labels, **_options(option)}
    more |= {} if expect is None else {"expect": expect}
    more |= {"guardrails": [{"metric": "false_negative", "margin": 0, "prove": False}]} if guardrail else {}
    design, rates = _question(rate_a, rate_b, shared, split, mode, alpha, more)
    check_horizon(design)
    traffic = Traffic(
        rates,
        missed_a,
        missed_b,
        requests=requests,
        zipf=zipf,
        unit=unit,
        reported=reported,
        confirmed=confirmed,
        delay=delay,
        latencies=Latencies(latency, latency_factor),
    )
    with session.screen.steps().step("simulate") as progress:
        progress.total(tests)
        result = simulate_ab_test(design, traffic, units=units, tests=tests, seed=seed, progress=lambda _: progress.advance(1))
    keeps = result.keeps(design.alpha, design.srm_alpha)
    if out is not None:
        title = f"{metric}, {mode}, {rate_a:.2%} against {rate_b:.2%} errors"
        atomic_write(out, picture(result, title, design.alpha, design.srm_alpha))
    ends = result.false_ends
    rows = (
        ("A won", f"{result.won_a.value:.2%}"),
        ("B won", f"{result.won_b.value:.2%}"),
        (
            "false winner or false breach",
            f"{ends.value:.2%} ({ends.low:.2%} to {ends.high:.2%}), promised: at most {alpha:.2%}",
        ),
        ("true difference ever outside", f"{result.missed.value:.2%}, promised: at most {alpha:.2%}"),
        ("sample ratio alarm", f"{result.alarmed.value:.2%}, promised: at most {design.srm_alpha:.2%}"),
        (
            "requests to a winner, median",
            "not in half of the tests" if result.median_units is None else f"{result.median_units:,.0f}",
        ),
        ("labels until then, median", "-" if result.median_labels is None else f"{result.median_labels:,.0f}"),
        ("error rates controlled", "yes" if keeps else "NO"),
        *((("picture", str(out)),) if out is not None else ()),
    )
    return Facts({**asdict(result), "keeps": keeps}, (Table(f"{tests:,} tests of {units:,} requests", ("", ""), rows),))
