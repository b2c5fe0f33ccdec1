"""Times every step of a run and keeps them: one JSON line a step in logs/, and the same in the closing table."""

import contextlib
import json
import logging
import re
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sporeprint.common import telemetry
from sporeprint.common.progress import Progress, Steps
from sporeprint.errors import StorageError
from sporeprint.messages.runs import RunStep
from sporeprint.pipelines.lineage import Lineage

logger = logging.getLogger("sporeprint")


@dataclass
class RunLog:
    """The steps of one run."""

    run_id: str
    folder: Path
    steps: Steps
    lineage: Lineage | None = None
    times: list[RunStep] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Log what a person should know of the run."""
        logger.info("%s", text)
        self._write({"note": text})

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        """Time a step, show its progress, and log it, whether it succeeds or fails."""
        wall, cpu = time.perf_counter(), time.process_time()
        outcome = "failed"
        try:
            with telemetry.span(name, {"sporeprint.run_id": self.run_id}), self._reported(name), self.steps.step(name) as progress:
                yield progress
            outcome = "done"
        finally:
            taken = RunStep(
                step=name,
                wall_s=round(time.perf_counter() - wall, 3),
                cpu_s=round(time.process_time() - cpu, 3),
                peak_mib=round(_peak_mib(), 1),
            )
            self.times.append(taken)
            try:
                logger.debug("%s %s in %.2f s", taken.step, outcome, taken.wall_s)
                self._write({"outcome": outcome, **asdict(taken)})
            except StorageError:
                if outcome == "done":  # else the step's own error says more
                    raise

    def _reported(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.lineage is None else self.lineage.step(name)

    def _write(self, values: Mapping[str, Any]) -> None:
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "run_id": self.run_id, **values}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / f"{self.run_id}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise StorageError(f"cannot write the log folder {self.folder}: {error.strerror or error}") from error


def _peak_mib() -> float:
    """The largest memory of this process so far, MiB."""
    # Where the kernel keeps it by program: the figure of `getrusage` begins with the peak of whoever started this one.
    with contextlib.suppress(OSError):
        if match := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8")):
            return int(match[1]) / 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1 << 20 if sys.platform == "darwin" else 1 << 10)
