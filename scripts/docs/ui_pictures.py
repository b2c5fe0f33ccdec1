"""Makes the pictures of the pages anew, docs/images/ui-*.png: a server with real answers, tests and alerts, in a real Chromium.

    python scripts/docs/ui_pictures.py --workdir DIR --chromium /usr/bin/chromium

DIR is a work directory in which `sporeprint etl` has run; its models are copied. Takes about a minute. Look at each picture afterwards.
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
from ruamel.yaml import YAML

from sporeprint import settings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import watch_support  # noqa: E402
from browser import Browser  # noqa: E402
from serving_support import start_server, write_config  # noqa: E402

#: The example of the README, on the page.
SEEN = "cap-shape=x&cap-color=o&gill-attachment=e&stem-height=17&stem-width=17&has-ring=t&ring-type=g"
COLUMNS = ("gill-attachment", "cap-shape", "stem-width", "ring-type", "cap-color", "season", "habitat", "probability", "verdict")
#: Name of a picture -> its page, and its height.
PICTURES = {
    "overview": ("", 700),
    "compare": ("models/compare?a=decision_tree/v1&b=xgboost/v1", 1400),
    "label": ("tests/in-the-shadow/label", 1120),
    "monitoring": ("monitoring", 1300),
    "alerts": ("alerts", 620),
    "ab-test": ("tests/cheaper-features", 1010),
}
WIDTH = 1264
#: Answers of an A/B test, in parts after each of which it is evaluated.
ANSWERS, PART = 600, 30


def observations(workdir: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Test rows in a random order, each with its class."""
    table = pl.read_parquet(workdir / "data/model_input/test.parquet")
    schema = settings.load_settings(ROOT / "config/config.yaml").dataset
    rows = table.select([*schema.columns, schema.target.column]).to_dicts()
    random.Random(1).shuffle(rows)
    for row in rows:
        outcome = row.pop(schema.target.column)
        yield {name: value for name, value in row.items() if value is not None}, outcome


def fill(client: httpx.Client, workdir: Path) -> None:
    """Two A/B tests, one whose outcomes are known, and one whose disagreements wait for a label."""
    split = {"name": "cheaper-features", "model_a": "xgboost", "model_b": "decision_tree", "traffic_split": 0.5}
    shadow = {"name": "in-the-shadow", "model_a": "xgboost", "model_b": "logistic_regression", "mode": "shadow"}
    for test in (split, shadow):
        client.post("/ab-tests", json=test).raise_for_status()
    rows = observations(workdir)
    for _ in range(ANSWERS // PART):
        for row, _ in itertools.islice(rows, PART):
            client.post("/predict", params={"ab_test": "in-the-shadow"}, json=row).raise_for_status()
        outcomes = []
        for row, outcome in itertools.islice(rows, PART):
            answer = client.post("/predict", params={"ab_test": "cheaper-features"}, json=row).raise_for_status().json()
            outcomes.append({"prediction_id": answer["prediction_id"], "outcome": outcome})
        time.sleep(1.0)  # until they are in the database
        client.post("/predictions/outcomes", json=outcomes).raise_for_status()


def watch(client_root: Path, raw: Any) -> None:
    """Two weeks of evaluations until now, and what they raised."""
    engine = connect(urls.oltp(settings.parse(raw).storage, client_root))
    watch_support.BEGIN_US = time.time_ns() // 1000 - 14 * watch_support.DAY_US
    watch_support.add_evaluations(engine, 14, columns=COLUMNS)
    watch_support.raise_alert(engine, text="gill-attachment: 2.54 % of the values are new: 'zz'")
    watch_support.raise_alert(engine, "performance", "accuracy 0.91 (0.88 to 0.94), expected 0.97", severity="critical")
    engine.dispose()


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    raw = YAML(typ="safe", pure=True).load(ROOT / "config/config.yaml")
    raw["ab_testing"] = {**raw.get("ab_testing", {}), "evaluate_every_s": 0.5}
    with tempfile.TemporaryDirectory() as folder, Browser(given.chromium, Path(folder) / "profile") as browser:
        root = Path(folder) / "work"
        shutil.copytree(given.workdir / "models", root / "models")
        server = start_server(root, write_config(raw, Path(folder) / "config.yaml"))
        try:
            watch(root, raw)
            fill(server.client, given.workdir)
            pages, images = f"{str(server.client.base_url).rstrip('/')}/ui/", ROOT / "docs" / "images"
            browser.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": "en"})
            for name, (path, height) in PICTURES.items():
                browser.screen(WIDTH, height=height)
                browser.open(pages + path)
                time.sleep(0.5)
                browser.picture(images / f"ui-{name}.png", is_whole=False)
            browser.screen(WIDTH, height=900)
            browser.open(f"{pages}identify?{SEEN}")
            browser.click(".button.main")
            browser.wait("document.querySelector('#verdict')")
            browser.run("scrollTo(0, 0)")
            time.sleep(0.5)
            browser.picture(images / "ui-identify.png", is_whole=False)
        finally:
            server.end()


if __name__ == "__main__":
    main()
