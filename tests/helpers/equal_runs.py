"""Whether a run on a cluster made what a run on this machine does."""

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary
from sporeprint.data.part_files import part_files
from sporeprint.data.training_data import read_input
from sporeprint.settings import Settings
from sporeprint.stats.metrics import log_losses


def assert_equal_tables(here: Path, there: Path, *, files: int) -> None:
    """Equal row for row, in so many part files; the rejected rows too."""
    records = [DataSummary.from_json(Workdir(root).data_record.read_text()) for root in (here, there)]
    assert replace(records[1], run_id="", created="", provenance={}) == replace(records[0], run_id="", created="", provenance={})
    for name in ("train", "validation", "test"):
        parts = [part_files(root / f"data/model_input/{name}.parquet", whole=True) for root in (here, there)]
        assert len(parts[0]) == len(parts[1]) == files
        for one, other in zip(*parts, strict=True):
            assert pl.read_parquet(one).equals(pl.read_parquet(other)), one
    rejected = [pl.read_parquet(Workdir(root).rejected(record.run_id)) for root, record in zip((here, there), records, strict=True)]
    assert rejected[0].equals(rejected[1])


def assert_equal_fits(here: Path, there: Path, chosen: Settings) -> None:
    """What is counted is equal to the byte; boosted trees differ by the order of their sums alone."""
    for name in chosen.models:
        files = [root / "models/candidates" / name for root in (here, there)]
        for part in ("encoder.json", "guard.npz", "known.npz", "partial_guard.npz"):
            assert (files[0] / part).read_bytes() == (files[1] / part).read_bytes(), (name, part)
    measured = [json.loads((Workdir(root).metrics / "metrics.json").read_text())["models"] for root in (here, there)]
    y = read_input(chosen, Workdir(here)).test.y
    for name in chosen.models:
        assert measured[0][name]["unseen"] == measured[1][name]["unseen"]  # folds are fitted whole, each by one task
        one, other = (
            np.array(json.loads((root / f"models/candidates/{name}/candidate.json").read_text())["scores"]) for root in (here, there)
        )
        if name == "xgboost":  # where two splits are equally good, the order of sums may decide
            assert abs(int(((one > 0.5) != y).sum()) - int(((other > 0.5) != y).sum())) <= 3
            assert log_losses(y, other).mean() == pytest.approx(log_losses(y, one).mean(), rel=0.02)
            assert np.abs(other - one).mean() < 1e-4
        else:
            np.testing.assert_allclose(other, one, atol=1e-6)


def is_writing(workdir: Workdir, driver: "subprocess.Popen[str]") -> bool:
    """Whether the first part file is there, while others are written; False: the driver has ended."""
    known = set(workdir.staging.parent.glob(".staging-*"))  # of a driver that was killed
    while driver.poll() is None:
        for folder in set(workdir.staging.parent.glob(".staging-*")) - known:
            if list(folder.glob("processed.parquet/part-*.parquet")):
                return True
        time.sleep(0.05)
    return False
