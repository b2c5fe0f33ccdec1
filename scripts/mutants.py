"""Breaks the code in places where a wrong answer would be dear, one at a time, and counts the tests that notice.

    .venv/bin/python scripts/mutants.py [--only TEXT] [--processes N] [--tree DIR]

Each mutant is a change of one line in a copy of the project; its tests run there and must fail. A line that is no longer there, or is
there more than once, is an error: whoever renames it writes the new one here. Exit code 1 where a mutant lives.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("src", "tests", "config", "docs", "pyproject.toml")


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        file: below src/sporeprint.
        old: what stands there once.
        new: what takes its place.
        tests: files below tests, one of which has to fail.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {self.old.strip()} -> {self.new.strip()}"


def _of(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutant]:
    return [Mutant(file, old, new, tuple(tests.split())) for old, new in changes]


MUTANTS: list[Mutant] = [
    # what may be answered "edible"
    *_of(
        "safety/verdict.py",
        "safety/test_verdict.py",
        ("(-1.0 if limits.negative is None", "(1.0 if limits.negative is None"),
        ("positive = probability > limits.positive", "positive = probability >= limits.positive"),
        ("novelty_p > 1 - coverage + ROUNDING", "novelty_p > 1 - coverage - ROUNDING"),
        ("(contradictory == False)", "(contradictory == contradictory)"),
        ("limits.negative)) & component_negative", "limits.negative))"),
    ),
    *_of(
        "safety/risk_control.py",
        "safety/test_risk_control.py",
        ("cdf(wrong, answered, levels.alpha) <= levels.delta", "cdf(wrong, answered, levels.alpha) <= 2 * levels.delta"),
        ("cdf(wrong, positives, levels.missed) <= levels.delta", "cdf(wrong, positives, levels.missed) <= 2 * levels.delta"),
        ('np.searchsorted(ordered, tested, side="right")', 'np.searchsorted(ordered, tested, side="left")'),
        ("at = max(passed - 1, 0)", "at = min(passed, len(tested) - 1)"),
        ("math.log(delta) / math.log1p(-alpha)", "math.log(delta) / math.log1p(-2 * alpha)"),
    ),
    *_of(
        "safety/novelty_guard.py",
        "safety/test_novelty_guard.py",
        ('np.searchsorted(self.calibration, typicality, side="right")', 'np.searchsorted(self.calibration, typicality, side="left")'),
        ("(at_most + 1.0) / (len(self.calibration) + 1.0)", "at_most / len(self.calibration)"),
        ("component = (sums >= best[:, np.newaxis] - TIE).argmax(axis=1)", "component = sums.argmin(axis=1)"),
    ),
    *_of(
        "safety/calibration.py",
        "safety/test_calibration.py",
        ("value = np.add.reduceat(labels, first) / weight", "value = np.add.reduceat(labels, first)"),
        ("target = np.where(y == 1, (positives + 1) / (positives + 2)", "target = np.where(y == 1, 1.0"),
    ),
    *_of(
        "safety/anomalies.py",
        "safety/test_anomalies.py",
        ("number == number and not low <= float(number) <= high", "number == number and not low < float(number) < high"),
        ("(values < column.low) | (values > column.high)", "(values < column.low) & (values > column.high)"),
    ),
    *_of("safety/decision_rule.py", "safety/test_decision_rule.py", ("min(coverage, rows / (rows + 1))", "coverage")),
    # statistics
    *_of(
        "stats/multiplicity.py",
        "stats/test_multiplicity.py",
        ("* falling >= len(e) / alpha", "* falling >= 1 / alpha"),
    ),
    *_of(
        "stats/confidence_sequence.py",
        "stats/test_confidence_sequence.py",
        ("math.log(math.sqrt(grown) / (1 - confidence))", "math.log(math.sqrt(grown) / (2 - 2 * confidence))"),
        ("(self.count - 1))", "self.count)"),
        ("return a.variance / a.count + b.variance / b.count", "return a.variance / a.count"),
    ),
    *_of(
        "stats/eprocess.py",
        "stats/test_eprocess.py",
        ("math.exp(-max(0.0, log_e_value))", "math.exp(-log_e_value)"),
        ("n, null) >= -math.log(alpha))", "n, null) >= -math.log(2 * alpha))"),
    ),
    *_of("stats/sample_ratio_mismatch.py", "stats/test_sample_ratio_mismatch.py", ("xlogy(n, share).sum()", "xlogy(n, 1 - share).sum()")),
    *_of("stats/effect_sizes.py", "stats/test_effect_sizes.py", ("middle = (p + q) / 2", "middle = p"), (".sum() / 2)", ".sum())")),
    *_of("stats/folds.py", "stats/test_folds.py", ("filled[chosen] += share[group]", "filled[chosen] += 0 * share[group]")),
    *_of(
        "ab_testing/assignment.py",
        "ab_testing/test_assignment.py",
        ('hashlib.sha256(f"{salt}:".encode())', "hashlib.sha256(salt.encode())"),
        ("digest.digest()[:_BYTES] < self._below", "digest.digest()[:_BYTES] <= self._below[:1]"),
    ),
    *_of(
        "ab_testing/decision.py",
        "ab_testing/test_decision.py",
        ("if not running.low > design.margin:", "if not running.low > -design.margin:"),
        ("units >= design.min_units and", "units >= design.min_units or"),
        ("reading.guardrail.prove and", "not reading.guardrail.prove and"),
    ),
    # data
    *_of(
        "data/splitting.py",
        "data/test_splitting.py",
        ("numbers[rows] + 0.0).view", "numbers[rows]).view"),
        ("order = np.lexsort((draws, strata))", "order = np.lexsort((strata, draws))"),
    ),
    *_of(
        "data/validation.py",
        "data/test_validation.py",
        ('rules[f"range:{name}"] = at.is_finite() &', 'rules[f"range:{name}"] = ~at.is_finite() &'),
        ("bad = np.logical_or.reduce(", "bad = np.logical_and.reduce("),
    ),
    # storage
    *_of(
        "storage/journal/file.py",
        "storage/journal/test_writer.py",
        (
            'synchronous = full")\n            connection.execute(f"pragma wal',
            'synchronous = off")\n            connection.execute(f"pragma wal',
        ),
    ),
    *_of(
        "storage/journal/file.py",
        "storage/journal/test_file.py",
        ("last = min(first + STEP - 1, through)", "last = first + STEP - 1"),
        ("return last + 1 if last < through else None", "return None"),
    ),
    *_of(
        "storage/oltp/read_progress.py",
        "storage/oltp/test_read_progress.py",
        ("if now_us - gap.since_us < lag_us", "if now_us - gap.since_us < 0"),
        ("yield Gap(max(gap.first, last + 1), gap.last, gap.since_us)", "yield Gap(last + 2, gap.last, gap.since_us)"),
    ),
    *_of("storage/bulk_insert.py", "storage/test_bulk_insert.py", ('("\'", "\\\\\'"), ', "")),
    *_of(
        "storage/oltp/prunable_rows.py",
        "storage/oltp/test_retention.py",
        ("[table.c.created_us >= before_us", "[table.c.created_us > before_us"),
        ('CONCLUDED = "concluded"', 'CONCLUDED = "running"'),
    ),
    *_of(
        "storage/oltp/dropped_days.py",
        "storage/oltp/test_dropped_days.py",
        ("AUTO_INCREMENT = {day_partitions.next_number(connection)}", "AUTO_INCREMENT = 1"),
        ("    for name in left:", "    for name in ():"),
    ),
    *_of(
        "storage/warehouse/sync.py",
        "storage/warehouse/test_counted_page.py",
        ("seen.high + 1, result.last, result.numbers, began)", "result.first, result.last, result.numbers, began)"),
    ),
    *_of(
        "registry/registry.py",
        "registry/test_registry.py",
        ("if problems := self.verify(to.ref):", "if problems := ():"),
        ("return max([0, *self.versions(name), *remembered]) + 1", "return max([0, *self.versions(name)]) + 1"),
    ),
    # serving
    *_of(
        "model_serving/http/authentication.py",
        "model_serving/http/test_authentication.py",
        ("and role not in caller.roles:", "and role in ():"),
        ("if self.left < 1.0:", "if self.left < 0.0:"),
        ("not same or key is None", "key is None"),
        ("not every and not self._exposed", "not every"),
    ),
    *_of(
        "model_serving/runtime/row_parser.py",
        "model_serving/runtime/test_row_parser.py",
        ("not field.low <= value <= field.high", "not field.low <= value"),
        ('if body.count(b":") != _pairs(value):', "if False:"),
    ),
]


def mutate(tree: Path, mutant: Mutant) -> None:
    """Change one line of a copy.

    Raises:
        SystemExit: the line is not there, or there more than once.
    """
    path = tree / "src" / "sporeprint" / mutant.file
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if (times := text.count(mutant.old)) != 1:
        raise SystemExit(
            f"{mutant}: expected the old text once in {path.name}, it is there {times} times; bring scripts/mutants.py up to date"
        )
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def passes(tree: Path, tests: Sequence[str], mutant: Mutant | None = None) -> bool:
    """Whether tests pass in a copy of the tree, with one line changed where a mutant is given."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in COPIED:
            if (tree / name).is_dir():
                shutil.copytree(tree / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(tree / name, copy)
        if mutant:
            mutate(copy, mutant)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests)]
        environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1} and mutant is None:
        raise SystemExit(f"{tests}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def report(tree: Path, mutants: Sequence[Mutant], processes: int) -> Iterable[tuple[Mutant, bool, float]]:
    """Each mutant, whether it was killed, and what that took in seconds."""

    def timed(mutant: Mutant) -> tuple[Mutant, bool, float]:
        begin = time.monotonic()
        return mutant, not passes(tree, mutant.tests, mutant), time.monotonic() - begin

    with ThreadPoolExecutor(processes) as pool:
        # What fails anyhow kills nothing.
        suites = dict.fromkeys(mutant.tests for mutant in mutants)
        for suite, good in zip(suites, pool.map(lambda suite: passes(tree, suite), suites), strict=True):
            if not good:
                raise SystemExit(f"{' '.join(suite)} fails without a mutant")
        yield from pool.map(timed, mutants)


def main() -> int:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="mutants whose description holds this text")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="mutants at once")
    parser.add_argument("--tree", type=Path, default=ROOT, help="project to mutate")
    options = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if options.only in str(mutant)]
    killed = 0
    for mutant, dead, seconds in report(options.tree, mutants, options.processes):
        killed += dead
        print(f"{'killed' if dead else 'LIVES '}  {seconds:5.1f} s  {mutant}", flush=True)
    print(f"{killed} of {len(mutants)} mutants were killed")
    return int(killed < len(mutants))


if __name__ == "__main__":
    sys.exit(main())
