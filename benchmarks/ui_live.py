"""What five open live pages cost the prediction API: requests a second and processor time of each, without and with them, in pairs.

    python benchmarks/ui_live.py --workdir DIR --chromium /usr/bin/chromium

DIR is a work directory in which `sporeprint etl` has run; it is copied, and the copy changed. The pages are two overviews and three of
an A/B test that takes the traffic, each in a window of a real Chromium; they are loaded before the measurement begins. Needs wrk.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ab_serving import LUA, MODELS, children, copied, rows, seconds, server
from measure import say, spread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from browser import Browser

PAGES = ("", "", "tests/load", "tests/load", "tests/load")
#: Least share of the throughput, and of requests for a second of the processor, that is left beside the pages.
LEAST = 0.98
#: Until pages that were opened have been loaded and rest.
REST_S = 3.0


@contextlib.contextmanager
def open_pages(browser: Browser, address: str) -> Iterator[None]:
    """The live pages, loaded, each in a window of its own, as long as the context lasts."""
    targets = [browser.call("Target.createTarget", url=f"{address}/ui/{path}", newWindow=True)["targetId"] for path in PAGES]
    time.sleep(REST_S)
    yield
    for target in targets:
        browser.call("Target.closeTarget", targetId=target)


def measured(command: list[str], env: dict[str, str], pids: list[int]) -> tuple[float, float]:
    """Requests a second, and microseconds of the server's processor time for each."""
    before = seconds(pids)
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    requests, took_us, failed = (int(each) for each in said.partition("FOUND ")[2].split())
    assert not failed, said
    return requests / (took_us / 1e6), 1e6 * (seconds(pids) - before) / requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--duration", type=int, default=8, help="seconds of each measurement")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    with (
        copied(options.workdir) as place,
        server(place, 1) as running,
        tempfile.TemporaryDirectory() as folder,
        Browser(options.chromium, Path(folder)) as browser,
    ):
        script, bodies = place / "load.lua", place / "bodies.jsonl"
        script.write_text(LUA, encoding="utf-8")
        bodies.write_text("\n".join(json.dumps(row) for row in rows(options.workdir, 4096)), encoding="utf-8")
        running.client.post("/ab-tests", json={"name": "load", **MODELS, "traffic_split": 0.5}).raise_for_status()
        address = str(running.client.base_url).rstrip("/")
        pids = [running.process.pid, *children(running.process.pid)]
        command = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.duration}s", "-s", str(script), address]
        env = {**os.environ, "BODIES": str(bodies), "ASKED": "/predict?ab_test=load"}
        measured(command, env, pids)  # the first one warms up
        found = []
        for _ in range(options.pairs):
            without = measured(command, env, pids)
            with open_pages(browser, address):
                beside = measured(command, env, pids)
            found.append((without, beside))
            print(without, beside, file=sys.stderr, flush=True)
    of_requests = [beside[0] / without[0] for without, beside in found]
    of_processor = [without[1] / beside[1] for without, beside in found]
    say(
        "POST /predict beside five live pages",
        {
            "requests_per_s": spread([without[0] for without, _ in found]),
            "cpu_us": spread([without[1] for without, _ in found]),
            "ratio_of_requests": spread(of_requests),
            "ratio_of_requests_for_a_processor_second": spread(of_processor),
            "limit": LEAST,
        },
    )
    if statistics.median(of_processor) < LEAST:
        sys.exit(f"below {LEAST}")


if __name__ == "__main__":
    main()
