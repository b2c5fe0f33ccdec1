"""Extract, validate, transform to Parquet on simulated rows against a bare Polars `scan_csv -> sink_parquet` of the same file.

    python benchmarks/scale.py [--rows 600100 6001000 60999812] [--pairs 3] [--folder DIR]

The numbers of rows are whole numbers of species blocks. The files are made by `sporeprint simulate` where they are missing
(61 million rows: about 3 GB, in --folder).
"""

import argparse
import shutil
import sys
from pathlib import Path

from measure import SPOREPRINT, Run, pairs, run, say, spread

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ["--config", str(ROOT / "config/config.yaml")]
BARE = "import sys, polars as pl; pl.scan_csv(sys.argv[1], separator=';').sink_parquet(sys.argv[2])"


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[600_100, 6_001_000, 60_999_812])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks/out")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for rows in options.rows:
        say("extract, validate, transform to Parquet", measure(rows, options.folder, options.pairs))


if __name__ == "__main__":
    main()
