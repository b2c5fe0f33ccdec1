"""Extract, validate, transform to Parquet on simulated rows against a bare Polars `scan_csv -> sink_parquet` of the same file.

    python benchmarks/scale.py [--rows 600100 6001000 60999812] [--pairs 3] [--folder DIR]
    python benchmarks/scale.py --fits [--rows 1000113 6001370] [--folder DIR]

The numbers of rows are whole numbers of species blocks. The files are made by `sporeprint simulate` where they are missing
(61 million rows: about 3 GB, in --folder). With --fits, the whole of `sporeprint etl`: processor seconds, peak memory by step, the size
of the guard, and the memory of a server of that model after 2,000 answers; 173 species, each with an equal share of the rows. On the
same part files XGBoost is then trained by itself from a `DataIter`, with the same parameters and as many rounds, as many rows watched:
`fit` has both times, and their ratio.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import polars as pl

from measure import SPOREPRINT, Run, pairs, run, say, spread

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ["--config", str(ROOT / "config/config.yaml")]
BARE = "import sys, polars as pl; pl.scan_csv(sys.argv[1], separator=';').sink_parquet(sys.argv[2])"

#: XGBoost and nothing else: part files and parameters in, seconds out.
BARE_FIT = """
import json, sys, time
from pathlib import Path
import polars as pl, xgboost as xgb

folder, rows, options = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])

def files(name):
    path = folder / f"{name}.parquet"
    return sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]

def read(file):
    table = pl.read_parquet(file).select(pl.exclude("^_.*$"))
    y = (table["class"].cast(str) == "p").to_numpy()
    table = table.drop("class")
    codes = [pl.col(name).to_physical().fill_null(99) if kind == pl.Categorical else pl.col(name) for name, kind in table.schema.items()]
    return table.select(each.cast(pl.Float32) for each in codes).to_numpy(), y

class Batches(xgb.DataIter):
    def reset(self):
        self.left = iter(files("train"))
    def next(self, input_data):
        file = next(self.left, None)
        if file is not None:
            X, y = read(file)
            input_data(data=X, label=y)
        return file is not None

began = time.perf_counter()
data = xgb.QuantileDMatrix(Batches(), nthread=options["nthread"])
X, y = read(files("validation")[0])
stop = xgb.QuantileDMatrix(X[:rows], y[:rows], ref=data, nthread=options["nthread"])
xgb.train(options, data, options.pop("rounds"), evals=[(stop, "stop")], verbose_eval=False)
print(time.perf_counter() - began)
"""


def measure(rows: int, folder: Path, times: int) -> dict[str, object]:
    table = folder / f"simulated_{rows}.csv"
    if not table.exists():
        run(
            [
                *SPOREPRINT,
                "simulate",
                "--rows",
                str(rows),
                "--species",
                str(max(2, rows // 353)),
                "--seed",
                "7",
                "--out",
                str(table),
                *CONFIG,
            ]
        )
    workdir = folder / "work"
    workdir.mkdir(exist_ok=True)

    def ours() -> Run:
        shutil.rmtree(workdir / "data", ignore_errors=True)
        first = run([*SPOREPRINT, "extract", "--source", str(table), "--workdir", str(workdir), *CONFIG, "--json"])
        second = run([*SPOREPRINT, "transform", "--workdir", str(workdir), *CONFIG, "--json"])
        return Run(first.wall_s + second.wall_s, first.cpu_s + second.cpu_s, max(first.peak_mib, second.peak_mib), second.output)

    found = pairs(ours, lambda: run([sys.executable, "-c", BARE, str(table), str(folder / "bare.parquet")]), times)
    shutil.rmtree(workdir)
    (folder / "bare.parquet").unlink()
    return {
        "rows": rows,
        "rows_per_s_ratio": spread([bare.wall_s / mine.wall_s for mine, bare in found]),
        "sporeprint_rows_per_s": spread([rows / mine.wall_s for mine, _ in found]),
        "bare_rows_per_s": spread([rows / bare.wall_s for _, bare in found]),
        "wall_s": spread([mine.wall_s for mine, _ in found]),
        "peak_mib": spread([mine.peak_mib for mine, _ in found]),
        "bare_peak_mib": spread([bare.peak_mib for _, bare in found]),
    }


def measure_fits(rows: int, folder: Path) -> dict[str, object]:
    """All of `sporeprint etl` on rows / 173 rows of each species."""
    block = rows // 173
    table, workdir = folder / f"simulated_{173 * block}_173.csv", folder / "work"
    if not table.exists():
        run([*SPOREPRINT, "simulate", "--rows", str(173 * block), "--species", "173", "--seed", "7", "--out", str(table), *CONFIG])
    shutil.rmtree(workdir, ignore_errors=True)
    keys = (f"dataset.groups.block_rows={block}", "dataset.groups.names_file=null")
    options = [*CONFIG, *(option for key in keys for option in ("--set", key))]
    done = run([*SPOREPRINT, "etl", "--allow-simulated", "--source", str(table), "--workdir", str(workdir), *options, "--json"])
    (log,) = (workdir / "logs").glob("*.jsonl")
    steps = [entry for line in log.read_text(encoding="utf-8").splitlines() if "step" in (entry := json.loads(line))]
    (guard, *_) = (workdir / "models/registry").glob("*/v1/guard.npz")
    record = json.loads((workdir / "models/candidates/xgboost/candidate.json").read_text(encoding="utf-8"))
    model = record["settings"]
    threads = os.cpu_count() or 1
    parameters = {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "seed": 0,
        "nthread": threads,
        **model["params"],
        # As many as were made there: the first rows are of few species, and would stop it sooner.
        "rounds": min(record["rounds"] + model["early_stopping_rounds"], model["rounds"]),
    }
    stop = 250_000  # half of `runtime.most_rows`: the other half of the rows is for the guard
    bare = run([sys.executable, "-c", BARE_FIT, str(workdir / "data/model_input"), str(stop), json.dumps(parameters)])
    found = {
        "rows": 173 * block,
        "cpu_s": round(done.cpu_s, 1),
        "wall_s": round(done.wall_s, 1),
        "peak_mib": round(done.peak_mib),
        "steps": {step["step"]: {"cpu_s": step["cpu_s"], "peak_mib": step["peak_mib"]} for step in steps},
        "fit": {
            "xgboost_s": record["fit_seconds"],
            "bare_s": round(float(bare.output), 1),
            "ratio": round(record["fit_seconds"] / float(bare.output), 2),
            "bare_mib": round(bare.peak_mib),
        },
        "guard_bytes": guard.stat().st_size,
        "server_mib": round(server_mib(workdir), 1),
    }
    shutil.rmtree(workdir)
    return found


def server_mib(workdir: Path, answers: int = 2_000) -> float:
    """Resident memory of a server of the production model, once it has answered so many rows one by one."""
    files = sorted((workdir / "data/model_input").glob("test.parquet*/part-*.parquet")) or [workdir / "data/model_input/test.parquet"]
    rows = pl.read_parquet(files[0], n_rows=answers).select(pl.exclude("^_.*$", "class")).iter_rows(named=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen([*SPOREPRINT, "serve", "--port", str(port), "--workdir", str(workdir)], stdout=log, stderr=log)
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready").close()
                    break
                except OSError:
                    time.sleep(0.1)
            for row in rows:
                body = json.dumps({name: value for name, value in row.items() if value is not None}).encode()
                asked = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"})
                urllib.request.urlopen(asked).close()
            return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--fits", action="store_true")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks/out")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for rows in options.rows or ((1_000_113, 6_001_370) if options.fits else (600_100, 6_001_000, 60_999_812)):
        if options.fits:
            say("etl, three models", measure_fits(rows, options.folder))
            continue
        say("extract, validate, transform to Parquet", measure(rows, options.folder, options.pairs))


if __name__ == "__main__":
    main()
