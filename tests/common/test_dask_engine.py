"""Tasks on a real Dask cluster: the results are those of this machine, though a worker is killed."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from dask_cluster import DaskCluster, dask_cluster
from equal_runs import assert_equal_fits, assert_equal_tables, is_writing
from sporeprint.common.dask_engine import dask_engine
from sporeprint.common.workdir import Workdir
from sporeprint.errors import ConfigError, SourceUnavailableError
from sporeprint.pipelines.evaluate import run_evaluate
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.load import run_load
from sporeprint.pipelines.train import run_train
from sporeprint.pipelines.transform import run_transform
from sporeprint.settings import load_settings
from sporeprint.simulation.corruption import Spoil
from sporeprint.simulation.generator import simulate_table

ROWS, GROUPS = 150_000, 150
CHANGES = (
    f"dataset.groups.block_rows={ROWS // GROUPS}",
    "dataset.groups.names_file=null",
    "validation.max_rejected_share=0.5",
    "engine.split_mb=1",
    "runtime.threads=1",
    "runtime.most_rows=10000",
    "models.decision_tree.params.max_depth=3",
    "models.xgboost.rounds=20",
    "evaluation.folds=2",
    "evaluation.replicates=100",
)


@pytest.fixture(scope="module")
def dask(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(cluster, tmp_path_factory.mktemp("dask"), workers=3) as running:
        yield running


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_writes_and_fits_what_this_machine_does(dask: DaskCluster, config_file: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", Workdir(tmp_path / "there")
    options = ["--engine", dask.master, "--config", str(config_file), "--workdir", str(there.root)]
    code, out, errors = dask.run("engine", "check", *options, "--set", "engine.workers=3", "--json")
    assert (code, out.count("sees_share")) == (0, 3), errors
    code, _, errors = dask.run("engine", "check", *options, "--set", "engine.workers=4", "--set", "engine.start_s=1")
    assert code == ConfigError.exit_code
    assert "the Dask cluster has 3 workers in 1 s; 4 are needed" in errors
    with socket.create_server(("127.0.0.1", 0)) as silent:
        master = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        code, _, errors = dask.run("engine", "check", *options, "--engine", master, "--set", "engine.start_s=1")
    assert code == SourceUnavailableError.exit_code
    assert f"no Dask scheduler answers at {master}: nothing in 5 s (engine.start_s); is it running?" in errors
    chosen = load_settings(config_file, overrides=CHANGES)
    made = simulate_table(chosen.dataset, tmp_path / "t.csv", rows=ROWS, groups=GROUPS, seed=3, spoil=Spoil(share=0.01))
    with dask.driver("etl", "--source", str(made.path), *options, *(f"--set={change}" for change in CHANGES)) as driver:
        assert is_writing(there, driver), driver.communicate()
        dask.workers[min(dask.workers)].kill()  # one of the two that have tasks
        run_extract(chosen, here, source=str(made.path))
        run_transform(chosen, here)
        run_load(chosen, here)
        run_train(chosen, here)
        with threadpool_limits(1, "blas"):  # as in a task, so that sums are of one order
            run_evaluate(chosen, here)
        _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert_equal_tables(here, there.root, files=2)
    assert_equal_fits(here, there.root, chosen)


@pytest.mark.parametrize("master", ["tcp://host", "tcp:/host:8786", "http://host:8786", ""])
def test_what_is_no_address_of_a_scheduler_is_refused(master: str) -> None:
    message = rf"^engine\.master '{re.escape(master)}' is no address of a Dask scheduler; expected tcp://HOST:PORT"
    with pytest.raises(ConfigError, match=message), dask_engine(master, 1, Path(), start_s=1):
        pass


def test_a_scheduler_that_is_not_there_is_named_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        with (
            pytest.raises(SourceUnavailableError, match=f"^no Dask scheduler answers at {master}: Connection refused; is it running"),
            dask_engine(master, 1, Path(), start_s=1),
        ):
            pass
