"""Promotions in a process of their own: the gate holds two models against all test rows, and requests must not wait for it."""

import os
from collections.abc import Mapping
from pathlib import Path

from sporeprint.common import telemetry
from sporeprint.common.child_process import ChildDiedError, run_in_child
from sporeprint.common.workdir import Workdir
from sporeprint.errors import RetryableError
from sporeprint.pipelines.promotion import Gate
from sporeprint.pipelines.results import RegisterResult
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings


class PromotionStoppedError(RetryableError):
    """The process of a promotion ended before it said what became of it: the message does."""


def check_in_a_process(settings: Settings, root: Path, ref: str, *, production: bool) -> Mapping[str, Gate]:
    """What the gate would say to a promotion; nothing moves. See `check_promotion`.

    Raises:
        PromotionStoppedError: it took longer than a batch may, or its process was killed.
        SporeprintError: see `check_promotion`.
    """
    try:
        return run_in_child(_check, settings, root, ref, production, seconds=settings.serving.batch_deadline_s)
    except TimeoutError:
        raise PromotionStoppedError(f"the gate took longer than {settings.serving.batch_deadline_s:g} s") from None
    except ChildDiedError:
        raise PromotionStoppedError("the process of the gate was killed") from None


def _check(settings: Settings, root: Path, ref: str, production: bool) -> Mapping[str, Gate]:
    from sporeprint.pipelines.promotion import check_promotion  # not of `register`: a run's libraries take as long as the check

    return check_promotion(settings, root, ref, production=production)


def promote_in_a_process(
    settings: Settings, root: Path, ref: str, reason: str, by: str, *, production: bool = True, allow_simulated: bool = False
) -> RegisterResult:
    """Make a version its model's champion, and what is served.

    Raises:
        PromotionStoppedError: it took longer than a batch may, or its process was killed.
        SporeprintError: see `run_promote`.
    """
    seconds = settings.serving.batch_deadline_s
    try:
        return run_in_child(
            _promote, settings, root, ref, reason, by, production, allow_simulated, telemetry.traceparent(), seconds=seconds
        )
    except TimeoutError:
        why = f"the gate took longer than {seconds:g} s"
    except ChildDiedError:
        why = "its process was killed"
    # The process is gone: what it has not done by now, it will not do.
    registry, name = Registry(Workdir(root).registry), ref.partition("/")[0]
    served = registry.production()
    now = f"champion of {name} is {registry.champion(name).ref}, in production is {served.ref if served else 'nothing'}"
    raise PromotionStoppedError(f"the promotion of {ref} was stopped: {why}; now {now}")


def _promote(
    settings: Settings, root: Path, ref: str, reason: str, by: str, production: bool, allow_simulated: bool, traceparent: str | None
) -> RegisterResult:
    from sporeprint.pipelines.register import run_promote

    if traceparent is not None:
        os.environ["TRACEPARENT"] = traceparent
    return run_promote(settings, root, ref, production=production, reason=reason, by=by, allow_simulated=allow_simulated)
