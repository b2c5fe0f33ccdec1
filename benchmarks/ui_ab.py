"""How long the pages of A/B tests take: on the server beside 10,000 tests, and from a key to the next item of the label queue in a browser.

    python benchmarks/ui_ab.py --workdir work --config config.yaml --chromium /usr/bin/chromium

Starts a server over a copy of the work directory, whose two first models are compared. CPU time is the server's own.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML
from sqlalchemy import Engine, insert, select

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from ab_support import other, row, ship, until
from serving_support import Server, start_server
from sporeprint import settings
from sporeprint.registry.registry import Registry
from sporeprint.storage import urls
from sporeprint.storage.engine import connect, writing
from sporeprint.storage.oltp import ab_tests, tables

TESTS, ITEMS = 10_000, 60
#: Milliseconds from each key to the paint of the next item.
CLOCK = """
window.times = [];
document.addEventListener("keydown", (event) => {
  if (event.key !== "2") return;
  const begin = performance.now();
  requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - begin)));
}, true);
0
"""


@contextmanager
def served(workdir: Path, config: Path) -> Iterator[tuple[Server, Engine]]:
    """A server over a copy of a work directory, and its database."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(workdir, Path(folder) / "work"))
        server = start_server(root, config)
        parsed = settings.parse(YAML(typ="safe", pure=True).load(config))
        engine = connect(urls.oltp(parsed.storage, root))
        try:
            yield server, engine
        finally:
            engine.dispose()
            server.end()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children so far."""
    ticks = 0
    for each in (pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())):
        ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def copies(engine: Engine, name: str, count: int) -> None:
    """Concluded tests, each with an interim analysis, as a test that is there."""
    test = ab_tests.get(engine, name)
    with writing(engine) as connection:
        (like,) = connection.execute(select(tables.ab_test).where(tables.ab_test.c.test_id == test.test_id)).mappings()
        looks = select(tables.ab_interim_analysis).where(tables.ab_interim_analysis.c.test_id == test.test_id).limit(1)
        look = dict(connection.execute(looks).mappings().one())
        ids = [f"t{number:014x}000000000000" for number in range(count)]
        ended = {"status": "concluded", "verdict": "a", "concluded_us": 2}
        connection.execute(insert(tables.ab_test), [{**like, **ended, "test_id": each, "name": each} for each in ids])
        del look["seq"]
        connection.execute(insert(tables.ab_interim_analysis), [{**look, "test_id": each} for each in ids])


def measured(server: Server, path: str, times: int) -> str:
    """Median time of a page, and the server's CPU time for it."""
    took, before = [], cpu_s(server.process.pid)
    for _ in range(times):
        begin = time.perf_counter()
        server.client.get(path).raise_for_status()
        took.append((time.perf_counter() - begin) * 1e3)
    cpu = (cpu_s(server.process.pid) - before) / times * 1e3
    return f"{path:44} p50 {statistics.median(took):6.1f} ms, CPU {cpu:6.1f} ms"


def keys(address: str, chromium: str) -> list[float]:
    """Milliseconds from a key to the next item."""
    from browser import Browser

    with tempfile.TemporaryDirectory() as folder, Browser(chromium, Path(folder)) as browser:
        browser.screen(1280)
        browser.open(address)
        browser.run(CLOCK)
        for number in range(ITEMS - 5):
            browser.wait("!document.querySelector('#label').hidden")
            browser.press("2")
            browser.wait(f"window.times.length > {number}")
        return [float(each) for each in browser.run("window.times")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--chromium", help="the program of a Chromium")
    parser.add_argument("--times", type=int, default=30)
    options = parser.parse_args()
    with served(options.workdir, options.config) as (server, engine):
        one, two, *_ = Registry(options.workdir / "models/registry").names()
        name = f"bench-{time.time_ns()}"
        fields = {"name": name, "model_a": one, "model_b": two, "mode": "shadow", "independent": True}
        server.client.post("/ab-tests", json=fields).raise_for_status()
        test = ab_tests.get(engine, name)
        rows = [row(time.time_ns() % 10**9 + n, test, f"u{n}", "edible", shadow=other("poisonous")) for n in range(ITEMS)]
        ship(engine, [{**each, "features": '{"cap-shape": "x"}'} for each in rows])
        until(lambda: server.client.get(f"/ab-tests/{name}").json()["awaiting_label"] >= ITEMS, 60)
        copies(engine, name, TESTS)
        for path in ("/ui/tests", "/ui/tests?status=concluded", f"/ui/tests/{name}", f"/ui/tests/{name}/label", "/ui/tests/new"):
            print(measured(server, path, options.times))
        if options.chromium:
            took = keys(f"{str(server.client.base_url).rstrip('/')}/ui/tests/{name}/label", options.chromium)
            print(f"key to the next item: median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms of {len(took)}")
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
