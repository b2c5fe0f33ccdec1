"""What the tour needs beside sporeprint itself: a table in two parts, mushrooms that are asked about, a laboratory, a team that is told.

python examples/tour/season.py split TABLE FOLDER       known species and those that come later
python examples/tour/season.py scores FOLDER            what the run found
python examples/tour/season.py usual FOLDER             rows of known species that no model was fitted on
python examples/tour/season.py walk PORT FILE FIRST N   ask about N rows, and tell later what they were
python examples/tour/season.py receive PORT FILE        a line for each message
python examples/tour/season.py ready|running PORT       whether it is; the test that runs
python examples/tour/season.py promoted PORT TEST       whether its winner is in production
"""

import csv
import json
import random
import sys
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import polars as pl

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


def ready(port: str) -> None:
    """Whether the server is."""
    if asked(port, "/health/ready").status_code != 200:
        sys.exit(1)


def running(port: str) -> None:
    """The test that runs."""
    names = [test["name"] for test in asked(port, "/ab-tests").json()["tests"] if test["status"] == "running"]
    print(*names)
    if not names:
        sys.exit(1)


def promoted(port: str, test: str) -> None:
    """Whether the second version of a test is in production."""
    if asked(port, "/models").json()["production"] != asked(port, f"/ab-tests/{test}").json()["model_b"]:
        sys.exit(1)


if __name__ == "__main__":
    commands = {each.__name__: each for each in (split, scores, usual, walk, receive, ready, running, promoted)}
    commands[sys.argv[1]](*sys.argv[2:])
