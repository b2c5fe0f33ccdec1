"""What the tour needs beside sporeprint itself: a table in two parts, mushrooms that are asked about, a laboratory, a team that is told.

python examples/tour/season.py split TABLE FOLDER       known species and those that come later
python examples/tour/season.py scores FOLDER            what the run found
python examples/tour/season.py usual FOLDER             rows of known species that no model was fitted on
python examples/tour/season.py walk PORT FILE FIRST N   ask about N rows, and tell later what they were
python examples/tour/season.py receive PORT FILE        a line for each message
python examples/tour/season.py ready PORT SECONDS       whether it is, or is within so many seconds
python examples/tour/season.py running PORT SECONDS     the test that runs, or runs within so many seconds
python examples/tour/season.py promoted PORT SECONDS TEST   whether its winner is in production by then
"""

import contextlib
import csv
import json
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx

from sporeprint.client import Client

#: Rows of a species in the table, which holds one after the other, and how many of them are known at first.
BLOCK_ROWS, KNOWN = 353, 120
NUMBERS = ("cap-diameter", "stem-height", "stem-width")
#: Mushrooms for which the laboratory is behind.
BEHIND = 200


def split(table: str, folder: str) -> None:
    """The first species as they stand, the rows of the others mixed."""
    head, *rows = Path(table).read_text(encoding="utf-8").splitlines()
    known, new = rows[: KNOWN * BLOCK_ROWS], rows[KNOWN * BLOCK_ROWS :]
    random.Random(1).shuffle(new)  # noqa: S311 -- no secret
    for name, part in (("known.csv", known), ("new.csv", new)):
        (Path(folder) / name).write_text("\n".join([head, *part, ""]), encoding="utf-8")
    print(f"   {len(known):,} rows of known species, {len(new):,} of others")


def scores(folder: str) -> None:
    """What everybody reports, and what happens with a new species."""
    found = json.loads((Path(folder) / "models/metrics/metrics.json").read_text(encoding="utf-8"))["models"]
    for name, model in sorted(found.items()):
        seen, unseen = (model[part]["roc_auc"]["value"] for part in ("seen", "unseen"))
        print(f"   {name:22} AUC on known species {seen:.3f}, on species it has never seen {unseen:.3f}")


def usual(folder: str) -> None:
    """Rows of the test part, mixed."""
    import polars as pl  # no other command of these needs it

    table = pl.read_parquet(Path(folder) / "data/model_input/test.parquet").select(pl.exclude("^_.*$"))
    table.sample(fraction=1, shuffle=True, seed=1).write_csv(Path(folder) / "usual.csv", separator=";")


def walk(port: str, file: str, first: str, count: str) -> None:
    """Ask about mushrooms, one by one; what they were is told when the laboratory comes to them."""
    with Path(file).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))[int(first) : int(first) + int(count)]
    said: Counter[str] = Counter()
    wrong, laboratory = 0, deque[dict[str, str]]()
    with Client(f"http://127.0.0.1:{port}") as client:
        for row in rows:
            truth = row.pop("class")
            answer = client.predict({name: float(value) if name in NUMBERS else value for name, value in row.items() if value})
            said[answer.verdict] += 1
            wrong += answer.verdict != "unknown" and answer.verdict[0] != truth
            laboratory.append({"prediction_id": answer.prediction_id, "outcome": truth, "source": "laboratory"})
            if len(laboratory) >= 2 * BEHIND:
                client.outcomes([laboratory.popleft() for _ in range(BEHIND)])
        if laboratory:
            client.outcomes(list(laboratory))
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in said.most_common())
    print(f"   {len(rows):,} asked: {counts}; {wrong} wrong")


class Team(BaseHTTPRequestHandler):
    """Where messages go: each of them a line in a file."""

    file: Path

    def do_POST(self) -> None:
        """Take a message."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(f"{message['title']}: {' '.join(message['message'].split())}\n")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def receive(port: str, file: str) -> None:
    """Take messages until a signal comes."""
    Team.file = Path(file)
    HTTPServer(("127.0.0.1", int(port)), Team).serve_forever()


def asked(port: str, path: str) -> httpx.Response:
    """What the server answers."""
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10, trust_env=False)


def until(seconds: str, look: Callable[[], str]) -> None:
    """Say what `look` finds, once it finds something; end with 1 where that takes longer. One process waits, and not one for each look."""
    end = time.monotonic() + float(seconds)
    while True:
        found = ""
        with contextlib.suppress(httpx.TransportError):  # the server is not there yet
            found = look()
        if found:
            print(found)
            return
        if time.monotonic() >= end:
            sys.exit(1)
        time.sleep(0.3)


def ready(port: str, seconds: str) -> None:
    """Whether the server is."""
    until(seconds, lambda: "ready" if asked(port, "/health/ready").status_code == 200 else "")


def running(port: str, seconds: str) -> None:
    """The test that runs."""
    until(seconds, lambda: " ".join(test["name"] for test in asked(port, "/ab-tests").json()["tests"] if test["status"] == "running"))


def promoted(port: str, seconds: str, test: str) -> None:
    """Whether the second version of a test is in production."""

    def winner() -> str:
        production = asked(port, "/models").json()["production"]
        return production if production == asked(port, f"/ab-tests/{test}").json()["model_b"] else ""

    until(seconds, winner)


if __name__ == "__main__":
    commands = {each.__name__: each for each in (split, scores, usual, walk, receive, ready, running, promoted)}
    commands[sys.argv[1]](*sys.argv[2:])
