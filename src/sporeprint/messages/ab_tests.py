"""A/B tests: what creates one, and all that is known of one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from sporeprint.messages.base import RequestMessage, response

MAX_NAME = 128
Mode = Literal["split", "shadow"]
Labels = Literal["all", "random", "reports"]
Metric = Literal["accuracy", "false_negative", "expected_cost", "unknown_share", "failures", "latency"]
#: 0 to 1, both excluded.
Share = Annotated[float, Field(gt=0, lt=1)]
#: Probability of an error.
Alpha = Annotated[float, Field(gt=0, lt=0.5)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
#: Why, in words: at least one character that is none of space.
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class AbTestFields(RequestMessage):
    """The fields of an A/B test that a query can hold.

    Attributes:
        name: letters, digits, '.', '_' and '-'; a name is never used again.
        model_a: stays unless the other one wins: a model's name, a version or a registered path.
        model_b: would replace it.
        mode: split: each unit is answered by one version; shadow: both score, A answers.
        unit: what keeps an arm and counts once: header (X-Unit-Id), prediction (its row) or field:<column>.
        metric: what decides.
        direction: whether a higher or a lower value is better.
        traffic_split: share of the units that go to model_b.
        alpha: largest probability of a false winner or a false breach of a guardrail.
        margin: by how much a version has to be better to win.
        equivalence: versions that differ by less are equivalent.
        ratio: ratio of the error rates at which the test is most sensitive.
        expect: the arm that is expected to be better; shortens a split test.
        labels: which outcomes come: all, of units drawn at random, or reports of errors alone.
        label_share: share of the units whose outcome is asked for, if random.
        latency_limit_ms: an answer that takes longer is slow; for the metric latency.
        srm_alpha: largest probability of a false alarm of sample ratio mismatch.
        min_duration_s: seconds before which there is no verdict.
        max_duration_s: seconds after which the test ends without a winner.
        min_units: units before which there is no verdict.
        max_units: units after which the test ends without a winner.
        auto_conclude: whether the verdict is acted on without a person.
        independent: whether it may run beside tests with the same unit.
        default_route: whether requests that name neither a test nor a model take part.
    """

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    model_a: str | None = None
    model_b: str | None = None
    mode: Mode | None = None
    unit: str | None = None
    metric: Metric | None = None
    direction: Literal["higher", "lower"] | None = None
    traffic_split: Share | None = None
    alpha: Alpha | None = None
    margin: NotNegative | None = None
    equivalence: NotNegative | None = None
    ratio: Annotated[float, Field(gt=1)] | None = None
    expect: Literal["a", "b"] | None = None
    labels: Labels | None = None
    label_share: Annotated[float, Field(gt=0, le=1)] | None = None
    latency_limit_ms: Annotated[float, Field(gt=0)] | None = None
    srm_alpha: Alpha | None = None
    min_duration_s: NotNegative | None = None
    max_duration_s: NotNegative | None = None
    min_units: Count | None = None
    max_units: Count | None = None
    auto_conclude: bool | None = None
    independent: bool | None = None
    default_route: bool | None = None


class GuardrailFields(RequestMessage):
    """What model_b must not be worse in.

    Attributes:
        metric: the metric.
        margin: by how much it may be worse.
        prove: whether that has to be shown before there is a winner.
    """

    metric: Metric
    margin: NotNegative
    prove: bool = False


class AbTestRequest(AbTestFields):
    """A test to be created. name, model_a and model_b are needed, here or in the query; all else has a default in the configuration.

    Attributes:
        guardrails: what model_b must not be worse in.
        also: metrics that are reported and decide nothing.
        costs: of wrong verdicts and of none, by class.
    """

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "first", "model_a": "xgboost/v1", "model_b": "xgboost/v2", "traffic_split": 0.5}}
    )

    guardrails: tuple[GuardrailFields, ...] | None = None
    also: tuple[Metric, ...] | None = None
    costs: dict[str, NotNegative] | None = None


class ConclusionRequest(RequestMessage):
    """How a test is to end.

    Attributes:
        winner: the winner; left out: by the test's rule.
        reason: why; needed where the winner is not what the rule says.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"winner": "B", "reason": "A costs too much to run"}})

    winner: Literal["A", "B"] | None = None
    reason: Reason | None = None


class AbRollbackRequest(RequestMessage):
    """That the promotion of a test's winner is to be taken back.

    Attributes:
        reason: why, for the history.
    """

    reason: Reason


@response
class AbTestSummary:
    """A test in a list.

    Attributes:
        test_id: its id.
        name: its name.
        status: running or concluded.
        verdict: null while it runs.
        mode: split or shadow.
        model_a: stays unless the other one wins.
        model_b: would replace it.
        traffic_split: share of the units that go to model_b.
        unit: what keeps its arm.
        metric: what decides.
        default_route: whether requests that name neither a test nor a model take part.
        created: when, ISO 8601.
        concluded: when, ISO 8601; null while it runs.
    """

    test_id: str
    name: str
    status: Literal["running", "concluded"]
    verdict: str | None
    mode: Mode
    model_a: str
    model_b: str
    traffic_split: float
    unit: str
    metric: str
    default_route: bool
    created: str
    concluded: str | None


@response
class AbStanding:
    """What follows from the last interim analysis of a test.

    Attributes:
        at: when anything last changed, ISO 8601.
        units: counted until then.
        labels: counted until then.
        verdict: what the rule says: continue, a, b, equivalent, inconclusive or invalid.
        sentence: the same in words.
        gain: by how much B is better, in the metric's unit; null: not known.
        low: lower end of its always valid interval; null: none.
        high: its upper end; null: none.
    """

    at: str
    units: int
    labels: int
    verdict: str
    sentence: str
    gain: float | None
    low: float | None
    high: float | None


@response
class AbTestListItem(AbTestSummary):
    """A test in a list, with what follows so far.

    Attributes:
        margin: by how much a version has to be better to win.
        standing: what follows; null: nothing has been counted yet.
    """

    margin: float
    standing: AbStanding | None


@response
class AbTestList:
    """Some tests.

    Attributes:
        tests: the tests, the latest first.
        next: the parameter `before` of the next page; null on the last one.
    """

    tests: tuple[AbTestListItem, ...]
    next: str | None


@response
class AbTestEvent:
    """An entry of a test's history.

    Attributes:
        at: when, ISO 8601.
        at_us: the same in microseconds since 1970.
        actor: who.
        event: what.
        details: more.
    """

    at: str
    at_us: int
    actor: str
    event: str
    details: Mapping[str, Any]


@response
class Manifests:
    """The versions that a test compares, by the digest of their manifests.

    Attributes:
        a: of model_a.
        b: of model_b.
    """

    a: str
    b: str


@response
class AbDisagreement:
    """A unit for which the versions disagree and whose outcome is wanted.

    Attributes:
        prediction_id: the prediction to be labelled.
        unit_id: the unit.
        a: verdict of model_a.
        b: verdict of model_b.
        created: when it was predicted, ISO 8601; null if unknown.
        features: the row; null if it is no longer kept.
    """

    prediction_id: str
    unit_id: str
    a: str
    b: str
    created: str | None
    features: Mapping[str, Any] | None


@response
class AbDisagreementList:
    """Some of the units whose outcome is wanted.

    Attributes:
        awaiting_label: how many there are in all.
        disagreements: the units, the latest first.
        next: the parameter `before` of the next page; null on the last one.
    """

    awaiting_label: int
    disagreements: tuple[AbDisagreement, ...]
    next: str | None


@response
class AbTestResponse(AbTestSummary):
    """All that is known of a test.

    Attributes:
        design: all that was fixed before the first unit.
        independent: whether it may run beside tests with the same unit.
        salt: of the assignment of units to arms; null for callers without the role operate, who could choose their arm by it.
        manifests: the versions that it compares.
        answers: the words of the verdicts, in the order of the counts.
        awaiting_label: disagreements without a label.
        unnamed_units: units whose requests named none: each of their rows is a unit of its own.
        interim_analysis: the last one; null: there is none yet.
        interim_analyses: earlier ones, for the charts.
        events: its history.
    """

    design: Mapping[str, Any]
    independent: bool
    salt: str | None
    manifests: Manifests
    answers: tuple[str, ...]
    awaiting_label: int
    unnamed_units: int
    interim_analysis: Mapping[str, Any] | None
    interim_analyses: tuple[Mapping[str, Any], ...]
    events: tuple[AbTestEvent, ...]
