"""How long pages take: on the server, and from a click to the painted update of the identify page in a real Chromium.

    sporeprint serve --port 8000 &
    python benchmarks/ui.py --address http://127.0.0.1:8000 --chromium /usr/bin/chromium

Without --chromium only the server's times are measured. Nothing is changed but one prediction, which is made to have a page.

To have many versions and predictions in a work directory before its server starts (its database is SQLite):

    python benchmarks/ui.py --fill WORKDIR --versions 200 --predictions 1000000
"""

import argparse
import gzip
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

CLOCK = """
window.times = [];
document.addEventListener("input", () => {
  const begin = performance.now();
  const seen = new MutationObserver(() => {
    seen.disconnect();
    requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - begin)));
  });
  seen.observe(document.querySelector(".side"), {childList: true, subtree: true});
}, true);
0
"""


def on_the_server(client: httpx.Client, path: str, times: int) -> str:
    """Median of a page's time, and what it weighs packed."""
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        response = client.get(path, follow_redirects=True)
        took.append((time.perf_counter() - begin) * 1e3)
    response.raise_for_status()
    return f"{path:60} p50 {statistics.median(took):6.1f} ms   {len(gzip.compress(response.content, 5)) / 1e3:5.1f} kB packed"


def clicks(address: str, chromium: str, times: int) -> list[float]:
    """Milliseconds from a click to the update being painted."""
    from browser import Browser

    with tempfile.TemporaryDirectory() as folder, Browser(chromium, Path(folder)) as browser:
        browser.screen(1280)
        browser.open(f"{address}/ui/identify")
        browser.run(CLOCK)
        for number in range(times):
            chips = "[...document.querySelectorAll('label.chip:not(.rare):not(.empty) input:not(:checked)')]"
            browser.run(f"(chips => chips[{number * 7} % chips.length].click())({chips})")
            browser.wait(f"window.times.length > {number}")
        return list(browser.run("window.times"))


def fill(root: Path, versions: int, predictions: int) -> None:
    """Register copies of a model as of other data, and write predictions of its golden rows."""
    from registry_support import further_version
    from sporeprint.registry.registry import Registry
    from sporeprint.settings import StorageSettings
    from sporeprint.storage import urls
    from sporeprint.storage.engine import connect
    from sporeprint.storage.journal.shipper import upsert
    from sporeprint.storage.oltp import migrate
    from sporeprint.storage.prediction_record import PredictionRecord, as_row

    registry = Registry(root / "models/registry")
    name = registry.names()[0]
    for number in range(1, versions):
        further_version(registry, f"{name}/v1", number)
    rows = registry.load(f"{name}/v1").golden.rows
    engine = connect(urls.oltp(StorageSettings(), root))
    migrate.prepare(engine)
    verdicts, begin_us = ("unknown", "edible", "poisonous"), time.time_ns() // 1000 - predictions * 1000
    for begin in range(0, predictions, 5_000):
        part = [
            PredictionRecord(
                *(
                    f"bench-{number:09d}",
                    begin_us + number * 1000,
                    name,
                    1,
                    "p",
                    verdicts[number % 3],
                    rows[number % len(rows)],
                    900,
                    "bench",
                ),
                unit_id=f"u{number}",
            )
            for number in range(begin, min(begin + 5_000, predictions))
        ]
        upsert(engine, [as_row(each.to_bytes(), each.created_us) for each in part])
    engine.dispose()


SEARCHES = {
    "the latest": "",
    "one verdict": "verdict=edible",
    "a unit that is not there": "unit_id=none",
    "wrong ones, of which there are none": "outcome=wrong",
    "without outcome": "outcome=none",
}


def watched(client: httpx.Client) -> Iterator[str]:
    """Pages of monitoring, alerts, runs and the server itself, and one of each kind that there is."""
    yield from ("/ui/monitoring", "/ui/alerts?over=true", "/ui/runs", "/ui/settings", "/ui/keys", "/ui/audit")
    lists = (
        ("/monitoring/evaluations", "evaluations", "evaluation_id", "monitoring"),
        ("/alerts?over=true", "alerts", "alert_id", "alerts"),
    )
    for path, name, key, page in (*lists, ("/runs", "runs", "run_id", "runs")):
        yield from (f"/ui/{page}/{each[key]}" for each in client.get(path).json()[name][:1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--chromium", help="the program of a Chromium")
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--fill", type=Path, metavar="WORKDIR")
    parser.add_argument("--versions", type=int, default=200)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.fill:
        fill(options.fill, options.versions, options.predictions)
        return
    with httpx.Client(base_url=options.address, timeout=30) as client:
        prediction = client.post("/predict", json={}).json()["prediction_id"]
        refs = client.get("/models").json()["models"][0]["versions"]
        one = ("/ui/", "/ui/identify", "/ui/models", f"/ui/models/{refs[0]}", "/ui/models/history", "/ui/batches")
        for path in (*one, f"/ui/models/compare?a={refs[0]}&b={refs[-1]}", f"/ui/predictions/{prediction}", *watched(client)):
            print(on_the_server(client, path, options.times))
        for says, query in SEARCHES.items():
            print(f"{says}:\n  {on_the_server(client, f'/ui/predictions?{query}', options.times)}")
    if options.chromium:
        took = clicks(options.address, options.chromium, options.times)
        print(f"click to painted update: median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms of {len(took)}")


if __name__ == "__main__":
    main()
