"""Scores a table of several files with a registered model: a task of the engine, and a part file of answers, for each of them."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from sporeprint.common.progress import SilentProgress, SilentSteps, Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.part_files import PartFile, write_manifest
from sporeprint.errors import StorageError, UsageError
from sporeprint.ingestion.object_store import fetch_all, is_store, local_path
from sporeprint.ingestion.plain_table import local_files
from sporeprint.pipelines.batch_prediction import BatchPredictionResult, Counts, ScoreTask, result_of, score_table
from sporeprint.pipelines.engines import open_engine
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings


def predict_folder(
    settings: Settings,
    root: Path,
    source: str,
    out: Path,
    *,
    model: str = "production",
    guarded: bool = True,
    empty_is_observed: bool = True,
    steps: Steps | None = None,
) -> BatchPredictionResult:
    """Answer the rows of a table of several files, into a folder of part files in the order of the files.

    The folder appears when it is complete. What is said of each row is what `predict` says of a single file.

    Raises:
        UsageError: the folder is there already.
        SporeprintError: see `sporeprint.pipelines.batch_prediction.predict`, and `open_engine`.
    """
    if out.exists():
        raise UsageError(f"--out {out} is there already; name a folder that is not")
    workdir, shown = Workdir(root), steps or SilentSteps()
    registry = Registry(workdir.registry)
    version = registry.resolve(model)
    bundle = registry.load(version.ref)
    temporary = out.absolute().with_name(f".{out.name}.unfinished")
    with shown.step("predict") as progress, ExitStack() as stack:
        if is_store(source):
            place = workdir.extract_record.parent
            place.mkdir(parents=True, exist_ok=True)
            fetched = stack.enter_context(TemporaryDirectory(prefix=".fetched-", dir=place, ignore_cleanup_errors=True))
            files = fetch_all(source, Path(fetched), SilentProgress())[0]
        else:
            files = tuple(local_files(local_path(source)))
        parts = [temporary / f"part-{number:05}.parquet" for number in range(len(files))]
        tasks = [
            ScoreTask(str(file.absolute()), part, root.absolute(), version.ref, guarded, empty_is_observed)
            for file, part in zip(files, parts, strict=True)
        ]
        progress.total(len(tasks))
        engine = stack.enter_context(open_engine(settings, workdir))
        total, written = Counts(), []
        try:
            shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
            temporary.mkdir(parents=True)
            for part, counts in zip(parts, engine.map(score_part, tasks), strict=True):
                total += counts
                written.append(PartFile.of(part, counts.rows))
                progress.advance(1)
            write_manifest(temporary, written)
            temporary.rename(out)
        except OSError as error:
            raise StorageError(f"cannot write {out}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return result_of(version.ref, bundle, out, total, guarded=guarded)


def score_part(task: ScoreTask) -> Counts:
    """Score one file, wherever this runs: the version is read from the registry."""
    return score_table(task, Registry(Workdir(task.root).registry).load(task.ref), 1, SilentProgress())
