"""`POST /predict/batch`: rows a second from an upload over HTTP to the end of the answer, and the server's memory.

    python benchmarks/batch.py --workdir DIR [--rows 1000000 5000000] [--json-rows 30000] [--folder DIR]

The work directory has a registered model; a copy of its registry serves. The file goes and the answer comes as Parquet, the artefact
being on the disk before it begins; JSON is sent and answered as JSON. One server, on loopback; client and server share the machine.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from measure import SPOREPRINT, run, say

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ["--config", str(ROOT / "config/config.yaml")]
PARQUET, JSON = "application/vnd.apache.parquet", "application/json"
PIECE = 1 << 18


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 5_000_000])
    parser.add_argument("--json-rows", type=int, default=30_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks/out")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    files = {rows: table(given.folder, rows) for rows in given.rows}
    small = table(given.folder, given.json_rows)
    for rows, path in files.items():
        say(f"{rows:,} rows as Parquet", measured(given.workdir, path.read_bytes(), PARQUET, rows, given.times))
    body = json.dumps(rows_of(small)).encode()
    say(f"{given.json_rows:,} rows as JSON", measured(given.workdir, body, JSON, given.json_rows, given.times))


def table(folder: Path, rows: int) -> Path:
    """Simulated rows."""
    path = folder / f"batch_{rows}.parquet"
    if not path.exists():
        run([*SPOREPRINT, "simulate", "--rows", str(rows), "--draw", "1", "--out", str(path), *CONFIG])
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows without their class."""
    frame = pl.read_parquet(path).drop("class", strict=False)
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String)).to_dicts()


def measured(workdir: Path, body: bytes, media: str, rows: int, times: int) -> dict[str, Any]:
    """What a server of its own does with a body, several times."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(workdir / "models/registry", Path(folder) / "models/registry")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        command = [*SPOREPRINT, "serve", "--port", str(port), "--workdir", folder, *CONFIG]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
                wait(client, process)
                before, idle = cpu(process.pid), peak(process.pid)
                seconds = [once(client, body, media) for _ in range(times)]
                spent, most = cpu(process.pid) - before, peak(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    return {
        "rows_per_s": [round(rows / each) for each in seconds],
        "server_cpu_us_per_row": round(spent / times / rows * 1e6, 2),
        "peak_mib": round(most),
        "peak_mib_before": round(idle),
        "body_mib": round(len(body) / 2**20, 1),
    }


def once(client: httpx.Client, body: bytes, media: str) -> float:
    """Seconds from the first byte of the question to the last of the answer."""
    began = time.perf_counter()
    with client.stream("POST", "/predict/batch", content=pieces(body), headers={"content-type": media}) as found:
        size = sum(len(part) for part in found.iter_raw())
    if found.status_code != 200 or not size:
        sys.exit(f"answered with {found.status_code}")
    return time.perf_counter() - began


def pieces(body: bytes) -> Iterator[bytes]:
    """A body as it goes out."""
    return (body[begin : begin + PIECE] for begin in range(0, len(body), PIECE))


def wait(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    """Until it answers."""
    while process.poll() is None:
        try:
            client.get("/health/live")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    sys.exit("the server has ended; start it by hand to see why")


def cpu(process: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(process: int) -> float:
    """Its peak memory, MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    main()
