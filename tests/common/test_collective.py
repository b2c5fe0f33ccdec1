"""Processes that add up by XGBoost's collective: all at once, and again where one is lost."""

import os
import signal
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sporeprint.common.collective import ATTEMPTS, in_collective
from sporeprint.common.engine import LocalEngine
from sporeprint.errors import ConfigError, RetryableError


def summed(share: int) -> tuple[int, int]:
    from xgboost import collective

    total = collective.allreduce(np.array([share]), collective.Op.SUM)
    return collective.get_rank(), int(total[0])


def lost(folder: Path, most: int, share: int) -> tuple[int, int]:
    """As `summed`; the second process dies at its first attempts."""
    if share == 2 and len(list(folder.iterdir())) < most:
        (folder / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return summed(share)


def refuse(share: int) -> None:
    raise ConfigError(f"share {share} is refused")


def test_shares_are_added_up_and_the_first_tells() -> None:
    with closing(LocalEngine(2)) as engine:
        assert in_collective(engine, summed, [1, 2]) == (0, 3)
        with pytest.raises(ConfigError, match=r"^share 1 is refused$"):
            in_collective(engine, refuse, [1, 2])


@pytest.mark.slow
def test_a_process_that_is_lost_begins_all_again(tmp_path: Path) -> None:
    with closing(LocalEngine(2)) as engine:
        assert in_collective(engine, partial(lost, tmp_path, 1), [1, 2]) == (0, 3)
        with pytest.raises(RetryableError, match=r"^a process of (this run|a fit) (ended|was lost)"):
            in_collective(engine, partial(lost, tmp_path, ATTEMPTS + 1), [1, 2])
