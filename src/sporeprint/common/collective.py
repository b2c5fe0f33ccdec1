"""One fit in several processes at once: XGBoost adds up its histograms by its own collective, whoever started the processes."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from sporeprint.common.engine import Engine
from sporeprint.errors import RetryableError

Share = TypeVar("Share")
Result = TypeVar("Result")

#: How often a fit is begun, where processes are lost.
ATTEMPTS = 3
#: Seconds in which the processes must find each other.
START_S = 300


@dataclass(frozen=True)
class RankTask(Generic[Share]):
    """What one process works on: its rank, its share of the rows, and where the processes find each other."""

    rank: int
    share: Share
    address: dict[str, Any]


def in_collective(engine: Engine, work: Callable[[Share], Result], shares: Sequence[Share]) -> Result:
    """What a function makes of shares of rows, one in each process, in all of them at once. They end with the same; the first tells.

    Args:
        engine: starts the processes; a process that is lost ends the attempt, and all begin again.
        work: can be pickled. An error of XGBoost's that it raises is taken for the loss of another process.
        shares: of the rows, one for each process.

    Raises:
        RetryableError: processes were lost again and again.
    """
    from xgboost.core import XGBoostError
    from xgboost.tracker import RabitTracker

    for attempt in range(1, ATTEMPTS + 1):
        tracker = RabitTracker(n_workers=len(shares), host_ip=engine.host, sortby="task", timeout=START_S)
        tracker.start()
        tasks = [RankTask(rank, share, dict(tracker.worker_args())) for rank, share in enumerate(shares)]
        try:
            return engine.together(partial(_ranked, work), tasks)[0]
        except RetryableError:
            if attempt == ATTEMPTS:
                raise
        finally:
            with contextlib.suppress(XGBoostError):  # that processes were lost is known
                tracker.free()
    raise AssertionError("there is a last attempt")


def _ranked(work: Callable[[Share], Result], task: RankTask[Share]) -> Result:
    from xgboost.collective import CommunicatorContext
    from xgboost.core import XGBoostError

    try:
        with CommunicatorContext(**task.address, dmlc_task_id=str(task.rank)):
            return work(task.share)
    except XGBoostError as error:
        raise RetryableError("a process of a fit was lost, and with it the fit; run it again") from error
