"""An interim analysis of a test, from its totals: the metric that decides, guardrails, sample ratio, label bias. Valid at any time."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from sporeprint.ab_testing import comparisons, label_bias
from sporeprint.ab_testing.comparison import Comparison
from sporeprint.ab_testing.design import Design, Guardrail, Labels, Metric, Rule
from sporeprint.ab_testing.label_bias import LabelBias
from sporeprint.ab_testing.totals import SplitTotals, Totals
from sporeprint.stats import eprocess, multiplicity, sample_ratio_mismatch


@dataclass(frozen=True, slots=True)
class RunningExtremes:
    """The extremes of a metric over all interim analyses. They may be acted on: all the analyses are valid at once.

    Attributes:
        log_e: the largest so far.
        low: the largest lower end of the gain's interval so far.
        high: the smallest upper end. Below `low`, an assumption is broken: of independent units, or of labels that stay.
    """

    log_e: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    def updated(self, comparison: Comparison) -> Self:
        """After one more interim analysis. What is undefined changes nothing."""
        gain = comparison.gain
        return type(self)(
            max(self.log_e, comparison.log_e),
            self.low if math.isnan(gain.low) else max(self.low, gain.low),
            self.high if math.isnan(gain.high) else min(self.high, gain.high),
        )

    @property
    def p_value(self) -> float:
        """Valid at all times: ever at most alpha with a probability of at most alpha, while the arms do the same."""
        return eprocess.p_value(self.log_e)

    @property
    def empty(self) -> bool:
        """Whether no difference is left that all interim analyses allow."""
        return self.low > self.high


#: By metric: the state between two interim analyses.
Extremes = Mapping[Metric, RunningExtremes]
NO_EXTREMES: Extremes = MappingProxyType({})


class GuardrailStatus(StrEnum):
    """Status of a guardrail: shown to hold, shown to be broken, or neither yet."""

    HELD = "held"
    BREACHED = "breached"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class GuardrailResult:
    """A guardrail and its status.

    Attributes:
        guardrail: what must not get worse, and by how much.
        comparison: of this interim analysis alone.
        running: extremes over all interim analyses; they decide.
        status: held, breached or open.
    """

    guardrail: Guardrail
    comparison: Comparison
    running: RunningExtremes
    status: GuardrailStatus


@dataclass(frozen=True, slots=True)
class Analysis:
    """An interim analysis of a test.

    Attributes:
        design: the test.
        totals: what it was computed from.
        elapsed_s: seconds since the test began.
        primary: the metric that decides, as it is now.
        running: its extremes over all interim analyses; they decide.
        guardrails: in the order of the design.
        also: the further metrics.
        significant: metrics of `also` in which the arms differ, with a false discovery rate of at most alpha.
        srm_log_e: logarithm of the e-value against "the arms get their shares" (sample ratio mismatch); 0 in shadow mode.
        srm_alarm: whether there is a sample ratio mismatch.
        label_bias: whether labels depend on the answers; None where no metric needs any, or errors are reported.
        extremes: state for the next interim analysis.
    """

    design: Design
    totals: Totals
    elapsed_s: float
    primary: Comparison
    running: RunningExtremes
    guardrails: tuple[GuardrailResult, ...]
    also: tuple[Comparison, ...]
    significant: frozenset[Metric]
    srm_log_e: float
    srm_alarm: bool
    label_bias: LabelBias | None
    extremes: Extremes

    @property
    def not_identified(self) -> bool:
        """Whether labels depend on the answers, so that error rates say nothing."""
        return self.label_bias is not None and self.label_bias.selective

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values; what is undefined or infinite is None. `extremes_from` reads the extremes back."""
        values: dict[str, Any] = _json(self)
        return values


def analyse(design: Design, totals: Totals, elapsed_s: float, extremes: Extremes = NO_EXTREMES) -> Analysis:
    """Analyse a test. The time it takes does not depend on the number of units.

    Args:
        design: the test.
        totals: its totals so far.
        elapsed_s: seconds since it began.
        extremes: `Analysis.extremes` of the interim analysis before. Without, each is the first one, which is valid too and less sharp.
    """
    primary = comparisons.compare(design, totals, design.metric, design.winner_alpha, decides=True)
    running = extremes.get(design.metric, RunningExtremes()).updated(primary)
    guarded = {one.metric: comparisons.compare(design, totals, one.metric, design.guardrail_alpha) for one in design.guardrails}
    # A metric may guard with one alpha and decide with another: the extremes of the two are not the same.
    after = {metric: extremes.get(metric, RunningExtremes()).updated(one) for metric, one in guarded.items() if metric is not design.metric}
    labels = _label_bias(design, totals)
    identified = labels is None or not labels.selective
    readings = tuple(
        GuardrailResult(one, guarded[one.metric], extremes, _guardrail_status(one, extremes, identified or not one.metric.needs_labels))
        for one in design.guardrails
        for extremes in [after.get(one.metric, RunningExtremes().updated(guarded[one.metric]))]
    )
    also = tuple(comparisons.compare(design, totals, metric, design.alpha) for metric in design.also)
    srm = _sample_ratio(design, totals)
    return Analysis(
        design=design,
        totals=totals,
        elapsed_s=elapsed_s,
        primary=primary,
        running=running,
        guardrails=readings,
        also=also,
        significant=_significant(also, design.alpha),
        srm_log_e=srm,
        srm_alarm=srm >= -math.log(design.srm_alpha),
        label_bias=labels,
        extremes=MappingProxyType({**extremes, **after, design.metric: running}),
    )


def extremes_from(values: Mapping[str, Mapping[str, float | None]]) -> Extremes:
    """The extremes of `Analysis.to_dict`, to go on after a restart."""
    known = {metric: {name: number for name, number in each.items() if number is not None} for metric, each in values.items()}
    return {Metric(metric): RunningExtremes(**each) for metric, each in known.items()}


def _json(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _json(each) for key, each in value.items()}
    if isinstance(value, tuple | frozenset):
        return [_json(each) for each in (sorted(value) if isinstance(value, frozenset) else value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _guardrail_status(guardrail: Guardrail, running: RunningExtremes, identified: bool) -> GuardrailStatus:
    # B's loss is the gain turned round: worse by more than the margin for certain, or for certain not.
    if not identified:
        return GuardrailStatus.OPEN
    if -running.high > guardrail.margin:
        return GuardrailStatus.BREACHED
    return GuardrailStatus.HELD if -running.low <= guardrail.margin else GuardrailStatus.OPEN


def _label_bias(design: Design, totals: Totals) -> LabelBias | None:
    if design.labels is Labels.REPORTS or not any(metric.needs_labels for metric in design.metrics):
        return None
    # Tests of the earlier rule tolerate shares that differ little; now the evidence decides.
    tolerated = label_bias.TOLERATED_BEFORE if design.rule is Rule.ERRORS_BY_ARM else 0.0
    return label_bias.label_bias(totals, tolerated)


def _sample_ratio(design: Design, totals: Totals) -> float:
    if not isinstance(totals, SplitTotals):
        return 0.0
    return sample_ratio_mismatch.log_e((totals.a.units, totals.b.units), (1 - design.traffic_split, design.traffic_split))


def _significant(comparisons: tuple[Comparison, ...], alpha: float) -> frozenset[Metric]:
    e_values = [math.exp(min(700.0, one.log_e)) for one in comparisons]
    rejected = multiplicity.e_benjamini_hochberg(e_values, alpha)
    return frozenset(one.metric for one, out in zip(comparisons, rejected, strict=True) if out)
