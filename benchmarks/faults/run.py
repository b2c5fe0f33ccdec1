"""The fault laboratory: what goes wrong in production, done on purpose, each experiment with one figure.

    python benchmarks/faults/run.py                 # all of them, about half an hour
    python benchmarks/faults/run.py --only kill     # those whose name has this word
    python benchmarks/faults/run.py --quick         # a few points of each, some minutes

It needs nothing but this machine: work directories in /tmp, free ports, loopback. What an experiment needs and is not there
(libfaketime, a browser) is named, and the experiment is left out.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import lab
from database_experiments import MissingToolError
from experiments import EXPERIMENTS


def main() -> None:
    """Run them, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a word of the experiments' names")
    parser.add_argument("--quick", action="store_true", help="a few points of each")
    parser.add_argument("--trained", type=Path, help="a trained work directory; left out: one of invented rows is made")
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="sporeprint-faults-") as folder:
        root = options.trained or lab.trained(Path(folder))
        for name, experiment in EXPERIMENTS.items():
            if options.only not in name:
                continue
            began = time.monotonic()
            try:
                figure, right = experiment(root, options.quick)
            except MissingToolError as error:
                print(f"{name:24} left out: {error}", flush=True)
                continue
            bad += not right
            print(f"{name:24} {'right' if right else 'WRONG':6} {time.monotonic() - began:6.0f} s  {json.dumps(figure)}", flush=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
