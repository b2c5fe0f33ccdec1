"""Tasks on a real Spark cluster: what a piece of a table becomes there, an executor that is killed, and what the cluster lacks."""

import logging
import os
import re
import shutil
import signal
import socket
import venv
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from equal_runs import assert_equal_fits, assert_equal_tables, is_writing
from spark_cluster import SparkCluster, executors, has_ended, spark_cluster, then
from sporeprint import settings
from sporeprint.common.spark_engine import JAVA, is_ours, java_options, spark_engine
from sporeprint.common.workdir import Workdir
from sporeprint.data.part_files import part_files
from sporeprint.errors import BusyError, ConfigError, SourceUnavailableError
from sporeprint.pipelines.evaluate import run_evaluate
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.folder_prediction import predict_folder
from sporeprint.pipelines.load import run_load
from sporeprint.pipelines.monitoring import monitor
from sporeprint.pipelines.train import run_train
from sporeprint.pipelines.transform import run_transform
from sporeprint.simulation.corruption import Spoil
from sporeprint.simulation.generator import simulate_table

ROWS, GROUPS = 300_000, 150


@pytest.fixture(scope="module")
def spark(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster(cluster, tmp_path_factory.mktemp("spark")) as running:
        yield running


#: A fit of all rows in a few seconds; half of the settings bound what follows it.
CHANGES = (
    f"dataset.groups.block_rows={ROWS // GROUPS}",
    "dataset.groups.names_file=null",
    "validation.max_rejected_share=0.5",
    "engine.split_mb=1",
    "runtime.threads=1",
    "runtime.most_rows=20000",
    "models.decision_tree.params.max_depth=3",
    "models.xgboost.rounds=20",
    "evaluation.folds=2",
    "evaluation.replicates=100",
)


@pytest.mark.slow
def test_a_cluster_that_loses_its_driver_and_an_executor_writes_and_fits_what_this_machine_does(
    spark: SparkCluster, config_file: Path, tmp_path: Path
) -> None:
    chosen = settings.load_settings(config_file, overrides=CHANGES)
    made = simulate_table(chosen.dataset, tmp_path / "t.csv", rows=ROWS, groups=GROUPS, seed=3, spoil=Spoil(share=0.01))
    run_extract(chosen, tmp_path / "here", source=str(made.path))
    run_transform(chosen, tmp_path / "here")
    run_load(chosen, tmp_path / "here")
    there = Workdir(tmp_path / "there")
    options = ["--config", str(config_file), "--set", "engine.start_s=240", *(f"--set={change}" for change in CHANGES)]
    arguments = ["--engine", spark.master, *options, "--workdir", str(there.root)]
    # One executor, of which nothing is left to lose.
    with spark.driver("etl", "--source", str(made.path), *arguments, "--set", "engine.workers=1") as driver:
        assert is_writing(there, driver), driver.communicate()
        driver.kill()
    assert not there.staging.exists()
    assert not there.data_record.exists()
    first, table = _some_files(made.path, tmp_path / "new"), tmp_path / "0.parquet"
    first.write_parquet(table)
    with spark.session() as driver:
        # SQL on each executor takes long.
        then(
            driver, "extract", "--source", f"spark:parquet.`{table}`", "--engine", "local[1]", *options, "--workdir", str(tmp_path / "sql")
        )
        assert has_ended(driver), driver.communicate()
        then(driver, "etl", "--source", str(made.path), *arguments)
        assert is_writing(there, driver), driver.communicate()
        os.kill(executors()[0], signal.SIGKILL)
        code, _, errors = spark.run("transform", *arguments)
        assert (code, "another run" in errors) == (BusyError.exit_code, True), errors
        run_train(chosen, tmp_path / "here")  # while the cluster trains
        with threadpool_limits(1, "blas"):  # as in a task, so that sums are of one order
            run_evaluate(chosen, tmp_path / "here")
        assert has_ended(driver), driver.communicate()
        shutil.copytree(there.root, tmp_path / "alone")  # an evaluation knows those before it
        answers = tmp_path / "answers_of_the_cluster"
        then(driver, "predict", str(tmp_path / "new"), "--out", str(answers), "--model", "xgboost/v1", *arguments)
        engine = ["--set", "engine.kind=spark", "--set", f"engine.master={spark.master}"]
        then(
            driver, "monitor", "--current", str(tmp_path / "new"), "--model", "xgboost/v1", *engine, *options, "--workdir", str(there.root)
        )
        _, errors = driver.communicate(timeout=400)
    assert pl.read_parquet(Workdir(tmp_path / "sql").extract_record.parent / "*.spark/*.parquet").equals(first)
    assert_equal_tables(tmp_path / "here", there.root, files=4)
    assert_equal_fits(tmp_path / "here", there.root, chosen)
    assert _evaluated_alone(chosen, tmp_path, answers) == driver.returncode, errors


def _some_files(source: Path, folder: Path) -> pl.DataFrame:
    """Rows of a table in three files, a task for each on a cluster; those of the first."""
    header, *rows = source.read_text().splitlines(keepends=True)
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.csv").write_text(header + "".join(rows[number * 500 : number * 500 + 500]))
    return pl.read_csv(folder / "0.csv", separator=";", infer_schema=False, quote_char=None, truncate_ragged_lines=True)


def _evaluated_alone(chosen: settings.Settings, folder: Path, found: Path) -> int:
    """Answers and evaluation in this process are those of the cluster; the exit code of such an evaluation."""
    there, alone = Workdir(folder / "there"), Workdir(folder / "alone")
    predict_folder(chosen, alone.root, str(folder / "new"), wanted := folder / "answers", model="xgboost/v1")
    evaluated = monitor(chosen, alone.root, str(folder / "new"), model="xgboost/v1")
    files = [part_files(place, whole=True) for place in (wanted, found)]
    assert len(files[0]) == len(files[1]) == 3
    assert all(pl.read_parquet(one).equals(pl.read_parquet(other)) for one, other in zip(*files, strict=True))
    one, other = (re.sub(r'"(at|since_s)": ["\d][^,\n]*', "", (root.monitoring / "latest.json").read_text()) for root in (alone, there))
    assert one == other
    return evaluated.exit_code


@pytest.mark.slow
def test_what_a_cluster_lacks_is_named(spark: SparkCluster, config_file: Path, tmp_path: Path) -> None:
    arguments = ["engine", "check", "--engine", spark.master, "--config", str(config_file), "--workdir", str(tmp_path)]
    # One waits for executors that nobody can start, and one for a master that never answers; the third has the cluster meanwhile.
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        spark.driver(*arguments, "--set", "engine.executor_memory=64g", "--set", "engine.start_s=25") as memory,
        spark.driver(
            *arguments, "--set", "engine.start_s=8", "--engine", master := f"spark://127.0.0.1:{silent.getsockname()[1]}"
        ) as master_less,
    ):
        code, _, errors = spark.run(*arguments, "--engine", master.replace("spark", "sc"))
        assert code == ConfigError.exit_code
        assert "error: PySpark lacks a package; install it with: pip install 'sporeprint[spark]' ([PACKAGE_NOT_INSTALLED] grpcio" in errors
        other = _python_without("xgboost", tmp_path / "other")
        code, _, errors = spark.run(*arguments, "--set", "engine.start_s=240", PYSPARK_PYTHON=str(other))
        assert code == ConfigError.exit_code
        message = rf"the worker \S+ has no xgboost in its Python \(3\.\d+\.\d+ at {other}\); install there what is installed here"
        assert re.search(message, errors), errors
        _, errors = memory.communicate(timeout=300)
        _, silence = master_less.communicate(timeout=300)
    assert memory.returncode == ConfigError.exit_code
    assert master_less.returncode == SourceUnavailableError.exit_code
    assert f"error: Spark did not start on {master} in 8 s: does a Spark master answer there? A busy machine needs longer" in silence
    assert "no executor has started and answered in 25 s; 2 x 1 core with 64g were asked for" in errors


def _python_without(package: str, folder: Path) -> Path:
    """A Python of this version that has the packages of this one, but for one."""
    venv.create(folder, symlinks=True)
    own = next((folder / "lib").glob("python3.*/site-packages"))
    for each in Path(pl.__file__).parents[1].iterdir():
        if not each.name.startswith((package, "_virtualenv")):
            (own / each.name).symlink_to(each)
    return folder / "bin/python"


def test_java_is_started_for_a_short_life_unless_somebody_chose_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS"):
        monkeypatch.delenv(name, raising=False)
    driver, executor = (f"spark.{kind}.defaultJavaOptions" for kind in ("driver", "executor"))
    assert java_options("spark://m:7077", tmp_path) == {driver: JAVA, executor: JAVA}
    assert java_options("local[*]", tmp_path) == {executor: JAVA}
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/spark-defaults.conf").write_text(f"{driver} -Dcompany=1\n")
    assert java_options("spark://m:7077", tmp_path) == {executor: JAVA}
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", f"--conf {executor}=-Xss4m pyspark-shell")
    assert java_options("spark://m:7077", tmp_path) == {}
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert java_options("spark://m:7077", tmp_path) == {driver: JAVA}


def test_an_interrupt_leaves_no_traceback_of_py4j() -> None:
    seen = [logging.makeLogRecord({"msg": text}) for text in ("KeyboardInterrupt while sending command.", "a message of another library")]
    assert [is_ours(record) for record in seen] == [False, True]


@pytest.mark.parametrize("master", ["cluster", "spark://host", "spark:/host:7077", "http://host:7077", "local[]", ""])
def test_what_is_no_address_of_a_master_is_refused(master: str) -> None:
    message = rf"^engine\.master '{re.escape(master)}' is no address of a cluster; expected spark://HOST:PORT, sc://HOST:PORT, local\[N\]"
    with pytest.raises(ConfigError, match=message), spark_engine(master, 1, "1g", Path(), start_s=1):
        pass


def test_a_master_that_is_not_there_is_named_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{free.getsockname()[1]}"
        with (
            pytest.raises(SourceUnavailableError, match=f"^no Spark master answers at {master}: Connection refused; is it running"),
            spark_engine(master, 1, "1g", Path(), start_s=1),
        ):
            pass
