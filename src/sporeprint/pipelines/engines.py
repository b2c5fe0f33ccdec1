"""The engine of a run, as it is configured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from sporeprint.common.engine import LocalEngine
from sporeprint.common.workdir import Workdir
from sporeprint.settings import Settings

if TYPE_CHECKING:
    from sporeprint.common.spark_engine import SparkEngine


@contextmanager
def open_engine(settings: Settings, workdir: Workdir) -> Iterator[LocalEngine | SparkEngine]:
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
    from sporeprint.common.spark_engine import spark_engine  # loads PySpark

    chosen = settings.engine
    with spark_engine(str(chosen.master), chosen.workers, chosen.executor_memory, workdir.root, start_s=chosen.start_s) as engine:
        yield engine
