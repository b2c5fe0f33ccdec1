"""Expected performance by the guard's components: how often each is right, from rows with an outcome, and how often it comes now."""

import contextlib

import numpy as np
import polars as pl

from sporeprint.common.workdir import Workdir
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.parquet_store import read_table
from sporeprint.errors import DataError
from sporeprint.inference.model_bundle import Bundle
from sporeprint.monitoring.performance_estimation import ComponentEstimate, expected_share_right
from sporeprint.safety.decision_rule import unit_representatives
from sporeprint.safety.verdict import HALF, UNKNOWN


def estimate_by_component(
    workdir: Workdir, bundle: Bundle, validated: Observations, current: pl.DataFrame, answers: int
) -> ComponentEstimate | None:
    """Expected performance of a window, before outcomes; None where there is nothing to estimate it from.

    Args:
        workdir: where the test rows are.
        bundle: the version; its guard says which component a row is most typical of.
        validated: rows with an outcome that the version was validated on.
        current: different rows that were answered in the window, or a sample of them.
        answers: how many different rows there are.
    """
    if current.is_empty():
        return None
    known = _with_test_rows(workdir, bundle, validated)
    made = bundle.predictions(known.codes)
    now = bundle.predictions(Codes.of(current.rename(bundle.schema.as_table(current.columns)), bundle.schema, known.codes.vocabulary))
    component, own = made.novelty.component, now.novelty.component
    right = (made.probability > HALF) == (known.y == 1)
    has_verdict, own_said = made.verdict != UNKNOWN, now.verdict != UNKNOWN
    answered = round(answers * float(own_said.mean()))
    return ComponentEstimate(
        rows=len(own),
        reference_rows=len(component),
        components=len(np.unique(own)),
        unseen=float(np.mean(~np.isin(own, component))),
        accuracy=expected_share_right(component[has_verdict], (made.verdict == known.y)[has_verdict], own[own_said], answered),
        likelier=expected_share_right(component, right, own, answers),
    )


def _with_test_rows(workdir: Workdir, bundle: Bundle, validated: Observations) -> Observations:
    """The validated rows, and the test rows where they are there: nothing was fitted on them either. One row of each unit."""
    known = [validated]
    with contextlib.suppress(DataError):
        known.append(read_table(workdir.model_input / "test.parquet", bundle.schema))
    rows = concat(known)
    return rows.take(unit_representatives(rows))
