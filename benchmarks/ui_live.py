"""What five open live pages cost the prediction API: processor time a second, and requests a second of a busy server, in pairs.

    python benchmarks/ui_live.py --workdir DIR --chromium /usr/bin/chromium

DIR is a work directory in which `sporeprint etl` has run; it is copied, and the copy changed. The pages are two overviews and three of
an A/B test that takes the traffic, each in a window of a real Chromium; they are loaded before the measurement begins. Needs wrk.

The server's processor time is measured at 20 requests a second, with and without the pages: the difference is what they cost, whatever else
the machine does. Requests a second of a busy server are those of the whole machine, on which the browser runs, too.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from ab_serving import LUA, MODELS, children, copied, rows, seconds, server
from measure import say, spread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from browser import Browser

PAGES = ("", "", "tests/load", "tests/load", "tests/load")
#: Least share of a processor that is left beside the pages.
LEAST = 0.98
#: Requests a second where the processor time is measured: the pages change, and the server rests.
RATE = 20
JSON = {"Content-Type": "application/json"}
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


def looks(client: httpx.Client) -> int:
    """How often pages were asked for so far."""
    of_pages = re.compile(r'sporeprint_requests_total\{endpoint="ui_(?:overview|test)".* ([\d.]+)$', re.MULTILINE)
    return sum(int(float(each)) for each in of_pages.findall(client.get("/metrics").text))


def throughput(command: list[str], env: dict[str, str]) -> float:
    """Requests a second of a busy server."""
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    requests, took_us, failed = (int(each) for each in said.partition("FOUND ")[2].split())
    assert not failed, said
    return requests / (took_us / 1e6)


def processor_share(client: httpx.Client, bodies: list[str], pids: list[int], duration: float) -> float:
    """Seconds of the server's processor time a second, at a few requests a second."""
    while client.get("/health").json()["journal"]["depth"]:  # what the busy server left behind is not measured
        time.sleep(0.2)
    time.sleep(REST_S)
    before, begin, number = seconds(pids), time.monotonic(), 0
    while (passed := time.monotonic() - begin) < duration:
        time.sleep(max(0.0, number / RATE - passed))
        client.post(
            "/predict?ab_test=load", content=bodies[number % len(bodies)], headers={**JSON, "X-Unit-Id": f"u{number}"}
        ).raise_for_status()
        number += 1
    return (seconds(pids) - before) / (time.monotonic() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--duration", type=int, default=10, help="seconds of each measurement")
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
        throughput(command, env)  # the first one warms up
        shares, throughputs, looked = [], [], []
        lines = bodies.read_text(encoding="utf-8").splitlines()
        for _ in range(options.pairs):
            alone = processor_share(running.client, lines, pids, options.duration), throughput(command, env)
            with open_pages(browser, address):
                first = looks(running.client)
                beside = processor_share(running.client, lines, pids, options.duration), throughput(command, env)
                looked.append(looks(running.client) - first)
            shares.append(beside[0] - alone[0])
            throughputs.append(beside[1] / alone[1])
            print(alone, beside, file=sys.stderr, flush=True)
    say(
        "POST /predict beside five live pages",
        {
            "processor_s_a_second": spread(shares),
            "looks": looked,
            "share_left": spread([1 - share for share in shares]),
            "ratio_of_requests": spread(throughputs),
            "limit": LEAST,
        },
    )
    if 1 - statistics.median(shares) < LEAST:
        sys.exit(f"below {LEAST}")


if __name__ == "__main__":
    main()
