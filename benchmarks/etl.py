"""`sporeprint etl` on the real data against a bare script that does the same reading, fits and scores (bare_etl.py).

python benchmarks/etl.py [--pairs 5] [--data data/raw/secondary_data.csv]
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from measure import SPOREPRINT, pairs, run, say, spread

#: Steps whose work the bare script does too.
CORE = ("extract", "transform", "load", "train", "cross-validate")
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--data", type=Path, default=ROOT / "data/raw/secondary_data.csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder)

        def etl():  # type: ignore[no-untyped-def]
            # A fresh work directory every time: nothing may be reused from the run before.
            shutil.rmtree(workdir / "models", ignore_errors=True)
            config = ["--config", str(ROOT / "config/config.yaml"), "--source", str(options.data), "--workdir", folder]
            return run([*SPOREPRINT, "etl", *config, "--json"])

        found = pairs(etl, lambda: run([sys.executable, str(ROOT / "benchmarks/bare_etl.py"), str(options.data)]), options.pairs)
    core = []
    for ours, bare in found:
        steps = {step["step"]: step["cpu_s"] for step in json.loads(ours.output)["steps"]}
        core.append(sum(steps[name] for name in CORE) / json.loads(bare.output)["core_cpu_s"])
    say(
        "etl against a bare script",
        {
            "core_cpu_ratio": spread(core),
            "whole_cpu_ratio": spread([ours.cpu_s / bare.cpu_s for ours, bare in found]),
            "whole_wall_ratio": spread([ours.wall_s / bare.wall_s for ours, bare in found]),
            "sporeprint": {"cpu_s": spread([r.cpu_s for r, _ in found]), "wall_s": spread([r.wall_s for r, _ in found])},
            "bare": {"cpu_s": spread([r.cpu_s for _, r in found]), "wall_s": spread([r.wall_s for _, r in found])},
            "peak_mib": spread([ours.peak_mib for ours, _ in found]),
            "steps": json.loads(found[-1][0].output)["steps"],
        },
    )


if __name__ == "__main__":
    main()
