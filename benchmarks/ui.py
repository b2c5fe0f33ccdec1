"""How long pages take: on the server, and from a click to the painted update of the identify page in a real Chromium.

    sporeprint serve --port 8000 &
    python benchmarks/ui.py --address http://127.0.0.1:8000 --chromium /usr/bin/chromium

Without --chromium only the server's times are measured. Nothing is changed but one prediction, which is made to have a page.
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
    options = parser.parse_args()
    with httpx.Client(base_url=options.address, timeout=30) as client:
        prediction = client.post("/predict", json={}).json()["prediction_id"]
        for path in ("/ui/", "/ui/identify", "/ui/predictions", f"/ui/predictions/{prediction}", *watched(client)):
            print(on_the_server(client, path, options.times))
    if options.chromium:
        took = clicks(options.address, options.chromium, options.times)
        print(f"click to painted update: median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms of {len(took)}")


if __name__ == "__main__":
    main()
