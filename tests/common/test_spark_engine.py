"""Tasks on a real Spark cluster: what a piece of a table becomes there, an executor that is killed, and what the cluster lacks."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from spark_cluster import SparkCluster, executors, spark_cluster
from sporeprint import settings
from sporeprint.common.spark_engine import WorkerReport, refuse_unlike, spark_engine, versions
from sporeprint.data.data_summary import DataSummary
from sporeprint.data.part_files import part_files
from sporeprint.errors import ConfigError, SourceUnavailableError
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.transform import run_transform
from sporeprint.simulation.corruption import Spoil
from sporeprint.simulation.generator import simulate_table

ROWS, GROUPS = 300_000, 150


@pytest.fixture(scope="module")
def spark(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster(cluster, tmp_path_factory.mktemp("spark")) as running:
        yield running


@pytest.mark.slow
def test_a_cluster_that_loses_an_executor_writes_what_this_machine_does(spark: SparkCluster, config_file: Path, tmp_path: Path) -> None:
    changes = [f"dataset.groups.block_rows={ROWS // GROUPS}", "validation.max_rejected_share=0.5", "engine.split_mb=1", "runtime.threads=1"]
    chosen = settings.load_settings(config_file, overrides=changes)
    made = simulate_table(chosen.dataset, tmp_path / "t.csv", rows=ROWS, groups=GROUPS, seed=3, spoil=Spoil(share=0.01))
    for name in ("here", "there"):
        run_extract(chosen, tmp_path / name, source=str(made.path))
    here = run_transform(chosen, tmp_path / "here").record
    options = ["--config", str(config_file), "--workdir", str(tmp_path / "there"), "--set", "engine.start_s=240"]
    arguments = [*options, *(f"--set={change}" for change in changes)]
    with spark.driver("transform", "--engine", spark.master, *arguments) as driver:
        killed = _kill_one_at_work(tmp_path / "there" / "data", driver)
        _, errors = driver.communicate(timeout=400)
    assert (driver.returncode, killed) == (0, True), errors
    there = DataSummary.from_json((tmp_path / "there" / "data/staging/record.json").read_text())
    assert replace(there, run_id="", created="", provenance={}) == replace(here, run_id="", created="", provenance={})
    for name in ("processed", "train", "validation", "test", "rejected"):
        files = [part_files(tmp_path / root / f"data/staging/{name}.parquet", whole=True) for root in ("here", "there")]
        assert len(files[0]) == len(files[1]) == (1 if name == "rejected" else 4)
        for one, other in zip(*files, strict=True):
            assert pl.read_parquet(one).equals(pl.read_parquet(other)), one


def _kill_one_at_work(data: Path, driver: "subprocess.Popen[str]") -> bool:
    """Kill an executor as soon as the first part file is there, while others are written."""
    while driver.poll() is None:
        if list(data.glob(".staging-*/processed.parquet/part-*.parquet")):
            os.kill(executors()[0], signal.SIGKILL)
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("memory", r"no executor has started and answered in 8 s; 2 x 1 core with 64g were asked for"),
        ("package", r"the workers' Python lacks a package; install there what is installed here"),
    ],
)
def test_what_a_cluster_lacks_is_named(
    lacking: str, message: str, spark: SparkCluster, cluster: Path, config_file: Path, tmp_path: Path
) -> None:
    arguments = ["engine", "check", "--engine", spark.master, "--config", str(config_file), "--workdir", str(tmp_path)]
    if lacking == "memory":
        code, _, errors = spark.run(*arguments, "--set", "engine.executor_memory=64g", "--set", "engine.start_s=8")
    else:
        code, _, errors = spark.run(*arguments, "--set", "engine.start_s=240", PYSPARK_PYTHON=str(cluster))
    assert code == ConfigError.exit_code
    assert message in errors


def test_a_worker_unlike_this_machine_is_named() -> None:
    packages = versions()
    refuse_unlike(WorkerReport("w1", "3.11.7 at /usr/bin/python3", packages, sees_share=True), Path("/mnt/run"))
    with pytest.raises(ConfigError, match=r"^the worker w1 has polars 0\.1, here is .*; install the same version on both"):
        refuse_unlike(WorkerReport("w1", "3.11.7", {**packages, "polars": "0.1"}, sees_share=True), Path("/mnt/run"))
    with pytest.raises(ConfigError, match=r"^the worker w1 has no xgboost in its Python \(3\.11\.7\); install there what"):
        refuse_unlike(WorkerReport("w1", "3.11.7", {**packages, "xgboost": None}, sees_share=True), Path("/mnt/run"))
    with pytest.raises(ConfigError, match=r"^the worker w1 does not see the work directory /mnt/run; put it on a share"):
        refuse_unlike(WorkerReport("w1", "3.11.7", packages, sees_share=False), Path("/mnt/run"))


def test_a_master_that_is_not_there_is_named_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{free.getsockname()[1]}"
        with (
            pytest.raises(SourceUnavailableError, match=f"^no Spark master answers at {master}: Connection refused; is it running"),
            spark_engine(master, 1, "1g", Path(), start_s=1),
        ):
            pass
