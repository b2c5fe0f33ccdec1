"""A registered model, ready for use from Python."""

from pathlib import Path

from sporeprint.common.workdir import Workdir
from sporeprint.inference.model import Model
from sporeprint.registry.registry import Registry


def load(ref: str = "production", workdir: str | Path = ".", *, threads: int = 1) -> Model:
    """Load a registered model.

    Args:
        ref: "production", a model's name (its champion), or one version as in "xgboost/v2".
        workdir: the work directory that `sporeprint etl` wrote.
        threads: threads that scoring may use.

    Raises:
        RegistryError: if there is no such model, or a file of it was altered.

    >>> import sporeprint
    >>> model = sporeprint.load("decision_tree", WORKDIR)
    >>> model
    Model(decision_tree/v1: mushroom, 20 columns, classes e/p)
    """
    registry = Registry(Workdir(Path(workdir)).registry)
    ref = registry.resolve(ref).ref
    return Model(registry.load(ref, threads=threads), ref)
