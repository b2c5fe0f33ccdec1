"""The gate of A/B tests on the default route: a version that may answer any request must be one that could be promoted."""

from collections.abc import Sequence
from pathlib import Path

from sporeprint.common.child_process import run_in_child
from sporeprint.common.workdir import Workdir
from sporeprint.errors import RefusedError
from sporeprint.registry.aliases import PRODUCTION
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings


def check_arms(settings: Settings, root: Path, refs: Sequence[str]) -> None:
    """Hold versions that never were in production against the one that is.

    Raises:
        RefusedError: one of them does not pass the gate.
        DataError: no data is loaded to hold them against each other.
    """
    registry = Registry(Workdir(root).registry)
    production, served = registry.production(), {change.to for change in registry.history(PRODUCTION)}
    new = [ref for ref in refs if ref not in served]
    if production is None or not new:
        return
    # In a process of its own: it scores all test rows, and a server's requests must not wait for it.
    if failures := run_in_child(_failures, settings, root, new, production.ref):
        advice = "a test without default_route may have it"
        raise RefusedError(f"on the default route any request may be answered by it: {'; '.join(failures)}; {advice}")


def _failures(settings: Settings, root: Path, refs: Sequence[str], production: str) -> list[str]:
    from sporeprint.data.training_data import read_input
    from sporeprint.pipelines.promotion import gate

    workdir = Workdir(root)
    data, registry = read_input(settings, workdir), Registry(workdir.registry)
    results = {ref: gate(settings, registry, data, ref, production) for ref in refs}
    return [f"{ref} does not pass the gate: {', '.join(result.reasons)}" for ref, result in results.items() if not result.passed]
