"""Promotions in a process of their own: the gate holds two models against all test rows, and requests must not wait for it."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sporeprint.common import telemetry
from sporeprint.pipelines.results import RegisterResult
from sporeprint.settings import Settings


def promote_in_a_process(settings: Settings, root: Path, ref: str, reason: str, by: str, *, production: bool = True) -> RegisterResult:
    """Make a version its model's champion, and what is served. Raises: what `pipeline.promote` raises."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_promote, settings, root, ref, reason, by, production, telemetry.traceparent()).result()


def _promote(settings: Settings, root: Path, ref: str, reason: str, by: str, production: bool, traceparent: str | None) -> RegisterResult:
    from sporeprint.pipelines.register import run_promote

    if traceparent is not None:
        os.environ["TRACEPARENT"] = traceparent
    return run_promote(settings, root, ref, production=production, reason=reason, by=by)
