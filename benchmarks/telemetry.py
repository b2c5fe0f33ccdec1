"""What OpenTelemetry costs a server: requests a second and processor time a request, off and sampled at 1 %.

    python benchmarks/telemetry.py --workdir DIR [--seconds 3] [--pairs 5]

DIR is a work directory in which `sporeprint etl` has run. A receiver in this process takes what is sent; traces, metrics and logs are on.
Eight threads ask `/predict`, each over a connection of its own; the sides take turns. Where others use the machine, processor time a
request, which bounds the throughput of a busy server, says more than the requests a second.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from open_inference import checked, rate
from serving.run import start_ours
from sporeprint.registry.registry import Registry


class Receiver(BaseHTTPRequestHandler):
    """Takes everything."""

    def do_POST(self) -> None:
        """Read, and say yes."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    row: dict[str, Any] = dict(Registry(options.workdir / "models/registry").load("production").golden.rows[0])
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    on = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{listening.server_port}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    }
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sides = {
            "off": start_ours("off", options.workdir, Path(folder), stack),
            "1 %": start_ours("on", options.workdir, Path(folder), stack, **on),
        }
        for server in sides.values():
            stack.callback(server.end)
        rates: dict[str, list[float]] = {name: [] for name in sides}
        micros: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(options.pairs + 1):
            for name, server in sides.items():
                before = server.cpu_s()
                found = rate(
                    lambda client: checked(client.post("/predict", json=row)), f"http://127.0.0.1:{server.port}", options.seconds, 8
                )
                if number:  # the first round warms up
                    rates[name].append(found)
                    micros[name].append((server.cpu_s() - before) / (found * options.seconds) * 1e6)
    ratios = [a / b for a, b in zip(rates["1 %"], rates["off"], strict=True)]
    cpu = [b / a for a, b in zip(micros["1 %"], micros["off"], strict=True)]
    shown = {
        "requests a second": {name: round(statistics.median(values)) for name, values in rates.items()},
        "microseconds of processor a request": {name: round(statistics.median(values), 1) for name, values in micros.items()},
        "throughput, 1 % / off": [round(each, 3) for each in ratios],
        "the same by processor time": [round(each, 3) for each in cpu],
        "median of both": [round(statistics.median(ratios), 3), round(statistics.median(cpu), 3)],
    }
    json.dump(shown, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
