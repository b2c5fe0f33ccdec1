"""The engine of a run, as it is configured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING

from sporeprint.common.engine import LocalEngine
from sporeprint.common.workdir import Workdir
from sporeprint.settings import Settings

if TYPE_CHECKING:
    from sporeprint.common.cluster_engine import ClusterEngine


@contextmanager
def open_engine(settings: Settings, workdir: Workdir) -> Iterator[LocalEngine | ClusterEngine]:
    """The engine, for as long as the block runs.

    Raises:
        MissingExtraError: it needs what is not installed.
        ConfigError: the cluster lacks what the tasks need; see `check_cluster`.
        SourceUnavailableError: there is no cluster there.
    """
    if settings.engine.kind == "local":
        with closing(LocalEngine(settings.threads)) as local:
            yield local
        return
    chosen = settings.engine
    opened: AbstractContextManager[ClusterEngine]
    if chosen.kind == "dask":
        from sporeprint.common.dask_engine import dask_engine  # loads Dask

        opened = dask_engine(str(chosen.master), chosen.workers, workdir.root, start_s=chosen.start_s)
    else:
        from sporeprint.common.spark_engine import spark_engine  # loads PySpark

        opened = spark_engine(str(chosen.master), chosen.workers, chosen.executor_memory, workdir.root, start_s=chosen.start_s)
    with opened as engine:
        yield engine
