"""`sporeprint init` on a large table: time and memory, and whether the draft says what the table holds.

python benchmarks/init.py [--rows 1000000] [--columns 50]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

#: The command, its seconds of processor time, and the largest memory it had in MiB.
CALL = """
import re, resource, sys
from sporeprint.cli.app import run
code = run(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss, which a new process takes over from the one that started it.
peak = int(re.search(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1])
print(code, round(used.ru_utime + used.ru_stime, 1), peak // 1024, file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        numbers = {f"x{place}": draw.normal(size=options.rows).round(4) for place in range(options.columns - 11)}
        codes = {f"c{place}": np.array(["a", "b", "c", "?"])[draw.integers(0, 4, options.rows)] for place in range(10)}
        pl.DataFrame({**numbers, **codes, "late": draw.integers(0, 2, options.rows)}).write_csv(path)
        for _ in range(3):
            (Path(folder) / "config.yaml").unlink(missing_ok=True)
            begun = time.perf_counter()
            command = [
                sys.executable,
                "-c",
                CALL,
                "init",
                str(path),
                "--out",
                str(Path(folder) / "config.yaml"),
                "--json",
                "--workdir",
                folder,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - begun
            code, cpu, peak = done.stderr.split()[-3:]
            drafted = (Path(folder) / "config.yaml").read_text(encoding="utf-8")
            kinds = drafted.count("kind: numeric"), drafted.count("missing: ['?']") + drafted.count('missing: ["?"]')
            print(
                f"{path.stat().st_size / 1e6:.0f} MB: {seconds:.1f} s, {cpu} s of processor time, {peak} MiB, exit code {code}, "
                f"{kinds[0]} numeric, {kinds[1]} with ?"
            )


if __name__ == "__main__":
    main()
