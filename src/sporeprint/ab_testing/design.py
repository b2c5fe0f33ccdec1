"""What is fixed before the first unit of a test: the two versions, the split, the question and the rule that answers it."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from sporeprint.errors import UsageError, nearest

#: A name is used in addresses and file names.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
#: The unit that keeps its arm: named in a header, by a column of the row, or each prediction for itself.
_UNIT = re.compile(r"header|prediction|field:.{1,200}")
#: Of alpha, what guardrails may spend together, where there are any.
GUARDRAILS_SHARE = 0.2
_RATIO = {"split": 2.0, "shadow": 4.0}
_SLOW_RATIO = 1.5


class Rule(StrEnum):
    """How metrics are compared: fixed when a test is made. Tests made before there was a choice keep `errors_by_arm`."""

    ERRORS_BY_ARM = "errors_by_arm"
    BETTING = "betting"


class Labels(StrEnum):
    """Which outcomes come.

    `all`: of every unit, sooner or later. `random`: of units drawn at random. `reports`: of errors that somebody notices and reports.
    """

    ALL = "all"
    RANDOM = "random"
    REPORTS = "reports"


class Mode(StrEnum):
    """How the versions meet.

    In a split each unit is answered by one of them. In shadow mode both score every request, A answers, and only requests on which they
    differ need a label.
    """

    SPLIT = "split"
    SHADOW = "shadow"


class Metric(StrEnum):
    """What the versions are compared by. The class that must not be missed is the positive one (of mushrooms: poisonous).

    All are means over units; less is better but for accuracy. The first three need labels. `latency` is the share of the units whose
    answer takes longer than a limit that is fixed beforehand.
    """

    ACCURACY = "accuracy"
    FALSE_NEGATIVE = "false_negative"
    EXPECTED_COST = "expected_cost"
    UNKNOWN_SHARE = "unknown_share"
    FAILURES = "failures"
    LATENCY = "latency"

    @property
    def direction(self) -> str:
        """What is better: `higher` or `lower`."""
        return "higher" if self is Metric.ACCURACY else "lower"

    @property
    def needs_labels(self) -> bool:
        """Whether it can only be known from outcomes."""
        return self in {Metric.ACCURACY, Metric.FALSE_NEGATIVE, Metric.EXPECTED_COST}


@dataclass(frozen=True, slots=True)
class Costs:
    """What a wrong answer and no answer cost. A version that never answers would otherwise win.

    Attributes:
        false_negative: of the negative class said where the positive one was right (a poisonous mushroom called edible); expected_cost.
        false_positive: of the opposite; expected_cost.
        unknown: of `unknown`; expected_cost.
        unknown_as_error: of `unknown` as a share of a wrong answer; accuracy.
        unknown_as_false_negative: of `unknown` as a share of a false negative; false_negative.
    """

    false_negative: float = 1000.0
    false_positive: float = 1.0
    unknown: float = 1.0
    unknown_as_error: float = 1.0
    unknown_as_false_negative: float = 0.001


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A metric in which B must not be worse than A.

    Attributes:
        metric: which.
        margin: by how much B may be worse, in the metric's unit. If B is shown to be worse by more, the test ends at once and A stays.
        prove: whether B can only win once it is shown to be not worse by more than the margin, which then has to be above 0.
    """

    metric: Metric
    margin: float
    prove: bool = True

    def __post_init__(self) -> None:
        _set(self, "metric", _choice("metric", self.metric, Metric))


@dataclass(frozen=True, slots=True)
class Design:
    """A test of two versions, fixed before its first unit. Everything is checked when it is made.

    Attributes:
        name: of the test; letters, digits, `.`, `_` and `-`, at most 128.
        model_a: the version that serves now; it stays unless B wins.
        model_b: the version that would replace it.
        traffic_split: share of the units that go to B, above 0 and below 1. Without meaning in shadow mode.
        mode: split or shadow.
        unit: what keeps an arm and counts once: the value of the header `X-Unit-Id` (`header`), the row (`prediction`) or the value of a
            column (`field:<column>`). A request without that value is the unit of its row.
        metric: the one that decides.
        direction: `higher` or `lower` is better. Follows from the metric; given, it has to agree.
        alpha: largest probability of a false winner or a false breach of a guardrail, whenever and however often the test is analysed.
        margin: by how much B (or A) has to be better to win, in the metric's unit.
        equivalence: two versions that differ by less are `equivalent`; 0: that verdict is never given.
        ratio: how many times as often one arm errs as the other where the test should be fastest; above 1. Valid for any truth. None: 2,
            in shadow mode 4.
        expect: the arm that is expected to be better, `a` or `b`: a test in that direction is shorter, in the other one longer. Valid for
            any truth. None: no expectation. Split mode only.
        labels: which outcomes come.
        label_share: share of the units whose outcome is asked for, above 0; for `random` labels.
        latency_limit_ms: an answer that takes longer is slow; for the metric `latency`.
        guardrails: what B must not be worse in.
        also: further metrics to report. They decide nothing.
        costs: of wrong answers and of none.
        min_units: no verdict but by a breached guardrail before so many units.
        max_units: the test is inconclusive after so many.
        min_duration_s: the same in seconds.
        max_duration_s: the same in seconds.
        srm_alpha: largest probability of a false alarm about the shares of the arms.
        auto_conclude: whether the verdict is acted on without a person.
        rule: how metrics are compared.

    >>> from sporeprint import Design
    >>> Design(name="errors", model_a="xgboost/v1", model_b="xgboost/v2", alpha=0.01).likely_ratio
    2.0
    """

    name: str
    model_a: str
    model_b: str
    traffic_split: float = 0.5
    mode: Mode = Mode.SPLIT
    unit: str = "header"
    metric: Metric = Metric.ACCURACY
    direction: str | None = None
    alpha: float = 0.05
    margin: float = 0.0
    equivalence: float = 0.0
    ratio: float | None = None
    expect: str | None = None
    labels: Labels = Labels.ALL
    label_share: float | None = None
    latency_limit_ms: float | None = None
    guardrails: tuple[Guardrail, ...] = ()
    also: tuple[Metric, ...] = ()
    costs: Costs = field(default_factory=Costs)
    min_units: int = 0
    max_units: int | None = None
    min_duration_s: float = 0.0
    max_duration_s: float | None = None
    srm_alpha: float = 0.001
    auto_conclude: bool = False
    rule: Rule = Rule.BETTING

    def __post_init__(self) -> None:
        # A plain word is taken for the member of that name.
        _set(self, "mode", _choice("mode", self.mode, Mode))
        _set(self, "labels", _choice("labels", self.labels, Labels))
        _set(self, "rule", _choice("rule", self.rule, Rule))
        _set(self, "metric", _choice("metric", self.metric, Metric))
        _set(self, "also", tuple(_choice("also", metric, Metric) for metric in self.also))
        _check_names(self)
        _check_numbers(self)
        _check_metrics(self)
        _check_limits(self)
        if self.rule is Rule.BETTING:
            _check_labels(self)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics that are compared, each once: the one that decides, the guardrails', the further ones."""
        return tuple(dict.fromkeys((self.metric, *(guardrail.metric for guardrail in self.guardrails), *self.also)))

    @property
    def winner_alpha(self) -> float:
        """What the winner's rule may spend of alpha. The guardrails have the rest, so that both together keep one alpha."""
        shared = self.rule is Rule.BETTING and self.guardrails
        return self.alpha * (1 - GUARDRAILS_SHARE) if shared else self.alpha

    @property
    def guardrail_alpha(self) -> float:
        """What one guardrail may spend: on either side of its margin, half of it."""
        if self.rule is Rule.ERRORS_BY_ARM:
            return self.alpha / max(1, len(self.guardrails))
        return 2 * self.alpha * GUARDRAILS_SHARE / max(1, len(self.guardrails))

    @property
    def likely_ratio(self) -> float:
        """Error rate of one arm as a multiple of the other's, above 1, where the test is fastest."""
        return _RATIO[self.mode] if self.ratio is None else self.ratio

    def ratio_of(self, metric: Metric) -> float:
        """`likely_ratio` of a metric. About a tenth of the answers is slow by design, so that their shares differ less than errors do."""
        return _SLOW_RATIO if metric is Metric.LATENCY and self.ratio is None else self.likely_ratio

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From JSON values; what is left out has its default.

        Raises:
            UsageError: a field is unknown or missing, or its value is not allowed.
        """
        fields = _known(values, cls, "an A/B test")
        if missing := [name for name in ("name", "model_a", "model_b") if name not in fields]:
            raise UsageError(f"an A/B test needs {', '.join(missing)}: it was not given")
        for name in ("guardrails", "also"):
            if not isinstance(fields.get(name, ()), list | tuple):
                raise UsageError(f"{name} is {fields[name]!r}: it has to be a list")
        if "guardrails" in fields:
            fields["guardrails"] = tuple(_guardrail(one) for one in fields["guardrails"])
        if "costs" in fields:
            fields["costs"] = Costs(**_known(fields["costs"], Costs, "costs"))
        return cls(**fields)

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> Self:
        """From `to_dict`, also of a test that was made before there was a choice of rules."""
        return cls.from_dict({"rule": Rule.ERRORS_BY_ARM.value, **values})


def _set(value: object, name: str, to: Any) -> None:
    object.__setattr__(value, name, to)


def _known(values: Mapping[str, Any], kind: type, what: str) -> dict[str, Any]:
    allowed = [each.name for each in fields(kind)]
    if not isinstance(values, Mapping):
        raise UsageError(f"{what} is {values!r}: an object with some of these fields is needed: {', '.join(allowed)}")
    for name in values:
        if name not in allowed:
            raise UsageError(f"{name!r} is no field of {what}{nearest(name, allowed)}; allowed: {', '.join(allowed)}")
    return dict(values)


def _choice(name: str, value: Any, kind: type[StrEnum]) -> Any:
    allowed = [member.value for member in kind]
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}{nearest(str(value), allowed)}; allowed: {', '.join(allowed)}")
    return kind(value)


def _guardrail(values: Mapping[str, Any]) -> Guardrail:
    fields = _known(values, Guardrail, "a guardrail")
    if missing := [name for name in ("metric", "margin") if name not in fields]:
        raise UsageError(f"a guardrail needs {', '.join(missing)}: it was not given")
    return Guardrail(**fields)


def _check_names(design: Design) -> None:
    if not isinstance(design.name, str) or not _NAME.fullmatch(design.name):
        raise UsageError(
            f"name is {str(design.name)[:140]!r}: allowed are letters, digits, '.', '_' and '-', 1 to 128 of them, "
            "the first a letter or digit"
        )
    for arm in ("model_a", "model_b"):
        if not isinstance(getattr(design, arm), str) or not getattr(design, arm):
            raise UsageError(f"{arm} is {getattr(design, arm)!r}: name a version, such as xgboost/v2")
    if design.model_a == design.model_b:
        raise UsageError(f"model_a and model_b are both {design.model_a!r}: a test compares two different versions")
    if not isinstance(design.unit, str) or not _UNIT.fullmatch(design.unit):
        raise UsageError(f"unit is {design.unit!r}; allowed: header, prediction, field:<column>")


def _check_numbers(design: Design) -> None:
    _between("traffic_split", design.traffic_split, 0, 1, "the share of the units that go to model_b")
    _between("alpha", design.alpha, 0, 0.5, "the largest probability of a false winner")
    _between("srm_alpha", design.srm_alpha, 0, 0.5, "the largest probability of a false alarm about the arms' shares")
    if design.ratio is not None:
        _between("ratio", design.ratio, 1, math.inf, "how many times as often one arm errs as the other")
    for name in ("margin", "equivalence", "min_duration_s"):
        _not_negative(name, getattr(design, name))
    for name in [each.name for each in fields(Costs)]:
        _not_negative(f"costs.{name}", getattr(design.costs, name))
    if not any((design.costs.false_negative, design.costs.false_positive, design.costs.unknown)):
        raise UsageError("costs.false_negative, costs.false_positive and costs.unknown are all 0: at least one has to be above 0")
    if design.equivalence and design.equivalence <= design.margin:
        raise UsageError(
            f"equivalence is {design.equivalence} and margin {design.margin}: equivalence has to be larger, or 0, "
            "or both verdicts could hold"
        )


def _check_metrics(design: Design) -> None:
    if design.direction not in (None, design.metric.direction):
        raise UsageError(
            f"direction is {design.direction!r}, but of {design.metric.value} {design.metric.direction} is better; leave it out"
        )
    guarded = [guardrail.metric for guardrail in design.guardrails]
    if repeated := [metric.value for metric in dict.fromkeys(guarded) if guarded.count(metric) > 1]:
        raise UsageError(f"guardrails name {', '.join(repeated)} twice: one guardrail a metric")
    for guardrail in design.guardrails:
        _not_negative(f"margin of the guardrail {guardrail.metric.value}", guardrail.margin)
        if guardrail.prove and guardrail.margin == 0:
            raise UsageError(
                f"the guardrail {guardrail.metric.value} has a margin of 0 and prove: that B is not worse at all cannot be shown of "
                "equal versions; give a margin, or prove: false"
            )


def _check_labels(design: Design) -> None:
    share = design.label_share
    if design.labels is Labels.RANDOM:
        if share is None or not _is_number(share) or not 0 < share <= 1:
            raise UsageError(f"label_share is {share!r}: random labels need the share of the units that get one, above 0 and at most 1")
    elif share is not None:
        raise UsageError(f"label_share is {share!r} and labels {design.labels.value!r}: a share belongs to random labels alone")
    if design.labels is Labels.REPORTS:
        _check_reports(design)
    if design.expect not in (None, "a", "b"):
        raise UsageError(f"expect is {design.expect!r}; allowed: a, b, or left out where no direction is expected")
    if design.expect is not None and design.mode is Mode.SHADOW:
        raise UsageError(f"expect is {design.expect!r} in shadow mode: a direction can be named for a split alone; leave expect out")
    limit = design.latency_limit_ms
    if limit is not None and not (_is_number(limit) and 0 < limit < math.inf):
        raise UsageError(f"latency_limit_ms is {limit!r}: a number of milliseconds above 0 is needed")


def _check_reports(design: Design) -> None:
    """What reported errors cannot say: how large a difference is, and what nobody saw."""
    if design.mode is Mode.SHADOW:
        raise UsageError("labels is 'reports' in shadow mode: nobody sees the answers of B, so that nobody reports its errors; use a split")
    why = "errors that nobody reports are not counted, so that a difference cannot be held against it"
    if design.metric.needs_labels:
        for name, value in (("margin", design.margin), ("equivalence", design.equivalence)):
            if value:
                raise UsageError(f"{name} is {value} and labels 'reports': {why}; use {name} 0, or labels all or random")
    for guardrail in design.guardrails:
        if guardrail.margin and guardrail.metric.needs_labels:
            raise UsageError(
                f"the guardrail {guardrail.metric.value} has a margin of {guardrail.margin} and labels is 'reports': {why}; "
                "use margin 0 with prove: false, or labels all or random"
            )


def _check_limits(design: Design) -> None:
    for name in ("min_units", "max_units"):
        value = getattr(design, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise UsageError(f"{name} is {value!r}: it has to be a whole number, 0 or more")
    if design.max_duration_s is not None:
        _not_negative("max_duration_s", design.max_duration_s)
    for least, most in (("min_units", "max_units"), ("min_duration_s", "max_duration_s")):
        low, high = getattr(design, least), getattr(design, most)
        if high is not None and high <= low:
            raise UsageError(f"{most} is {high} and {least} is {low}: the largest has to be above the least")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _between(name: str, value: float, low: float, high: float, what: str) -> None:
    if not _is_number(value) or not low < value < high:
        allowed = f"above {low:g}" if math.isinf(high) else f"above {low:g} and below {high:g}"
        raise UsageError(f"{name} is {value!r}: {what} has to be {allowed}")


def _not_negative(name: str, value: float) -> None:
    if not _is_number(value) or not 0 <= value < math.inf:
        raise UsageError(f"{name} is {value!r}: it has to be a number, 0 or more")
