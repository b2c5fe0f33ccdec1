"""Further versions of registered models, without training."""

from dataclasses import replace
from typing import Any

from sporeprint.registry.registry import Registry


def further_version(registry: Registry, ref: str, number: int = 1, *, metrics: dict[str, Any] | None = None, **info: Any) -> str:
    """Register the same model once more, as of other data, and say how it is named."""
    bundle = registry.load(ref)
    extras = [name for name in registry.show(ref)["files"] if name.endswith((".md", ".png", ".svg"))]
    return registry.register(
        replace(
            bundle,
            info={**bundle.info, "data_fingerprint": f"{number:064x}", **info},
            metrics=metrics or bundle.metrics,
            extras={name: registry.read(ref, name) for name in extras},
        )
    ).ref
