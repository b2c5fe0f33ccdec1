"""`sporeprint ab-test`: which of two versions is better, provably, at any moment."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sporeprint.cli.command import ALL, Facts, Session, command, group, user
from sporeprint.cli.console import Result
from sporeprint.common.text_table import Table
from sporeprint.errors import UsageError

if TYPE_CHECKING:  # slow to import, and `--help` does not need it
    from contextlib import AbstractContextManager

    from sporeprint.ab_testing.design import Design
    from sporeprint.ab_testing.power import AssumedRates
    from sporeprint.pipelines.ab_test_lifecycle import ExperimentService

ab_test = group(
    help="Compare two registered versions in live traffic, and promote the better one.\n\n"
    "Look at any time and stop at any time: the error rates hold. A running server counts and analyses by itself.",
    epilog="sporeprint ab-test create --name first --model-a xgboost/v1 --model-b xgboost/v2\n"
    "curl -X POST 'localhost:8000/predict?ab_test=first' -H 'X-Unit-Id: 42' ...\n"
    "sporeprint ab-test show first\n"
    "sporeprint ab-test conclude first",
)

_RUN, _LOOK, _PLAN = "RunningExtremes tests", "Looking", "Before a test"
Name = Annotated[str, typer.Argument(metavar="TEST", help="Name or id of the test.", show_default=False)]


def _experiments(session: Session) -> "AbstractContextManager[ExperimentService]":
    from sporeprint.pipelines.ab_test_lifecycle import experiment_service

    return experiment_service(session.settings, session.workdir)


def _actor() -> str:
    return f"cli:{user()}"


# --- running -------------------------------------------------------------------------------------------------------------


@command(
    ab_test,
    ALL,
    panel=_RUN,
    examples="sporeprint ab-test create --name first --model-a xgboost/v1 --model-b xgboost/v2\n"
    "sporeprint ab-test create --name second --model-a production --model-b xgboost/v3 --mode shadow\n"
    "sporeprint ab-test create --name third --model-a xgboost/v1 --model-b xgboost/v2 --option metric=false_negative --option alpha=0.01",
)
def create(
    session: Session,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Of the test; never used again.", show_default=False)],
    model_a: Annotated[str, typer.Option("--model-a", metavar="REF", help="Stays unless B wins.", show_default=False)],
    model_b: Annotated[str, typer.Option("--model-b", metavar="REF", help="Would replace it.", show_default=False)],
    split: Annotated[
        float | None, typer.Option("--split", metavar="SHARE", help="Of the units that go to B, above 0 and below 1.", show_default=False)
    ] = None,
    mode: Annotated[str | None, typer.Option("--mode", metavar="MODE", help="split or shadow.", show_default=False)] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="FIELD=VALUE", help="Any other field of the test. Can be given several times.", show_default=False
        ),
    ] = None,
) -> Result:
    """Make a test; what is left out comes from the configuration. It runs at once, and nothing of it can be changed later."""
    from sporeprint.pipelines import ab_test_views

    given: dict[str, Any] = {"name": name, "model_a": model_a, "model_b": model_b}
    given |= {} if split is None else {"traffic_split": split}
    given |= {} if mode is None else {"mode": mode}
    with _experiments(session) as experiments:
        test = experiments.create({**given, **_options(option)}, actor=_actor())
        return _shown(ab_test_views.describe(experiments.engine, test, session.settings))


def _options(given: list[str] | None) -> dict[str, Any]:
    """Fields as they are written in the configuration."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    found: dict[str, Any] = {}
    for each in given or []:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {each[:60]!r}: expected field=value, as in metric=false_negative")
        try:
            found[name] = YAML(typ="safe", pure=True).load(text)
        except (YAMLError, ValueError):
            raise UsageError(f"--option {name}: {text[:60]!r} is not a value") from None
    return found


@command(
    ab_test,
    ALL,
    panel=_RUN,
    examples="sporeprint ab-test conclude first\nsporeprint ab-test conclude first --winner B",
)
def conclude(
    session: Session,
    test: Name,
    winner: Annotated[
        str | None, typer.Option("--winner", metavar="A|B", help="Left out: what the test's rule says now.", show_default=False)
    ] = None,
) -> Result:
    """End a test. If B has won, it is promoted through the gate."""
    from sporeprint.pipelines import ab_test_views

    with _experiments(session) as experiments:
        ended = experiments.conclude(test, winner=winner, actor=_actor())
        return _shown(ab_test_views.describe(experiments.engine, ended, session.settings))


@command(ab_test, ALL, panel=_RUN, examples="sporeprint ab-test evaluate\nsporeprint ab-test evaluate --json")
def evaluate(session: Session) -> Result:
    """Count, interim at every running test, and end those that their rule ends: for cron, where no server does it."""
    from sporeprint.pipelines import ab_test_views

    with _experiments(session) as experiments:
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
    return Facts(values, (Table("RunningExtremes tests", ("name", "", "units", "labels", ""), rows),))


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


@command(ab_test, ALL, name="list", panel=_LOOK, examples="sporeprint ab-test list\nsporeprint ab-test list --status running --json")
def list_tests(
    session: Session,
    status: Annotated[str | None, typer.Option("--status", metavar="STATUS", help="running or concluded.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many, the latest first.")] = 100,
) -> Result:
    """List the tests."""
    from sporeprint.pipelines import ab_test_views
    from sporeprint.storage.oltp import ab_tests

    with _experiments(session) as experiments:
        found = [ab_test_views.summary(test) for test in ab_tests.listed(experiments.engine, status=status, limit=limit)]
    if not found:
        return Facts({"tests": []}, (Table("", ("",), (("there are no tests",),)),))
    heads = ("name", "status", "verdict", "mode", "model_a", "model_b", "created")
    rows = tuple(tuple(str(each[head] or "") for head in heads) for each in found)
    return Facts({"tests": found}, (Table("A/B tests", tuple(head.replace("_", " ") for head in heads), rows),))


@command(ab_test, ALL, panel=_LOOK, examples="sporeprint ab-test show first\nsporeprint ab-test show first --json")
def show(session: Session, test: Name) -> Result:
    """Show all that is known of a test, as of now."""
    from sporeprint.pipelines import ab_test_views

    with _experiments(session) as experiments:
        return _shown(ab_test_views.describe(experiments.engine, experiments.refresh(test), session.settings))


@command(ab_test, ALL, panel=_LOOK, examples="sporeprint ab-test disagreements first --limit 20")
def disagreements(
    session: Session,
    test: Name,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="At most so many.")] = 100,
) -> Result:
    """List what a label is wanted for: where the versions of a shadow test differ, the latest first."""
    from sporeprint.safety.verdict import verdict_words
    from sporeprint.storage.oltp import ab_disagreements

    with _experiments(session) as experiments:
        found = ab_disagreements.disagreements(experiments.engine, experiments.refresh(test), limit=limit)
    known = verdict_words(session.settings.dataset)
    values = [
        {"prediction_id": each.prediction_id, "unit_id": each.unit_id, "a": known[each.answer_a], "b": known[each.answer_b]}
        for each in found
    ]
    if not found:
        return Facts({"disagreements": []}, (Table("", ("",), (("no label is wanted",),)),))
    rows = tuple((each["prediction_id"], each["a"], each["b"]) for each in values)
    return Facts({"disagreements": values}, (Table("Disagreements", ("prediction", "A says", "B says"), rows),))


@command(ab_test, ALL, panel=_LOOK, examples="sporeprint ab-test report first --out first.html")
def report(
    session: Session,
    test: Name,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the page goes.", show_default=False)],
) -> Result:
    """Write a page about a test: one file that needs no network."""
    from sporeprint.common.files import atomic_write
    from sporeprint.pipelines import ab_test_views
    from sporeprint.reports import ab_test_report

    with _experiments(session) as experiments:
        view = ab_test_views.describe(experiments.engine, experiments.refresh(test), session.settings)
        simulated = experiments.is_simulated(view["model_a"])
    atomic_write(out, ab_test_report.page(view, simulated=simulated))
    return Facts({"out": str(out)}, (Table("", ("",), ((f"written to {out}",),)),))


def _shown(view: Mapping[str, Any]) -> Facts:
    from sporeprint.reports import ab_test_report

    interim = view["interim_analysis"]
    facts = [("test", view["name"]), ("status", view["status"]), ("verdict", view["verdict"] or "none yet"), *ab_test_report.facts(view)]
    if interim:
        facts.append(("what follows", interim["decision"]["sentence"]))
        facts.append(("as of", f"{interim['at']}, {interim['units']:,} units, {interim['labels']:,} labels"))
    tables = [Table("", ("", ""), tuple((name, str(value)) for name, value in facts))]
    if interim:
        heads = ("metric", "role", "A", "B", "gain of B", "range", "e-value", "from")
        tables.append(Table("Metrics", heads, tuple(ab_test_report.comparisons(interim))))
    tables.append(Table("What happened", ("when", "who", "what", ""), tuple(ab_test_report.history(view))))
    return Facts(view, tuple(tables))


# --- before a test -------------------------------------------------------------------------------------------------------

RateA = Annotated[float, typer.Option("--rate-a", metavar="RATE", help="Error rate of A that is expected.", show_default=False)]
RateB = Annotated[float, typer.Option("--rate-b", metavar="RATE", help="Error rate of B.", show_default=False)]
Shared = Annotated[float, typer.Option("--shared", metavar="RATE", help="Share of requests on which both err; shadow mode only.")]
Split = Annotated[float, typer.Option("--split", metavar="SHARE", help="Of the units that go to B.")]
ModeName = Annotated[str, typer.Option("--mode", metavar="MODE", help="split or shadow.")]
Alpha = Annotated[float, typer.Option("--alpha", metavar="ALPHA", help="Largest probability of a false winner.")]


def _question(a: float, b: float, shared: float, split: float, mode: str, alpha: float) -> "tuple[Design, AssumedRates]":
    from sporeprint.ab_testing.design import Design
    from sporeprint.ab_testing.power import AssumedRates

    given = {"name": "plan", "model_a": "a", "model_b": "b", "traffic_split": split, "mode": mode, "alpha": alpha}
    return Design.from_dict(given), AssumedRates(a, b, shared)


@command(
    ab_test,
    ("json", "quiet", "verbose"),
    panel=_PLAN,
    examples="sporeprint ab-test plan --rate-a 0.01 --rate-b 0.005\n"
    "sporeprint ab-test plan --rate-a 0.01 --rate-b 0.005 --shared 0.004 --mode shadow --units-a-day 2000",
)
def plan(
    session: Session,  # noqa: ARG001 -- every command takes it
    rate_a: RateA,
    rate_b: RateB,
    shared: Shared = 0.0,
    split: Split = 0.5,
    mode: ModeName = "split",
    alpha: Alpha = 0.05,
    power: Annotated[float, typer.Option("--power", metavar="SHARE", help="Probability of a winner by then.")] = 0.8,
    units_a_day: Annotated[
        float | None, typer.Option("--units-a-day", metavar="N", help="To say how many days it takes.", show_default=False)
    ] = None,
) -> Result:
    """Tell how many units and labels a test will need."""
    from dataclasses import asdict

    from sporeprint.ab_testing.power import plan as plan_test

    design, truth = _question(rate_a, rate_b, shared, split, mode, alpha)
    found = plan_test(design, truth, power=power, units_a_day=units_a_day)
    rows = (
        ("units until the rule has decided, in half of the tests", _count(found.median_units)),
        (f"... in {power:.0%} of the tests", _count(found.units)),
        ("labels, in half of the tests", _count(found.median_labels)),
        (f"... in {power:.0%} of the tests", _count(found.labels)),
        ("units of a test that analyses once (not safe to peek at)", _count(found.fixed_units)),
        ("what looking at any time costs", "-" if found.price is None else f"{found.price:.2f} times the units"),
        ("probability that the worse version is named", f"{found.wrong:.2g}"),
        *((("days", f"{found.days:.1f}"),) if found.days is not None else ()),
    )
    return Facts({**asdict(found), "price": found.price}, (Table("What the test will need", ("", ""), rows),))


def _count(value: float | None) -> str:
    return "more than a plan follows" if value is None else f"{value:,.0f}"


@command(
    ab_test,
    ("json", "quiet", "verbose"),
    panel=_PLAN,
    examples="sporeprint ab-test simulate --rate-a 0.01 --rate-b 0.01\n"
    "sporeprint ab-test simulate --rate-a 0.01 --rate-b 0.005 --units 20000",
)
def simulate(
    session: Session,  # noqa: ARG001 -- every command takes it
    rate_a: RateA,
    rate_b: RateB,
    shared: Shared = 0.0,
    split: Split = 0.5,
    mode: ModeName = "split",
    alpha: Alpha = 0.05,
    units: Annotated[int, typer.Option("--units", min=1, max=10_000_000, metavar="N", help="Of each test.")] = 10_000,
    tests: Annotated[int, typer.Option("--tests", min=1, max=1_000_000, metavar="N", help="How many.")] = 2_000,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the chance.")] = 1,
) -> Result:
    """Run a test many times with invented outcomes, looking after every unit: how often is the verdict wrong?"""
    from dataclasses import asdict

    from sporeprint.ab_testing import simulation

    design, truth = _question(rate_a, rate_b, shared, split, mode, alpha)
    found = simulation.simulate(design, truth, units=units, tests=tests, seed=seed)
    keeps = found.keeps(design.alpha, design.srm_alpha)
    rows = (
        ("A won", f"{found.won_a.value:.2%}"),
        ("B won", f"{found.won_b.value:.2%}"),
        ("a false winner", f"{found.wrong.value:.2%} ({found.wrong.low:.2%} to {found.wrong.high:.2%}), promised: at most {alpha:.2%}"),
        ("the interval missed the truth", f"at most {found.missed.value:.2%}"),
        ("alarms about the arms' shares", f"{found.alarmed.value:.2%}"),
        (
            "units until the winner was clear, in half of the tests",
            "not in half of them" if found.median_units is None else f"{found.median_units:,.0f}",
        ),
        ("labels until then", "-" if found.median_labels is None else f"{found.median_labels:,.0f}"),
        ("what was promised is kept", "yes" if keeps else "NO"),
    )
    return Facts({**asdict(found), "keeps": keeps}, (Table(f"{tests:,} tests of {units:,} units", ("", ""), rows),))
