"""Tasks on a Dask cluster. The one file that knows Dask.

A worker runs one task at a time, in a process of its own: `dask worker --nthreads 1 --nworkers CORES`.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sporeprint.common.cluster_engine import CONNECT_S, ClusterEngine, own_address, reason_of, result_by
from sporeprint.common.optional_dependencies import Lazy
from sporeprint.errors import ConfigError, RetryableError, SourceUnavailableError

if TYPE_CHECKING:
    import distributed
else:
    distributed = Lazy("distributed")

#: What Dask knows as a scheduler.
SCHEDULERS = r"(?:tcp|tls)://([^/,:;]+|\[[0-9a-f:]+\]):(\d+)"
#: How often a task that lost its worker is tried again.
RETRIES = 3


@contextlib.contextmanager
def dask_engine(master: str, workers: int, share: Path, *, start_s: float) -> Iterator[DaskEngine]:
    """A client of a cluster whose workers have answered, for as long as the block runs.

    Args:
        master: the scheduler's address.
        workers: tasks that run at once.
        share: a folder that driver and workers see under the same path.
        start_s: how long the cluster has to start so many workers and to answer.

    Raises:
        MissingExtraError: Dask is not installed.
        SourceUnavailableError: nothing answers at that address.
        ConfigError: it is no address; or what the workers lack, see `ClusterEngine.check`.
    """
    began = time.monotonic()
    match = re.fullmatch(SCHEDULERS, master)
    if match is None:
        raise ConfigError(f"engine.master {master!r} is no address of a Dask scheduler; expected tcp://HOST:PORT or tls://HOST:PORT")
    host = own_address(match[1].strip("[]"), int(match[2]), f"Dask scheduler answers at {master}")
    try:
        # Its own limit is for the connection alone; what takes that and says nothing would be waited for.
        client = result_by(began + max(start_s, CONNECT_S), partial(distributed.Client, master, timeout=CONNECT_S, set_as_default=False))
    except OSError as error:
        reason = reason_of(error) if str(error) else f"nothing in {max(start_s, CONNECT_S):.0f} s (engine.start_s)"
        raise SourceUnavailableError(f"no Dask scheduler answers at {master}: {reason}; is it running?") from error
    with client:
        _wait(client, workers, began + start_s, f"in {start_s:.0f} s; {workers} are needed (engine.workers, engine.start_s)")
        engine = DaskEngine(client=client, workers=workers, share=share.absolute(), host=host)
        yield replace(engine, reports=engine.check(f"{workers} workers are needed (engine.workers)", start_s, began=began))


def _wait(client: distributed.Client, workers: int, until: float, need: str) -> None:
    while len(threads := client.nthreads()) < workers:
        if time.monotonic() > until:
            raise ConfigError(f"the Dask cluster has {len(threads)} workers {need}; start more with: dask worker --nthreads 1")
        time.sleep(0.1)
    for worker, count in threads.items():
        if count > 1:
            raise ConfigError(f"the worker {worker} runs {count} tasks in one process; start it with: dask worker --nthreads 1")


@dataclass(frozen=True, kw_only=True)
class DaskEngine(ClusterEngine):
    """Tasks of Dask, on its first `workers` workers. Where there are no more tasks than these, each has a worker of its own.

    Attributes:
        client: of the scheduler.
    """

    client: distributed.Client

    def run(self, work: Callable[[int], bytes], tasks: int, *, at_once: bool = False) -> dict[int, bytes]:
        """See `ClusterEngine`."""
        addresses = sorted(self.client.nthreads())[: self.workers]
        if at_once and len(addresses) < tasks:
            raise RetryableError(f"the Dask cluster has {len(addresses)} workers left, {tasks} tasks must run at once; run it again")
        places = [[worker] for worker in addresses[:tasks]] if tasks <= len(addresses) else [addresses] * tasks
        # A task whose workers are lost goes to another one, where those that run at once end with an error.
        futures = [
            self.client.submit(work, number, workers=place, allow_other_workers=True, pure=False, retries=RETRIES)
            for number, place in enumerate(places)
        ]
        try:
            return dict(enumerate(self.client.gather(futures)))
        except Exception as error:  # what a task or Dask raised; Dask's own errors have no common base
            raise RetryableError(f"the cluster gave up a task; run it again: {reason_of(error)}") from error
        finally:
            self.client.cancel(futures)
